"""Opens MLflow: the one place that decides how patient and how loud it is."""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from .settings import sqlite_file

if TYPE_CHECKING:
    from mlflow import MlflowClient

_log = logging.getLogger(__name__)

_ENVIRONMENT = {
    # What fails is spooled and tried again later: waiting inside a request gains nothing.
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    # Errors reach us as exceptions and are reported once per outage.
    "MLFLOW_LOGGING_LEVEL": "CRITICAL",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "GIT_PYTHON_REFRESH": "quiet",
    # Nothing is sent anywhere but to the tracking URI, and no lock file of the working directory
    # is copied into a model.
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_UV_AUTO_DETECT": "false",
}


def connect(uri: str) -> MlflowClient:
    """Client for tracking and registry at one URI. What the user set in the environment stays.

    Raises:
        Exception: whatever MLflow and its storage raise where it cannot be reached.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    _probe(sqlite_file(uri))
    from mlflow import MlflowClient  # 1.3 s and 160 MB: only where a search is tracked

    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def claim(uri: str) -> BinaryIO | None:
    """Mark a sqlite file as written by this process until the returned file is closed.

    Warns where another one writes it too: sqlite then makes them wait for each other.
    """
    database = sqlite_file(uri)
    if database is None:
        return None
    file = database.with_name(f"{database.name}.writer").open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        _log.warning(
            "%s is being written by another search too; sqlite is meant for one writer. "
            "Run an MLflow server and give its address as tracking.uri.",
            database,
        )
        return None
    return file


def _probe(database: Path | None) -> None:
    """Fails at once where MLflow would retry for 100 s to open a sqlite file."""
    if database is None:
        return
    database.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA schema_version")

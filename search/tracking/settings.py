"""Where a search is tracked."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from ...spaces.errors import BadInput

_SQLITE = "sqlite:///"
_UNADDRESSABLE = re.compile(r"[%?#]")
_NOT_IN_MODEL_NAMES = re.compile(r"[^\w\-. ]")


@dataclass(frozen=True, slots=True)
class TrackingSettings:
    """What the user may choose.

    Attributes:
        uri: a tracking URI of MLflow; None: a database in the run's own folder.
        experiment: the experiment that the runs belong to; made where it is missing.
        registered_model: the model that front members become versions of; None: named as the run.
        enabled: False turns every call of a tracker into nothing.
    """

    uri: str | None
    experiment: str = "spikefront"
    registered_model: str | None = None
    enabled: bool = True


def tracking_uri(settings: TrackingSettings, run_folder: Path) -> str:
    """URI to write to.

    Raises:
        BadInput: the default is wanted in a folder that MLflow cannot address.
    """
    if settings.uri is not None:
        return settings.uri
    folder = run_folder.absolute()
    if _UNADDRESSABLE.search(str(folder)):
        raise BadInput(
            f"MLflow cannot keep its database in {str(folder)!r}: the path may not contain %, ? "
            "or #. Move the run, or set tracking.uri or tracking.enabled: false."
        )
    return f"{_SQLITE}{folder}/mlflow.db"


def sqlite_file(uri: str) -> Path | None:
    """File of a sqlite URI, absolute; None for any other URI."""
    path = uri.removeprefix(_SQLITE).partition("?")[0]
    if not uri.startswith(_SQLITE) or not path:
        return None
    return Path(unquote(path)).absolute()


def artifact_location(uri: str) -> str | None:
    """Where a new experiment keeps its files: beside a sqlite file, else as the server decides."""
    database = sqlite_file(uri)
    return None if database is None else (database.parent / "mlartifacts").as_uri()


def model_name(wanted: str) -> str:
    """Name for a registered model, with what MLflow does not allow there replaced."""
    return _NOT_IN_MODEL_NAMES.sub("-", wanted).strip(" .") or "spikefront"

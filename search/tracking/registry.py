"""Front members as versions of one registered model, found by alias."""

from __future__ import annotations

import json
import tempfile
import warnings
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...spaces.errors import BadInput, CorruptFile

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.models import ModelSignature

KEY_TAG = "candidate_key"
SEARCH_TAG = "search_run_id"

_CODE = Path(__file__).with_name("packed_model.py")
_NEEDED = ("spikefront", "mlflow", "torch", "numpy", "safetensors")


def register(
    client: MlflowClient,
    name: str,
    packed: Path,
    run: tuple[str, str],
    search: str,
    tags: Mapping[str, Any],
) -> None:
    """Make a packed folder a version of a registered model, unless the search has done so.

    Args:
        client: where to.
        name: the registered model; made where it is missing.
        packed: folder of the member.
        run: experiment id and run id of the member.
        search: run id of the search.
        tags: tags of the version; `KEY_TAG` among them.

    Raises:
        BadInput: no packed folder, or its manifest does not say what goes in and out.
    """
    _ensure_model(client, name)
    if find_version(client, name, search, tags[KEY_TAG]) is not None:
        return
    experiment_id, run_id = run
    signature = _signature(packed)
    logged = client.create_logged_model(
        experiment_id, name=tags[KEY_TAG], source_run_id=run_id, tags={KEY_TAG: tags[KEY_TAG]}
    )
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "model"
        _save(folder, packed, signature, run_id, logged.model_id)
        client.log_model_artifacts(logged.model_id, str(folder))
    client.finalize_logged_model(logged.model_id, "READY")
    _link(client, run_id, logged.model_id)
    # By its location: "models:/<id>" would be looked up at the global tracking URI.
    client.create_model_version(
        name,
        logged.artifact_location,
        run_id=run_id,
        model_id=logged.model_id,
        tags={**tags, SEARCH_TAG: search},
    )


def set_aliases(client: MlflowClient, name: str, search: str, aliases: Mapping[str, str]) -> None:
    """Point each alias to the version of a candidate key, and read it back.

    Raises:
        BadInput: a key has no version, or an alias is not what was set.
    """
    for alias, key in aliases.items():
        wanted = find_version(client, name, search, key)
        if wanted is None:
            raise BadInput(f"alias {alias!r} of model {name!r}: {key} is not registered.")
        client.set_registered_model_alias(name, alias, str(wanted.version))
        got = client.get_model_version_by_alias(name, alias)
        if str(got.version) != str(wanted.version):
            raise BadInput(
                f"alias {alias!r} of model {name!r} was set to version {wanted.version} but reads "
                f"{got.version}: somebody else moves it. Set it by hand."
            )


def find_version(client: MlflowClient, name: str, search: str, key: str) -> ModelVersion | None:
    """Version of one candidate of one search; None where there is none."""
    found = client.search_model_versions(
        f"name = '{name}' and tags.{KEY_TAG} = '{key}' and tags.{SEARCH_TAG} = '{search}'"
    )
    return max(found, key=lambda entry: int(entry.version)) if found else None


def _ensure_model(client: MlflowClient, name: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _save(
    folder: Path, packed: Path, signature: ModelSignature, run_id: str, model_id: str
) -> None:
    import mlflow.pyfunc
    from mlflow.models import Model

    with warnings.catch_warnings():
        # It asks for an input example; the packed folder has golden vectors instead.
        warnings.simplefilter("ignore", UserWarning)
        mlflow.pyfunc.save_model(
            folder,
            python_model=_CODE,
            artifacts={"packed": packed.absolute().as_uri()},
            signature=signature,
            pip_requirements=[f"{name}=={_public(version(name))}" for name in _NEEDED],
            mlflow_model=Model(run_id=run_id, model_id=model_id),
        )


def _public(version_text: str) -> str:
    return version_text.partition("+")[0]


def _link(client: MlflowClient, run_id: str, model_id: str) -> None:
    from mlflow.entities import LoggedModelOutput

    client.log_outputs(run_id, [LoggedModelOutput(model_id, step=0)])


def _signature(packed: Path) -> ModelSignature:
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    path = packed / "manifest.json"
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        shape = tuple(int(size) for size in manifest["input_shape"])
        classes = int(manifest["num_classes"])
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}; the member was not packed.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptFile(
            f"{path}: needs input_shape (of one input) and num_classes; pack the member again."
        ) from error
    kind = np.dtype(np.float32)
    return ModelSignature(
        inputs=Schema([TensorSpec(kind, (-1, *shape), name=None)]),
        outputs=Schema([TensorSpec(kind, (-1, classes), name=None)]),
    )

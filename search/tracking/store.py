"""Does operations at a tracking URI."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ...spaces.errors import BadInput, RunFailed
from .connection import claim, connect
from .limits import MAX_METRICS
from .operation import Kind, Operation, is_local
from .registry import KEY_TAG, register, set_aliases
from .settings import TrackingSettings, artifact_location, model_name, tracking_uri

if TYPE_CHECKING:
    from mlflow.entities import Run

UID_TAG = "spikefront.uid"
"""Tag of the name that a run was given here; by it the run is found again."""

FRONT_TAG = "on_front"
"""Tag of a member's run: whether it is on the front that the search ended with."""

_PARENT_TAG = "mlflow.parentRunId"

# MLflow answered, and the same request will get the same answer. Anything else may pass.
_FINAL_ANSWERS = frozenset(
    {"INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST", "RESOURCE_ALREADY_EXISTS"}
)


class Store:
    """MLflow at one URI, seen as something that does operations.

    Opening it finds or makes the experiment, and with it a database's schema. No global state of
    MLflow is read or set.
    """

    def __init__(self, settings: TrackingSettings, run_folder: Path) -> None:
        self._settings = settings
        self._run_folder = run_folder
        self._runs: dict[str, str] = {}
        uri = tracking_uri(settings, run_folder)
        self._client = connect(uri)
        self._experiment_id = self._find_experiment(artifact_location(uri))
        # A database in the run's own folder is the search's alone, as the folder is.
        self._claim = None if settings.uri is None else claim(uri)

    def close(self) -> None:
        """Let others write a sqlite file."""
        if self._claim is not None:
            self._claim.close()

    def apply(self, operation: Operation) -> None:
        """Do one operation; done before, it changes nothing.

        Raises:
            BadInput: MLflow refused it for good, or what it needs is not there.
            Exception: anything else, where it may succeed later.
        """
        from mlflow.exceptions import MlflowException

        try:
            self._apply(operation)
        except MlflowException as error:
            # Everything hangs on a run: without it nothing that follows may be passed over.
            final = error.error_code in _FINAL_ANSWERS and operation.kind is not Kind.CREATE_RUN
            if not final:
                raise
            raise BadInput(f"MLflow refused it: {error.message}") from error

    def known_id(self, run: str) -> str:
        """MLflow's id of a run that was made or found here; any other name comes back as it is."""
        return self._runs.get(run, run)

    def run_id(self, run: str) -> str:
        """MLflow's id of a run that may go by a local name.

        Raises:
            BadInput: no run has this local name.
        """
        if not is_local(run):
            return run
        if run not in self._runs:
            found = self._search_runs(UID_TAG, run)
            if not found:
                raise BadInput(f"run {run} is not in experiment {self._settings.experiment!r}.")
            self._runs[run] = found[0].info.run_id
        return self._runs[run]

    def _apply(self, operation: Operation) -> None:
        if operation.kind is Kind.CREATE_RUN:
            self._create_run(operation)
            return
        run_id, data = self.run_id(operation.run), operation.data
        match operation.kind:
            case Kind.REOPEN_RUN:
                self._client.update_run(run_id, status="RUNNING")
            case Kind.PARAMS:
                self._log_params(run_id, data["params"])
            case Kind.METRICS:
                self._log_metrics(run_id, data["metrics"])
            case Kind.FILE:
                self._log_file(run_id, self._run_folder / data["path"])
            case Kind.JSON:
                self._client.log_dict(run_id, data["content"], data["name"])
            case Kind.MARK_FRONT:
                self._mark_front(run_id, set(data["keys"]))
            case Kind.REGISTER:
                self._register(run_id, operation)
            case Kind.ALIASES:
                set_aliases(self._client, self._model_name(run_id), run_id, data["aliases"])
            case Kind.END_RUN:
                self._client.set_terminated(run_id, data["status"], data["time"])

    def _create_run(self, operation: Operation) -> None:
        data = operation.data
        found = self._search_runs(UID_TAG, operation.run)
        if found:
            self._runs[operation.run] = found[0].info.run_id
            return
        tags = {**data["tags"], UID_TAG: operation.run}
        if data["parent"] is not None:
            tags[_PARENT_TAG] = self.run_id(data["parent"])
        run = self._client.create_run(self._experiment_id, data["time"], tags, data["name"])
        self._runs[operation.run] = run.info.run_id

    def _log_params(self, run_id: str, params: dict[str, str]) -> None:
        from mlflow.entities import Param

        self._client.log_batch(run_id, params=[Param(*item) for item in params.items()])

    def _log_metrics(self, run_id: str, points: list[list]) -> None:
        from mlflow.entities import Metric

        metrics = [Metric(*point) for point in points]
        for start in range(0, len(metrics), MAX_METRICS):
            self._client.log_batch(run_id, metrics=metrics[start : start + MAX_METRICS])

    def _log_file(self, run_id: str, path: Path) -> None:
        if not path.is_file():
            raise BadInput(f"{path} is no longer there.")
        self._client.log_artifact(run_id, str(path))

    def _mark_front(self, run_id: str, keys: set[str]) -> None:
        """Tag the runs of all members that the search has ended with, this time or earlier."""
        for child in self._search_runs(_PARENT_TAG, run_id):
            on_front = str(child.data.tags.get(KEY_TAG) in keys).lower()
            if child.data.tags.get(FRONT_TAG) != on_front:
                self._client.set_tag(child.info.run_id, FRONT_TAG, on_front)

    def _register(self, run_id: str, operation: Operation) -> None:
        data = operation.data
        search = self.run_id(data["search"])
        register(
            self._client,
            self._model_name(search),
            self._run_folder / data["path"],
            (self._experiment_id, run_id),
            search,
            data["tags"],
        )

    def _model_name(self, search: str) -> str:
        wanted = self._settings.registered_model
        return model_name(wanted or self._client.get_run(search).info.run_name or "")

    def _search_runs(self, tag: str, value: str) -> list[Run]:
        return list(self._client.search_runs([self._experiment_id], f"tags.`{tag}` = '{value}'"))

    def _find_experiment(self, location: str | None) -> str:
        from mlflow.exceptions import MlflowException

        name = self._settings.experiment
        experiment = self._client.get_experiment_by_name(name)
        if experiment is None:
            try:
                return self._client.create_experiment(name, artifact_location=location)
            except MlflowException:
                # Another search may have made it in between.
                experiment = self._client.get_experiment_by_name(name)
                if experiment is None:
                    raise
        if experiment.lifecycle_stage == "deleted":
            raise RunFailed(f"experiment {name!r} is deleted; restore it or name another one.")
        return experiment.experiment_id

"""`spikefront train`: its curve in MLflow, what it says, and the configs that come with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from small_model import DATA, Cli
from tracked_runs import open_client, prepare_database

from spikefront.evaluators.training.job import TrainingJob

EXAMPLES = Path(__file__).parents[2] / "examples"
SIZES = {"embed_dims": 16, "num_heads": 2, "depths": 1, "mlp_ratios": 2, "T": 1}


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    """The command line."""
    return Cli(capsys)


def write_training(folder: Path, **sections: Any) -> Path:
    config = {
        "network": {"architecture": "spikformer_cifar10", "arguments": SIZES},
        "data": DATA,
        "preprocessing": "digits",
        "recipe": {"epochs": 2, "batch_size": 64},
        "output": str(folder / "out" / "small.safetensors"),
        **sections,
    }
    path = folder / "train.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def test_the_curve_is_in_mlflow(tmp_path: Path, cli: Cli) -> None:
    prepare_database(tmp_path / "out")
    ran = cli("train", write_training(tmp_path, tracking={"experiment": "curves"}), "--json")
    assert ran.code == 0
    assert "device cpu, neurons: " in ran.err
    client = open_client(tmp_path / "out")
    experiment = client.get_experiment_by_name("curves")
    (found,) = client.search_runs([experiment.experiment_id])
    assert found.info.status == "FINISHED"
    assert found.info.run_name == "small"
    assert found.data.params["recipe.epochs"] == "2"
    curve = ran.record["curve"]
    for name, column in (("loss", 1), ("accuracy_search", 2)):
        history = client.get_metric_history(found.info.run_id, name)
        assert [point.step for point in history] == [1, 2]
        expected = [epoch[column] for epoch in curve]
        assert [point.value for point in history] == pytest.approx(expected, abs=1e-5)
    assert found.data.metrics["accuracy_test"] == ran.record["accuracy_test"]


def test_nothing_is_tracked_unless_asked_for(tmp_path: Path, cli: Cli) -> None:
    ran = cli("train", write_training(tmp_path))
    assert ran.code == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["small.safetensors"]


@pytest.mark.parametrize(
    ("tracking", "says"),
    [({"url": "x"}, "Did you mean 'uri'"), ("x", "tracking is 'x'; give a mapping")],
)
def test_wrong_tracking_is_refused(tmp_path: Path, cli: Cli, tracking: Any, says: str) -> None:
    ran = cli("train", write_training(tmp_path, tracking=tracking))
    assert (ran.code, ran.out) == (2, "")
    assert says in ran.err
    assert not (tmp_path / "out").exists()


TRAININGS = sorted(
    path for path in EXAMPLES.rglob("*.yaml") if "recipe" in yaml.safe_load(path.read_text())
)


@pytest.mark.parametrize("path", TRAININGS, ids=lambda path: path.stem)
def test_every_training_that_comes_with_the_project_is_one(path: Path) -> None:
    config = yaml.safe_load(path.read_text())
    config.pop("tracking", None)
    job = TrainingJob.from_dict(config)
    # A config writes what it writes under its own name.
    assert job.output.stem.removeprefix("spikformer-digits") in ("", path.stem)


def test_there_are_trainings() -> None:
    assert len(TRAININGS) >= 7

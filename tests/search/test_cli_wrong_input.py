"""What a user may get wrong: exit code 2, a message that helps, and no run left half made."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from small_model import Cli, Ran, write_checkpoint, write_config


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(capsys)


def refused(cli: Cli, config: Path, *says: str, options: Sequence[str] = ()) -> Ran:
    """A search that ends with 2, says all this, and makes no folder."""
    ran = cli("search", config, *options)
    assert ran.code == 2, ran.err
    assert ran.out == ""
    assert "\nspikefront: " in f"\n{ran.err}"
    for text in says:
        assert text in ran.err
    assert "Traceback" not in ran.err
    assert not (config.parent / "runs").exists()
    return ran


@pytest.mark.parametrize(
    ("sections", "says"),
    [
        ({"modell": {}}, ["modell", "Did you mean 'model'"]),
        ({"budget": {"candidate": 3}}, ["budget.candidate", "candidates"]),
        ({"budget": {"candidates": 0}}, ["budget.candidates", "a whole number of at least 1"]),
        ({"budget": {"candidates": "many"}}, ["budget.candidates"]),
        ({"strategy": {"name": "nsga"}}, ["strategy.name", "Did you mean 'nsga"]),
        ({"strategy": {"options": {"heat": 1}}}, ["takes no options", "'heat'"]),
        ({"objectives": ["bytes"]}, ["accuracy must be among them"]),
        ({"objectives": ["accuracy", "size"]}, ["objective", "bytes"]),
        ({"constraints": {"max_drop": 1.5}}, ["constraints.max_drop"]),
        ({"space": {"levels": {"weight": [0]}}}, ["space.levels.weight", "1..8"]),
        ({"space": {"levels": {"channel": [0.0]}}}, ["space.levels.channel"]),
        ({"space": {"granularity": "layers"}}, ["Did you mean 'layer'"]),
        ({"cluster": {"backend": "slurm"}}, ["cluster.backend", "in-process"]),
        ({"strategy": {"name": "gp"}, "space": {}}, ["at most 12 axes", "take 'tpe'"]),
        ({"strategy": {"warm_start": ["nowhere"]}}, ["nowhere has no front.json"]),
        ({"objectives": ["accuracy", "latency_ms"]}, ["set cluster.ordered to false"]),
        ({"evaluation": {"energy_preset": "3nm"}}, ["3nm", "45nm"]),
        ({"data": {"name": "digit"}}, ["Did you mean 'digits'"]),
        ({"data": {"name": "digits", "rows": 3}}, ["rows"]),
        ({"data": {"name": "digits", "size": 20}}, ["images of shape (1, 20, 20)", "(1, 16, 16)"]),
        ({"data": {"name": "digits", "size": 16, "seed": 4}}, ["may have seen them"]),
        ({"model": {"zoo": "spikformer-digit"}}, ["Did you mean 'spikformer-digits'"]),
        ({"model": {}}, ["exactly one of checkpoint and zoo"]),
        ({"name": "../escape"}, ["name", "letters, digits"]),
        ({"seed": -1}, ["seed"]),
    ],
)
def test_config(tmp_path: Path, cli: Cli, sections: dict[str, Any], says: list[str]):
    write_checkpoint(tmp_path)
    refused(cli, write_config(tmp_path, **sections), *says)


def test_all_problems_of_a_config_at_once(tmp_path: Path, cli: Cli):
    config = write_config(tmp_path, modell={}, seed=-1, budget={"candidates": 0})
    refused(cli, config, "3 problems", "modell", "seed", "budget.candidates")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "holds nothing"),
        ("- a\n- b\n", "a list"),
        ("model: {zoo: a\n", "line"),
        ("model: {zoo: a}\nmodel: {zoo: b}\n", "given twice"),
        ("model: !!python/object/apply:os.system ['true']\n", "could not determine a constructor"),
    ],
)
def test_text_that_is_no_config(tmp_path: Path, cli: Cli, text: str, says: str):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    refused(cli, path, str(path), says)


def test_no_such_config(tmp_path: Path, cli: Cli):
    refused(cli, tmp_path / "missing.yaml", "missing.yaml: no such file")
    refused(cli, tmp_path, "cannot be read")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--workers", "0"], "cluster.workers"),
        (["--name", "a/b"], "letters, digits"),
        (["--seed", "-3"], "seed"),
    ],
)
def test_options(tmp_path: Path, cli: Cli, options: list[str], says: str):
    write_checkpoint(tmp_path)
    refused(cli, write_config(tmp_path), "options", says, options=options)


def test_a_folder_that_mlflow_cannot_address(tmp_path: Path, cli: Cli):
    write_checkpoint(tmp_path)
    config = write_config(tmp_path, tracking={"enabled": True}, output=str(tmp_path / "runs" / "#"))
    refused(cli, config, "MLflow", "tracking.enabled: false")


def test_a_folder_that_cannot_be_made(tmp_path: Path, cli: Cli):
    write_checkpoint(tmp_path)
    (tmp_path / "taken").write_text("")
    refused(cli, write_config(tmp_path, output=str(tmp_path / "taken")), "cannot create")


def alter_weights(path: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    with safe_open(path, framework="pt") as file:
        card = file.metadata()
    state = load_file(path)
    change(state)
    save_file(state, path, card)


def poison(state: dict[str, torch.Tensor]) -> None:
    state["head.weight"][0, 0] = float("nan")


def reshape(state: dict[str, torch.Tensor]) -> None:
    state["head.weight"] = state["head.weight"][:, :-1].contiguous()


def drop(state: dict[str, torch.Tensor]) -> None:
    del state["head.bias"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (poison, ["head.weight"]),
        (reshape, ["head.weight", "(10, 15)", "(10, 16)"]),
        (drop, ["missing keys", "head.bias"]),
    ],
)
def test_weights_that_do_not_fit(
    tmp_path: Path, cli: Cli, change: Callable[[dict[str, torch.Tensor]], None], says: list[str]
):
    alter_weights(write_checkpoint(tmp_path), change)
    refused(cli, write_config(tmp_path), *says)


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:1000])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def pickled(path: Path) -> None:
    torch.save({"head.weight": torch.ones(1)}, path)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (truncated, "not a safetensors file"),
        (empty, "not a safetensors file"),
        (pickled, "looks like a pickle"),
        (Path.unlink, "no checkpoint at"),
    ],
)
def test_files_that_are_no_checkpoint(
    tmp_path: Path, cli: Cli, change: Callable[[Path], None], says: str
):
    change(path := write_checkpoint(tmp_path))
    refused(cli, write_config(tmp_path), str(path), says)


class Bomb:
    """Unpickling it would make a file."""

    def __init__(self, target: Path) -> None:
        self._target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self._target,))


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".tar"])
def test_a_pickle_that_would_run_code(tmp_path: Path, cli: Cli, suffix: str):
    path, target = tmp_path / f"small{suffix}", tmp_path / "exploded"
    torch.save({"state_dict": Bomb(target)}, path)
    config = write_config(tmp_path, model={"checkpoint": str(path)})
    refused(cli, config, str(path), "refused")
    assert not target.exists()


def test_another_kind_of_file(tmp_path: Path, cli: Cli):
    path = tmp_path / "small.pkl"
    path.write_bytes(pickle.dumps({}))
    config = write_config(tmp_path, model={"checkpoint": str(path)})
    refused(cli, config, "unknown kind of checkpoint '.pkl'", ".safetensors")


def png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG")
    return buffer.getvalue()


def parquet_config(folder: Path, spoil: Callable[[list[Any]], None] = lambda cells: None) -> Path:
    """A search over 60 grey images in a file; `spoil` changes their encoded bytes."""
    write_checkpoint(folder)
    images = np.random.default_rng(0).integers(0, 256, (60, 16, 16), dtype=np.uint8)
    cells: list[Any] = [png(image) for image in images]
    spoil(cells)
    labels = [number % 10 for number in range(60)]
    table = pa.table({"image": pa.array(cells, pa.binary()), "label": pa.array(labels, pa.int64())})
    pq.write_table(table, folder / "images.parquet")
    data = {
        "name": "parquet",
        "validation": str(folder / "images.parquet"),
        "calibration": 20,
        "search": 20,
        "channels": 1,
    }
    return write_config(folder, data=data)


def test_a_truncated_data_file(tmp_path: Path, cli: Cli):
    config = parquet_config(tmp_path)
    path = tmp_path / "images.parquet"
    path.write_bytes(path.read_bytes()[:-40])
    refused(cli, config, str(path), "truncated")


def test_an_image_that_cannot_be_decoded(tmp_path: Path, cli: Cli):
    def spoil(cells: list[Any]) -> None:
        cells[17] = b"no picture"

    config = parquet_config(tmp_path, spoil)
    refused(cli, config, "images.parquet, row 17", "cannot be decoded")


def test_data_that_is_not_there(tmp_path: Path, cli: Cli):
    config = parquet_config(tmp_path)
    (tmp_path / "images.parquet").unlink()
    refused(cli, config, str(tmp_path / "images.parquet"), "no such file")


def test_too_few_images(tmp_path: Path, cli: Cli):
    config = parquet_config(tmp_path)
    values = yaml.safe_load(config.read_text())
    values["data"]["search"] = 50
    config.write_text(yaml.safe_dump(values))
    refused(cli, config, "from 60", "ask for fewer")


@pytest.mark.parametrize("verb", ["resume", "verify", "evaluate", "report"])
def test_a_folder_that_is_not_there(tmp_path: Path, cli: Cli, verb: str):
    ran = cli(verb, tmp_path / "missing")
    assert (ran.code, ran.out) == (2, "")
    assert str(tmp_path / "missing") in ran.err
    assert not (tmp_path / "missing").exists()


def test_resume_of_a_config(tmp_path: Path, cli: Cli):
    ran = cli("resume", write_config(tmp_path))
    assert ran.code == 2
    assert "holds no run" in ran.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["spikformer-digits", "--split", "tests"], "Did you mean 'test'"),
        (["spikformer-digits", "--data", "nowhere.yaml"], "nowhere.yaml: no such file"),
        (["spikformer-digit"], "no network of the zoo (qkformer-cifar10, "),
    ],
)
def test_evaluate(cli: Cli, arguments: list[str], says: str):
    ran = cli("evaluate", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert says in ran.err


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("network: {architecture: spikformer_cifar10}\n", "output"),
        ("output: a.safetensors\n", "network.architecture is missing"),
        ("netwrok: {}\n", "Did you mean 'network'"),
    ],
)
def test_train(tmp_path: Path, cli: Cli, text: str, says: str):
    path = tmp_path / "train.yaml"
    path.write_text(text)
    ran = cli("train", path)
    assert (ran.code, ran.out) == (2, "")
    assert says in ran.err
    assert list(tmp_path.iterdir()) == [path]

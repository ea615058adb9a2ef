"""A network so small that a whole search over real digits takes a second or two."""

from __future__ import annotations

import functools
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
import yaml

from spikefront.evaluators.training.job import TrainingJob
from spikefront.search.cli.main import main

DATA = {"name": "digits", "size": 16}


@functools.cache
def trained() -> bytes:
    """A checkpoint after four epochs: bad, but with spikes in all layers."""
    torch.set_num_threads(1)  # as every evaluator does; more only spin on so small a network
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "small.safetensors"
        sizes = {"embed_dims": 16, "num_heads": 2, "depths": 1, "mlp_ratios": 2, "T": 2}
        job = {
            "network": {"architecture": "spikformer_cifar10", "arguments": sizes},
            "data": DATA,
            "preprocessing": "digits",
            "recipe": {"epochs": 4, "batch_size": 32, "learning_rate": 0.005},
            "output": str(path),
        }
        TrainingJob.from_dict(job).run()
        return path.read_bytes()


def write_checkpoint(folder: Path) -> Path:
    """The checkpoint as a file."""
    path = folder / "small.safetensors"
    path.write_bytes(trained())
    return path


def write_config(folder: Path, file: str = "first", **sections: Any) -> Path:
    """Config of a short search in this process; sections given here take the place of its own."""
    config = {
        "model": {"checkpoint": str(folder / "small.safetensors")},
        "data": DATA,
        "space": {"granularity": "network"},
        "strategy": {"name": "nsga2", "population": 4},
        "gate": {"warmup": 3, "false_reject_rate": 0.5},
        "budget": {"candidates": 8},
        "cluster": {"backend": "in-process", "window": 3},
        "tracking": {"enabled": False},
        "output": str(folder / "runs"),
        **sections,
    }
    path = folder / f"{file}.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


class Ran(NamedTuple):
    """What a command came to."""

    code: int
    out: str
    err: str

    @property
    def record(self) -> Any:
        """Standard output, which must be JSON and nothing else."""
        return json.loads(self.out)


class Cli:
    """Runs the command line in this process."""

    def __init__(self, capture: pytest.CaptureFixture[str]) -> None:
        self._capture = capture

    def __call__(self, *arguments: str | Path) -> Ran:
        """Run one command and take what it wrote."""
        self._capture.readouterr()
        code = exit_code([str(argument) for argument in arguments])
        written = self._capture.readouterr()
        return Ran(code, written.out, written.err)


def exit_code(arguments: Sequence[str]) -> int:
    """Exit code of a command; wrong options end it as they end a process."""
    try:
        return main(arguments)
    except SystemExit as end:
        assert isinstance(end.code, int)
        return end.code

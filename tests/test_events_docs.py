"""The config of docs/events.md is one that the code takes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from spikefront.evaluators.data import load_splits
from spikefront.evaluators.training.job import TrainingJob
from spikefront.spaces import BadInput
from spikefront.svtmodels import build_official

TEXT = (Path(__file__).parents[1] / "docs" / "events.md").read_text()


def test_the_example_lacks_nothing_but_the_recordings() -> None:
    (block,) = re.findall(r"^```yaml\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    config = yaml.safe_load(block)
    job = TrainingJob.from_dict(config)
    assert job.architecture is not None
    sizes = {"img_size_h": 64, "img_size_w": 64, "T": config["data"]["steps"]}
    network = build_official(job.architecture, {**job.arguments, **sizes, "num_classes": 10})
    assert network.input_shape == (10, 2, 64, 64)
    with pytest.raises(BadInput, match="CIFAR10DVS"):
        load_splits(config["data"])

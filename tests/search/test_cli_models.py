"""The verbs that look at models: inspect and networks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from spikefront.search.cli.main import main
from spikefront.svtmodels import build_official, parent_bytes
from spikefront.svtmodels.configurations import CONFIGURATIONS


def test_inspect_tells_what_is_in_the_zoo(capsys: pytest.CaptureFixture[str]):
    assert main(["inspect", "spikformer-digits", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["architecture"] == "spikformer_cifar10"
    assert record["float32_bytes"] == 645_672
    sites = {(site["kind"], site["name"]): site["size"] for site in record["sites"]}
    assert sites["channel", "block.0.mlp.hidden"] == 256
    weights = sum(record["weight_bytes_by_stage"].values())
    assert 0 < weights < record["float32_bytes"]


def test_inspect_asks_for_what_it_cannot_know(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    arguments = {"embed_dims": 32, "num_heads": 2, "depths": 1}
    network = build_official("spikformer_cifar10", arguments)
    path = tmp_path / "official.pth"
    torch.save({"state_dict": network.state_dict()}, path)
    assert main(["inspect", str(path)]) == 2
    assert "num_heads" in capsys.readouterr().err
    assert main(["inspect", str(path), "--known", "{num_heads: 2}"]) == 0
    assert f"{parent_bytes(network):,}" in capsys.readouterr().out


def test_inspect_refuses_what_is_no_model(capsys: pytest.CaptureFixture[str]):
    assert main(["inspect", "nothing"]) == 2
    assert "spikformer-digits" in capsys.readouterr().err


def test_networks_lists_all_published_ones(capsys: pytest.CaptureFixture[str]):
    assert main(["networks", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert [network["name"] for network in record["networks"]] == list(CONFIGURATIONS)
    assert "spikformer-digits" in record["zoo"]


def test_networks_of_one_architecture(capsys: pytest.CaptureFixture[str]):
    assert main(["networks", "--architecture", "spikformer_imagenet"]) == 0
    out = capsys.readouterr().out
    assert "Spikformer-8-768" in out and "Spikformer-4-384" not in out


def test_networks_of_an_unknown_architecture(capsys: pytest.CaptureFixture[str]):
    assert main(["networks", "--architecture", "spikformer_imagenett"]) == 2
    assert "spikformer_imagenet" in capsys.readouterr().err

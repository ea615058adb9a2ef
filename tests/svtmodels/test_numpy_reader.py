"""The example that runs a packed Spikformer without torch gives the same spikes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from lively_networks import network_of
from small_spikformers import ARCHITECTURES, inputs_for, small

from spikefront.spaces import Candidate, SurgeryOptions
from spikefront.svtmodels import Network, compress, save_packed
from spikefront.svtmodels.parts.short_vectors import SHORT_TYPES
from spikefront.svtmodels.surgery.fixed_point import to_fixed_point
from spikefront.svtmodels.surgery.moments import collect_moments
from spikefront.svtmodels.surgery.prepared import PreparedSurgery
from spikefront.svtmodels.surgery.short_vectors import to_short_vectors

READER = Path(__file__).parents[2] / "examples" / "numpy_reader.py"

CHOICES = {
    "bits": {"weight": 3},
    "one bit": {"weight": 1},
    "channels and tokens": {"weight": 4, "channel": 0.5, "token": 0.5},
    "two bits": {"weight": 2},
    "pruned to few of two bits": {"weight": 2, "density": 0.2},
    "pruned to many of one bit": {"weight": 1, "density": 0.9},
    "fewer steps": {"weight": 2, "time": 2},
    "pruned": {"weight": 5, "density": 0.2},
    "membranes": {"weight": 8, "state": 6},
}


def _packed(network: Network, levels: dict[str, float], folder: Path) -> Path:
    sites = [site for site in network.sites if site.kind.value in levels]
    candidate = Candidate.of({site: site.value_at(levels[site.kind.value]) for site in sites})
    images = inputs_for(network)
    moments = collect_moments(network, [images], len(images))
    surgery = PreparedSurgery(network, SurgeryOptions(), moments)
    return save_packed(compress(network, candidate, surgery), folder)


def _read(folder: Path) -> subprocess.CompletedProcess[str]:
    # Importing torch would fail: it is not allowed to be there.
    code = f"""
import runpy, sys
sys.argv = ["numpy_reader.py", {str(folder)!r}]
sys.modules["torch"] = None
runpy.run_path({str(READER)!r}, run_name="__main__")
"""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("choice", CHOICES)
def test_spikes_and_logits_are_those_recorded(
    architecture: str, choice: str, tmp_path: Path
) -> None:
    folder = _packed(small(architecture), CHOICES[choice], tmp_path / "packed")
    done = _read(folder)
    assert done.returncode == 0, done.stderr
    assert " 0 layers differ" in done.stdout
    assert "largest difference of a logit: 0" in done.stdout


@pytest.mark.parametrize("dtype", SHORT_TYPES)
@pytest.mark.parametrize("bits", [1, 8])
def test_short_vectors_are_widened(dtype: str, bits: int, tmp_path: Path) -> None:
    network = small()
    every = dict.fromkeys((s.name for s in network.declaration.synapses), bits)
    short = compress(network, Candidate.from_dict({"weight": every}, network.sites))
    to_short_vectors(short, dtype)
    done = _read(save_packed(short, tmp_path / "packed"))
    assert done.returncode == 0, done.stderr
    assert " 0 layers differ" in done.stdout
    assert "largest difference of a logit: 0" in done.stdout


def test_what_it_cannot_run_is_refused(tmp_path: Path) -> None:
    folder = _packed(small(), {"weight": 3, "token": 0.5}, tmp_path / "packed")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["token_rule"]["criterion"] = "random"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert "token rule" in _read(folder).stderr
    model = folder / "model.safetensors"
    model.write_bytes(model.read_bytes()[:-1])
    manifest["kept_tokens"] = {}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert "truncated or altered" in _read(folder).stderr


def test_another_version_of_the_format_is_refused(tmp_path: Path) -> None:
    folder = _packed(small(), {"weight": 2}, tmp_path / "packed")
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "schema": 3}))
    assert "schema 4 only, not 3" in _read(folder).stderr


def test_fixed_point_is_refused(tmp_path: Path) -> None:
    network = small()
    eight = dict.fromkeys((s.name for s in network.declaration.synapses), 8)
    fixed = compress(network, Candidate.from_dict({"weight": eight}, network.sites))
    to_fixed_point(fixed)
    done = _read(save_packed(fixed, tmp_path / "packed"))
    assert done.returncode == 1
    assert "this reader computes in float32" in done.stderr


def test_another_network_is_refused(tmp_path: Path) -> None:
    network = network_of("qkformer_cifar10")
    done = _read(save_packed(network, tmp_path / "packed"))
    assert done.returncode == 1
    assert "this reader runs" in done.stderr


def test_the_reader_is_short() -> None:
    assert len(READER.read_text().splitlines()) <= 210

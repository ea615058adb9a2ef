"""Building the compiled neuron, and what runs where it cannot be built."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from spikefront.svtmodels.parts import kernels
from spikefront.svtmodels.parts.kernels import DISABLE_VARIABLE
from spikefront.svtmodels.parts.neuron import LIF

build = kernels.lif_kernel.__wrapped__
"""`lif_kernel` as it runs in a fresh process: without its memory."""

needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")

_PROBE = """
import json, logging, sys
logging.basicConfig(stream=sys.stderr)
import torch
from spikefront.svtmodels.parts.kernels import neuron_backend
from spikefront.svtmodels.parts.neuron import LIF

x = (torch.randn(4, 3, 77, generator=torch.Generator().manual_seed(0)) * 2).requires_grad_()
spikes = LIF(1.5, 0.5)(x)
(spikes * torch.arange(77) / 77).sum().backward()
print(json.dumps([neuron_backend(), spikes.flatten().tolist(), x.grad.flatten().tolist()]))
"""


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """An empty cache folder, and the system's compiler."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.delenv(DISABLE_VARIABLE, raising=False)
    return tmp_path / "cache" / "spikefront"


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> Path:
    """A library as it was built."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("good")))
        library = build()
    assert library is not None
    return Path(library._name)


@needs_compiler
def test_a_build_is_kept_in_the_cache(cache, caplog):
    assert build() is not None
    (library,) = cache.iterdir()
    before = library.stat()
    again = build()
    assert again is not None
    assert again._name == str(library)
    assert list(cache.iterdir()) == [library]
    assert library.stat().st_ino == before.st_ino
    assert caplog.text == ""


@needs_compiler
@pytest.mark.parametrize("damage", ["truncated", "empty", "altered", "stranger"])
def test_a_damaged_library_is_built_anew(cache, good, damage, caplog):
    content = good.read_bytes()
    damaged = {
        "truncated": content[: len(content) // 2],
        "empty": b"",
        "altered": content[:-1] + bytes([content[-1] ^ 1]),
        "stranger": b"no library at all",
    }[damage]
    cache.mkdir(parents=True)
    (cache / good.name).write_bytes(damaged)
    assert build() is not None
    (library,) = cache.iterdir()
    assert library.read_bytes() != damaged
    assert caplog.text == ""


@needs_compiler
def test_an_older_library_is_left_alone(cache, good):
    cache.mkdir(parents=True)
    other = cache / "neuron-0123456789abcdef-0123456789abcdef.so"
    other.write_bytes(b"of another machine")
    shutil.copy(good, cache)
    assert build() is not None
    assert other.exists()


@pytest.mark.parametrize(
    ("compiler", "message"),
    [
        ("/nonexistent", "no C compiler found"),
        ("false", "compiled neuron not available"),
        ("true", "compiled neuron not available"),
    ],
)
def test_without_a_working_compiler_it_warns(cache, monkeypatch, caplog, compiler, message):
    monkeypatch.setenv("CC", compiler)
    assert build() is None
    assert message in caplog.text
    assert {record.levelname for record in caplog.records} == {"WARNING"}


def test_switched_off_nothing_is_built_and_nothing_said(cache, monkeypatch, caplog):
    monkeypatch.setenv(DISABLE_VARIABLE, "1")
    assert build() is None
    assert caplog.text == ""
    assert not cache.exists()


@needs_compiler
def test_a_cache_that_cannot_be_written_is_no_obstacle(tmp_path, monkeypatch, caplog):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    assert build() is not None
    assert caplog.text == ""


@pytest.mark.parametrize("reason", ["switched off", "no compiler"])
def test_plain_torch_computes_the_same(tmp_path, reason):
    settings = {DISABLE_VARIABLE: "1"} if reason == "switched off" else {"CC": "/nonexistent"}
    backend, spikes, gradient, log = _fresh_process(tmp_path, settings)
    x = torch.randn(4, 3, 77, generator=torch.Generator().manual_seed(0)) * 2
    x.requires_grad_()
    here = LIF(1.5, 0.5)(x)
    (here * torch.arange(77) / 77).sum().backward()
    assert x.grad is not None
    assert backend == "torch"
    assert spikes == here.flatten().tolist()
    assert gradient == pytest.approx(x.grad.flatten().tolist(), abs=1e-6)
    assert ("no C compiler found" in log) == (reason == "no compiler")


def _fresh_process(
    cache: Path, settings: dict[str, str]
) -> tuple[str, list[float], list[float], str]:
    inherited = {k: v for k, v in os.environ.items() if k not in (DISABLE_VARIABLE, "CC")}
    done = subprocess.run(
        [sys.executable, "-c", _PROBE],
        env=inherited | {"XDG_CACHE_HOME": str(cache)} | settings,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return *json.loads(done.stdout), done.stderr

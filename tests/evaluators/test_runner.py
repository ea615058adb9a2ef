"""What runs a network, and what happens where the compiled engine is missing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from evaluated_models import lively, parquet_model, tiny_network

from spikefront.evaluators import runner as runners
from spikefront.evaluators.engines import COMPILED, ENGINES, PLAIN
from spikefront.evaluators.evaluation import Request, State
from spikefront.evaluators.evaluator import EvaluationSettings
from spikefront.evaluators.preparation import TrainedModel, prepare
from spikefront.evaluators.runner import Runner, available_engine, plain_note
from spikefront.spaces import Candidate, RunFailed
from spikefront.svtmodels import Network, compress
from spikefront.svtmodels.engine import program as programs
from spikefront.svtmodels.parts.compiled import compiler

needs_compiler = pytest.mark.skipif(compiler() is None, reason="no C compiler")


@pytest.fixture
def no_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runners, "engine_backend", lambda: PLAIN)
    monkeypatch.setattr(programs, "kernels", lambda: None)


def quantised() -> Network:
    network = lively(tiny_network())
    chosen = {site: 4 for site in network.sites if site.kind.value == "weight"}
    return compress(network, Candidate.of(chosen))


@needs_compiler
def test_both_engines_give_the_same_logits_of_a_quantised_network() -> None:
    network = quantised()
    images = torch.randn(5, *network.input_shape, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = network(images)
    found = {engine: Runner(network, engine) for engine in ENGINES}
    assert found[COMPILED].program is not None
    assert found[PLAIN].program is None
    for run in found.values():
        assert torch.equal(run(images), expected)


@needs_compiler
def test_a_network_without_a_program_runs_plainly() -> None:
    network = quantised().train()
    run = Runner(network)
    assert run.program is None
    assert plain_note(network, COMPILED) == (
        "evaluations run in plain torch: the network is in training mode."
    )
    assert plain_note(network, PLAIN) is None
    assert plain_note(network.eval(), COMPILED) is None


@needs_compiler
def test_what_is_available_is_what_was_asked_for() -> None:
    for engine in ENGINES:
        assert available_engine(engine) == (engine, None)


@pytest.mark.usefixtures("no_kernels")
def test_without_kernels_torch_runs_and_a_note_says_so() -> None:
    engine, note = available_engine(COMPILED)
    assert engine == PLAIN
    assert note is not None and "no C compiler" in note
    assert available_engine(PLAIN) == (PLAIN, None)
    with pytest.raises(RunFailed, match=r"evaluation\.engine: torch"):
        Runner(quantised(), COMPILED)
    assert Runner(quantised(), PLAIN).program is None


@pytest.mark.usefixtures("no_kernels")
def test_a_search_without_kernels_says_it_and_evaluates(tmp_path: Path) -> None:
    path, data = parquet_model(tmp_path)
    model = TrainedModel.load(str(path), None, {})
    settings = EvaluationSettings(batch_size=10, gate_images=8)
    blueprint, notes = prepare(model, data, settings, seed=0)
    assert [note for note in notes if "torch runs" in note] == [available_engine(COMPILED)[1]]
    assert blueprint.settings.engine == PLAIN
    assert blueprint.build()(Request(Candidate())).state is State.COMPLETE


_SCRIPT = """
from spikefront.evaluators.runner import Runner, available_engine
from spikefront.svtmodels.engine.library import engine_backend
from spikefront.svtmodels import build_official
assert engine_backend() == "torch", engine_backend()
engine, note = available_engine("compiled")
assert engine == "torch" and "no C compiler" in note, (engine, note)
from spikefront.spaces import RunFailed
network = build_official("spikformer_cifar10", {"embed_dims": 16, "num_heads": 2, "depths": 1})
try:
    Runner(network.eval())
except RunFailed:
    print("refused")
"""


@pytest.mark.parametrize(
    "variables",
    [{"CC": "/nonexistent"}, {"CC": "/bin/false"}, {"SPIKEFRONT_PLAIN_ENGINE": "1"}],
    ids=["no compiler", "a compiler that fails", "switched off"],
)
def test_a_process_without_a_compiler(variables: dict[str, str], tmp_path: Path) -> None:
    """With an empty cache: nothing that another compiler built is found."""
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path), **variables}
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout == "refused\n", done.stderr

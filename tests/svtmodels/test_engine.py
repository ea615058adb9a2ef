"""Programs of all published networks under every kind of surgery, against the networks.

A representative of each family always, the others with `make test-all`.
"""

from __future__ import annotations

import copy
from contextlib import ExitStack
from functools import cache

import pytest
import torch
from engine_builds import BUILDS, kernels_of
from engine_programs import check_cuts, check_exact, counted, quantised
from golden_rule import FIXTURES
from hypothesis import given, settings
from hypothesis import strategies as st
from lively_networks import FAMILIES, chosen, images_for, network_of
from small_spikformers import CIFAR, any_candidates, choose, inputs_for, small, watched
from small_token_networks import FEWER, NETWORKS, prepared_with, token_network
from torch import Tensor

from spikefront.evaluators.drift import Traces, collect_traces
from spikefront.evaluators.intervals import wilson_interval
from spikefront.spaces import BadInput, Candidate
from spikefront.svtmodels import Network, compress
from spikefront.svtmodels.engine import program as programs
from spikefront.svtmodels.engine.program import Program, unsupported
from spikefront.svtmodels.surgery.fixed_point import to_fixed_point

ALL = sorted(folder.name for folder in FIXTURES.iterdir())
each_network = pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=() if n in FAMILIES else pytest.mark.slow) for n in ALL],
)
KINDS: dict[str, dict[str, float]] = {
    "channel": {"channel": 0.5},
    "residual": {"residual": 0.5},
    "token": {"token": 0.5},
    "density": {"density": 0.2},
    "time": {"time": 1},
    "state": {"state": 6},
    **{f"{bits} bits": {"weight": bits} for bits in range(1, 9)},
}
TOGETHER: dict[str, dict[str, float]] = {
    "widths": {"channel": 0.5, "residual": 0.75, "state": 6, "weight": 3},
    "work": {"token": 0.5, "density": 0.2, "time": 1, "weight": 4},
}
QUICK = ("spikformer_cifar10", "sdt_v3_large")
each_quick = pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in ALL]
)
IMAGES = 3


@cache
def traces_of(name: str) -> Traces:
    network = network_of(name)
    return collect_traces(network, images_for(network, IMAGES), 2, samples=256)


def check_levels(name: str, levels: dict[str, float]) -> None:
    network = network_of(name)
    candidate = quantised(network, chosen(network, **levels))
    check_exact(compress(network, candidate), images_for(network, IMAGES), traces_of(name))


@each_network
@pytest.mark.parametrize("levels", TOGETHER.values(), ids=TOGETHER)
def test_several_kinds_of_surgery(name: str, levels: dict[str, float]) -> None:
    check_levels(name, levels)


@each_quick
@pytest.mark.parametrize("kind", KINDS)
def test_one_kind_of_surgery(name: str, kind: str) -> None:
    check_levels(name, KINDS[kind])


@each_quick
@settings(deadline=None, max_examples=2)
@given(data=st.data())
def test_any_candidate(name: str, data: st.DataObject) -> None:
    network = network_of(name)
    candidate = quantised(network, data.draw(any_candidates(network)))
    check_exact(compress(network, candidate), images_for(network, IMAGES))


_RULES = [
    (name, masks, mode, "energy")
    for name in NETWORKS
    for masks in ("image", "step")
    for mode in ("revisit", "stop")
] + [
    (name, "image", "stop", tokens)
    for name, tokens in zip(
        NETWORKS, ("random", "spikes", "official", "information", "random", "spikes"), strict=True
    )
]


@pytest.mark.parametrize(("name", "masks", "mode", "tokens"), _RULES)
def test_any_rule_of_tokens(name: str, masks: str, mode: str, tokens: str) -> None:
    network = token_network(name)
    surgery = prepared_with(network, tokens=tokens, token_masks=masks, token_mode=mode)
    candidate = quantised(network, choose(network, token=dict(FEWER[name])))
    images = inputs_for(network, batch=IMAGES)
    traces = collect_traces(network, images, 2, samples=256)
    program = check_exact(compress(network, candidate, surgery), images, traces)
    assert any("by step" in why for why in program.plain_parts.values()) == (masks == "step")


@pytest.mark.parametrize("steps", [1, 2, 3, 5])
@pytest.mark.parametrize("heads", [1, 4])
def test_any_number_of_steps_and_heads_that_begin_anywhere(steps: int, heads: int) -> None:
    network = small(CIFAR, T=steps, num_heads=heads, embed_dims=40)
    groups = {site.name: site.unit for site in network.sites if site.kind.value == "channel"}
    for units in (1, 3):
        chosen = {name: unit * units for name, unit in groups.items()}
        candidate = quantised(network, choose(network, channel=chosen), bits=5)
        check_exact(compress(network, candidate), inputs_for(network, batch=IMAGES))


@each_network
def test_networks_in_float32_stay_with_the_plain_ones_but_for_flips(name: str) -> None:
    """Images in which no spike differs have close logits and equal SynOps; all are counted."""
    network, images = network_of(name), images_for(network_of(name), IMAGES)
    program = Program(network)
    check_cuts(program, images)
    with torch.inference_mode():
        logits, plain = program(images), network(images)
    ours, theirs = spikes_of(network, images, program), spikes_of(network, images)
    same = ~differing(ours, theirs).bool()
    assert torch.allclose(logits[same], plain[same], atol=1e-5, rtol=1e-4)
    for index in same.nonzero().flatten().tolist():
        image = images[index : index + 1]
        assert counted(network, image, program)[1] == counted(network, image)[1]


def test_spikes_flip_as_often_as_those_of_plain_float32() -> None:
    """Beside float64. A flip brings forth others, so images count, not spikes: those with any."""
    flipped, count = {"engine": 0, "plain": 0}, 0
    for name in FAMILIES:
        network, images = network_of(name), images_for(network_of(name), 5)
        exact = spikes_of(copy.deepcopy(network).double(), images.double())
        for side, program in (("engine", Program(network)), ("plain", None)):
            found = spikes_of(network, images, program)
            flipped[side] += int((differing(found, exact) > 0).sum())
        count += len(images)
    engine, plain = (wilson_interval(flips, count) for flips in flipped.values())
    assert max(engine[0], plain[0]) <= min(engine[1], plain[1])
    # Rounding errors are rare: one in some hundred images of these sizes.
    assert flipped["engine"] < count / 4


def differing(first: dict[str, Tensor], second: dict[str, Tensor]) -> Tensor:
    """How many spikes [B] differ, over all layers."""
    assert first.keys() == second.keys()
    return torch.stack(
        [(first[n].double() != spikes.double()).sum((0, 2, 3)) for n, spikes in second.items()]
    ).sum(0)


@torch.inference_mode()
def spikes_of(
    network: Network, images: Tensor, program: Program | None = None
) -> dict[str, Tensor]:
    """Spikes [T, B, P, C] of every neuron layer."""
    found: dict[str, Tensor] = {}

    def see(path: str, currents: Tensor) -> None:
        steps, images, *_, channels = currents.shape
        flat = currents.reshape(steps, images, -1, channels).contiguous()
        found[path] = network.get_submodule(path).forward(flat)

    paths = [layer.name for layer in network.declaration.neurons]
    with ExitStack() as watching:
        if program is not None:
            watching.enter_context(program.watched(see))
        # What a program runs plainly are modules.
        passed = watching.enter_context(watched(network, paths))
        (network if program is None else program)(images)
    for path, (currents, _) in passed.items():
        see(path, currents)
    return found


def test_buffers_carry_nothing_from_call_to_call() -> None:
    """Large and small batches of several programs in turn, quantised or not."""
    sides: list[tuple[Program, Tensor, Tensor]] = []
    for name in (*QUICK, "sdt_v1_cifar"):
        network = network_of(name)
        for weights in (8, 32):
            program = Program(compress(network, chosen(network, weight=weights)))
            images = images_for(network, 4)
            sides.append((program, images, program(images)))
    for count in (1, 4, 2, 3, 4):
        for program, images, logits in sides:
            got = program(images[:count])
            assert torch.allclose(got, logits[:count], atol=1e-6, rtol=1e-5)
            if count == 4:
                assert torch.equal(got, logits)


def test_returned_logits_are_not_in_memory_that_is_used_again() -> None:
    network = network_of("sdt_v3_large")
    program, images = Program(network), images_for(network, 2)
    first = program(images)
    kept = first.clone()
    program(-images)
    assert torch.equal(first, kept)


@pytest.mark.parametrize("build", BUILDS)
def test_quantised_programs_are_exact_in_any_build(
    build: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "kernels", lambda: kernels_of(build))
    for name in QUICK:
        network = network_of(name)
        candidate = quantised(network, chosen(network, channel=0.6, state=6), bits=4)
        check_exact(compress(network, candidate), images_for(network, IMAGES))


def test_what_has_no_program(monkeypatch: pytest.MonkeyPatch) -> None:
    network = small()
    assert unsupported(network) is None
    assert "training" in (unsupported(copy.deepcopy(network).train()) or "")
    assert "float32" in (unsupported(copy.deepcopy(network).double()) or "")
    assert "lies on meta" in (unsupported(copy.deepcopy(network).to("meta")) or "")
    fixed = compress(network, quantised(network, Candidate()))
    to_fixed_point(fixed)
    assert "fixed-point" in (unsupported(fixed) or "")
    long = small(T=33)
    assert "time steps" in (unsupported(long) or "")
    monkeypatch.setattr(programs, "kernels", lambda: None)
    assert "compiler" in (unsupported(network) or "")


def test_parts_that_run_plainly_are_named() -> None:
    network = token_network("spikformer")
    surgery = prepared_with(network, token_masks="step")
    candidate = choose(network, token=dict(FEWER["spikformer"]))
    program = Program(compress(network, candidate, surgery))
    assert program.plain_parts == dict.fromkeys(("block.0", "block.2"), "token masks by step")
    assert Program(network).plain_parts == {}


def test_wrong_inputs_are_refused_as_the_network_refuses_them() -> None:
    network = small()
    for run in (network, Program(network)):
        with pytest.raises(BadInput, match="input of shape"):
            run(torch.zeros(1, 3, 5, 5))

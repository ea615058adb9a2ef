"""Single synapses of the engine, in every build, against convolutions in float64.

Weights are integers or whole 64ths, so every sum is exact and every result must have the same
bits, whichever way it was summed.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from engine_builds import HERE, each_build, kernels_of
from engine_checks import (
    NAME,
    NEURONS,
    Bench,
    affine_of,
    currents_of,
    fired,
    fires,
    float_synapse,
    neuron_of,
    normed,
    numbers,
    operations_of,
    quantised_synapse,
    rows_of,
    values_of,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from spikefront.svtmodels.engine.depthwise_synapse import DepthwiseSynapse
from spikefront.svtmodels.engine.image_synapse import ImageSynapse
from spikefront.svtmodels.engine.packing import MOST_STEPS, weights_of
from spikefront.svtmodels.engine.plain_synapse import PlainSynapse
from spikefront.svtmodels.engine.rows import Form, Rows
from spikefront.svtmodels.engine.spiking_synapse import SpikingSynapse
from spikefront.svtmodels.engine.synapses import synapse_run

CHANNELS = (1, 5, 13, 16, 17, 63, 64, 65, 129)
RATES = (0.0, 0.02, 0.3, 1.0)


@dataclass(frozen=True)
class Case:
    """One synapse and what enters it.

    Attributes:
        largest: spike; beyond 1 they are stored as counts.
        unit: of a count.
        bits: of the weights; 32: they are not quantised.
        base: whether a stream is added to the currents.
    """

    inputs: int = 17
    outputs: int = 33
    kernel: int = 1
    stride: int = 1
    steps: int = 2
    grid: tuple[int, int] = (4, 4)
    rate: float = 0.3
    largest: int = 1
    unit: float = 1.0
    bits: int = 8
    neuron: str = "lif"
    base: bool = False
    pruned: bool = False
    watched: bool = False
    seed: int = 0

    @property
    def form(self) -> Form:
        return Form.BITS if self.largest == 1 else Form.COUNTS


def any_case(largest: tuple[int, ...] = (1, 4, 255)) -> st.SearchStrategy[Case]:
    return st.builds(
        Case,
        inputs=st.sampled_from(CHANNELS),
        outputs=st.sampled_from(CHANNELS),
        kernel=st.sampled_from((1, 3, 7)),
        stride=st.sampled_from((1, 2, 3)),
        steps=st.integers(1, 5),
        grid=st.tuples(st.integers(1, 6), st.integers(1, 7)),
        rate=st.sampled_from(RATES),
        largest=st.sampled_from(largest),
        unit=st.sampled_from((1.0, 0.25)),
        bits=st.sampled_from((1, 2, 3, 4, 5, 6, 7, 8, 32)),
        neuron=st.sampled_from(NEURONS),
        base=st.booleans(),
        pruned=st.booleans(),
        watched=st.booleans(),
        seed=st.integers(0, 9),
    )


def check_synapse(build: str, case: Case, images: int = 2) -> Bench:
    """It gives what torch gives, bit for bit; returns the bench on which it ran."""
    quantised, unit = case.bits < 32, case.unit if case.largest > 1 else 1.0
    shape = (case.outputs, case.inputs, case.kernel, case.stride, case.seed)
    if quantised:
        grid = round(1 / unit)
        synapse = quantised_synapse(*shape, bits=case.bits, largest=case.largest, grid=grid)
    else:
        synapse = float_synapse(*shape)
    if case.pruned:
        out = torch.rand(synapse.weight.shape, generator=numbers(1)) < 0.5
        synapse.weight.data[out] = 0
    norm = None if quantised else normed(case.outputs, case.seed)
    neuron = neuron_of(case.neuron)
    bench = Bench(kernels_of(build), case.pruned, synapse=synapse, neuron=neuron)
    run = SpikingSynapse(bench, NAME, weights_of(synapse, norm), neuron)
    if case.watched:
        bench.look()
    for turn in (1, 0):  # Buffers hold what the first one left.
        spikes = fires(
            (case.steps, images + turn, *case.grid, case.inputs), case.rate, case.largest, turn
        )
        entering = spikes if quantised else spikes * unit
        expected = currents_of(synapse, norm, entering)
        base = None
        if case.base:
            stream = torch.randn(expected.shape, generator=numbers(2))
            base, expected = rows_of(stream, Form.CURRENTS), stream + expected
        bench.counted = {}
        got = run(rows_of(spikes, case.form, unit), base)
        assert got.grid == expected.shape[2:4]
        expected = expected.flatten(2, 3)
        if neuron is not None and case.watched:
            assert torch.equal(bench.seen["neuron"], expected)
        if neuron is not None:
            expected = fired(neuron, expected)
        assert torch.equal(values_of(got), expected)
        assert torch.equal(bench.counted[NAME], operations_of(synapse, spikes, case.pruned))
    return bench


@each_build
@settings(deadline=None, max_examples=20)
@given(case=any_case())
def test_any_quantised_synapse(build: str, case: Case) -> None:
    check_synapse(build, case if case.bits < 32 else Case(bits=8))


@each_build
@settings(deadline=None, max_examples=20)
@given(case=any_case(largest=(1, 4)))
def test_any_synapse_that_is_not_quantised(build: str, case: Case) -> None:
    check_synapse(build, Case(**{**vars(case), "bits": 32}))


@each_build
@pytest.mark.parametrize("largest", [1, 2, 4, 127, 128, 255])
@pytest.mark.parametrize("sign", [-1, 1])
def test_sums_beyond_16_bits(build: str, largest: int, sign: int) -> None:
    """All inputs fire as much as they can, all codes are as large as they can be."""
    room = (2**15 - 1) // (127 * largest)
    for inputs in sorted({1, room, room + 1, 2 * room, 2 * room + 1, 600}):
        synapse = quantised_synapse(19, inputs, 1, 1, 0, largest=largest)
        synapse.codes.fill_(127 * sign)
        synapse.weight.fill_(127 * sign)
        spikes = torch.full((2, 1, 1, 3, inputs), largest)
        expected = currents_of(synapse, None, spikes).flatten(2, 3)
        form = Form.BITS if largest == 1 else Form.COUNTS
        for pruned in (False, True):  # A pruned one never runs densely.
            bench = Bench(kernels_of(build), pruned, synapse=synapse)
            got = SpikingSynapse(bench, NAME, weights_of(synapse, None), None)(
                rows_of(spikes, form)
            )
            assert torch.equal(values_of(got), expected)
            assert not pruned or bench.ran == ["run_synapse"]


@each_build
@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("largest", [1, 4])
def test_few_spikes_and_many_take_the_two_ways(build: str, kernel: int, largest: int) -> None:
    few = check_synapse(build, Case(64, 64, kernel, rate=0.01, largest=largest))
    many = check_synapse(build, Case(64, 64, kernel, rate=1.0, largest=largest))
    assert "run_synapse" in few.ran and "run_integers" not in few.ran
    if kernels_of(build).has_byte_products():
        assert "run_integers" in many.ran and "run_synapse" not in many.ran


@each_build
@pytest.mark.parametrize("bits", [4, 32])
@pytest.mark.parametrize("rate", [0.05, 0.9])
def test_extreme_shapes(build: str, bits: int, rate: float) -> None:
    # Lines of more than 2^16 entries; the most steps; one pixel under a large kernel; a wide map.
    check_synapse(build, Case(1100, 5, 3, grid=(2, 64), rate=rate, bits=bits), images=1)
    check_synapse(build, Case(33, 40, steps=MOST_STEPS, rate=rate, bits=bits))
    check_synapse(build, Case(33, 40, 3, steps=MOST_STEPS, rate=rate, bits=bits))
    check_synapse(build, Case(65, 20, 7, 2, grid=(1, 1), rate=rate, bits=bits))
    check_synapse(build, Case(1, 1, 3, 2, grid=(1, 50), rate=rate, bits=bits))
    # More groups than one block holds.
    check_synapse(build, Case(20, 530, 3, rate=rate, bits=bits))
    check_synapse(build, Case(270, 270, rate=rate, bits=bits))


def test_real_weights_add_up_to_the_same_but_for_rounding() -> None:
    for inputs, kernel in ((129, 1), (65, 3)):
        synapse, norm = float_synapse(70, inputs, kernel, 1, 0), normed(70, 0)
        synapse.weight.data.normal_(generator=numbers(3))
        spikes = fires((3, 2, 5, 5, inputs), 0.4, 1, 0)
        bench = Bench(kernels_of(HERE), synapse=synapse)
        run = SpikingSynapse(bench, NAME, weights_of(synapse, norm), None)
        got = values_of(run(rows_of(spikes, Form.BITS)))
        plain = norm(synapse(spikes.float())).flatten(2, 3)
        assert torch.allclose(got, plain, atol=1e-4, rtol=1e-5)


@each_build
@settings(deadline=None, max_examples=20)
@given(case=any_case())
def test_any_depthwise_synapse(build: str, case: Case) -> None:
    quantised, unit = case.bits < 32, case.unit if case.largest > 1 else 1.0
    channels, kernel = case.inputs, 3 if case.kernel == 1 else case.kernel
    shape = (channels, channels, kernel, 1, case.seed)
    if quantised:
        synapse = quantised_synapse(
            *shape, bits=case.bits, largest=case.largest, grid=round(1 / unit), groups=channels
        )
    else:
        synapse = float_synapse(*shape, groups=channels)
    norm = None if quantised else normed(channels, case.seed)
    neuron = neuron_of(case.neuron)
    bench = Bench(kernels_of(build), synapse=synapse, neuron=neuron)
    run = DepthwiseSynapse(bench, weights_of(synapse, norm), neuron)
    if case.watched:
        bench.look()
    for turn in (1, 0):
        spikes = fires((case.steps, 2 + turn, *case.grid, channels), case.rate, case.largest, turn)
        expected = currents_of(synapse, norm, spikes if quantised else spikes * unit).flatten(2, 3)
        bench.counted = {}
        got = run(rows_of(spikes, case.form, unit))
        if neuron is not None and case.watched:
            assert torch.equal(bench.seen["neuron"], expected)
        if neuron is not None:
            expected = fired(neuron, expected)
        assert torch.equal(values_of(got), expected)
        assert torch.equal(bench.counted[NAME], operations_of(synapse, spikes, pruned=False))


@each_build
@settings(deadline=None, max_examples=20)
@given(
    inputs=st.integers(1, 4),
    outputs=st.sampled_from(CHANNELS),
    window=st.sampled_from(((1, 1), (3, 1), (3, 2), (7, 2), (7, 1))),
    grid=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    bits=st.sampled_from((1, 4, 8, 32)),
    steps=st.sampled_from((16, 127, 4096)),
    seed=st.integers(0, 9),
)
def test_any_synapse_of_an_image(
    build: str,
    inputs: int,
    outputs: int,
    window: tuple[int, int],
    grid: tuple[int, int],
    bits: int,
    steps: int,
    seed: int,
) -> None:
    """Quantised: the bits of sums in float64, also where float32 would round them."""
    kernel, stride = window
    images = torch.randn(3, inputs, *grid, generator=numbers(seed))
    quantised = bits < 32
    if quantised:
        largest = 4 * steps  # A pixel may lie beyond it.
        synapse = quantised_synapse(
            outputs, inputs, kernel, stride, seed, bits=bits, largest=largest, grid=steps
        )
        entering = (images * steps).round().clamp(-largest, largest)
    else:
        synapse, entering = float_synapse(outputs, inputs, kernel, stride, seed), images
    norm = None if quantised else normed(outputs, seed)
    run = ImageSynapse(
        Bench(kernels_of(build), synapse=synapse), synapse, norm or torch.nn.Identity()
    )
    run(torch.randn(5, inputs, *grid))
    got = run(images)
    expected = currents_of(synapse, norm, entering.permute(0, 2, 3, 1)[None])
    assert got.grid == expected.shape[2:4]
    if quantised:
        assert torch.equal(values_of(got), expected.flatten(2, 3))
    else:
        assert torch.allclose(values_of(got), expected.flatten(2, 3), atol=1e-5, rtol=1e-5)


def test_a_synapse_that_sees_real_values_runs_as_its_modules() -> None:
    synapse, norm, neuron = float_synapse(13, 5, 3, 2, 0), normed(13, 0), neuron_of("lif")
    stream = torch.randn(2, 3, 5, 4, 5, generator=numbers(0))
    run = PlainSynapse(Bench(kernels_of(HERE), neuron=neuron), synapse, norm, neuron)
    got = run(rows_of(stream, Form.CURRENTS))
    plain = norm(synapse(stream))
    assert neuron is not None and got.grid == plain.shape[2:4]
    assert torch.equal(values_of(got), fired(neuron, plain.detach()).flatten(2, 3))


def test_more_weight_rows_than_16_bits_number_run_plainly() -> None:
    synapse = float_synapse(3, 7282, 3, 1, 0)  # 9 * 7282 = 65,538 rows.
    bench = Bench(kernels_of(HERE), synapse=synapse)
    spikes = fires((1, 1, 2, 2, 7282), 0.05, 1, 0)
    run = synapse_run(bench, synapse, None)
    assert list(bench.plain) == [NAME]
    expected = synapse(spikes.float()).flatten(2, 3)
    assert torch.allclose(values_of(run(rows_of(spikes, Form.BITS))), expected, atol=1e-4)


def test_a_grid_that_is_not_that_of_the_spikes_is_refused() -> None:
    synapse = quantised_synapse(5, 5, 1, 1, 0, largest=4, grid=4)
    bench = Bench(kernels_of(HERE), synapse=synapse)
    run = SpikingSynapse(bench, NAME, weights_of(synapse, None), None)
    with pytest.raises(NotImplementedError, match="grid"):
        run(rows_of(torch.ones(1, 1, 1, 1, 5), Form.COUNTS))


def test_scales_are_padded_to_whole_groups() -> None:
    synapse = quantised_synapse(17, 3, 3, 1, 0)
    weights = weights_of(synapse, None)
    assert weights.rows.shape == (27, 32)
    scale, bias = affine_of(synapse, None)
    assert torch.equal(weights.affine.scale[:17], scale) and not weights.affine.scale[17:].any()
    assert torch.equal(weights.affine.bias[:17], bias) and not weights.rows[:, 17:].any()


@pytest.mark.parametrize("form", [Form.BITS, Form.COUNTS, Form.CURRENTS])
def test_rows_and_plain_activations_are_the_same(form: Form) -> None:
    unit = 0.25 if form is Form.COUNTS else 1.0
    values = fires((3, 2, 4, 5, 70), 0.4, 1 if form is Form.BITS else 4, 0).float()
    rows, flat = rows_of(values, form, unit), values.flatten(2, 3)
    assert torch.equal(rows.plain(), flat * unit)
    assert torch.equal(rows.like(flat * unit).data, rows.data)
    assert torch.equal(values_of(rows.strided(2)), values[:, :, ::2, ::2].flatten(2, 3))
    kept = torch.tensor([[0, 3, 7], [2, 3, 19]])
    taken = rows.take(kept)
    assert torch.equal(values_of(taken), flat[:, torch.arange(2)[:, None], kept])
    changed = rows.with_rows(kept, Rows(form, taken.data * 0, 70, (3, 1), unit))
    expected = flat.clone()
    expected[:, torch.arange(2)[:, None], kept] = 0
    assert torch.equal(values_of(changed), expected)
    assert torch.equal(values_of(rows), flat)

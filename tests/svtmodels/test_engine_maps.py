"""What the engine computes between synapses, in every build, against straightforward torch."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from engine_builds import HERE, each_build, kernels_of
from engine_checks import NEURONS, Bench, fired, fires, neuron_of, numbers, rows_of, values_of
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from spikefront.svtmodels.engine.attention import (
    HadamardAttention,
    MatrixAttention,
    TokenMaskAttention,
)
from spikefront.svtmodels.engine.maps import PoolRun, SumRun
from spikefront.svtmodels.engine.neurons import NeuronRun
from spikefront.svtmodels.engine.rows import Form, Rows
from spikefront.svtmodels.parts.fixed_neuron import FixedLIF
from spikefront.svtmodels.parts.integer_neuron import IntegerNeuron
from spikefront.svtmodels.parts.neuron import LIF

CHANNELS = (1, 5, 13, 16, 17, 63, 64, 65, 129)
PRODUCT = "attention"
few = settings(deadline=None, max_examples=30)
seeds = st.integers(0, 9)
rates = st.sampled_from((0.0, 0.1, 0.5, 1.0))
steps_of = st.integers(1, 5)


def rows(values: Tensor, form: Form, unit: float = 1.0) -> Rows:
    """Rows of whole numbers [T, B, N, C]."""
    return rows_of(values[:, :, :, None], form, unit)


@each_build
@few
@given(
    heads=st.integers(1, 9),
    widths=st.tuples(
        st.sampled_from((1, 3, 8, 13, 16, 40, 64)), st.sampled_from((1, 5, 8, 17, 64))
    ),
    tokens=st.integers(1, 9),
    steps=steps_of,
    rate=rates,
    largest=st.sampled_from((1, 4)),
    rounded=st.booleans(),
    seed=seeds,
)
def test_products_of_matrices(
    build: str,
    heads: int,
    widths: tuple[int, int],
    tokens: int,
    steps: int,
    rate: float,
    largest: int,
    rounded: bool,
    seed: int,
) -> None:
    """Heads of any width, which begin anywhere in a word; spikes and integer spikes."""
    counts = largest > 1
    neuron = IntegerNeuron(4, 4) if counts else neuron_of("rounded" if rounded else "lif")
    assert neuron is not None
    form, unit = (Form.COUNTS, 0.25) if counts else (Form.BITS, 1.0)
    bench = Bench(kernels_of(build), neuron=neuron)
    run = MatrixAttention(bench, PRODUCT, neuron, heads, scale=0.125)
    for turn in (1, 0):
        q, k, v = (
            fires((steps, 2 + turn, tokens, heads * width), rate, largest, seed + part)
            for part, width in enumerate((widths[0], widths[0], widths[1]))
        )
        parts = [x.double().unflatten(-1, (heads, -1)) for x in (q, k, v)]
        exact = torch.einsum("tbnhi,tbmhi,tbmhj->tbnhj", *parts).flatten(-2)
        expected = exact.float() * unit**3 * 0.125
        for watched in (False, True):
            bench.counted, bench.watcher = {}, None
            if watched:
                bench.look()
            got = run(*(rows(x, form, unit) for x in (q, k, v)))
            assert torch.equal(values_of(got), fired(neuron, expected))
        assert torch.equal(bench.seen["neuron"], expected)
        coincidences = torch.einsum("tbmhi,tbmhj->b", *parts[1:])
        added = q.sum((0, 2, 3)) * widths[1]
        assert torch.equal(bench.counted[PRODUCT], (coincidences + added).long())


@each_build
@few
@given(
    channels=st.sampled_from(CHANNELS),
    tokens=st.integers(1, 9),
    steps=steps_of,
    rate=rates,
    seed=seeds,
)
def test_masks_of_channels(
    build: str, channels: int, tokens: int, steps: int, rate: float, seed: int
) -> None:
    neuron = LIF(v_threshold=0.5)
    bench = Bench(kernels_of(build), neuron=neuron)
    run = HadamardAttention(bench, PRODUCT, neuron, 1)
    for turn in (1, 0):
        q, k, v = (
            fires((steps, 2 + turn, tokens, channels), rate, 1, seed + part) for part in range(3)
        )
        sums = (k * v).sum(2, keepdim=True).float()
        for watched in (False, True):
            bench.counted, bench.watcher = {}, None
            if watched:
                bench.look()
            got = run(*(rows(x, Form.BITS) for x in (q, k, v)))
            assert torch.equal(values_of(got), q * fired(neuron, sums))
        assert torch.equal(bench.seen["neuron"], sums)
        assert torch.equal(bench.counted[PRODUCT], (k * v).sum((0, 2, 3)))


@each_build
@few
@given(
    heads=st.sampled_from((1, 2, 3, 8, 17)),
    widths=st.tuples(st.sampled_from((1, 3, 8, 13, 40)), st.sampled_from((1, 5, 8, 17))),
    tokens=st.integers(1, 9),
    steps=steps_of,
    rate=rates,
    seed=seeds,
)
def test_masks_of_tokens(
    build: str, heads: int, widths: tuple[int, int], tokens: int, steps: int, rate: float, seed: int
) -> None:
    neuron = LIF(v_threshold=0.5)
    bench = Bench(kernels_of(build), neuron=neuron)
    run = TokenMaskAttention(bench, PRODUCT, neuron, heads)
    for turn in (1, 0):
        q, k = (
            fires((steps, 2 + turn, tokens, heads * width), rate, 1, seed + part)
            for part, width in enumerate(widths)
        )
        sums = q.unflatten(-1, (heads, -1)).sum(-1).float()
        mask = fired(neuron, sums).repeat_interleave(widths[1], -1)
        for watched in (False, True):
            bench.counted, bench.watcher = {}, None
            if watched:
                bench.look()
            got = run(rows(q, Form.BITS), rows(k, Form.BITS))
            assert torch.equal(values_of(got), k * mask)
        assert torch.equal(bench.seen["neuron"], sums)
        assert torch.equal(bench.counted[PRODUCT], q.sum((0, 2, 3)))


@each_build
@few
@given(
    channels=st.sampled_from(CHANNELS),
    grid=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    steps=steps_of,
    bits=st.booleans(),
    seed=seeds,
)
def test_pooling(
    build: str, channels: int, grid: tuple[int, int], steps: int, bits: bool, seed: int
) -> None:
    run = PoolRun(Bench(kernels_of(build)))
    for images in (3, 2):
        shape = (steps, images, *grid, channels)
        values = (
            fires(shape, 0.2, 1, seed).float()
            if bits
            else torch.randn(shape, generator=numbers(seed))
        )
        maps = values.flatten(0, 1).permute(0, 3, 1, 2)
        pooled = F.max_pool2d(maps, 3, stride=2, padding=1)
        got = run(rows_of(values, Form.BITS if bits else Form.CURRENTS))
        assert got.grid == pooled.shape[2:]
        expected = pooled.permute(0, 2, 3, 1).unflatten(0, (steps, images)).flatten(2, 3)
        assert torch.equal(values_of(got), expected)


@each_build
@few
@given(channels=st.sampled_from(CHANNELS), largest=st.sampled_from((1, 7, 254)), seed=seeds)
def test_sums_of_spikes(build: str, channels: int, largest: int, seed: int) -> None:
    run = SumRun(Bench(kernels_of(build)))
    for images in (3, 2):
        shape = (2, images, 3, 5, channels)
        first, second = fires(shape, 0.6, largest, seed), fires(shape, 0.5, 1, seed + 1)
        form = Form.BITS if largest == 1 else Form.COUNTS
        got = run(rows_of(first, form), rows_of(second, Form.BITS))
        assert (got.form, got.grid) == (Form.COUNTS, (3, 5))
        assert torch.equal(values_of(got), (first + second).flatten(2, 3).float())


@each_build
@pytest.mark.parametrize("kind", NEURONS[1:])
@few
@given(channels=st.sampled_from(CHANNELS), steps=steps_of, static=st.booleans(), seed=seeds)
def test_neurons_on_currents(
    build: str, kind: str, channels: int, steps: int, static: bool, seed: int
) -> None:
    neuron = neuron_of(kind)
    assert neuron is not None
    bench = Bench(kernels_of(build), neuron=neuron)
    run = NeuronRun(bench, neuron)
    for images in (3, 2):
        shape = (1 if static else steps, images, 2, 3, channels)
        currents = 3 * torch.randn(shape, generator=numbers(seed))
        # Exactly on a threshold, halfway between two counts.
        currents.view(-1)[::3] = torch.randint(-2, 12, currents.view(-1)[::3].shape) / 2
        expected = currents.expand(steps, -1, -1, -1, -1).flatten(2, 3)
        bench.look()
        got = run(rows_of(currents, Form.CURRENTS), steps if static else None)
        assert torch.equal(values_of(got), fired(neuron, expected))
        assert torch.equal(bench.seen["neuron"], expected)
        assert torch.equal(values_of(got), neuron(expected) * getattr(neuron, "norm", 1))


def test_neurons_that_no_kernel_computes_are_refused() -> None:
    for neuron in (FixedLIF(2.0, 1.0, 8), torch.nn.ReLU()):
        with pytest.raises(NotImplementedError):
            NeuronRun(Bench(kernels_of(HERE), neuron=neuron), neuron)

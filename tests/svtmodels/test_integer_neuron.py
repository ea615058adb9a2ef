"""The integer neuron against its definition, its official gradients and spikingjelly's node."""

from __future__ import annotations

import pytest
import torch
from spikingjelly.activation_based import neuron, surrogate
from torch import Tensor

from spikefront.svtmodels.parts.integer_neuron import IntegerNeuron, Rounding

each_rounding = pytest.mark.parametrize("rounding", Rounding)
each_dtype = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)


def gradient(module: IntegerNeuron, x: Tensor) -> Tensor:
    leaf = x.clone().requires_grad_()
    module(leaf).sum().backward()
    assert leaf.grad is not None
    return leaf.grad


@pytest.mark.parametrize(
    ("rounding", "counts"),
    [
        (Rounding.HALF_EVEN, [0, 0, 0, 2, 2, 2, 4, 4, 4, 4]),
        (Rounding.HALF_UP, [0, 0, 1, 2, 2, 3, 4, 4, 4, 4]),
    ],
)
@each_dtype
def test_ties_go_where_the_official_files_send_them(rounding, counts, dtype):
    x = torch.tensor([-3.0, 0.49, 0.5, 1.5, 2.0, 2.5, 3.5, 4.0, 4.5, 100.0], dtype=dtype)
    spikes = IntegerNeuron(rounding=rounding)(x)
    assert spikes.dtype == dtype
    assert (4 * spikes).tolist() == counts
    assert IntegerNeuron(norm=1, rounding=rounding)(x).tolist() == counts


@pytest.mark.parametrize(
    ("rounding", "passes"),
    [(Rounding.HALF_EVEN, [0, 1, 1, 1, 1, 0]), (Rounding.HALF_UP, [0, 0, 1, 1, 0, 0])],
)
@each_dtype
def test_gradients_pass_straight_through_inside(rounding, passes, dtype):
    x = torch.tensor([-0.1, 0.0, 0.3, 3.9, 4.0, 4.1], dtype=dtype)
    assert gradient(IntegerNeuron(rounding=rounding), x).tolist() == [p / 4 for p in passes]
    assert gradient(IntegerNeuron(norm=1, rounding=rounding), x).tolist() == passes


@each_rounding
def test_eight_levels(rounding):
    x = torch.linspace(-2, 10, 97)
    counts = 8 * IntegerNeuron(8, 8, rounding)(x)
    assert torch.equal(counts, counts.round())
    assert counts.unique().tolist() == list(range(9))
    assert (counts - x.clamp(0, 8)).abs().max() <= 0.5


@each_dtype
@pytest.mark.parametrize("levels", [1, 4, 8])
def test_half_even_is_spikingjellys_node_from_rest_in_one_step(levels, dtype):
    x = torch.randn(1, 7, 33, generator=torch.Generator().manual_seed(0)).to(dtype) * levels
    x[0, 0] = torch.arange(33) / 2 - 4
    node = neuron.ILIFNode(surrogate_function=surrogate.MultiLevelSpikeCount(levels), step_mode="m")
    leaf = x.clone().requires_grad_()
    expected = node(leaf)
    expected.sum().backward()
    module = IntegerNeuron(levels, norm=1)
    assert torch.equal(module(x), expected)
    assert torch.equal(gradient(module, x), leaf.grad)


@each_rounding
def test_steps_are_on_their_own(rounding):
    x = torch.randn(3, 5, generator=torch.Generator().manual_seed(0)) * 3
    module = IntegerNeuron(rounding=rounding)
    assert torch.equal(module(x), torch.stack([module(step) for step in x]))
    assert torch.equal(module.potential(x), x)
    assert module.state_dict() == {}

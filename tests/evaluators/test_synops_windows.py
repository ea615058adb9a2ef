"""SynOps of strided, depthwise and merged convolutions, and of spikes of several levels."""

from __future__ import annotations

import pytest
import torch
from spikingjelly.activation_based import op_counter
from torch import Tensor

from spikefront.evaluators.synops import attention_operations, synapse_operations
from spikefront.svtmodels.parts.repconv import RepConv
from spikefront.svtmodels.parts.synapse import Conv, convolve

each_size = pytest.mark.parametrize("size", [(1, 1), (2, 3), (4, 4), (7, 5)])


def firing(*shape: int, rate: float = 0.4) -> Tensor:
    return (torch.rand(*shape, generator=torch.Generator().manual_seed(0)) < rate).float()


@torch.no_grad()
def oracle(conv: Conv, spikes: Tensor) -> int:
    """What spikingjelly counts."""
    counter = op_counter.SynOpCounter()
    with op_counter.DispatchCounterMode([counter]):
        conv(spikes)
    return int(counter.get_total())


@torch.no_grad()
def touched(conv: Conv, spikes: Tensor) -> int:
    """Accumulates one by one: every weight is one, so every output is their number."""
    ones = torch.ones_like(conv.weight)
    return int(convolve(spikes, ones, None, **conv.window).sum())


@each_size
@pytest.mark.parametrize("stride", [1, 2, 4])
@pytest.mark.parametrize("kernel", [1, 3, 7])
def test_strided_convolutions(kernel: int, stride: int, size: tuple[int, int]):
    conv, spikes = Conv(3, 4, kernel, stride=stride), firing(2, 3, *size, 3)
    assert synapse_operations(conv, spikes) == touched(conv, spikes) == oracle(conv, spikes)


@each_size
@pytest.mark.parametrize("kernel", [3, 7])
def test_depthwise_convolutions(kernel: int, size: tuple[int, int]):
    conv, spikes = Conv(6, 6, kernel, groups=6), firing(2, 3, *size, 6)
    assert synapse_operations(conv, spikes) == touched(conv, spikes) > 0


@each_size
def test_a_chain_counts_as_the_convolution_that_it_amounts_to(size: tuple[int, int]):
    spikes = firing(2, 3, *size, 5)
    assert synapse_operations(RepConv(5, 7, 6), spikes) == synapse_operations(Conv(5, 7, 3), spikes)


def test_a_spike_of_n_levels_is_n_spikes():
    conv = Conv(3, 4, 3, stride=2)
    counts = sum(firing(1, 2, 6, 6, 3, rate=r) for r in (0.2, 0.4, 0.6, 0.8))
    assert isinstance(counts, Tensor) and counts.max() == 4
    assert synapse_operations(conv, counts / 4, 4) == touched(conv, counts)


def test_coincidences_of_integer_spikes_are_products():
    q, k, v = (firing(1, 1, 3, 4, rate=r) * n for r, n in ((0.5, 2), (0.6, 3), (0.7, 1)))
    heads = [slice(0, 2), slice(2, 4)]
    by_hand = sum(
        float((k[..., h].sum(-1) * v[..., h].sum(-1)).sum() + 2 * q[..., h].sum()) for h in heads
    )
    assert attention_operations(q, k, v, 2) == by_hand > 0

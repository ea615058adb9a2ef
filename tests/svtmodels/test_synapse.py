"""Synapses and the batch norm behind them, against torch's own layers."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from spikefront.svtmodels.parts.synapse import (
    ChannelAffine,
    ChannelNorm,
    Conv,
    Pointwise,
    parameters_of,
    pool,
)


def _random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=dtype)


def _trained(norm: nn.Module, channels: int) -> nn.Module:
    """The norm with parameters and statistics that are not the initial ones."""
    state = {
        "weight": 1 + 0.3 * _random(channels, seed=1),
        "bias": _random(channels, seed=2),
        "running_mean": _random(channels, seed=3),
        "running_var": 0.5 + _random(channels, seed=4).square(),
        "num_batches_tracked": torch.tensor(7),
    }
    norm.load_state_dict(state, strict=True)
    return norm


@pytest.mark.parametrize(("shape", "official"), [((4, 3, 10), 1), ((2, 3, 5, 6, 10), 2)])
class TestChannelNorm:
    """Channel-last norm against BatchNorm1d and BatchNorm2d on the official layout."""

    def _pair(self, official: int) -> tuple[nn.Module, nn.Module]:
        theirs = (nn.BatchNorm1d if official == 1 else nn.BatchNorm2d)(10)
        return _trained(ChannelNorm(10), 10), _trained(theirs, 10)

    def _theirs(self, norm: nn.Module, x: Tensor) -> Tensor:
        return norm(x.flatten(0, -4 if x.dim() > 4 else -3).movedim(-1, 1)).movedim(1, -1)

    def test_keys_are_torchs(self, shape, official):
        ours, theirs = self._pair(official)
        assert list(ours.state_dict()) == list(theirs.state_dict())

    def test_eval(self, shape, official):
        ours, theirs = (norm.eval() for norm in self._pair(official))
        x = _random(*shape) * 3
        expected = self._theirs(theirs, x).reshape(shape)
        assert torch.allclose(
            ours(x), expected, rtol=0, atol=1e-6 * float(expected.detach().abs().max())
        )

    def test_eval_is_one_multiplication_and_one_addition(self, shape, official):
        ours = self._pair(official)[0].eval()
        assert isinstance(ours, ChannelNorm)
        x = _random(*shape)
        scale, bias = ours.folded()
        expected = x.double().mul(scale.double()).float().double().add(bias.double()).float()
        assert torch.equal(ours(x), expected)
        assert torch.equal(ChannelAffine(scale, bias)(x), ours(x))

    def test_training_gives_the_same_output_statistics_and_gradients(self, shape, official):
        pair = self._pair(official)
        weight = _random(*shape, seed=5)
        inputs = [_random(*shape).requires_grad_() for _ in pair]
        outputs = [pair[0](inputs[0]), self._theirs(pair[1], inputs[1]).reshape(shape)]
        for output in outputs:
            (output * weight).sum().backward()
        assert torch.allclose(*outputs, rtol=0, atol=2e-6)
        state, expected = pair[0].state_dict(), pair[1].state_dict()
        assert state["num_batches_tracked"] == 8
        for name in ("running_mean", "running_var"):
            assert torch.allclose(state[name], expected[name], rtol=0, atol=1e-6)
            assert not torch.equal(state[name], _trained(ChannelNorm(10), 10).state_dict()[name])
        assert inputs[0].grad is not None and inputs[1].grad is not None
        assert torch.allclose(inputs[0].grad, inputs[1].grad, rtol=0, atol=1e-5)
        for mine, their in zip(pair[0].parameters(), pair[1].parameters(), strict=True):
            assert mine.grad is not None and their.grad is not None
            assert torch.allclose(mine.grad, their.grad, rtol=0, atol=1e-5)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("kernel", [1, 3])
def test_convolution_is_torchs_on_the_channel_last_layout(kernel, bias):
    torch.manual_seed(0)
    ours = Conv(5, 7, kernel, bias)
    theirs = nn.Conv2d(5, 7, kernel, padding=kernel // 2, bias=bias)
    theirs.load_state_dict(ours.state_dict(), strict=True)
    x = _random(2, 3, 8, 6, 5)
    expected = theirs(x.flatten(0, 1).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    assert torch.allclose(ours(x), expected.reshape(2, 3, 8, 6, 7), atol=1e-5)


@pytest.mark.parametrize("trailing", [0, 1, 2])
@pytest.mark.parametrize("bias", [False, True])
def test_pointwise_is_every_official_spelling_of_it(trailing, bias):
    torch.manual_seed(0)
    ours = Pointwise(6, 9, bias, trailing)
    kinds = [nn.Linear(6, 9, bias), nn.Conv1d(6, 9, 1, bias=bias), nn.Conv2d(6, 9, 1, bias=bias)]
    theirs = kinds[trailing]
    theirs.load_state_dict(ours.state_dict(), strict=True)
    x = _random(2, 3, 4, 6)
    if trailing == 0:
        expected = theirs(x)
    elif trailing == 1:
        expected = theirs(x.flatten(0, 1).transpose(1, 2)).transpose(1, 2).reshape(2, 3, 4, 9)
    else:
        expected = theirs(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    assert torch.allclose(ours(x), expected, atol=1e-6)


@pytest.mark.parametrize("size", [(8, 8), (7, 5), (1, 1)])
def test_pooling_is_torchs_on_the_channel_last_layout(size):
    x = _random(2, 3, *size, 4)
    expected = nn.MaxPool2d(3, stride=2, padding=1)(x.flatten(0, 1).permute(0, 3, 1, 2))
    got = pool(x)
    assert torch.equal(got.flatten(0, 1), expected.permute(0, 2, 3, 1))


def test_parameters_of_a_synapse_are_detached():
    synapse = Pointwise(6, 9, bias=True)
    weight, bias = parameters_of(synapse)
    assert torch.equal(weight, synapse.weight)
    assert bias is not None and not weight.requires_grad and not bias.requires_grad
    assert parameters_of(Conv(3, 4, 3))[1] is None


def test_a_norm_can_be_copied_and_moved_between_types():
    norm = _trained(ChannelNorm(10), 10).eval()
    x = _random(4, 10, dtype=torch.float64)
    double = copy.deepcopy(norm).double()(x)
    assert double.dtype == torch.float64
    assert torch.allclose(double.float(), norm(x.float()), atol=1e-5)

"""RepConv: the chain as the official code runs it, and the one convolution that it amounts to."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spikefront.svtmodels.declaration import Place, Stream
from spikefront.svtmodels.parts.repconv import (
    RepConv,
    RepConv1d,
    declare_repconv,
    declare_repconv1d,
)
from spikefront.svtmodels.parts.synapse import ChannelAffine, ChannelNorm, convolve

SIZES = [(5, 7, 6), (6, 6, 6), (8, 3, 1)]
each_size = pytest.mark.parametrize(("inputs", "outputs", "middle"), SIZES)
each_map = pytest.mark.parametrize("size", [(1, 1), (2, 5), (6, 4)])


class OfficialRepConv(nn.Module):
    """Written once more on [B, C, H, W], with torch's own batch norms and official keys."""

    def __init__(self, inputs: int, outputs: int, middle: int) -> None:
        super().__init__()
        norm = nn.Module()
        norm.bn = nn.BatchNorm2d(middle)
        tail = nn.Sequential(
            nn.Conv2d(middle, middle, 3, groups=middle, bias=False),
            nn.Conv2d(middle, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.body = nn.Sequential(nn.Conv2d(inputs, middle, 1, bias=False), norm, tail)

    def forward(self, x: Tensor) -> Tensor:
        bn = self.body.get_submodule("1.bn")
        assert isinstance(bn, nn.BatchNorm2d)
        assert bn.running_mean is not None and bn.running_var is not None
        y = bn(self.body[0](x))
        margin = bn.bias.detach() - bn.running_mean * bn.weight.detach() / torch.sqrt(
            bn.running_var + bn.eps
        )
        padded = F.pad(y, [1, 1, 1, 1])
        inside = F.pad(torch.ones_like(y), [1, 1, 1, 1])
        return self.body[2](padded + (1 - inside) * margin[:, None, None])


def filled(module: nn.Module, seed: int = 0) -> nn.Module:
    """Random weights and batch statistics, float64, in eval mode."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point():
            values = torch.randn(tensor.shape, generator=generator)
            tensor.copy_(values.abs() + 0.5 if name.endswith("running_var") else values)
    return module.double().eval()


def maps(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


def official_of(chain: RepConv, sizes: tuple[int, int, int]) -> OfficialRepConv:
    official = OfficialRepConv(*sizes).double()
    official.load_state_dict(chain.state_dict(), strict=True)
    return official.train(chain.training)


def run_official(official: nn.Module, x: Tensor) -> Tensor:
    """[T, B, H, W, C] through [T * B, C, H, W]."""
    out = official(x.flatten(0, 1).permute(0, 3, 1, 2))
    return out.permute(0, 2, 3, 1).unflatten(0, x.shape[:2])


@each_size
@each_map
def test_it_is_the_official_chain(inputs, outputs, middle, size):
    chain = filled(RepConv(inputs, outputs, middle))
    assert isinstance(chain, RepConv)
    x = maps(2, 3, *size, inputs)
    expected = run_official(official_of(chain, (inputs, outputs, middle)), x)
    assert torch.allclose(chain(x), expected, rtol=0, atol=1e-12)


def test_training_is_the_official_training():
    chain = filled(RepConv(5, 7, 6)).train()
    assert isinstance(chain, RepConv)
    official = official_of(chain, (5, 7, 6))
    x = maps(2, 3, 4, 5, 5)
    got, expected = chain(x), run_official(official, x)
    assert torch.allclose(got, expected, rtol=0, atol=1e-10)
    weight = maps(*got.shape, seed=2)
    (got * weight).sum().backward()
    (expected * weight).sum().backward()
    ours, theirs = dict(chain.named_parameters()), dict(official.named_parameters())
    for name, parameter in theirs.items():
        ours_grad, expected_grad = ours[name].grad, parameter.grad
        assert ours_grad is not None and expected_grad is not None
        assert torch.allclose(ours_grad, expected_grad, rtol=1e-9, atol=1e-10), name
    for name, buffer in official.named_buffers():
        assert torch.allclose(chain.get_buffer(name).double(), buffer.double()), name


@each_size
@each_map
def test_merged_is_the_chain(inputs, outputs, middle, size):
    chain = filled(RepConv(inputs, outputs, middle))
    assert isinstance(chain, RepConv)
    kernel, bias = chain.merged()
    assert kernel.shape == chain.shape == (outputs, inputs, 3, 3)
    x = maps(2, 3, *size, inputs)
    merged, expected = convolve(x, kernel, bias, **chain.window), chain(x).detach()
    assert torch.allclose(merged, expected, rtol=0, atol=1e-12 * float(expected.abs().max()))


@each_size
def test_merged_1d_is_the_chain(inputs, outputs, middle):
    chain = filled(RepConv1d(inputs, outputs, middle))
    assert isinstance(chain, RepConv1d)
    weight, bias = chain.merged()
    assert weight.shape == chain.shape == (outputs, inputs, 1)
    x = maps(2, 3, 9, inputs)
    merged, expected = F.linear(x, weight.flatten(1), bias), chain(x).detach()
    assert torch.allclose(merged, expected, rtol=0, atol=1e-12 * float(expected.abs().max()))


@pytest.mark.parametrize("kind", [RepConv, RepConv1d])
def test_merging_changes_nothing(kind):
    chain = filled(kind(4, 5, 6)).train()
    assert isinstance(chain, RepConv | RepConv1d)
    before = copy.deepcopy(chain.state_dict())
    first, second = chain.merged(), chain.merged()
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert not any(tensor.requires_grad for tensor in first)
    assert chain.training
    assert all(torch.equal(before[name], now) for name, now in chain.state_dict().items())


@pytest.mark.parametrize("kind", [RepConv, RepConv1d])
def test_norms_may_be_folded_already(kind):
    chain = filled(kind(4, 5, 6))
    assert isinstance(chain, RepConv | RepConv1d)
    x = maps(1, 2, 3, 3, 4)
    expected, merged = chain(x), chain.merged()
    for name, module in list(chain.named_modules()):
        if isinstance(module, ChannelNorm):
            chain.set_submodule(name, ChannelAffine(*(t.detach() for t in module.folded())))
    assert torch.equal(chain(x), expected)
    assert all(torch.equal(a, b) for a, b in zip(chain.merged(), merged, strict=True))


def test_it_declares_one_synapse_and_the_channels_in_its_middle():
    place = Place("stage3", "block", 9, stream=Stream.behind("stem", 4, "stage3"))
    declared = declare_repconv("q", "q_conv.0", "q_conv.1", place, 6)
    (synapse,) = declared.synapses
    assert (synapse.name, synapse.weight, synapse.norm) == ("q", "q_conv.0", "q_conv.1")
    network = nn.Module()
    network.q_conv = nn.Sequential(RepConv(4, 5, 6), ChannelNorm(5))
    paths = [link.weight for link in declared.stored]
    assert [tuple(network.get_parameter(f"{p}.weight").shape) for p in paths] == [
        (6, 4, 1, 1),
        (6, 1, 3, 3),
        (5, 6, 1, 1),
    ]
    rows, columns = declared.rows_and_columns({"q.middle": 2})
    assert rows == {"q.enter": 2, "q.depth": 2}
    assert columns == {"q.leave": 2}


def test_channels_of_the_synapse_are_those_of_its_ends():
    place = Place("stage3", "block", 9, stream=Stream.behind("stem", 4, "stage3"))
    declared = declare_repconv1d("q", "rep", None, place, 6)
    outside = place.group("out", 5, ("q",), ()), place.group("in", 4, ("other",), ("q",))
    joined = declared.join([declared, type(declared)(channels=outside)])
    rows, columns = joined.rows_and_columns({"out": 3, "in": 1})
    assert rows == {"q": 3, "q.leave": 3, "other": 1}
    assert columns == {"q": 1, "q.enter": 1}

"""The neuron against spikingjelly's: the same spikes, bit for bit, and the same gradients."""

from __future__ import annotations

import copy
import shutil

import pytest
import torch
from spikingjelly.activation_based import functional, neuron, surrogate
from torch import Tensor

from spikefront.svtmodels.parts.kernels import neuron_backend
from spikefront.svtmodels.parts.neuron import LIF, membrane

each_dtype = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
each_constant = pytest.mark.parametrize(
    ("tau", "theta"), [(2.0, 1.0), (2.0, 0.5), (1.5, 1.0), (1.5, 0.5), (1.1, 0.3)]
)


def _oracle(x: Tensor, tau: float, theta: float) -> tuple[Tensor, Tensor]:
    """Spikes and membranes after reset, [T, ...] each, of spikingjelly's neuron."""
    node = neuron.LIFNode(
        tau=tau,
        decay_input=True,
        v_threshold=theta,
        v_reset=0.0,
        surrogate_function=surrogate.Sigmoid(alpha=4.0),
        detach_reset=True,
        step_mode="m",
        store_v_seq=True,
    )
    spikes = node(x)
    assert node.v_seq is not None
    return spikes, node.v_seq


def _currents(*shape: int, dtype: torch.dtype, scale: float = 1.5, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(*shape, generator=generator) * scale + 0.5).to(dtype)


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_compiled_kernel_is_what_these_tests_run():
    assert neuron_backend() == "compiled"


@each_dtype
@each_constant
@pytest.mark.parametrize(
    "shape", [(4, 2, 65), (1, 3, 64), (7, 1), (4, 63), (16, 997), (3, 2, 5, 7)]
)
def test_spikes_are_spikingjellys(dtype, tau, theta, shape):
    x = _currents(*shape, dtype=dtype)
    expected, _ = _oracle(x, tau, theta)
    got = LIF(tau, theta)(x)
    assert got.dtype == dtype
    assert torch.equal(got, expected)
    assert 0 < expected.mean() < 1


@each_dtype
@pytest.mark.parametrize("theta", [1.0, 0.5])
def test_a_membrane_at_the_threshold_fires(dtype, theta):
    # Multiples of theta / 4: many membranes meet the threshold exactly.
    generator = torch.Generator().manual_seed(3)
    x = torch.randint(-4, 13, (6, 501), generator=generator).to(dtype) * (theta / 4)
    potentials = membrane(x, 2.0, theta)
    ties = potentials == theta
    assert ties.sum() > 50
    spikes = LIF(2.0, theta)(x)
    assert (spikes[ties] == 1).all()
    assert torch.equal(spikes, _oracle(x, 2.0, theta)[0])


@each_dtype
def test_a_value_below_the_threshold_does_not_fire(dtype):
    below = torch.nextafter(torch.tensor(2.0, dtype=dtype), torch.tensor(0.0, dtype=dtype))
    assert LIF()(below.reshape(1, 1)).item() == 0
    assert LIF()(torch.full((1, 1), 2.0, dtype=dtype)).item() == 1


@each_dtype
@pytest.mark.parametrize("steps", [1, 4])
def test_a_repeated_input_is_read_in_place(dtype, steps):
    image = _currents(3, 5, 13, dtype=dtype)
    repeated = image.expand(steps, *image.shape)
    assert torch.equal(LIF()(repeated), LIF()(repeated.contiguous()))
    assert torch.equal(LIF()(repeated), _oracle(repeated, 2.0, 1.0)[0])


@each_dtype
def test_any_memory_layout_gives_the_same(dtype):
    x = _currents(4, 6, 10, dtype=dtype)
    for view in (x.transpose(1, 2), x.flip(0), x[:, ::2], x[:, :, 3:], x[:, :1].expand(4, 9, 10)):
        assert torch.equal(LIF()(view), _oracle(view, 2.0, 1.0)[0])
    folded = _currents(6, 10, dtype=dtype).t().expand(4, 10, 6)
    assert torch.equal(LIF()(folded), _oracle(folded, 2.0, 1.0)[0])


@each_dtype
def test_an_empty_batch_gives_no_spikes(dtype):
    x = torch.zeros(4, 0, 8, dtype=dtype, requires_grad=True)
    spikes = LIF()(x)
    assert spikes.shape == (4, 0, 8)
    spikes.sum().backward()
    assert x.grad is not None
    assert x.grad.shape == x.shape


@each_dtype
@each_constant
@pytest.mark.parametrize("shape", [(1, 2, 65), (4, 3, 64), (8, 129)])
def test_gradients_are_spikingjellys(dtype, tau, theta, shape):
    x = _currents(*shape, dtype=dtype)
    weight = _currents(*shape, dtype=dtype, seed=1)
    got, expected = (_gradient(run, x, weight) for run in _runs(tau, theta))
    assert expected.abs().max() > 0.1
    assert torch.allclose(got, expected, rtol=0, atol=1e-6)


@each_dtype
def test_gradient_of_a_repeated_input_is_summed_over_steps(dtype):
    image = _currents(2, 70, dtype=dtype)
    weight = _currents(4, 2, 70, dtype=dtype, seed=1)
    got, expected = (
        _gradient(lambda x, run=run: run(x.expand(4, 2, 70)), image, weight)
        for run in _runs(2.0, 1.0)
    )
    assert torch.allclose(got, expected, rtol=0, atol=1e-6)


@each_dtype
def test_gradient_stays_finite_far_from_the_threshold(dtype):
    x = torch.tensor([[-1e30, -1e4, -50.0, 0.0, 50.0, 1e4, 1e30]], dtype=dtype)
    gradient = _gradient(LIF(), x, torch.ones_like(x))
    assert torch.isfinite(gradient).all()
    assert gradient[0, [0, 1, 2, 4, 5, 6]].abs().max() < 1e-6


@each_dtype
def test_a_strided_gradient_is_read_right(dtype):
    x = _currents(4, 8, 12, dtype=dtype)
    weight = _currents(4, 12, 8, dtype=dtype, seed=1)
    got, expected = (
        _gradient(lambda x, run=run: run(x).transpose(1, 2), x, weight) for run in _runs(2.0, 1.0)
    )
    assert torch.allclose(got, expected, rtol=0, atol=1e-6)


@each_dtype
def test_a_call_leaves_no_state_behind(dtype):
    x, other = (_currents(4, 33, dtype=dtype, seed=seed) for seed in (0, 1))
    lif = LIF()
    first = lif(x)
    lif(other)
    assert torch.equal(lif(x), first)
    functional.reset_net(lif)
    assert torch.equal(lif(x), first)
    assert torch.equal(copy.deepcopy(lif)(x), first)
    assert lif.state_dict() == {}


def test_other_types_run_as_spikingjelly_runs_them():
    x = _currents(4, 33, dtype=torch.bfloat16)
    lif = LIF()
    assert torch.equal(lif(x), _oracle(x, 2.0, 1.0)[0])
    assert torch.equal(lif(x), _oracle(x, 2.0, 1.0)[0])


@each_dtype
@each_constant
def test_membrane_is_the_potential_before_the_reset(dtype, tau, theta):
    x = _currents(6, 501, dtype=dtype)
    potentials = membrane(x, tau, theta)
    spikes, after_reset = _oracle(x, tau, theta)
    assert torch.equal((potentials >= theta).to(dtype), spikes)
    silent = spikes == 0
    assert torch.equal(potentials[silent], after_reset[silent])
    assert torch.equal(potentials[0], x[0] / tau)


def _runs(tau: float, theta: float):
    return LIF(tau, theta), lambda x: _oracle(x, tau, theta)[0]


def _gradient(run, x: Tensor, weight: Tensor) -> Tensor:
    leaf = x.clone().requires_grad_()
    (run(leaf) * weight).sum().backward()
    assert leaf.grad is not None
    return leaf.grad


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
@each_constant
def test_bfloat16_is_read_and_written_and_never_computed_in(tau, theta):
    # Runs of 64 neurons and a rest, and a membrane whose small steps 8 bits would swallow.
    x = _currents(9, 131, dtype=torch.bfloat16)
    weight = _currents(9, 131, dtype=torch.bfloat16, seed=1)
    expected = _gradient(LIF(tau, theta), x.float(), weight.float())
    got = _gradient(LIF(tau, theta), x, weight)
    assert torch.equal(LIF(tau, theta)(x), LIF(tau, theta)(x.float()).bfloat16())
    # The gradient is that of float, rounded once: to nearest, ties to even, as torch rounds.
    assert torch.equal(got, expected.bfloat16())


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_nan_stays_nan_in_bfloat16():
    x = torch.zeros(2, 3, dtype=torch.bfloat16, requires_grad=True)
    LIF()(x).backward(torch.full((2, 3), torch.nan, dtype=torch.bfloat16))
    assert x.grad is not None
    assert x.grad.isnan().all()

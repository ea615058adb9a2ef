"""Fixed-point arithmetic: integers give the same bits, in torch, in the file and by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from integer_spikformer import IntegerSpikformer, shifted
from lively_networks import FAMILIES, chosen, images_for, network_of
from packed_files import MODEL, check_kept_bit_for_bit, edit_manifest, manifest_of, sign
from safetensors.numpy import load_file, save_file
from small_spikformers import ARCHITECTURES, inputs_for, small
from torch import Tensor

from spikefront.evaluators.builder import CandidateBuilder
from spikefront.spaces import MAGNITUDE, CorruptFile, SurgeryOptions
from spikefront.svtmodels import Network, compress, load_packed, save_packed, static_costs
from spikefront.svtmodels.packed.golden import golden_vectors
from spikefront.svtmodels.parts.fixed_neuron import FixedLIF
from spikefront.svtmodels.parts.fixed_synapse import FixedSynapse
from spikefront.svtmodels.parts.neuron import LIF
from spikefront.svtmodels.parts.synapse import QuantisedSynapse
from spikefront.svtmodels.surgery.fixed_point import to_fixed_point
from spikefront.svtmodels.surgery.recovery import recover, reference_of

untimed = settings(deadline=None, max_examples=40)
FIXED = SurgeryOptions(**{**MAGNITUDE.to_dict(), "arithmetic": "fixed", "recovery_images": 2})
LEVELS = {
    "bits": {"weight": 4},
    "membranes": {"weight": 3, "state": 6},
    "all": {"weight": 2, "state": 5, "channel": 0.5, "token": 0.5, "time": 2, "density": 0.5},
}


def _built(network: Network, options: SurgeryOptions = FIXED, **levels: float) -> Network:
    images = images_for(network, 2)
    return CandidateBuilder(network, options, {}, images).build(chosen(network, **levels))


def _constants(network: Network) -> list[tuple[float, float]]:
    neurons = [network.get_submodule(layer.name) for layer in network.declaration.neurons]
    return [(float(n.tau), float(n.v_threshold)) for n in neurons if isinstance(n, LIF)]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("levels", LEVELS.values(), ids=list(LEVELS))
def test_a_whole_network_of_integers_gives_the_same_bits(
    architecture: str, levels: dict[str, float], tmp_path: Path
) -> None:
    network = small(architecture, depths=1)
    # Recovery has moved all scales, biases and thresholds off any grid by then.
    built = _built(network, FIXED, **levels)
    x = inputs_for(network)
    golden = golden_vectors(built, x)
    integers = IntegerSpikformer(save_packed(built, tmp_path / "packed"))
    steps = integers(x.numpy())
    assert steps.dtype == np.int64
    np.testing.assert_array_equal((steps / 4096).astype(np.float32), golden["logits"])
    names = [layer.name for layer in network.declaration.neurons]
    assert integers.counts == dict(zip(names, golden["spikes"].tolist(), strict=True))
    assert min(integers.counts.values()) > 0


@pytest.mark.parametrize("family", FAMILIES)
def test_everything_is_on_the_grid_and_stays_there(family: str) -> None:
    built = _built(network_of(family), weight=4, state=8)
    for module in built.modules():
        if isinstance(module, QuantisedSynapse):
            assert isinstance(module, FixedSynapse)
            mantissas = module.scale.double() * 2.0**module.shift
            assert torch.equal(mantissas, mantissas.round())
            assert 2**14 <= mantissas.abs().max() < 2**15
            biases = module.bias * 4096
            assert torch.equal(biases, biases.round())
    for tau, theta in _constants(built):
        assert theta * 4096 == round(theta * 4096) > 0
        assert tau == float(np.float32(4096 / round(4096 / tau)))
    state = {name: tensor.clone() for name, tensor in built.state_dict().items()}
    constants = _constants(built)
    to_fixed_point(built)
    assert all(torch.equal(tensor, state[name]) for name, tensor in built.state_dict().items())
    assert _constants(built) == constants


@pytest.mark.parametrize("family", FAMILIES)
def test_a_packed_network_is_the_same_bit_for_bit(family: str, tmp_path: Path) -> None:
    network = network_of(family)
    levels = {"weight": 3, "state": 7, "channel": 0.5}
    built = _built(network, FIXED, **levels)
    first, loaded = check_kept_bit_for_bit(built, images_for(network), tmp_path)
    assert loaded.arithmetic == "fixed"
    assert manifest_of(first)["bytes"] == static_costs(network, built.candidate).bytes


def test_what_is_not_quantised_stays_float() -> None:
    network = small(depths=1)
    built, plain = (_built(network, options, weight=16) for options in (FIXED, _floats()))
    state = plain.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in built.state_dict().items())
    assert not [m for m in built.modules() if isinstance(m, QuantisedSynapse)]
    assert [m.bits for m in built.modules() if isinstance(m, FixedLIF)] == [24] * len(
        network.declaration.neurons
    )


def test_float32_is_the_default_and_knows_nothing_of_it(tmp_path: Path) -> None:
    network = small(depths=1)
    built = _built(network, _floats(), weight=4, state=6)
    candidate = chosen(network, weight=4, state=6)
    by_hand, images = compress(network, candidate), images_for(network, 2)
    recover(by_hand, reference_of(network, images), images, "spread-rates")
    state = by_hand.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in built.state_dict().items())
    assert not [m for m in built.modules() if isinstance(m, FixedSynapse | FixedLIF)]
    folder = save_packed(built, tmp_path / "packed")
    assert "arithmetic" not in manifest_of(folder)
    assert load_packed(folder).arithmetic == "float32"


def _floats() -> SurgeryOptions:
    return SurgeryOptions(**{**FIXED.to_dict(), "arithmetic": "float32"})


@untimed
@given(st.integers(0, 10**6), st.integers(-20, 12), st.sampled_from([1, 2, 4, 8]))
def test_a_synapse_is_integer_arithmetic(seed: int, exponent: int, bits: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    limit = max(2 ** (bits - 1) - 1, 1)
    codes = torch.randint(-limit, limit + 1, (9, 600), generator=generator, dtype=torch.int8)
    scale = torch.randn(9, generator=generator) * 2.0**exponent
    bias = torch.randn(9, generator=generator) * 3
    plain = QuantisedSynapse(codes, scale, bias, bits=bits, grid=1, padding=None, max_input=2**14)
    fixed = FixedSynapse.of(plain)
    # Within half a mantissa's step; sums beyond 2^24, which float32 does not hold.
    assert ((fixed.scale - scale).abs() <= scale.abs().max() * 2.0**-15).all()
    x = torch.randint(0, 2**14 + 1, (5, 600), generator=generator)
    acc = x.numpy() @ codes.numpy().astype(np.int64).T
    mantissas = (fixed.scale.double() * 2.0**fixed.shift).numpy().astype(np.int64)
    biases = (fixed.bias * 4096).numpy().astype(np.int64)
    expected = [
        [
            # Python's integers and its own half-even division by a power of two.
            min(max(_rounded(int(a) * int(m), fixed.shift - 12) + int(b), -(2**23)), 2**23 - 1)
            for a, m, b in zip(row, mantissas, biases, strict=True)
        ]
        for row in acc
    ]
    assert torch.equal(fixed(x.float()), torch.tensor(expected) / 4096)
    with torch.no_grad():
        assert torch.equal(fixed.double()(x.double()), torch.tensor(expected).double() / 4096)


def _rounded(number: int, bits: int) -> int:
    if bits <= 0:
        return number << -bits
    low, rest = divmod(number, 1 << bits)
    return low + (2 * rest > 1 << bits or (2 * rest == 1 << bits and low % 2 == 1))


@untimed
@given(st.integers(-(2**50), 2**50), st.integers(-8, 40))
def test_the_boards_shift_rounds_half_to_even(number: int, bits: int) -> None:
    if bits > 0:
        assert int(shifted(np.array(number), bits)) == _rounded(number, bits)


@untimed
@given(
    st.sampled_from([(2.0, 1.0), (2.0, 0.37), (1.7, 0.73), (3.1, 1.25), (1.0001, 1.0)]),
    st.sampled_from([4, 6, 9, 16, 24]),
    st.integers(0, 99),
)
def test_a_neuron_is_integer_arithmetic(
    constants: tuple[float, float], bits: int, seed: int
) -> None:
    neuron = FixedLIF(*constants, bits)
    x = 2 * torch.randn(6, 2, 3, 71, generator=torch.Generator().manual_seed(seed))
    x[:, 0, 0, 0] = 3000.0  # Saturates.
    x[:, 0, 0, 1] = -3000.0
    steps = (x.double() * 4096).round().clamp(-(2**23), 2**23 - 1).numpy().astype(np.int64)
    expected = _fired(steps, neuron)
    assert torch.equal(neuron(x), expected)
    assert torch.equal(neuron(x.double()), expected.double())
    assert torch.equal(neuron(x.clone().requires_grad_()).detach(), expected)
    assert torch.equal((neuron.potential(x.double()) >= neuron.v_threshold).float(), expected)
    repeated = x[:1].expand(4, *x.shape[1:])
    assert torch.equal(neuron(repeated), neuron(repeated.contiguous()))


def _fired(currents: np.ndarray, neuron: FixedLIF) -> Tensor:
    theta, half = round(float(neuron.v_threshold) * 4096), 2 ** (neuron.bits - 1)
    v, spikes = np.zeros_like(currents[0]), []
    for x in currents:
        h = v * 4096 + (x - v) * neuron.numerator
        spikes.append(h >= theta * 4096)
        left = shifted(np.where(spikes[-1], 0, h), 12 + neuron.shift)
        v = left.clip(-half, half - 1) << neuron.shift
    return torch.from_numpy(np.stack(spikes)).float()


def test_levels_of_few_bits_are_a_power_of_two_apart() -> None:
    # theta / 2^(bits - 2) where that is one, else the nearest on a logarithmic scale.
    assert FixedLIF(2.0, 1.0, 8).step == 2**-6
    assert FixedLIF(2.0, 0.9, 8).step == 2**-6
    assert FixedLIF(2.0, 0.7, 8).step == 2**-7
    assert FixedLIF(2.0, 1.0, 16).step == 2**-12
    assert FixedLIF(2.0, 1.0).step == 2**-12


def test_gradients_pass_the_rounding() -> None:
    codes = torch.tensor([[1, -2], [3, 0]], dtype=torch.int8)
    scale, bias = torch.tensor([0.5, 0.25]), torch.zeros(2)
    plain = QuantisedSynapse(codes, scale, bias, bits=3, grid=1, padding=None, max_input=4)
    x = torch.tensor([[[1.0, 2.0]], [[3.0, 1.0]]])
    ways = [(plain, FixedLIF(2.0, 1.0, 16)), (FixedSynapse.of(plain), FixedLIF(2.0, 1.0))]
    slopes = []
    for synapse, neuron in ways:
        mine = x.clone().requires_grad_()
        neuron(synapse(mine)).sum().backward()
        assert mine.grad is not None
        slopes.append(mine.grad)
    assert torch.equal(slopes[0], slopes[1])
    assert slopes[0].abs().min() > 0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_packed(_built(small(depths=1), weight=4, state=6), tmp_path / "packed")


_FC1 = "block.0.mlp.fc1"
_EDITS: dict[str, Any] = {
    "other shift": lambda a: a["scale_shifts"].update({_FC1: a["scale_shifts"][_FC1] + 1}),
    "missing shift": lambda a: a["scale_shifts"].pop(_FC1),
    "other membrane": lambda a: a["membrane_shifts"].update({f"{_FC1}_lif": 1}),
    "other leak": lambda a: a["leaks"].update({f"{_FC1}_lif": 1024}),
    "other fraction": lambda a: a.update(fraction_bits=8),
    "unknown kind": lambda a: a.update(kind="posit"),
    "nothing": lambda a: a.clear(),
}


@pytest.mark.parametrize("edit", _EDITS.values(), ids=list(_EDITS))
def test_other_formats_are_refused(folder: Path, edit: Any) -> None:
    edit_manifest(folder, lambda manifest: edit(manifest["arithmetic"]))
    with pytest.raises(CorruptFile):
        load_packed(folder)


@pytest.mark.parametrize(
    ("tensor", "place"), [(f"{_FC1}.affine", 0), (f"{_FC1}.affine", 64), ("neurons", 1)]
)
def test_numbers_off_the_grid_are_refused(folder: Path, tensor: str, place: int) -> None:
    arrays = {name: array.copy() for name, array in load_file(folder / MODEL).items()}
    arrays[tensor][place] = np.nextafter(arrays[tensor][place], np.float32(9))
    save_file(arrays, folder / MODEL)
    sign(folder)
    with pytest.raises(CorruptFile, match="grid"):
        load_packed(folder)
    # Without the entry they are what any float32 network may hold.
    edit_manifest(folder, lambda manifest: manifest.pop("arithmetic"))
    edit_manifest(folder, lambda m: m["neurons"]["state"].update(step="v_threshold * 2^(2 - bits)"))
    assert load_packed(folder).arithmetic == "float32"

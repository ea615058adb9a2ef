"""Scales and biases in float16: rounded once, the same bits everywhere, two bytes each."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lively_networks import FAMILIES, chosen, images_for, network_of
from packed_files import MODEL, edit_manifest, manifest_of, sign, spans_of
from safetensors.numpy import load_file, save_file
from small_spikformers import any_candidates, few, small

from spikefront.evaluators.builder import CandidateBuilder
from spikefront.evaluators.packing import verify
from spikefront.spaces import MAGNITUDE, BadInput, Candidate, CorruptFile
from spikefront.svtmodels import Network, load_packed, save_packed
from spikefront.svtmodels.engine.program import Program, unsupported
from spikefront.svtmodels.parts.half_vectors import exponent_of, numbers_of, rounded, widened
from spikefront.svtmodels.parts.synapse import QuantisedSynapse
from spikefront.svtmodels.surgery.fixed_point import to_fixed_point
from spikefront.svtmodels.surgery.half_vectors import to_half_vectors

untimed = settings(deadline=None, max_examples=60)
FLOAT = replace(MAGNITUDE, recovery_images=2)
HALF = replace(FLOAT, vectors="float16")
LEVELS = {"weight": 3, "state": 7, "channel": 0.5}
NETWORK = small(depths=1)
FC1 = "block.0.mlp.fc1"


def _builder(network: Network, options: Any = HALF) -> CandidateBuilder:
    return CandidateBuilder(network, options, {}, images_for(network, 2))


def _built(network: Network, options: Any = HALF, **levels: float) -> Network:
    return _builder(network, options).build(chosen(network, **levels))


def _quantised(network: Network) -> dict[str, QuantisedSynapse]:
    modules = {s.name: network.get_submodule(s.weight) for s in network.declaration.synapses}
    return {name: m for name, m in modules.items() if isinstance(m, QuantisedSynapse)}


@untimed
@given(st.integers(0, 10**6), st.integers(-140, 120), st.integers(0, 20))
def test_rounding_is_that_of_float16_at_the_largest_number(seed: int, size: int, spread: int):
    generator = torch.Generator().manual_seed(seed)
    exponents = torch.randint(-spread, 1, (9,), generator=generator).double()
    vector = (torch.randn(9, generator=generator).double() * 2.0 ** (exponents + size)).float()
    found = rounded(vector)
    # Eleven bits of each number, wherever float32 itself has normal numbers and 2^-28 of the
    # largest is not reached.
    large = (vector.abs() >= 2.0**-110) & (vector.abs() >= vector.abs().max() * 2.0**-28)
    assert ((found - vector).abs() <= vector.abs() * 2.0**-11)[large].all()
    assert torch.equal(rounded(found), found)
    exponent = exponent_of(vector)
    assert exponent_of(found) == exponent
    assert torch.equal(widened(numbers_of(found, exponent), exponent), found)
    # A reader with numpy alone.
    plain = numbers_of(vector, exponent).numpy().astype(np.float32)
    assert np.array_equal(np.ldexp(plain, np.array(exponent)), found.numpy())


def test_numbers_too_small_for_float16_alone_keep_their_bits():
    # An eight-bit scale of the image's synapse, where float16 has steps of 6e-8.
    scale = torch.tensor([1.8e-6, 3.3e-6])
    assert ((scale.half().float() - scale).abs() / scale).max() > 2.0**-8
    assert ((rounded(scale) - scale).abs() / scale).max() <= 2.0**-11
    assert rounded(torch.tensor([1e6, -3e5])).tolist() == [999936.0, -300032.0]


def test_what_has_no_size_has_no_power():
    for vector in (torch.zeros(3), torch.zeros(0), torch.tensor([1.0, float("inf")])):
        assert exponent_of(vector) == 0
        assert torch.equal(rounded(vector), vector)


def test_rounding_up_carries_into_the_power():
    vector = torch.tensor([1 - 2.0**-13, 2.0**-14 * (1 + 2.0**-10)])
    assert exponent_of(vector) == -14
    assert torch.equal(rounded(vector), torch.tensor([1.0, 2.0**-14 * (1 + 2.0**-10)]))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_packed_network_is_the_same_bit_for_bit(family: str, tmp_path: Path):
    network = network_of(family)
    builder, candidate = _builder(network), chosen(network, **LEVELS)
    built = builder.build(candidate)
    first = save_packed(built, tmp_path / "first")
    loaded = load_packed(first)
    x = images_for(network)
    with torch.no_grad():
        assert torch.equal(loaded(x), built(x))
    again = save_packed(loaded, tmp_path / "again")
    assert (again / MODEL).read_bytes() == (first / MODEL).read_bytes()
    assert manifest_of(again) == manifest_of(first)
    assert manifest_of(first)["vectors"] == loaded.vectors == "float16"
    assert manifest_of(first)["bytes"] == builder.costs(candidate).bytes


def test_the_compiled_engine_gives_the_same_bits():
    built = _built(NETWORK, weight=4)
    assert unsupported(built) is None
    x = images_for(NETWORK)
    with torch.no_grad():
        assert torch.equal(Program(built)(x), built(x))


def test_recovery_comes_first_and_nothing_else_is_rounded():
    half, plain = (_built(NETWORK, each, weight=4, state=6) for each in (HALF, FLOAT))
    found, expected = half.state_dict(), plain.state_dict()
    vectors = {f"{s.weight}.{v}" for s in NETWORK.declaration.synapses for v in ("scale", "bias")}
    for name, tensor in expected.items():
        wanted = rounded(tensor) if name in vectors else tensor
        assert torch.equal(found[name], wanted), name
    assert any(not torch.equal(found[name], expected[name]) for name in vectors)
    state = {name: tensor.clone() for name, tensor in found.items()}
    to_half_vectors(half)
    assert all(torch.equal(tensor, state[name]) for name, tensor in half.state_dict().items())


def test_what_is_not_quantised_stays_float32(tmp_path: Path):
    candidate = Candidate.from_dict({"weight": {FC1: 4, "head": 16}}, NETWORK.sites)
    built, plain = (_builder(NETWORK, each).build(candidate) for each in (HALF, FLOAT))
    entries = manifest_of(save_packed(built, tmp_path / "packed"))["tensors"]
    kinds = {name: e["dtype"] for name, e in entries.items() if name.endswith(".affine")}
    assert kinds.pop(f"{FC1}.affine") == "float16"
    assert set(kinds.values()) == {"float32"}
    loaded, state = load_packed(tmp_path / "packed"), plain.state_dict()
    assert set(_quantised(loaded)) == {FC1}
    head = loaded.get_parameter("head.bias").detach()
    assert torch.equal(head, state["head.bias"])
    assert not torch.equal(rounded(head), head)


def test_float32_is_the_default_and_knows_nothing_of_it(tmp_path: Path):
    folder = save_packed(_built(NETWORK, FLOAT, weight=4), tmp_path / "packed")
    assert "vectors" not in manifest_of(folder)
    assert not [e for e in manifest_of(folder)["tensors"].values() if "exponents" in e]
    assert load_packed(folder).vectors == "float32"


@few
@given(st.data())
def test_bytes_of_any_candidate_are_those_of_the_file(data: st.DataObject):
    candidate = data.draw(any_candidates(NETWORK))
    half, plain = (_builder(NETWORK, each) for each in (HALF, FLOAT))
    built = half.build(candidate)
    with tempfile.TemporaryDirectory() as parent:
        folder = save_packed(built, Path(parent) / "packed")
        spans = spans_of(folder / MODEL)
        entries = manifest_of(folder)["tensors"]
    costs, full = half.costs(candidate), plain.costs(candidate)
    assert costs.bytes == sum(end - start for start, end in spans.values())
    assert costs.parameters == full.parameters
    saved = 0
    for name in _quantised(built):
        numbers = int(np.prod(entries[f"{name}.affine"]["shape"]))
        saved += -(-4 * numbers // 64) * 64 - -(-2 * numbers // 64) * 64
    assert full.bytes - costs.bytes == saved


def test_fixed_point_has_formats_of_its_own():
    with pytest.raises(BadInput, match=r"vectors is 'float16'.*leave one of them"):
        replace(HALF, arithmetic="fixed")
    built = _built(NETWORK, FLOAT, weight=4)
    to_fixed_point(built)
    with pytest.raises(BadInput, match="fixed point"):
        to_half_vectors(built)


def test_what_float16_does_not_hold_is_not_saved(tmp_path: Path):
    built = _built(NETWORK, weight=4)
    module = _quantised(built)[FC1]
    module.bias = torch.nextafter(module.bias, torch.tensor(9.0))
    with pytest.raises(BadInput, match=f"bias of {FC1} is no float16"):
        save_packed(built, tmp_path / "packed")
    assert not (tmp_path / "packed").exists()


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("half") / "packed"
    return save_packed(_built(NETWORK, weight=4), folder)


@pytest.fixture
def folder(sound: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "packed"
    copy.mkdir()
    for file in sound.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    return copy


def _affine(manifest: dict[str, Any]) -> dict[str, Any]:
    return manifest["tensors"][f"{FC1}.affine"]


_EDITS: dict[str, Any] = {
    "not said": lambda m: m.pop("vectors"),
    "float32": lambda m: m.update(vectors="float32"),
    "another kind": lambda m: m.update(vectors="bfloat16"),
    "no name": lambda m: m.update(vectors=["float16"]),
    "huge exponent": lambda m: _affine(m)["exponents"].__setitem__(0, 10**9),
    "exponent of text": lambda m: _affine(m)["exponents"].__setitem__(0, "3"),
    "one exponent": lambda m: _affine(m)["exponents"].pop(),
    "no exponents": lambda m: _affine(m).pop("exponents"),
    "other dtype": lambda m: _affine(m).update(dtype="float32"),
    "other shape": lambda m: _affine(m)["shape"].reverse(),
    "fixed point": lambda m: m.update(arithmetic={}),
}


@pytest.mark.parametrize("edit", _EDITS.values(), ids=list(_EDITS))
def test_other_formats_are_refused(folder: Path, edit: Any):
    edit_manifest(folder, edit)
    with pytest.raises(CorruptFile):
        load_packed(folder)


def _replace(folder: Path, change: Any) -> None:
    arrays = {name: array.copy() for name, array in load_file(folder / MODEL).items()}
    arrays[f"{FC1}.affine"] = change(arrays[f"{FC1}.affine"])
    save_file(arrays, folder / MODEL)
    sign(folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda array: array.astype(np.float32),
        lambda array: array.astype(np.int16),
        lambda array: array[:-32],
        lambda array: array.view(np.float32),
        lambda array: array / 2,
    ],
    ids=["float32", "integers", "shorter", "bits of float32", "not normalised"],
)
def test_other_tensors_are_refused(folder: Path, change: Any):
    _replace(folder, change)
    with pytest.raises(CorruptFile):
        load_packed(folder)


def test_a_float32_file_does_not_become_one_of_float16(tmp_path: Path):
    folder = save_packed(_built(NETWORK, FLOAT, weight=4), tmp_path / "packed")
    edit_manifest(folder, lambda m: m.update(vectors="float16"))
    with pytest.raises(CorruptFile):
        load_packed(folder)


def test_verify_proves_it_and_notices_another_power_of_two(folder: Path):
    assert verify(folder, with_data=False).passed
    edit_manifest(folder, lambda m: _affine(m)["exponents"].__setitem__(0, -3))
    assert not verify(folder, with_data=False).golden

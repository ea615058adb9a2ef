"""Scales and biases in float16 and int8: rounded once, the same bits everywhere, and small."""

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
from packed_files import MODEL, check_kept_bit_for_bit, edit_manifest, manifest_of, sign, spans_of
from safetensors.numpy import load_file, save_file
from small_spikformers import any_candidates, few, small

from spikefront.evaluators.builder import CandidateBuilder
from spikefront.evaluators.packing import verify
from spikefront.spaces import MAGNITUDE, BadInput, Candidate, CorruptFile
from spikefront.svtmodels import Network, load_packed, save_packed
from spikefront.svtmodels.engine.program import Program, unsupported
from spikefront.svtmodels.packed.vectors import pack_vectors
from spikefront.svtmodels.parts.short_vectors import SHORT_TYPES, ShortType, widened
from spikefront.svtmodels.parts.synapse import QuantisedSynapse
from spikefront.svtmodels.surgery.fixed_point import to_fixed_point
from spikefront.svtmodels.surgery.short_vectors import to_short_vectors

untimed = settings(deadline=None, max_examples=60)
FLOAT = replace(MAGNITUDE, recovery_images=2)
SHORT = {name: replace(FLOAT, vectors=name) for name in SHORT_TYPES}
HALF = SHORT["float16"]
HALVES, WHOLE = SHORT_TYPES["float16"], SHORT_TYPES["int8"]
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
    vector = _drawn(seed, size, spread)
    found = HALVES.rounded(vector)
    # Eleven bits of each number, wherever float32 itself has normal numbers and 2^-28 of the
    # largest is not reached.
    large = (vector.abs() >= 2.0**-110) & (vector.abs() >= vector.abs().max() * 2.0**-28)
    assert ((found - vector).abs() <= vector.abs() * 2.0**-11)[large].all()
    assert np.log2(HALVES.unit_of(vector)) % 1 == 0
    _check_stays(HALVES, vector)


@untimed
@given(st.integers(0, 10**6), st.integers(-140, 120), st.integers(0, 20))
def test_rounding_to_whole_numbers_errs_by_half_a_unit(seed: int, size: int, spread: int):
    vector = _drawn(seed, size, spread)
    unit = WHOLE.unit_of(vector)
    error = (WHOLE.rounded(vector).double() - vector.double()).abs()
    # The unit itself is rounded to 16 bits, which 127 of it feel most.
    assert (error <= unit * (0.5 + 127 * 2.0**-16)).all()
    if unit != 1:
        assert unit == pytest.approx(float(vector.abs().max()) / 127, rel=2.0**-15)
    _check_stays(WHOLE, vector)


def _drawn(seed: int, size: int, spread: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    exponents = torch.randint(-spread, 1, (9,), generator=generator).double()
    return (torch.randn(9, generator=generator).double() * 2.0 ** (exponents + size)).float()


def _check_stays(short: ShortType, vector: torch.Tensor) -> None:
    """What was rounded is its own rounding, and any reader computes the same bits."""
    found, unit = short.rounded(vector), short.unit_of(vector)
    assert torch.equal(short.rounded(found), found)
    assert short.unit_of(found) == unit
    assert torch.equal(widened(short.numbers_of(found, unit), unit), found)
    plain = short.numbers_of(vector, unit).numpy()
    assert np.array_equal((plain.astype(np.float64) * unit).astype(np.float32), found.numpy())
    assert np.array_equal(plain.astype(np.float32) * np.float32(unit), found.numpy())


def test_numbers_too_small_for_float16_alone_keep_their_bits():
    # An eight-bit scale of the image's synapse, where float16 has steps of 6e-8.
    scale = torch.tensor([1.8e-6, 3.3e-6])
    assert ((scale.half().float() - scale).abs() / scale).max() > 2.0**-8
    assert ((HALVES.rounded(scale) - scale).abs() / scale).max() <= 2.0**-11
    assert HALVES.rounded(torch.tensor([1e6, -3e5])).tolist() == [999936.0, -300032.0]


@pytest.mark.parametrize("name", SHORT_TYPES)
def test_what_has_no_size_has_no_unit(name: str):
    for vector in (torch.zeros(3), torch.zeros(0), torch.tensor([1.0, float("inf")])):
        assert SHORT_TYPES[name].unit_of(vector) == 1
        assert torch.equal(SHORT_TYPES[name].rounded(vector), vector)


@pytest.mark.parametrize("name", SHORT_TYPES)
def test_what_is_not_finite_is_never_stored_as_a_number(name: str):
    vector = torch.tensor([1.0, float("nan")])
    kept = SHORT_TYPES[name].rounded(vector)
    assert kept[1].isnan()
    if name == "int8":
        with pytest.raises(BadInput, match=f"the bias of {FC1} is no int8"):
            pack_vectors(FC1, [("bias", vector)], name)


def test_rounding_up_carries_into_the_power():
    vector = torch.tensor([1 - 2.0**-13, 2.0**-14 * (1 + 2.0**-10)])
    assert HALVES.unit_of(vector) == 2.0**-14
    assert torch.equal(HALVES.rounded(vector), torch.tensor([1.0, 2.0**-14 * (1 + 2.0**-10)]))


@pytest.mark.parametrize("name", SHORT_TYPES)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_packed_network_is_the_same_bit_for_bit(family: str, name: str, tmp_path: Path):
    network = network_of(family)
    builder, candidate = _builder(network, SHORT[name]), chosen(network, **LEVELS)
    built = builder.build(candidate)
    first, loaded = check_kept_bit_for_bit(built, images_for(network), tmp_path)
    assert manifest_of(first)["vectors"] == loaded.vectors == name
    assert manifest_of(first)["bytes"] == builder.costs(candidate).bytes


@pytest.mark.parametrize("name", SHORT_TYPES)
def test_the_compiled_engine_gives_the_same_bits(name: str):
    built = _built(NETWORK, SHORT[name], weight=4)
    assert unsupported(built) is None
    x = images_for(NETWORK)
    with torch.no_grad():
        assert torch.equal(Program(built)(x), built(x))


@pytest.mark.parametrize("name", SHORT_TYPES)
def test_recovery_comes_first_and_nothing_else_is_rounded(name: str):
    short, plain = (_built(NETWORK, each, weight=4, state=6) for each in (SHORT[name], FLOAT))
    found, expected, rounded = short.state_dict(), plain.state_dict(), SHORT_TYPES[name].rounded
    vectors = {f"{s.weight}.{v}" for s in NETWORK.declaration.synapses for v in ("scale", "bias")}
    for key, tensor in expected.items():
        wanted = rounded(tensor) if key in vectors else tensor
        assert torch.equal(found[key], wanted), key
    assert any(not torch.equal(found[key], expected[key]) for key in vectors)
    state = {key: tensor.clone() for key, tensor in found.items()}
    to_short_vectors(short, name)
    assert all(torch.equal(tensor, state[key]) for key, tensor in short.state_dict().items())


@pytest.mark.parametrize("name", SHORT_TYPES)
def test_what_is_not_quantised_stays_float32(name: str, tmp_path: Path):
    candidate = Candidate.from_dict({"weight": {FC1: 4, "head": 16}}, NETWORK.sites)
    built, plain = (_builder(NETWORK, each).build(candidate) for each in (SHORT[name], FLOAT))
    entries = manifest_of(save_packed(built, tmp_path / "packed"))["tensors"]
    kinds = {key: e["dtype"] for key, e in entries.items() if key.endswith(".affine")}
    assert kinds.pop(f"{FC1}.affine") == name
    assert set(kinds.values()) == {"float32"}
    loaded, state = load_packed(tmp_path / "packed"), plain.state_dict()
    assert set(_quantised(loaded)) == {FC1}
    head = loaded.get_parameter("head.bias").detach()
    assert torch.equal(head, state["head.bias"])
    assert not torch.equal(SHORT_TYPES[name].rounded(head), head)


def test_float32_is_the_default_and_knows_nothing_of_it(tmp_path: Path):
    folder = save_packed(_built(NETWORK, FLOAT, weight=4), tmp_path / "packed")
    assert "vectors" not in manifest_of(folder)
    assert not [e for e in manifest_of(folder)["tensors"].values() if "units" in e]
    assert load_packed(folder).vectors == "float32"


@few
@given(st.data(), st.sampled_from(sorted(SHORT_TYPES)))
def test_bytes_of_any_candidate_are_those_of_the_file(data: st.DataObject, name: str):
    candidate = data.draw(any_candidates(NETWORK))
    short, plain = (_builder(NETWORK, each) for each in (SHORT[name], FLOAT))
    built = short.build(candidate)
    with tempfile.TemporaryDirectory() as parent:
        folder = save_packed(built, Path(parent) / "packed")
        spans = spans_of(folder / MODEL)
        entries = manifest_of(folder)["tensors"]
    costs, full = short.costs(candidate), plain.costs(candidate)
    assert costs.bytes == sum(end - start for start, end in spans.values())
    assert costs.parameters == full.parameters
    saved, size = 0, np.dtype(name).itemsize
    for synapse in _quantised(built):
        numbers = int(np.prod(entries[f"{synapse}.affine"]["shape"]))
        saved += -(-4 * numbers // 64) * 64 - -(-size * numbers // 64) * 64
    assert full.bytes - costs.bytes == saved


def test_fixed_point_has_formats_of_its_own():
    for name in SHORT_TYPES:
        with pytest.raises(BadInput, match=rf"vectors is '{name}'.*leave one of them"):
            replace(SHORT[name], arithmetic="fixed")
    built = _built(NETWORK, FLOAT, weight=4)
    to_fixed_point(built)
    with pytest.raises(BadInput, match="fixed point"):
        to_short_vectors(built, "int8")


def test_another_type_is_refused():
    with pytest.raises(BadInput, match=r"unknown type of vectors 'float32'.*float16"):
        to_short_vectors(_built(NETWORK, FLOAT, weight=4), "float32")


@pytest.mark.parametrize("name", SHORT_TYPES)
def test_what_a_type_does_not_hold_is_not_saved(name: str, tmp_path: Path):
    built = _built(NETWORK, SHORT[name], weight=4)
    module = _quantised(built)[FC1]
    module.bias = torch.nextafter(module.bias, torch.tensor(9.0))
    with pytest.raises(BadInput, match=f"bias of {FC1} is no {name}"):
        save_packed(built, tmp_path / "packed")
    assert not (tmp_path / "packed").exists()


@pytest.fixture(scope="module", params=SHORT_TYPES)
def sound(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("short") / "packed"
    return save_packed(_built(NETWORK, SHORT[request.param], weight=4), folder)


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
    "another short type": lambda m: m.update(
        vectors=next(name for name in SHORT_TYPES if name != m["vectors"])
    ),
    "huge unit": lambda m: _affine(m)["units"].__setitem__(0, 1e300),
    "unit of nothing": lambda m: _affine(m)["units"].__setitem__(0, float("nan")),
    "unit of text": lambda m: _affine(m)["units"].__setitem__(0, "3"),
    "one unit": lambda m: _affine(m)["units"].pop(),
    "no units": lambda m: _affine(m).pop("units"),
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
        lambda array: (array / 2).astype(array.dtype),
    ],
    ids=["float32", "integers", "shorter", "bits of float32", "not normalised"],
)
def test_other_tensors_are_refused(folder: Path, change: Any):
    _replace(folder, change)
    with pytest.raises(CorruptFile):
        load_packed(folder)


@pytest.mark.parametrize("name", SHORT_TYPES)
def test_a_float32_file_does_not_become_a_shorter_one(name: str, tmp_path: Path):
    folder = save_packed(_built(NETWORK, FLOAT, weight=4), tmp_path / "packed")
    edit_manifest(folder, lambda m: m.update(vectors=name))
    with pytest.raises(CorruptFile):
        load_packed(folder)


def test_verify_proves_it_and_notices_another_unit(folder: Path):
    assert verify(folder, with_data=False).passed
    edit_manifest(folder, lambda m: _affine(m)["units"].__setitem__(0, 2 * _affine(m)["units"][0]))
    assert not verify(folder, with_data=False).golden

"""Weights in the packed file: every width and density, their exact sizes, and damage."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lively_networks import FAMILIES, images_for, network_of
from packed_files import MANIFEST, MODEL, edit_manifest, manifest_of, sign
from safetensors.numpy import load_file, save_file
from small_spikformers import choose, small

from spikefront.evaluators.synops import SynOpCounter
from spikefront.spaces import Candidate, CorruptFile, Site, SiteKind, SurgeryOptions
from spikefront.svtmodels import Network, compress, load_packed, save_packed, static_costs
from spikefront.svtmodels.packed.layout import padded, weight_bytes
from spikefront.svtmodels.packed.weights import pack_weight, unpack_weight
from spikefront.svtmodels.surgery.moments import collect_moments
from spikefront.svtmodels.surgery.prepared import PreparedSurgery

untimed = settings(deadline=None, max_examples=60)
WIDTHS = (1, 2, 3, 4, 5, 6, 7, 8, 16, 32)


@st.composite
def weights(draw: st.DrawFn) -> tuple[np.ndarray, int, int | None]:
    """Values of a width, of which at most so many are not zero; None: not pruned."""
    bits, seed = draw(st.sampled_from(WIDTHS)), draw(st.integers(0, 10**6))
    shape = draw(st.sampled_from([(1, 1), (3, 70), (16, 40), (8, 6, 3, 3)]))
    rng, count = np.random.default_rng(seed), math.prod(shape)
    limit = 1 if bits == 1 else 2 ** (bits - 1) - 1
    if bits == 1:
        values = rng.choice([-1, 1], count).astype(np.int8)
    elif bits <= 8:
        values = rng.integers(-limit, limit + 1, count).astype(np.int8)
    else:
        values = rng.standard_normal(count).astype(np.float16 if bits == 16 else np.float32)
        values = values.astype(np.float32)
    kept = draw(st.none() | st.integers(0, count))
    if kept is not None:
        values[rng.permutation(count)[kept:]] = 0
    return values.reshape(shape), bits, kept


@untimed
@given(weights())
def test_what_is_read_is_what_was_written_and_as_large_as_predicted(weight):
    values, bits, kept = weight
    tensors = pack_weight("w", values, bits, kept)
    arrays, entries = {}, {}
    for name, (array, entry) in tensors.items():
        missing = (padded(array.nbytes) - array.nbytes) // array.itemsize
        arrays[name] = np.concatenate([array, np.zeros(missing, array.dtype)])
        entries[name] = entry
    assert sum(array.nbytes for array in arrays.values()) == weight_bytes(values.size, bits, kept)
    back, stays = unpack_weight("w", bits, kept is not None, entries, arrays)
    assert stays == kept
    np.testing.assert_array_equal(back, values)
    assert back.dtype == values.dtype


@pytest.mark.parametrize(
    ("count", "bits", "kept", "size"),
    [
        (4096, 32, None, 16384),
        (4096, 32, 4096, 16384),  # A bitmap would be added to all of them.
        (4096, 32, 2048, 512 + 8192),
        (4096, 16, None, 8192),
        (4096, 16, 1000, 512 + 2048),
        (4096, 4, 3000, 2048),
        (4096, 4, 1000, 512 + 512),
        (4096, 2, None, 832),  # 820 bytes of five codes each.
        (4096, 2, 1024, 512 + 256),
        (4096, 2, 1600, 832),  # A bitmap and 320 bytes would tie with it.
        (4096, 1, None, 512),
        (4096, 1, 1024, 512 + 128),
        (4096, 1, 2048, 512 + 256),
        (4096, 1, 4096, 832),  # Signs and zeros, five to a byte; a bitmap would make it 1,024.
        (4096, 3, 0, 512),
    ],
)
def test_sizes_by_hand(count: int, bits: int, kept: int | None, size: int):
    assert weight_bytes(count, bits, kept) == size


@untimed
@given(st.integers(1, 10**5), st.integers(0, 100), st.integers(1, 7))
def test_fewer_bits_never_take_more_bytes(count: int, percent: int, bits: int):
    kept = count * percent // 100
    assert weight_bytes(count, bits) <= weight_bytes(count, bits + 1)
    assert weight_bytes(count, bits, kept) <= weight_bytes(count, bits + 1, kept)


def test_a_dense_weight_of_signs_and_zeros_is_ternary():
    values = np.array([[1, 0, -1, 1, 1], [1, -1, 0, 1, 1]], np.int8).repeat(100, axis=0)
    ((name, (array, entry)),) = pack_weight("w", values, 1, 800).items()
    assert (name, array.nbytes) == ("w.codes", 200)
    assert entry == {
        "shape": [200, 5],
        "bits": 2,
        "signed": True,
        "order": "base-3",
        "per_byte": 5,
        "levels": [-1, 0, 1],
        "kept": 800,
    }


def any_choice(network: Network, seed: int) -> Candidate:
    """Any legal value at about half of all sites."""
    rng = random.Random(seed)

    def value(site: Site) -> int:
        if site.kind is SiteKind.WEIGHT:
            return rng.choice(WIDTHS)
        if site.kind is SiteKind.STATE:
            return rng.randrange(4, 17)
        if site.kind is SiteKind.RECOVERY:
            return rng.randrange(2)
        return rng.randrange(1, site.size // site.unit + 1) * site.unit

    return Candidate.of({site: value(site) for site in network.sites if rng.random() < 0.5})


_OPTIONS: tuple[Mapping[str, Any], ...] = (
    {},
    {"scales": "percentile", "scale_per": "tensor", "density_scope": "network"},
    {"scales": "max", "rounding": "nearest", "density": "magnitude"},
)


@torch.no_grad()
@pytest.mark.parametrize(
    ("family", "seed"), [*((family, i) for i, family in enumerate(FAMILIES)), (FAMILIES[0], 8)]
)
def test_any_candidate_comes_back_bit_for_bit(family: str, seed: int, tmp_path: Path):
    network = network_of(family)
    images = images_for(network)
    moments = collect_moments(network, [images], len(images))
    options = SurgeryOptions(**_OPTIONS[seed % len(_OPTIONS)])
    surgery = PreparedSurgery(network, options, moments)
    candidate = any_choice(network, seed)
    predicted = static_costs(network, candidate, surgery)
    compressed = compress(network, candidate, surgery)
    again = compress(network, candidate, PreparedSurgery(network, surgery.options, moments))
    for name, tensor in again.state_dict().items():
        assert torch.equal(tensor, compressed.state_dict()[name]), name
    first = save_packed(compressed, tmp_path / "first")
    manifest = manifest_of(first)
    assert manifest["bytes"] == predicted.bytes
    assert stored_numbers(manifest) == predicted.parameters
    loaded = load_packed(first)
    with SynOpCounter(compressed) as before:
        expected = compressed(images)
    with SynOpCounter(loaded) as after:
        assert torch.equal(loaded(images), expected)
    assert after.by_layer == before.by_layer
    assert loaded.kept_numbers == compressed.kept_numbers
    second = save_packed(loaded, tmp_path / "second")
    for name in (MODEL, MANIFEST):
        assert (second / name).read_bytes() == (first / name).read_bytes()


def stored_numbers(manifest: dict[str, Any]) -> int:
    return sum(
        entry.get("kept", math.prod(entry["shape"]))
        for name, entry in manifest["tensors"].items()
        if name != "neurons" and not name.endswith(".bitmap")
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_full_widths_and_densities_are_the_identity(family: str):
    network = network_of(family)
    full = {site: site.size for site in network.sites}
    assert Candidate.of(full) == Candidate()
    images = images_for(network)
    same = compress(network, Candidate.of(full))
    assert torch.equal(same(images), network(images))
    assert not same.kept_numbers


_FC1 = "block.0.mlp.fc1"
_K = "block.0.attn.k"
_LIF = "block.0.mlp.fc1_lif"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    network = small(depths=1)
    chosen = choose(
        network,
        weight={_FC1: 1, "block.0.attn.q": 16, "head": 4, _K: 2},
        density={_FC1: 30, "block.0.mlp.fc2": 20, "block.0.attn.q": 50},
        state={_LIF: 6},
    )
    return save_packed(compress(network, chosen), tmp_path / "packed")


def test_the_manifest_says_what_a_port_needs(folder: Path):
    manifest = manifest_of(folder)
    codes, bitmap = (manifest["tensors"][f"{_FC1}.{part}"] for part in ("codes", "bitmap"))
    assert (codes["bits"], codes["levels"], codes["shape"]) == (1, [-1, 1], [64, 32])
    assert (codes["kept"], bitmap["shape"]) == (615, [64, 32])
    ternary = manifest["tensors"][f"{_K}.codes"]
    assert (ternary["bits"], ternary["order"], ternary["per_byte"]) == (2, "base-3", 5)
    assert (ternary["levels"], ternary["shape"]) == ([-1, 0, 1], [32, 32])
    query = manifest["tensors"]["block.0.attn.q.weight"]
    assert (query["dtype"], query["kept"]) == ("float16", 512)
    assert manifest["neurons"]["state"]["bits"] == {_LIF: 6}
    arrays = load_file(folder / MODEL)
    assert np.unpackbits(arrays[f"{_FC1}.bitmap"]).sum() == 615
    assert arrays["block.0.attn.q.weight"].dtype == np.float16


_EDITS: dict[str, Any] = {
    "more bits": lambda m: m["tensors"][f"{_FC1}.codes"].update(bits=2),
    "unknown bits": lambda m: m["tensors"][f"{_FC1}.codes"].update(bits=12),
    "other levels": lambda m: m["tensors"][f"{_FC1}.codes"].update(levels=[0, 1]),
    "no digits": lambda m: m["tensors"][f"{_K}.codes"].update(order="lsb-first"),
    "other digits": lambda m: m["tensors"][f"{_K}.codes"].update(per_byte=4),
    "fewer kept": lambda m: m["tensors"][f"{_FC1}.codes"].update(kept=614),
    "more kept than there are": lambda m: m["tensors"][f"{_FC1}.codes"].update(kept=9999),
    "kept of no type": lambda m: m["tensors"][f"{_FC1}.codes"].update(kept="615"),
    "nothing kept": lambda m: m["tensors"][f"{_FC1}.codes"].pop("kept"),
    "kept where nothing left": lambda m: m["tensors"]["head.codes"].update(kept=9),
    "other float": lambda m: m["tensors"]["block.0.attn.q.weight"].update(dtype="float32"),
    "unknown float": lambda m: m["tensors"]["block.0.attn.q.weight"].update(dtype="bfloat16"),
    "no density": lambda m: m["candidate"].pop("density"),
    "density elsewhere": lambda m: m["candidate"]["density"].update(head=50),
    "other width": lambda m: m["candidate"]["weight"].update({_FC1: 2}),
    "no states": lambda m: m["neurons"].pop("state"),
    "other state": lambda m: m["neurons"]["state"]["bits"].update({_LIF: 5}),
    "state elsewhere": lambda m: m["candidate"]["state"].update({"block.0.mlp.fc2_lif": 6}),
    "illegal state": lambda m: m["candidate"]["state"].update({_LIF: 3}),
}


@pytest.mark.parametrize("edit", _EDITS.values(), ids=list(_EDITS))
def test_a_manifest_that_does_not_fit_is_refused(folder: Path, edit: Any):
    edit_manifest(folder, edit)
    with pytest.raises(CorruptFile):
        load_packed(folder)


def _mark_one_more(arrays: dict[str, Any]) -> None:
    bitmap = arrays[f"{_FC1}.bitmap"]
    byte = int(np.flatnonzero(bitmap != 255)[0])
    bitmap[byte] |= ~bitmap[byte] & (bitmap[byte] + 1)


_DAMAGE: dict[str, Any] = {
    "one number more": _mark_one_more,
    "an empty bitmap": lambda a: a[f"{_FC1}.bitmap"].fill(0),
    "a short bitmap": lambda a: a.update({f"{_FC1}.bitmap": a[f"{_FC1}.bitmap"][:64]}),
    "no bitmap": lambda a: a.pop(f"{_FC1}.bitmap"),
    "short codes": lambda a: a.update({f"{_FC1}.codes": a[f"{_FC1}.codes"][:64]}),
    "no five codes": lambda a: a[f"{_K}.codes"].__setitem__(7, 243),
    # 1,024 codes fill 204 bytes, and four digits of one more.
    "a digit too many": lambda a: a[f"{_K}.codes"].__setitem__(204, 81),
    "padding": lambda a: a[f"{_K}.codes"].__setitem__(205, 1),
    "wide halves": lambda a: a.update(
        {"block.0.attn.q.weight": a["block.0.attn.q.weight"].astype(np.float32)}
    ),
}


@pytest.mark.parametrize("damage", _DAMAGE.values(), ids=list(_DAMAGE))
@pytest.mark.parametrize("signed", [True, False])
def test_damaged_arrays_are_refused(folder: Path, damage: Any, signed: bool):
    arrays = {name: array.copy() for name, array in load_file(folder / MODEL).items()}
    damage(arrays)
    save_file(arrays, folder / MODEL)
    if signed:
        sign(folder)
    with pytest.raises(CorruptFile):
        load_packed(folder)

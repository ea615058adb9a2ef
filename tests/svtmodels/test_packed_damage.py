"""Packed folders that are not what they should be: an error of ours, never a stray traceback."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from packed_files import GOLDEN, MANIFEST, MODEL, edit_manifest, manifest_of, sign
from safetensors.numpy import load_file, save_file
from small_spikformers import choose, few, inputs_for, small

from spikefront.spaces import BadInput, CorruptFile, SpikefrontError
from spikefront.svtmodels import compress, load_packed, read_golden, read_manifest, save_packed

NETWORK = small(depths=1)
CANDIDATE = choose(
    NETWORK,
    channel={"block.0.mlp.hidden": 21},
    token={"block.0": 5},
    weight={"patch_embed.proj_conv": 8, "block.0.mlp.fc1": 3, "head": 5},
    time={"steps": 3},
)


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    """A sound folder, never to be changed."""
    folder = tmp_path_factory.mktemp("sound") / "packed"
    return save_packed(compress(NETWORK, CANDIDATE), folder)


@pytest.fixture
def folder(sound, tmp_path) -> Path:
    """A copy to be damaged."""
    return Path(shutil.copytree(sound, tmp_path / "packed"))


def test_nothing_there(tmp_path):
    for path in (tmp_path / "absent", tmp_path):
        for read in (load_packed, read_golden, read_manifest):
            with pytest.raises(BadInput, match=f"{path}.*no packed folder"):
                read(path)


@pytest.mark.parametrize(("name", "read"), [(MODEL, load_packed), (GOLDEN, read_golden)])
class TestFiles:
    """The two tensor files."""

    def test_missing(self, folder, name, read):
        (folder / name).unlink()
        with pytest.raises(CorruptFile, match=f"{name} is missing"):
            read(folder)

    @pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
    def test_truncated(self, folder, name, read, share):
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: int(len(data) * share)])
        with pytest.raises(CorruptFile, match=f"{name} was truncated or altered"):
            read(folder)

    @pytest.mark.parametrize("place", [0, 9, -1])
    def test_one_bit_altered(self, folder, name, read, place):
        data = bytearray((folder / name).read_bytes())
        data[place] ^= 1
        (folder / name).write_bytes(data)
        with pytest.raises(CorruptFile, match=f"{name} was truncated or altered"):
            read(folder)

    def test_longer(self, folder, name, read):
        with (folder / name).open("ab") as file:
            file.write(b"\0")
        with pytest.raises(CorruptFile, match=f"{name} was truncated or altered"):
            read(folder)

    @pytest.mark.parametrize("content", [b"", b"no tensors", b"\xff" * 100])
    def test_signed_but_no_tensors(self, folder, name, read, content):
        (folder / name).write_bytes(content)
        sign(folder)
        with pytest.raises(CorruptFile, match=name):
            read(folder)

    @pytest.mark.parametrize("sums", [None, [], {}, {MODEL: 5, GOLDEN: 5}])
    def test_without_checksum(self, folder, name, read, sums):
        edit_manifest(folder, lambda manifest: manifest.update(sha256=sums))
        with pytest.raises(CorruptFile, match="checksum"):
            read(folder)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"[]", b"null", b"{}"])
def test_manifest_of_no_kind(folder, content):
    (folder / MANIFEST).write_bytes(content)
    with pytest.raises(CorruptFile, match=MANIFEST):
        load_packed(folder)


def test_manifest_of_another_format(folder):
    edit_manifest(folder, lambda manifest: manifest.update(format="onnx"))
    with pytest.raises(CorruptFile, match="format 'spikefront-packed'"):
        load_packed(folder)


@pytest.mark.parametrize("schema", [0, 3, "4", None])
def test_manifest_of_another_schema(folder, schema):
    edit_manifest(folder, lambda manifest: manifest.update(schema=schema))
    with pytest.raises(BadInput, match=f"schema {schema}; this version reads 4"):
        load_packed(folder)


_FC1 = "block.0.mlp.fc1"
_EDITS: dict[str, Any] = {
    "architecture": lambda m: m.update(architecture="resnet"),
    "architecture of no type": lambda m: m.update(architecture=[]),
    "other arguments": lambda m: m["arguments"].update(embed_dims=64),
    "unknown argument": lambda m: m["arguments"].update(width=64),
    "more blocks": lambda m: m["arguments"].update(depths=2),
    "other width": lambda m: m["widths"].update({"block.0.mlp.hidden": 22}),
    "other candidate": lambda m: m["candidate"]["channel"].update({"block.0.mlp.hidden": 22}),
    "illegal candidate": lambda m: m["candidate"]["weight"].update({"head": 99}),
    "other tokens": lambda m: m["kept_tokens"].update({"block.0": 4}),
    "no tokens": lambda m: m.update(kept_tokens={}),
    "no steps": lambda m: m.update(time_steps=0),
    "half a step": lambda m: m.update(time_steps=2.5),
    "kept channels": lambda m: m["kept_channels"].update({"block.0.mlp.hidden": ["x"]}),
    "no entry": lambda m: m["tensors"].pop(f"{_FC1}.codes"),
    "no entries": lambda m: m.update(tensors={}),
    "entries of no kind": lambda m: m.update(tensors=[]),
    "other bits": lambda m: m["tensors"][f"{_FC1}.codes"].update(bits=4),
    "too many bits": lambda m: m["tensors"][f"{_FC1}.codes"].update(bits=16),
    "no bits": lambda m: m["tensors"][f"{_FC1}.codes"].update(bits=0),
    "bits of no type": lambda m: m["tensors"][f"{_FC1}.codes"].update(bits="3"),
    "turned codes": lambda m: m["tensors"][f"{_FC1}.codes"]["shape"].reverse(),
    "no grid": lambda m: m["tensors"]["head.codes"].update(input_grid=0),
    "no limit": lambda m: m["tensors"]["head.codes"].pop("input_limit"),
    "short affine": lambda m: m["tensors"][f"{_FC1}.affine"].update(shape=[2, 20]),
    "long affine": lambda m: m["tensors"][f"{_FC1}.affine"].update(shape=[2, 2100]),
    "wider affine": lambda m: m["tensors"][f"{_FC1}.affine"].update(shape=[2, 22]),
    "flat affine": lambda m: m["tensors"][f"{_FC1}.affine"].update(shape=[42]),
    "unnamed rows": lambda m: m["tensors"][f"{_FC1}.affine"].update(rows=["scale", "b"]),
    "too few rows": lambda m: m["tensors"][f"{_FC1}.affine"].update(rows=["scale"]),
    "turned weight": lambda m: m["tensors"]["block.0.mlp.fc2.weight"]["shape"].reverse(),
    "other neurons": lambda m: m["neurons"]["layers"].reverse(),
    "fewer neurons": lambda m: m["neurons"]["layers"].pop(),
    "neurons of no kind": lambda m: m.update(neurons=None),
    "fewer constants": lambda m: m["tensors"]["neurons"].update(shape=[11, 2]),
    "no record": lambda m: m.pop("record"),
}


@pytest.mark.parametrize("edit", _EDITS.values(), ids=list(_EDITS))
def test_manifest_that_does_not_fit_its_tensors(folder, edit):
    edit_manifest(folder, edit)
    with pytest.raises(BadInput):
        load_packed(folder)


def _renamed(arrays: dict[str, Any]) -> None:
    arrays["other"] = arrays.pop(f"{_FC1}.codes")


def _as_double(arrays: dict[str, Any]) -> None:
    arrays["block.0.mlp.fc2.weight"] = arrays["block.0.mlp.fc2.weight"].astype(np.float64)


def _as_words(arrays: dict[str, Any]) -> None:
    arrays[f"{_FC1}.codes"] = arrays[f"{_FC1}.codes"].view(np.uint32)


def _shortened(arrays: dict[str, Any]) -> None:
    arrays[f"{_FC1}.affine"] = arrays[f"{_FC1}.affine"][:-16]


@pytest.mark.parametrize("change", [_renamed, _as_double, _as_words, _shortened])
def test_signed_tensors_that_do_not_fit(folder, change):
    arrays = load_file(folder / MODEL)
    change(arrays)
    save_file(arrays, folder / MODEL)
    sign(folder)
    with pytest.raises(CorruptFile, match="do not fit"):
        load_packed(folder)


def _leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths of everything in a JSON value, itself excluded."""
    items: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    return [p for key, inner in items for p in ((*path, key), *_leaves(inner, (*path, key)))]


@few
@given(st.data())
def test_whatever_is_put_into_the_manifest_it_loads_or_says_why(sound, tmp_path, data):
    manifest = manifest_of(sound)
    path = data.draw(st.sampled_from(_leaves(manifest)))
    junk = [None, True, -1, 0, 3, 2.5, math.nan, "x", [], {}, [1, [2]], {"a": None}]
    target = manifest
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = data.draw(st.sampled_from(junk))
    folder = tmp_path / "packed"
    shutil.copytree(sound, folder, dirs_exist_ok=True)
    (folder / MANIFEST).write_text(json.dumps(manifest))
    try:
        network = load_packed(folder)
    except SpikefrontError as error:
        assert str(folder) in str(error) or isinstance(error, BadInput)
    else:
        with torch.no_grad():
            assert network(inputs_for(NETWORK, batch=1)).shape == (1, 7)

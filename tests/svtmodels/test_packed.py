"""Packed folders: what is loaded is, bit for bit, what was evaluated."""

from __future__ import annotations

import copy
import tempfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from packed_files import GOLDEN, MANIFEST, MODEL, header_of, manifest_of, spans_of
from small_spikformers import (
    ARCHITECTURES,
    any_candidates,
    choose,
    few,
    inputs_for,
    small,
    space_candidates,
    watched,
)

from spikefront.spaces import BadInput, Candidate, SiteKind
from spikefront.svtmodels import (
    Network,
    compress,
    container_bytes,
    load_packed,
    read_golden,
    read_manifest,
    save_packed,
)
from spikefront.svtmodels.parts.neuron import LIF

NETWORKS = {name: small(name) for name in ARCHITECTURES}
networks = st.sampled_from(list(NETWORKS.values()))
each_network = pytest.mark.parametrize("network", NETWORKS.values(), ids=list(NETWORKS))


def _mixed(network: Network) -> Candidate:
    """Some of everything: every kind of site, quantised and not."""
    return choose(
        network,
        channel={"block.0.attn.qk": 12, "block.0.mlp.hidden": 21, "patch_embed.proj_conv.out": 3},
        token={"block.0": 5},
        weight={"patch_embed.proj_conv": 8, "block.0.mlp.fc1": 3, "block.1.attn.v": 2, "head": 5},
        time={"steps": 3},
    )


@few
@given(networks, st.data())
def test_loaded_network_gives_the_same_logits_bit_for_bit(network: Network, data):
    candidate = data.draw(space_candidates(network))
    compressed = compress(network, candidate)
    x = inputs_for(network, batch=3, seed=data.draw(st.integers(0, 99)))
    with tempfile.TemporaryDirectory() as parent, torch.no_grad():
        loaded = load_packed(save_packed(compressed, Path(parent) / "packed"))
        assert torch.equal(loaded(x), compressed(x))
        assert torch.equal(loaded.per_step(x), compressed.per_step(x))
    assert not loaded.training
    assert loaded.candidate == candidate
    assert (loaded.widths, loaded.kept_tokens) == (compressed.widths, compressed.kept_tokens)
    assert loaded.time_steps == compressed.time_steps
    assert loaded.kept_channels.keys() == compressed.kept_channels.keys()
    for name, kept in compressed.kept_channels.items():
        assert torch.equal(loaded.kept_channels[name], kept)


@few
@given(networks, st.data())
def test_every_tensor_is_aligned_and_padded(network: Network, data):
    compressed = compress(network, data.draw(any_candidates(network)))
    with tempfile.TemporaryDirectory() as parent:
        folder = save_packed(compressed, Path(parent) / "packed")
        spans = spans_of(folder / MODEL)
        size = (folder / MODEL).stat().st_size
        names = set(manifest_of(folder)["tensors"])
    assert set(spans) == names
    assert all(start % 64 == 0 and end % 64 == 0 for start, end in spans.values())
    ordered = sorted(spans.values())
    assert all(end == start for (_, end), (start, _) in pairwise(ordered))
    assert ordered[-1][1] == size


@each_network
def test_golden_vectors_are_reproduced_from_the_file(network: Network, tmp_path):
    folder = save_packed(compress(network, _mixed(network)), tmp_path / "packed")
    golden = read_golden(folder)
    loaded = load_packed(folder)
    layers = manifest_of(folder)["neurons"]["layers"]
    with torch.no_grad(), watched(loaded, layers) as seen:
        logits = loaded(torch.from_numpy(golden["inputs"]))
    np.testing.assert_array_equal(logits.numpy(), golden["logits"])
    assert golden["spikes"].tolist() == [seen[name][1].double().sum().item() for name in layers]
    assert golden["spikes"].dtype == np.int64
    assert (golden["spikes"] > 0).sum() > len(layers) / 2


def test_golden_inputs_can_be_given(tmp_path):
    network = small()
    images = inputs_for(network, batch=5)
    golden = read_golden(save_packed(network, tmp_path / "packed", golden_inputs=images))
    np.testing.assert_array_equal(golden["inputs"], images.numpy())
    with torch.no_grad():
        np.testing.assert_array_equal(golden["logits"], network(images).numpy())


def test_golden_events_are_whole_counts(tmp_path):
    network = small("spikformer_cifar10dvs")
    inputs = read_golden(save_packed(network, tmp_path / "packed"))["inputs"]
    assert inputs.shape == (2, 4, 2, 64, 64)
    assert np.unique(inputs).tolist() == [0, 1, 2, 3]


@each_network
def test_the_same_network_gives_the_same_files(network: Network, tmp_path):
    candidate = _mixed(network)
    first = save_packed(compress(network, candidate), tmp_path / "first")
    second = save_packed(compress(network, candidate), tmp_path / "second")
    again = save_packed(load_packed(first), tmp_path / "again")
    for name in (MODEL, MANIFEST, GOLDEN):
        assert (second / name).read_bytes() == (first / name).read_bytes(), name
        assert (again / name).read_bytes() == (first / name).read_bytes(), name


@each_network
def test_a_network_in_training_is_packed_as_it_evaluates(network: Network, tmp_path):
    training = copy.deepcopy(network).train()
    before = {name: tensor.clone() for name, tensor in training.state_dict().items()}
    folder = save_packed(training, tmp_path / "packed")
    assert training.training
    assert all(torch.equal(t, before[name]) for name, t in training.state_dict().items())
    x = inputs_for(network)
    with torch.no_grad():
        assert torch.equal(load_packed(folder)(x), network(x))


def test_manifest_says_what_a_reader_needs(tmp_path):
    network = small()
    candidate = _mixed(network)
    record = {"accuracy_test": 0.91, "classes": ["cat", "dog"]}
    folder = save_packed(compress(network, candidate), tmp_path / "packed", record=record)
    manifest = read_manifest(folder)
    assert manifest == manifest_of(folder)
    assert manifest["record"] == record == load_packed(folder).card
    assert manifest["candidate"] == candidate.to_dict()
    assert manifest["key"] == candidate.key
    assert manifest["input_shape"] == [3, 16, 16]
    assert manifest["num_classes"] == 7
    assert manifest["time_steps"] == 3
    assert manifest["neurons"]["layers"][:2] == ["patch_embed.proj_lif", "patch_embed.proj_lif1"]
    codes = manifest["tensors"]["block.0.mlp.fc1.codes"]
    assert (codes["bits"], codes["shape"], codes["zero_point"]) == (3, [21, 32], 4)
    assert manifest["tensors"]["block.0.mlp.fc1.affine"]["rows"] == ["scale", "bias"]


def test_thresholds_are_in_the_file(tmp_path):
    network = small()
    neuron = network.get_submodule("block.0.mlp.fc1_lif")
    assert isinstance(neuron, LIF)
    neuron.v_threshold, neuron.tau = 0.75, 1.5
    loaded = load_packed(save_packed(network, tmp_path / "packed"))
    x = inputs_for(network)
    with torch.no_grad():
        assert torch.equal(loaded(x), network(x))
        assert not torch.equal(loaded(x), small()(x))


def test_a_file_of_few_bits_is_really_small(tmp_path):
    network = small()
    weights = {site.name: 2 for site in network.sites if site.kind is SiteKind.WEIGHT}
    full, tiny = (
        save_packed(compress(network, choose(network, weight=chosen)), tmp_path / str(len(chosen)))
        for chosen in ({}, weights)
    )
    assert (tiny / MODEL).stat().st_size < (full / MODEL).stat().st_size / 4
    header, _ = header_of(tiny / MODEL)
    dtypes = {entry["dtype"] for name, entry in header.items() if name.endswith(".codes")}
    assert dtypes == {"U8"}


def test_container_bytes_are_all_files(tmp_path):
    folder = save_packed(small(), tmp_path / "packed")
    files = [MODEL, MANIFEST, GOLDEN]
    assert sorted(file.name for file in folder.iterdir()) == sorted(files)
    assert container_bytes(folder) == sum(len((folder / name).read_bytes()) for name in files)


class TestPlace:
    """Where a folder may be written."""

    network = small(depths=1)

    def test_a_packed_folder_is_replaced_whole(self, tmp_path):
        folder = save_packed(small(), tmp_path / "packed")
        (folder / "notes.txt").write_text("of the old one")
        save_packed(self.network, folder)
        assert len(list(folder.iterdir())) == 3
        assert load_packed(folder).arguments["depths"] == 1
        assert list(tmp_path.iterdir()) == [folder]

    def test_an_empty_folder_is_used(self, tmp_path):
        (tmp_path / "packed").mkdir()
        assert load_packed(save_packed(self.network, tmp_path / "packed"))

    def test_missing_parents_are_made(self, tmp_path):
        assert load_packed(save_packed(self.network, str(tmp_path / "a" / "b")))

    @pytest.mark.parametrize("kind", ["folder", "file"])
    def test_anything_else_is_left_alone(self, tmp_path, kind):
        target = tmp_path / "precious"
        content = target if kind == "file" else target / "thesis.txt"
        content.parent.mkdir(exist_ok=True)
        content.write_text("years of work")
        with pytest.raises(BadInput, match="is no packed folder"):
            save_packed(self.network, target)
        assert content.read_text() == "years of work"

"""Trained networks on disk: our own checkpoints and the official containers."""

from __future__ import annotations

import argparse
import json
import shutil
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from packed_files import header_of
from safetensors.torch import save_file
from small_spikformers import ARCHITECTURES, arguments_of, choose, inputs_for, small

from spikefront.spaces import BadInput, CorruptFile
from spikefront.svtmodels import (
    Network,
    compress,
    load_checkpoint,
    read_card,
    save_checkpoint,
)
from spikefront.svtmodels.zoo import zoo_names, zoo_path

NETWORK = small()
STATE = NETWORK.state_dict()
KNOWN = {"num_heads": 4, "img_size_h": 16, "img_size_w": 16, "T": 4}
"""What the weights of the small network do not tell."""


def _same(loaded: Network, network: Network) -> bool:
    x = inputs_for(network)
    with torch.no_grad():
        return torch.equal(loaded(x), network(x))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
class TestOurOwn:
    """Weights and card in one file."""

    def test_round_trip(self, architecture, tmp_path):
        network = small(architecture)
        card = {"accuracy": 0.93, "held_out": "3f2a", "preprocessing": {"mean": [0.5]}}
        save_checkpoint(network, tmp_path / "deep" / "net.safetensors", card)
        loaded = load_checkpoint(tmp_path / "deep" / "net.safetensors")
        assert loaded.architecture == architecture
        assert loaded.arguments == arguments_of(architecture)
        assert not loaded.training
        assert _same(loaded, network)
        for name, tensor in network.state_dict().items():
            assert torch.equal(loaded.state_dict()[name], tensor), name
        assert card.items() <= loaded.card.items()
        assert loaded.card == read_card(tmp_path / "deep" / "net.safetensors")

    def test_a_file_is_replaced_whole(self, architecture, tmp_path):
        path = tmp_path / "net.safetensors"
        for accuracy in (0.1, 0.2):
            save_checkpoint(small(architecture), path, {"accuracy": accuracy})
        assert read_card(path)["accuracy"] == 0.2
        assert list(tmp_path.iterdir()) == [path]


def test_known_arguments_overrule_the_card(tmp_path):
    save_checkpoint(NETWORK, tmp_path / "net.safetensors", {})
    assert load_checkpoint(tmp_path / "net.safetensors", T=2).time_steps == 2


def test_only_our_own_files_have_a_card(tmp_path):
    torch.save(STATE, tmp_path / "net.pth")
    save_file(STATE, tmp_path / "net.safetensors")
    assert read_card(tmp_path / "net.pth") == {}
    assert read_card(tmp_path / "net.safetensors") == {}
    assert _same(load_checkpoint(tmp_path / "net.safetensors", **KNOWN), NETWORK)


@pytest.mark.parametrize("card", ["{", "[]", "3", "[" * 100_000])
def test_card_that_is_none(tmp_path, card):
    path = tmp_path / "net.safetensors"
    save_file(STATE, path, {"spikefront": card})
    assert header_of(path)[0]["__metadata__"] == {"spikefront": card}
    for read in (read_card, load_checkpoint):
        with pytest.raises(CorruptFile, match="its card"):
            read(path)


def test_card_of_an_unknown_architecture(tmp_path):
    path = tmp_path / "net.safetensors"
    save_file(STATE, path, {"spikefront": json.dumps({"architecture": "spikformer_cifar100"})})
    with pytest.raises(BadInput, match="Did you mean 'spikformer_cifar10'"):
        load_checkpoint(path)


@pytest.mark.parametrize("name", zoo_names())
def test_networks_of_the_zoo_load(name):
    network = load_checkpoint(zoo_path(name))
    assert network.card["architecture"] == network.architecture
    images = torch.rand(2, *network.input_shape)
    with torch.no_grad():
        assert torch.isfinite(network(images)).all()


def test_there_is_a_network_in_the_zoo():
    assert "spikformer-digits" in zoo_names()
    with pytest.raises(BadInput, match="Did you mean 'spikformer-digits'"):
        zoo_path("spikformer-digit")


class TestOfficial:
    """Files as the official training scripts write them."""

    def _load(self, tmp_path: Path, content: Any, name: str = "best.pth", **save: Any) -> Network:
        torch.save(content, tmp_path / name, **save)
        return load_checkpoint(tmp_path / name, **KNOWN)

    @pytest.mark.parametrize("name", ["best.pth", "best.pt", "best.pth.tar"])
    @pytest.mark.parametrize("zipped", [True, False])
    def test_bare_state_dict(self, tmp_path, name, zipped):
        loaded = self._load(tmp_path, STATE, name, _use_new_zipfile_serialization=zipped)
        assert _same(loaded, NETWORK)
        assert loaded.card == {}

    @pytest.mark.parametrize("container", ["state_dict", "model", "state_dict_ema"])
    def test_container(self, tmp_path, container):
        args = argparse.Namespace(model="spikformer", lr=5e-4, data_dir="images")
        others = {"epoch": 299, "arch": "spikformer", "metric": 95.2, "args": args, "version": 2}
        optimizer = {"state": {0: {"step": 3}}, "param_groups": [{"lr": 0.1, "params": [0]}]}
        content = {**others, "optimizer": optimizer, container: OrderedDict(STATE)}
        assert _same(self._load(tmp_path, content, "model_best.pth.tar"), NETWORK)

    def test_averaged_weights_come_first(self, tmp_path):
        zeros = {name: torch.zeros_like(tensor) for name, tensor in STATE.items()}
        content = {"state_dict": zeros, "state_dict_ema": STATE}
        assert _same(self._load(tmp_path, content), NETWORK)

    def test_absent_averaged_weights_are_no_obstacle(self, tmp_path):
        content = {"state_dict": STATE, "state_dict_ema": None}
        assert _same(self._load(tmp_path, content), NETWORK)

    def test_containers_may_be_nested(self, tmp_path):
        assert _same(self._load(tmp_path, {"model": {"state_dict": STATE}}), NETWORK)

    def test_prefix_of_data_parallel_training(self, tmp_path):
        content = {"model": {f"module.{name}": tensor for name, tensor in STATE.items()}}
        assert _same(self._load(tmp_path, content), NETWORK)

    def test_half_precision_weights_become_float32(self, tmp_path):
        halves = {n: t.half() if t.is_floating_point() else t for n, t in STATE.items()}
        loaded = self._load(tmp_path, halves)
        assert {t.dtype for t in loaded.state_dict().values()} == {torch.float32, torch.int64}
        assert torch.equal(loaded.state_dict()["head.weight"], halves["head.weight"].float())

    @pytest.mark.parametrize("content", [[1, 2], 3, {}, {"state_dict": {}}, torch.zeros(3)])
    def test_no_state_dict(self, tmp_path, content):
        with pytest.raises(BadInput, match="not a state dict"):
            self._load(tmp_path, content)

    def test_entries_that_are_no_tensors(self, tmp_path):
        with pytest.raises(BadInput, match="no tensors: epoch, name"):
            self._load(tmp_path, {**STATE, "epoch": 3, "name": "x"})


class TestMisfits:
    """Files that hold tensors, but not those of the network."""

    def _message(self, tmp_path: Path, changed: dict[str, Any], **known: Any) -> str:
        state = {name: t for name, t in {**STATE, **changed}.items() if t is not None}
        torch.save(state, tmp_path / "net.pth")
        with pytest.raises(BadInput) as caught:
            load_checkpoint(tmp_path / "net.pth", **{**KNOWN, **known})
        return str(caught.value)

    def test_everything_that_is_wrong_is_listed(self, tmp_path):
        changed = {
            "block.0.attn.q_bn.bias": None,
            "block.1.mlp.fc2_bn.running_var": None,
            "extra.weight": torch.zeros(2),
            "block.0.more": torch.zeros(2),
            "block.1.attn.v_linear.weight": torch.zeros(3, 4),
            "head.bias": torch.zeros(9),
        }
        message = self._message(tmp_path, changed)
        assert "does not fit spikformer_cifar10" in message
        assert "missing keys: block.0.attn.q_bn.bias, block.1.mlp.fc2_bn.running_var;" in message
        assert "unexpected keys: extra.weight, block.0.more;" in message
        assert "block.1.attn.v_linear.weight (3, 4) instead of (32, 32)" in message
        assert "head.bias (9,) instead of (7,)" in message

    def test_long_lists_are_cut(self, tmp_path):
        extra = {f"extra.{i}": torch.zeros(1) for i in range(20)}
        message = self._message(tmp_path, extra)
        assert "extra.7 and 12 more" in message
        assert "extra.8" not in message

    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_weights_that_are_no_numbers(self, tmp_path, value):
        bad = STATE["head.weight"].clone()
        bad[2, 3] = value
        changed = {"head.weight": bad, "patch_embed.proj_bn.running_var": torch.full((4,), value)}
        message = self._message(tmp_path, changed)
        assert "NaN or infinite" in message
        assert "head.weight" in message and "patch_embed.proj_bn.running_var" in message

    def test_architecture_that_it_is_not(self, tmp_path):
        message = self._message(tmp_path, {}, architecture="spikformer_imagenet")
        assert "missing keys: block.0.attn.q_conv.weight" in message
        assert "unexpected keys: block.0.attn.q_linear.weight" in message

    def test_unknown_architecture(self, tmp_path):
        message = self._message(tmp_path, {}, architecture="spikformer_cifar")
        assert "Did you mean 'spikformer_cifar10'" in message

    def test_unknown_argument(self, tmp_path):
        assert "Did you mean 'num_heads'" in self._message(tmp_path, {}, num_head=4)

    def test_keys_of_no_known_network(self, tmp_path):
        torch.save({"conv1.weight": torch.zeros(2, 3)}, tmp_path / "resnet.pth")
        with pytest.raises(BadInput, match=r"conv1.weight.*known: .*spikformer_cifar10"):
            load_checkpoint(tmp_path / "resnet.pth")

    @pytest.mark.parametrize("value", [torch.tensor(1.0), torch.zeros(5), torch.zeros(0, 3, 3, 3)])
    def test_scalars_where_weights_should_be(self, tmp_path, value):
        message = self._message(tmp_path, {"patch_embed.proj_conv3.weight": value})
        assert "patch_embed.proj_conv3.weight" in message


class TestDamage:
    """Files that are not what their name says."""

    def test_nothing_there(self, tmp_path):
        (tmp_path / "folder.pth").mkdir()
        (tmp_path / "folder.safetensors").mkdir()
        for name in ("absent.pth", "absent.safetensors", "folder.pth", "folder.safetensors"):
            with pytest.raises(BadInput, match=f"no checkpoint at .*{name}"):
                load_checkpoint(tmp_path / name)

    @pytest.mark.parametrize("name", ["net.onnx", "net", "net.bin"])
    def test_unknown_kind(self, tmp_path, name):
        torch.save(STATE, tmp_path / name)
        with pytest.raises(BadInput, match=r"allowed: \.pt, \.pth, \.safetensors, \.tar"):
            load_checkpoint(tmp_path / name)

    @pytest.mark.parametrize("zipped", [True, False])
    def test_pickle_under_another_name(self, tmp_path, zipped):
        path = tmp_path / "net.safetensors"
        torch.save(STATE, path, _use_new_zipfile_serialization=zipped)
        with pytest.raises(CorruptFile, match=r"looks like a pickle; rename it to \.pth"):
            load_checkpoint(path)
        shutil.move(path, tmp_path / "net.pth")
        assert _same(load_checkpoint(tmp_path / "net.pth", **KNOWN), NETWORK)

    def test_safetensors_under_another_name(self, tmp_path):
        save_file(STATE, tmp_path / "net.pth")
        with pytest.raises(BadInput, match=r"net\.pth"):
            load_checkpoint(tmp_path / "net.pth")

    @pytest.mark.parametrize("name", ["net.safetensors", "net.pth", "old.pth", "net.pth.tar"])
    @pytest.mark.parametrize("share", [0.0, 0.0002, 0.01, 0.3, 0.6, 0.999])
    def test_truncated(self, tmp_path, name, share):
        path = tmp_path / name
        if path.suffix == ".safetensors":
            save_checkpoint(NETWORK, path, {})
        else:
            torch.save(STATE, path, _use_new_zipfile_serialization="old" not in name)
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
        with pytest.raises(BadInput, match=name):
            load_checkpoint(path)

    @pytest.mark.parametrize("zipped", [True, False])
    def test_overwritten_in_places(self, tmp_path, zipped):
        path = tmp_path / "net.pth"
        torch.save(STATE, path, _use_new_zipfile_serialization=zipped)
        sound = path.read_bytes()
        generator = torch.Generator().manual_seed(0)
        refused = 0
        for _ in range(60):
            damaged = bytearray(sound)
            # The first kilobytes hold the structure, where damage hurts.
            for place in torch.randint(0, 3000, (5,), generator=generator).tolist():
                damaged[place] ^= 0x55
            path.write_bytes(damaged)
            try:
                load_checkpoint(path, **KNOWN)
            except BadInput:
                refused += 1
        assert refused > 20


class _Payload:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("name", ["evil.pth", "evil.pth.tar", "evil.safetensors"])
def test_code_in_a_checkpoint_is_never_run(tmp_path, name, zipped):
    mark = tmp_path / "executed"
    content = {"state_dict": STATE, "args": _Payload(mark)}
    torch.save(content, tmp_path / name, _use_new_zipfile_serialization=zipped)
    with pytest.raises(BadInput, match=name):
        load_checkpoint(tmp_path / name, **KNOWN)
    assert not mark.exists()
    if not name.endswith(".safetensors"):
        with pytest.raises(BadInput, match=r"could run code.*torch\.save\(model\.state_dict"):
            load_checkpoint(tmp_path / name)
        torch.load(tmp_path / name, weights_only=False)
        assert mark.exists(), "the payload is a real one"


def test_loading_needs_no_architecture_by_name(tmp_path):
    for architecture in ARCHITECTURES:
        network = small(architecture)
        torch.save(network.state_dict(), tmp_path / "net.pth")
        size = network.input_shape[-1]
        known = {"num_heads": 4, "img_size_h": size, "img_size_w": size}
        loaded = load_checkpoint(tmp_path / "net.pth", **known)
        assert loaded.architecture == architecture
        assert loaded.classes == 7


def test_a_compressed_network_is_no_checkpoint(tmp_path: Path):
    network = small("spikformer_cifar10")
    smaller = compress(network, choose(network, time={"steps": 1}))
    with pytest.raises(BadInput, match="save_packed"):
        save_checkpoint(smaller, tmp_path / "model.safetensors", {})
    assert not list(tmp_path.iterdir())

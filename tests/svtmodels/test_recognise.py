"""Architecture and arguments, from keys and shapes alone."""

from __future__ import annotations

import pytest
import torch
from small_spikformers import ARCHITECTURES, small

from spikefront.spaces import BadInput
from spikefront.svtmodels import build_official
from spikefront.svtmodels.recognise import recognise

_SIZES = {"spikformer_cifar10": 32, "spikformer_imagenet": 224, "spikformer_cifar10dvs": 128}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("shape", [(32, 2, 2, 7), (64, 1, 4, 100)])
def test_everything_but_the_heads_is_read_off(architecture, shape):
    dim, depths, ratio, classes = shape
    settings = {"embed_dims": dim, "depths": depths, "mlp_ratios": ratio, "num_classes": classes}
    state = small(architecture, **settings).state_dict()
    found, arguments = recognise(state, {"num_heads": 8})
    assert found == architecture
    assert arguments == {
        **settings,
        "num_heads": 8,
        "img_size_h": _SIZES[architecture],
        "img_size_w": _SIZES[architecture],
        "in_channels": 2 if architecture == "spikformer_cifar10dvs" else 3,
    }
    # The size of the images is a guess; positions of event data have a parameter.
    rebuilt = build_official(found, arguments)
    assert set(rebuilt.state_dict()) == set(state)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_heads_are_asked_for(architecture):
    state = small(architecture, embed_dims=96, depths=1).state_dict()
    with pytest.raises(BadInput, match=r"give num_heads=… \(likely: 4, 8, 12, 16\)"):
        recognise(state, {})
    with pytest.raises(BadInput, match=r"\(likely: 4, 8\)"):
        recognise(small(architecture, embed_dims=40, depths=1).state_dict(), {})


def test_what_is_known_overrules_what_is_read():
    _, arguments = recognise(small().state_dict(), {"num_heads": 2, "img_size_h": 64, "T": 9})
    assert (arguments["num_heads"], arguments["img_size_h"], arguments["T"]) == (2, 64, 9)


def test_other_networks_are_not_taken_for_spikformer():
    state = {**small().state_dict()}
    del state["patch_embed.rpe_conv.weight"]
    with pytest.raises(BadInput, match="no known network has these keys"):
        recognise(state, {"num_heads": 4})
    with pytest.raises(BadInput, match=r"not a spikformer_cifar10: missing keys: .*head\.weight"):
        recognise({"a": torch.zeros(1)}, {"architecture": "spikformer_cifar10"})

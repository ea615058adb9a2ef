"""Hand-made schedules of the released code, and what they really keep."""

from __future__ import annotations

import math

import pytest
import torch

from spikefront.spaces import BadInput, SiteKind
from spikefront.svtmodels import Network, build_official
from spikefront.svtmodels.token_schedules import SCHEDULES, retention, scheduled, schedules_for


def _empty(architecture: str, **arguments: object) -> Network:
    with torch.device("meta"):
        return build_official(architecture, arguments)


def _sdt_v1(side: int = 14, depths: int = 8) -> Network:
    size = {"img_size_h": 16 * side, "img_size_w": 16 * side}
    return _empty("sdt_v1", in_channels=3, embed_dims=64, depths=depths, **size)


def _qkformer(size: int = 224, depths: int = 10) -> Network:
    sizes = {"img_size_h": size, "img_size_w": size}
    return _empty("qkformer_imagenet", in_channels=3, embed_dims=64, depths=depths, **sizes)


def _sdt_v3(height: int = 224, width: int = 224) -> Network:
    return _empty("sdt_v3", img_size_h=height, img_size_w=width, embed_dim=[8, 16, 16, 24])


def _sides(network: Network, name: str) -> list[float]:
    candidate = scheduled(network, name)
    sites = [site for site in network.sites if site.kind is SiteKind.TOKEN]
    return [math.sqrt(candidate.value(site)) for site in sites]


def test_the_default_of_sdt_v1_is_the_list_of_its_code():
    assert _sides(_sdt_v1(), "sdt-v1-0.520") == [12, 12, 10, 10, 10, 10, 8, 8]


def test_ratios_of_qkformer_are_cut_to_whole_tokens():
    # Grids of 56, 28, 28 and seven of 14.
    expected = [50, 25, 22, 11, 11, 11, 11, 10, 10, 10]
    assert _sides(_qkformer(), "qkformer-0.651") == expected


def test_ratios_of_sdt_v3_are_cut_to_whole_tokens():
    assert _sides(_sdt_v3(), "sdt-v3-0.570") == [12, 11, 11, 11, 10, 9, 9, 9]


@pytest.mark.parametrize(
    ("network", "true"),
    [
        # What was worked out by hand from the released schedules.
        (_sdt_v1(), {"0.520": 0.520, "0.656": 0.656, "0.745": 0.745}),
        (
            _qkformer(),
            {"0.535": 0.47, "0.651": 0.62, "0.726": 0.675, "0.775": 0.71},
        ),
        (_qkformer(384), {"0.535": 0.50, "0.651": 0.64, "0.726": 0.706, "0.775": 0.75}),
        (_sdt_v3(), {"0.570": 0.54, "0.565": 0.515, "0.653": 0.61, "0.812": 0.75}),
    ],
    ids=["sdt-v1", "qkformer-224", "qkformer-384", "sdt-v3"],
)
def test_true_retention_is_below_the_nominal_one(network: Network, true: dict[str, float]):
    for name in schedules_for(network):
        nominal = name.rpartition("-")[2]
        kept = retention(network, scheduled(network, name))
        assert SCHEDULES[name].nominal == pytest.approx(float(nominal), abs=5e-4)
        assert kept <= SCHEDULES[name].nominal + 1e-9
        if nominal in true:
            assert kept == pytest.approx(true[nominal], abs=0.0051)
    assert {f"{name.rpartition('-')[2]}" for name in schedules_for(network)} >= set(true)


@pytest.mark.parametrize(
    ("network", "name", "message"),
    [
        (_sdt_v1(), "sdt-v1-0.52", r"Did you mean 'sdt-v1-0\.520'"),
        (_sdt_v1(), "sdt-v3-0.570", r"not for sdt_v1\. For this network: sdt-v1-0\.520"),
        (_sdt_v1(depths=4), "sdt-v1-0.520", "8 blocks; this network has 4"),
        (_sdt_v1(side=8), "sdt-v1-0.520", "14 x 14 tokens; this network has 8 x 8"),
        (_qkformer(depths=6), "qkformer-0.535", "10 blocks; this network has 6"),
        (_sdt_v3(224, 256), "sdt-v3-0.570", "square grids; block3.0 has 224 tokens"),
        (_sdt_v3(16, 16), "sdt-v3-0.570", "no token of a grid of 1 x 1"),
    ],
)
def test_a_schedule_for_another_network_is_refused(network: Network, name: str, message: str):
    with pytest.raises(BadInput, match=message):
        scheduled(network, name)

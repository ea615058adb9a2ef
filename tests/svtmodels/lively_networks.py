"""Small networks of every family whose neurons fire, and candidates for them."""

from __future__ import annotations

from functools import cache

import torch
from golden_rule import FIXTURES, Golden
from torch import Tensor

from spikefront.spaces import Candidate, SurgeryOptions
from spikefront.svtmodels import Network, build_official
from spikefront.svtmodels.parts.synapse import ChannelNorm
from spikefront.svtmodels.surgery.activity import collect_activity
from spikefront.svtmodels.surgery.moments import collect_moments
from spikefront.svtmodels.surgery.prepared import PreparedSurgery

FAMILIES = (
    "spikformer_cifar10",
    "sdt_v1_cifar",
    "sdt_v2",
    "sdt_v3",
    "sdt_v3_large",
    "qkformer_cifar10",
    "qkformer_cifar10dvs",
)


def network_of(name: str) -> Network:
    """A small network of the family whose neurons fire."""
    config = Golden(FIXTURES / name).config
    torch.manual_seed(0)
    network = build_official(config["architecture"], config["constructor_args"])
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, ChannelNorm):
            module.momentum = 1.0
            module.bias.data.uniform_(0.2, 1.4, generator=generator)
    network.train()
    with torch.no_grad():
        network(images_for(network, 4))
    return network.eval()


def images_for(network: Network, count: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(count, *network.input_shape, generator=generator)
    # Event networks count; more than two axes beside the channels are steps.
    return images if images.dim() == 4 else images.abs().round()


def chosen(network: Network, **levels: float) -> Candidate:
    sites = [site for site in network.sites if site.kind.value in levels]
    return Candidate.of({site: site.value_at(levels[site.kind.value]) for site in sites})


@cache
def prepared_surgery(name: str) -> PreparedSurgery:
    """Second-order surgery of a network; nobody may change it."""
    network, options = network_of(name), SurgeryOptions()
    images = images_for(network)
    moments = collect_moments(network, [images], len(images))
    activity = collect_activity(network, [(images, torch.zeros(len(images)).long())], options)
    return PreparedSurgery(network, options, moments, activity)

"""Every network under every kind of surgery: what must hold, whatever the family.

All published architectures as the golden folders have them. The kinds one by one, and drawn
together; a representative of each family always, the others with `make test-all`.
"""

from __future__ import annotations

import copy
import math
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from golden_rule import FIXTURES
from hypothesis import given, settings
from hypothesis import strategies as st
from lively_networks import FAMILIES, chosen, images_for, network_of, prepared_surgery
from network_checks import check_candidate
from packed_files import manifest_of
from small_spikformers import any_candidates
from torch import Tensor

from spikefront.spaces import Candidate, Site, SiteKind
from spikefront.svtmodels import Network, compress, load_packed, save_packed, static_costs
from spikefront.svtmodels.declaration import ChannelGroup
from spikefront.svtmodels.packed.writer import NEURONS_TENSOR
from spikefront.svtmodels.parts.synapse import ChannelNorm
from spikefront.svtmodels.surgery.prepared import PreparedSurgery
from spikefront.svtmodels.surgery.recovery import recover, reference_of

ALL = sorted(folder.name for folder in FIXTURES.iterdir())
each_network = pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=() if n in FAMILIES else pytest.mark.slow) for n in ALL],
)

LEVELS = {
    SiteKind.WEIGHT: (1, 3, 16),
    SiteKind.TIME: (1,),
    SiteKind.STATE: (6,),
    SiteKind.RECOVERY: (0,),
    SiteKind.DENSITY: (0.2,),
}
"""What each kind is tried at; keep ratios otherwise."""
CASES = [(kind, level) for kind in SiteKind for level in LEVELS.get(kind, (0.5,))]
each_kind = pytest.mark.parametrize(
    ("kind", "level"), CASES, ids=[f"{kind}-{level}" for kind, level in CASES]
)


@each_network
def test_nothing_chosen_is_the_trained_network_bit_for_bit(name: str) -> None:
    network = prepared_surgery(name).network
    images = images_for(network)
    full = Candidate.of({site: site.size for site in network.sites})
    assert full == Candidate()
    with torch.no_grad():
        assert torch.equal(compress(network, full, prepared_surgery(name))(images), network(images))


@each_network
@each_kind
def test_one_kind_of_surgery(name: str, kind: SiteKind, level: float, tmp_path: Path) -> None:
    """It costs what was predicted, comes back from its file, learns, and is the same again."""
    network = prepared_surgery(name).network
    candidate = chosen(network, **{kind.value: level})
    if candidate == Candidate():
        pytest.skip(f"no {kind} site")
    check_candidate(network, candidate, tmp_path / "checked")
    _check_learns(compress(network, candidate, prepared_surgery(name)), images_for(network))
    folders = [tmp_path / "once", tmp_path / "again"]
    for folder in folders:
        save_packed(compress(network, candidate, prepared_surgery(name)), folder)
    once, again = ([f.read_bytes() for f in sorted(folder.iterdir())] for folder in folders)
    assert once == again
    _check_costs(prepared_surgery(name), candidate, folders[0])


@each_network
@settings(deadline=None, max_examples=3)
@given(data=st.data())
def test_any_candidate(name: str, data: st.DataObject) -> None:
    """All kinds together, at any legal value: built, recovered, run, learnt from."""
    network = prepared_surgery(name).network
    images = images_for(network)
    candidate = data.draw(any_candidates(network))
    small = compress(network, candidate, prepared_surgery(name))
    recover(small, _reference(name), images, "spread-rates")
    with torch.no_grad():
        logits = small(images)
    assert logits.isfinite().all()
    assert logits.shape == (len(images), network.classes)
    with TemporaryDirectory() as folder:
        packed = save_packed(small, Path(folder) / "packed")
        _check_costs(prepared_surgery(name), candidate, packed)
        with torch.no_grad():
            assert torch.equal(load_packed(packed)(images), logits)
    _check_learns(small, images)


@cache
def _reference(name: str):
    network = prepared_surgery(name).network
    return reference_of(network, images_for(network))


def _check_costs(surgery: PreparedSurgery, candidate: Candidate, folder: Path) -> None:
    """Bytes and parameters as predicted are those of the file."""
    costs = static_costs(surgery.network, candidate, surgery)
    manifest = manifest_of(folder)
    assert costs.bytes == manifest["bytes"]
    stored = {
        name: entry.get("kept", math.prod(entry["shape"]))
        for name, entry in manifest["tensors"].items()
        if name != NEURONS_TENSOR and not name.endswith(".bitmap")
    }
    assert costs.parameters == sum(stored.values())


def _check_learns(small: Network, images: Tensor) -> None:
    small = copy.deepcopy(small)
    x = images.clone().requires_grad_()
    small(x).square().sum().backward()
    assert x.grad is not None and x.grad.isfinite().all()
    for name, parameter in small.named_parameters():
        if parameter.grad is not None:
            assert parameter.grad.isfinite().all(), name


@each_network
def test_channels_that_never_fire_are_not_missed(name: str) -> None:
    network = copy.deepcopy(network_of(name)).double()
    widths = {
        group: width
        for group in network.declaration.channels
        if (width := _hush(network, group)) is not None
    }
    assert widths
    sites = {site.name: site for site in network.sites if site.kind is SiteKind.CHANNEL}
    candidate = Candidate.of({_site(sites, group): width for group, width in widths.items()})
    images = images_for(network).double()
    with torch.no_grad():
        expected = network(images)
        small = compress(network, candidate)
        assert small.widths == {group.name: width for group, width in widths.items()}
        assert (small(images) - expected).abs().max() <= 1e-9
    assert expected.std() > 1e-3


def _site(sites: dict[str, Site], group: ChannelGroup) -> Site:
    return sites[group.name]


def _hush(network: Network, group: ChannelGroup) -> int | None:
    """Silence some channels and give them the smallest norm; what is left, None if it cannot."""
    declared = {synapse.name: synapse for synapse in network.declaration.synapses}
    producers = [declared.get(name) for name in group.producers]
    heard = any(layer.channels == group.name for layer in network.declaration.neurons)
    if group.carriers or not heard or group.size // group.unit < 2:
        return None
    per_head = group.size // group.heads
    channels = torch.arange(group.size).reshape(group.heads, per_head)
    silent = (channels[:1] if group.whole_heads else channels[:, ::2]).flatten()
    for synapse in producers:
        if synapse is None or synapse.norm is None or synapse.links:
            return None
        norm = network.get_submodule(synapse.norm)
        assert isinstance(norm, ChannelNorm)
        network.get_submodule(synapse.weight).state_dict()["weight"][silent] *= 1e-3
        norm.weight.data[silent] = 0
        norm.bias.data[silent] = -1
    return group.size - len(silent)

"""The width of a residual stream: removing its channels is silencing all that write and read it."""

from __future__ import annotations

import copy
import functools
import random
from collections.abc import Mapping

import pytest
import torch
from network_checks import TOLERANCE, check_candidate, check_drift, filled, logits, silence
from small_metaformers import make
from small_spikformers import ARCHITECTURES, choose, inputs_for, small
from small_token_networks import QKFORMER, SDT_V1
from torch import Tensor

from spikefront.spaces import DEFAULT_KINDS, Candidate, SiteKind, SurgeryOptions
from spikefront.svtmodels import Network, compress, static_costs
from spikefront.svtmodels.declaration import ChannelGroup, Declaration, Stream
from spikefront.svtmodels.parts.synapse import parameters_of
from spikefront.svtmodels.surgery.least_squares import damped, shared_removal_order
from spikefront.svtmodels.surgery.moments import collect_moments
from spikefront.svtmodels.surgery.prepared import PreparedSurgery

_DVS = {"img_size_h": 32, "img_size_w": 32, "in_channels": 2, "embed_dims": 32, "T": 2}
_EVENTS = {**_DVS, "num_classes": 7, "mlp_ratios": 2, "depths": 2}
_SDT_V1: Mapping[str, Mapping[str, object]] = {
    "sdt_v1": {},
    "sdt_v1 inner shortcut": {"mlp_ratios": 1},
    "sdt_v1 eroded": {"in_channels": 2, "dvs_mode": True, "TET": True},
}
_QKFORMER: Mapping[str, tuple[str, Mapping[str, object]]] = {
    "qkformer": ("qkformer_cifar10", QKFORMER),
    "qkformer events": ("qkformer_cifar10dvs", {**_EVENTS, "num_heads": 16}),
    "qkformer imagenet": (
        "qkformer_imagenet",
        {**QKFORMER, "img_size_h": 32, "img_size_w": 32, "num_heads": 4},
    ),
}
NETWORKS = (
    *ARCHITECTURES,
    *_SDT_V1,
    *_QKFORMER,
    "v2",
    "v3",
    "v3 large",
    "v3 large base",
)
each_network = pytest.mark.parametrize("name", NETWORKS)
few_networks = pytest.mark.parametrize(
    "name", [ARCHITECTURES[0], "sdt_v1 inner shortcut", "qkformer", "v2", "v3", "v3 large base"]
)


@functools.cache
def network_of(name: str, dtype: torch.dtype = torch.float32) -> Network:
    if name in ARCHITECTURES:
        return small(name, dtype, T=2, depths=1)
    if name in _SDT_V1:
        return filled("sdt_v1", {**SDT_V1, "depths": 1, **_SDT_V1[name]}, dtype)
    if name in _QKFORMER:
        return filled(*_QKFORMER[name], dtype)
    return make(name, dtype)


def chosen_of(network: Network, kinds: set[SiteKind], rng: random.Random) -> Candidate:
    """Any legal width or number at each site of these kinds."""
    sites = [site for site in network.sites if site.kind in kinds]
    return Candidate.of({s: rng.randint(1, s.size // s.unit) * s.unit for s in sites})


def masked(network: Network, kept: Mapping[str, Tensor]) -> Network:
    """A copy in which nothing that reads a stream sees the channels that are not kept."""
    inner = {group.name for group in network.declaration.channels}
    twin = silence(network, {name: found for name, found in kept.items() if name in inner})
    declared = network.declaration
    paths = {s.name: s.weight for s in declared.synapses}
    for group in declared.residuals:
        if group.name not in kept:
            continue
        mask = torch.zeros(group.size, dtype=torch.float64)
        mask[kept[group.name]] = 1
        readers = [paths[name] for name in group.consumers]
        # Where a neuron stands before a reader, it is the neuron's spikes that are silenced.
        sites = [s.name for s in declared.tokens if s.stream.name == group.name]
        readers += [f"{name}.selector" for name in sites if name in network.kept_tokens]
        for path in readers:
            twin.get_submodule(path).register_forward_pre_hook(
                lambda module, args, mask=mask: (args[0] * mask, *args[1:])
            )
    return twin


@each_network
def test_removing_channels_of_a_stream_is_silencing_them(name: str):
    network = network_of(name, torch.float64)
    x = inputs_for(network)
    full, changed = logits(network, x), []
    assert network.declaration.residuals
    for group in network.declaration.residuals:
        compressed = compress(network, choose(network, residual={group.name: group.size // 2}))
        got = logits(compressed, x)
        twin = masked(network, compressed.kept_channels)
        assert (got - logits(twin, x)).abs().max() <= TOLERANCE, group.name
        changed.append(bool((got - full).abs().max() > 1e-4))
    assert any(changed)


@each_network
def test_streams_and_all_other_groups_leave_together(name: str):
    network, rng = network_of(name, torch.float64), random.Random(name)
    x = inputs_for(network)
    for _ in range(2):
        candidate = chosen_of(network, {SiteKind.CHANNEL, SiteKind.RESIDUAL}, rng)
        compressed = compress(network, candidate)
        twin = masked(network, compressed.kept_channels)
        assert (logits(compressed, x) - logits(twin, x)).abs().max() <= TOLERANCE


@few_networks
def test_tokens_are_chosen_by_the_stream_that_is_left(name: str):
    network, rng = network_of(name, torch.float64), random.Random(name)
    x = inputs_for(network)
    tokens = {site.name: site.tokens // 2 for site in network.declaration.tokens}
    widths = chosen_of(network, {SiteKind.RESIDUAL}, rng).to_dict()["residual"]
    compressed = compress(network, choose(network, residual=widths, token=tokens))
    pruned = compress(network, choose(network, token=tokens))
    twin = masked(pruned, compressed.kept_channels)
    assert (logits(compressed, x) - logits(twin, x)).abs().max() <= TOLERANCE


@each_network
def test_every_weight_at_a_stream_shrinks_and_no_other(name: str):
    """Coupling by counting, and every synapse but the image's reads something that can leave."""
    network = network_of(name)
    synapses = network.declaration.synapses
    paths = {s.name: s.weight for s in synapses}
    for group in network.declaration.residuals:
        width = group.size // 2 - 1
        compressed = compress(network, choose(network, residual={group.name: width}))
        for synapse, path in paths.items():
            rows, columns = parameters_of(network.get_submodule(path))[0].shape[:2]
            rows = width if synapse in group.producers else rows
            columns = width if synapse in group.consumers else columns
            assert parameters_of(compressed.get_submodule(path))[0].shape[:2] == (rows, columns)
    groups = network.declaration.groups
    read = {consumer for group in groups for consumer in (*group.consumers, *group.carriers)}
    written = {producer for group in groups for producer in (*group.producers, *group.carriers)}
    assert {s.name for s in synapses if s.source in ("image", "events")}.isdisjoint(read)
    assert {s.name for s in synapses} - read <= {synapses[0].name}
    assert {s.name for s in synapses} - written <= {"head", "head_kd"}
    assert len({group.name for group in groups}) == len(groups)


@few_networks
def test_any_candidate_costs_what_was_predicted_and_comes_back_from_its_file(name: str, tmp_path):
    network, rng = network_of(name), random.Random(name)
    space = network.space("layer", (*DEFAULT_KINDS, SiteKind.RESIDUAL))
    for index in range(2):
        check_candidate(network, space.sample(rng), tmp_path / str(index))
    dense = chosen_of(network, {SiteKind.DENSITY, SiteKind.RESIDUAL}, rng)
    check_candidate(network, dense, tmp_path / "dense")


@few_networks
def test_fewer_channels_of_a_stream_need_less_of_everything(name: str):
    network = network_of(name)
    widths = {group.name: group.size // 2 for group in network.declaration.residuals}
    full, halved = (static_costs(network, c) for c in (Candidate(), _residual(network, widths)))
    for cost in ("bytes", "parameters", "macs"):
        assert getattr(halved, cost) < getattr(full, cost)
    assert halved.head_macs * 2 == full.head_macs
    # Neurons of whole numbers have no membrane.
    assert halved.state_bytes < full.state_bytes or not full.state_bytes


def _residual(network: Network, widths: Mapping[str, int]) -> Candidate:
    return choose(network, residual=dict(widths))


def test_token_scores_see_the_stream_that_is_left():
    network = network_of(ARCHITECTURES[0])
    fewer = {"block.0": 7}
    full, narrow = (
        static_costs(network, choose(network, token=fewer, residual={"patch_embed.out": width}))
        for width in (32, 16)
    )
    assert narrow.score_macs * 2 == full.score_macs > 0


@few_networks
def test_drift_follows_the_channels_of_the_stream(name: str):
    network = network_of(name)
    check_drift(network, chosen_of(network, {SiteKind.RESIDUAL}, random.Random(1)))


def test_it_is_searched_only_when_asked_for():
    network = network_of("qkformer")
    assert SiteKind.RESIDUAL not in {axis.kind for axis in network.space().axes}
    asked = network.space("stage", {SiteKind.RESIDUAL: (0.5,)})
    names = [f"residual:stage{number}" for number in (1, 2, 3)]
    assert [axis.name for axis in asked.axes] == names
    half = asked.decode([0, 0, 0])
    assert half.to_dict() == {
        "residual": {"patch_embed1.out": 4, "patch_embed2.out": 8, "patch_embed3.out": 16}
    }


def test_parts_of_a_stream_are_one_group():
    stream, other = Stream.behind("stem", 8, "first"), Stream.behind("next", 4, "second")
    parts = [
        Declaration(residuals=stream.group(writes=("a",))),
        Declaration(residuals=(*stream.group(reads=("b",)), *other.group(writes=("b",)))),
        Declaration(residuals=stream.group(writes=("c",), reads=("d",))),
    ]
    joined = Declaration.join([Declaration.join(parts[:2]), parts[2]])
    assert joined.residuals == (
        ChannelGroup("stem.out", 8, 1, ("a", "c"), ("b", "d"), "first", "stem"),
        ChannelGroup("next.out", 4, 1, ("b",), (), "second", "next"),
    )
    rows, columns = joined.rows_and_columns({"stem.out": 3, "next.out": 2})
    assert (rows, columns) == ({"a": 3, "c": 3, "b": 2}, {"b": 3, "d": 3})


def test_the_shared_order_takes_what_costs_all_readers_least():
    generator = torch.Generator().manual_seed(0)
    readers = []
    for outputs, kernel in ((5, 1), (3, 4)):
        inputs = torch.randn(6 * kernel, 40, generator=generator, dtype=torch.float64)
        weight = torch.randn(outputs, 6 * kernel, generator=generator, dtype=torch.float64)
        readers.append((weight, inputs @ inputs.T / 40))
    order, gone = shared_removal_order(readers, 6).tolist(), []
    assert sorted(order) == list(range(6))
    for channel in order[:-1]:
        costs = {c: _lost(readers, [*gone, c]) for c in range(6) if c not in gone}
        assert min(costs, key=lambda c: costs[c]) == channel
        gone.append(channel)


def _lost(readers: list[tuple[Tensor, Tensor]], gone: list[int]) -> float:
    """Least squared error of all readers without some channels, solved from scratch."""
    total = 0.0
    for weight, products in readers:
        unit, full = weight.shape[1] // 6, damped(products)
        left = [i for i in range(weight.shape[1]) if i // unit not in gone]
        solved = torch.zeros_like(weight)
        solved[:, left] = torch.linalg.solve(full[left][:, left], full[left] @ weight.T).T
        error = solved - weight
        total += float(((error @ full) * error).sum())
    return total


@few_networks
def test_every_reader_makes_up_for_what_left(name: str):
    """With moments the error at the readers is smaller than without, whoever chose the channels."""
    network = copy.deepcopy(network_of(name))
    x = inputs_for(network, batch=8)
    prepared = PreparedSurgery(network, SurgeryOptions(), collect_moments(network, [x], len(x)))
    moments = collect_moments(network, [x], len(x))
    group = network.declaration.residuals[0]
    kept = prepared.kept(group.name, group.size // 2)
    assert sorted(set(kept.tolist())) == kept.tolist()
    for reader in set(group.consumers) & set(moments):
        synapse = next(s for s in network.declaration.synapses if s.name == reader)
        weight = parameters_of(network.get_submodule(synapse.weight))[0]
        kernel = weight[0, 0].numel()
        columns = (kept[:, None] * kernel + torch.arange(kernel)).flatten()
        cut = prepared.cut(reader, kept)
        error, plain = torch.zeros(
            2, *weight.flatten(1).shape, dtype=torch.float64
        ) + weight.flatten(1)
        error[:, columns] -= cut.weight.flatten(1).double()
        plain[:, columns] = 0
        products = torch.from_numpy(moments[reader].products).double()
        means = torch.from_numpy(moments[reader].means).double()
        if cut.shift is not None:
            products = products - torch.outer(means, means)
        made_up, left = (float(((e @ products) * e).sum()) for e in (error, plain))
        assert made_up <= left + 1e-6 * (1 + left), reader
    candidate = _residual(network, {group.name: group.size // 2})
    assert torch.isfinite(logits(compress(network, candidate, prepared), x)).all()

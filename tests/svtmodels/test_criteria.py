"""Criteria of channels, and what they know of a network's activity, against plain twins."""

from __future__ import annotations

import copy
import dataclasses
import functools
import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from test_second_order import chosen, images_for, network_of
from torch import Tensor, nn

from spikefront.spaces import Candidate, SurgeryOptions
from spikefront.spaces.site import SiteKind
from spikefront.spaces.surgery import ALLOWED
from spikefront.svtmodels import Network, compress
from spikefront.svtmodels.declaration import AttentionKind, AttentionProduct, ChannelGroup
from spikefront.svtmodels.parts.synapse import ChannelNorm, parameters_of
from spikefront.svtmodels.surgery.activity import Activity, collect_activity
from spikefront.svtmodels.surgery.channels import loss_order, order_by
from spikefront.svtmodels.surgery.criteria import channel_scores
from spikefront.svtmodels.surgery.prepared import PreparedSurgery
from spikefront.svtmodels.surgery.watching import watched

SOME = ("spikformer_cifar10", "sdt_v1_cifar", "sdt_v3")
"""Families of both kinds of neurons and residual streams, with depthwise synapses and chains."""


def activity_of(network: Network, **options: Any) -> Activity:
    images = inputs_of(network)
    labels = torch.arange(len(images)) % network.classes
    batches = [(images[:1], labels[:1]), (images[1:], labels[1:])]
    return collect_activity(network, batches, SurgeryOptions(**options))


def inputs_of(network: Network) -> Tensor:
    return images_for(network).to(next(network.parameters()).dtype)


def hooks(network: Network) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in network.modules())


def outputs_of(network: Network, paths: Iterable[str], images: Tensor) -> dict[str, Tensor]:
    seen: dict[str, Tensor] = {}

    def note(path: str, _: Tensor, output: Tensor) -> None:
        seen[path] = output

    with torch.no_grad(), watched(network, [(p, functools.partial(note, p)) for p in paths]):
        network(images)
    return seen


def channel_layers(network: Network) -> list[str]:
    return [layer.name for layer in network.declaration.neurons if layer.channels]


def group_of(network: Network, end: str) -> ChannelGroup:
    return next(g for g in network.declaration.channels if g.name.endswith(end))


@pytest.fixture(scope="module", params=SOME)
def network(request: pytest.FixtureRequest) -> Network:
    """In float64: how a batch is summed up must not decide over a spike."""
    return network_of(request.param).double()


def test_rates_and_variances_are_those_of_the_neurons(network: Network) -> None:
    found = activity_of(network, channels="variance")
    layers = channel_layers(network)
    assert set(found.rates) == set(found.variances) == set(layers)
    for name, spikes in outputs_of(network, layers, inputs_of(network)).items():
        flat = spikes.flatten(0, -2).float()
        rate, variance = (torch.from_numpy(a[name]) for a in (found.rates, found.variances))
        torch.testing.assert_close(rate, flat.mean(0), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(variance, flat.var(0, correction=0), rtol=1e-4, atol=1e-6)


def test_taylor_is_the_slope_of_the_loss_as_a_channel_fades(network: Network) -> None:
    found = activity_of(network, channels="taylor")
    images, layers = inputs_of(network), channel_layers(network)
    assert set(found.taylor) == set(layers)
    expected = torch.tensor(0.0)
    for label, image in enumerate(images):
        expected = expected + slopes(network, layers, image, label).abs() / len(images)
    scores = torch.cat([torch.from_numpy(found.taylor[name]) for name in layers])
    assert scores.max() > 0
    torch.testing.assert_close(scores, expected.float(), rtol=1e-3, atol=1e-7)


def slopes(network: Network, layers: list[str], image: Tensor, label: int) -> Tensor:
    """Derivatives of the loss of one image by a factor on each channel of the layers, joined."""
    gates: list[Tensor] = []

    def gated(_: nn.Module, __: object, spikes: Tensor) -> Tensor:
        gates.append(torch.ones(spikes.shape[-1], dtype=spikes.dtype, requires_grad=True))
        return spikes * gates[-1]

    handles = [network.get_submodule(name).register_forward_hook(gated) for name in layers]
    logits = network(image[None])
    for handle in handles:
        handle.remove()
    loss = F.cross_entropy(logits, torch.tensor([label % network.classes]))
    return torch.cat(torch.autograd.grad(loss, gates))


@pytest.mark.parametrize("channels", ["surgeon", "taylor", "rate"])
def test_collecting_leaves_the_network_as_it_was(channels: str) -> None:
    network = network_of("spikformer_cifar10")
    frozen = network_of("spikformer_cifar10").requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    found = activity_of(network, channels=channels, compensation="mean")
    assert all(torch.equal(before[name], t) for name, t in network.state_dict().items())
    assert not network.training
    assert hooks(network) == 0
    assert all(p.grad is None and p.requires_grad for p in network.parameters())
    again = activity_of(frozen, channels=channels, compensation="mean")
    assert found.digest == again.digest != Activity().digest
    assert not any(p.requires_grad for p in frozen.parameters())


def test_what_is_not_needed_is_not_collected() -> None:
    network = network_of("spikformer_cifar10")

    def refuse() -> None:
        raise AssertionError("nothing was needed")

    network.register_forward_pre_hook(lambda _, __: refuse())
    for channels in ("l2", "l2-producer", "l1", "l1-joint", "bn-scale"):
        found = activity_of(network, channels=channels)
        assert not any(getattr(found, part.name) for part in dataclasses.fields(found))


def test_losses_are_what_the_attentions_lose(network: Network) -> None:
    found = activity_of(network, channels="surgeon").losses
    products = [p for p in network.declaration.attentions if p.kind is AttentionKind.MATRIX]
    assert set(found) == {product.qk for product in products}
    images, generator = inputs_of(network), torch.Generator().manual_seed(3)
    for product in products:
        forms = torch.from_numpy(found[product.qk]).double()
        gone = torch.rand(forms.shape[:2], generator=generator) < 0.5
        expected = lost(network, product, gone, images) / len(images)
        summed = sum(form[g][:, g].sum() for form, g in zip(forms, gone, strict=True))
        torch.testing.assert_close(summed, expected, rtol=1e-5, atol=1e-9)


def lost(network: Network, product: AttentionProduct, gone: Tensor, images: Tensor) -> Tensor:
    """Squared change of ``q k^T v``, step by step, image by image, head by head."""
    paths = [f"{product.name}.{part}_{product.neurons}" for part in "qkv"]
    spikes = outputs_of(network, paths, images)
    total = torch.zeros((), dtype=torch.float64)
    for step, image in itertools.product(range(len(spikes[paths[0]])), range(len(images))):
        heads = [spikes[p][step, image].flatten(0, -2).chunk(product.heads, 1) for p in paths]
        for q, k, v, without in zip(*heads, gone, strict=True):
            total += ((q @ k.T - (q * ~without) @ k.T) @ v).square().sum()
    return total


def test_the_channel_that_adds_least_leaves_first() -> None:
    generator = torch.Generator().manual_seed(0)
    spikes = (torch.rand(2, 40, 7, generator=generator) < 0.3).double()
    forms = spikes.transpose(1, 2) @ spikes
    group = ChannelGroup("g", 14, 2, (), (), "s", "b")
    order = loss_order(forms, group)
    assert sorted(order.tolist()) == list(range(14))
    for head, form in enumerate(forms):
        left = [c - 7 * head for c in order.tolist() if c // 7 == head]
        for count in range(7):
            costs = {c: cost(form, [*left[:count], c]) for c in range(7) if c not in left[:count]}
            assert costs[left[count]] == min(costs.values())
    assert [c // 7 for c in order.tolist()] == [0, 1] * 7


def cost(form: Tensor, gone: list[int]) -> float:
    return float(form[gone][:, gone].sum())


def test_queries_and_keys_leave_by_their_loss() -> None:
    network = network_of("spikformer_cifar10")
    activity = activity_of(network, channels="surgeon")
    group = group_of(network, "attn.qk")
    forms = torch.from_numpy(activity.losses[group.name]).double()
    kept = PreparedSurgery(network, SurgeryOptions(), {}, activity).kept(
        group.name, group.size // 2
    )
    gone = torch.ones(group.size, dtype=torch.bool)
    gone[kept] = False
    ours, others = (
        sum(cost(f, g.nonzero().flatten().tolist()) for f, g in zip(forms, chosen, strict=True))
        for chosen in (gone.reshape(group.heads, -1), ~gone.reshape(group.heads, -1))
    )
    assert ours < others


def naive_scores(network: Network, group: ChannelGroup, criterion: str) -> list[float]:
    """Scores channel by channel, number by number; for groups without chains."""
    synapses = {s.name: s for s in network.declaration.synapses}

    def weight(name: str) -> Tensor:
        return parameters_of(network.get_submodule(synapses[name].weight))[0].double()

    def one(channel: int) -> float:
        rows = [weight(name)[channel] for name in group.producers]
        match criterion:
            case "l2":
                return sum(float(row.pow(2).sum()) for row in rows) ** 0.5
            case "l2-producer":
                return float(rows[0].pow(2).sum()) ** 0.5
            case "l1":
                return sum(float(row.abs().sum()) for row in rows)
            case "bn-scale":
                norms = [network.get_submodule(synapses[n].norm or "") for n in group.producers]
                scales = [n.weight.detach() for n in norms if isinstance(n, ChannelNorm)]
                return sum(abs(float(scale[channel])) for scale in scales)
        rows += [weight(name)[channel] for name in group.carriers]
        rows += [weight(name)[:, channel] for name in group.consumers]
        return sum(float(row.abs().sum()) for row in rows)

    return [one(channel) for channel in range(group.size)]


@pytest.mark.parametrize("criterion", ["l2", "l2-producer", "l1", "l1-joint", "bn-scale"])
def test_scores_of_weights_are_the_naive_ones(network: Network, criterion: str) -> None:
    names = {s.name for s in network.declaration.synapses if not s.links}
    network = copy.deepcopy(network)
    for module in network.modules():
        if isinstance(module, ChannelNorm):
            module.weight.data.uniform_(-1, 1)
    compared = 0
    for group in network.declaration.channels:
        if names.issuperset({*group.producers, *group.consumers, *group.carriers}):
            found = channel_scores(network, group, criterion, Activity())
            expected = torch.tensor(naive_scores(network, group, criterion))
            torch.testing.assert_close(found.float(), expected, rtol=1e-5, atol=1e-6)
            compared += 1
    assert compared


def test_groups_without_what_a_criterion_asks_for_go_by_their_norm() -> None:
    network = network_of("sdt_v2")
    activity = activity_of(network, channels="rate")
    middle = group_of(network, "q.middle")
    by_norm = channel_scores(network, middle, "l2", activity)
    assert torch.equal(channel_scores(network, middle, "rate", activity), by_norm)
    hidden = group_of(network, "mlp.hidden")
    norms = {s.name: s.norm for s in network.declaration.synapses}
    path = norms[hidden.producers[0]]
    assert path is not None
    network.set_submodule(path, nn.Identity())
    by_norm = channel_scores(network, hidden, "l2", activity)
    assert torch.equal(channel_scores(network, hidden, "bn-scale", activity), by_norm)


def test_scores_of_activity_are_summed_over_the_layers_of_a_group() -> None:
    network = network_of("spikformer_cifar10")
    group = group_of(network, "attn.qk")
    path = group.name.removesuffix(".qk")
    for criterion, part in (("rate", "rates"), ("variance", "variances"), ("taylor", "taylor")):
        activity = activity_of(network, channels=criterion)
        arrays = getattr(activity, part)
        both = arrays[f"{path}.q_lif"] + arrays[f"{path}.k_lif"]
        found = channel_scores(network, group, criterion, activity)
        torch.testing.assert_close(found, torch.from_numpy(both))


def test_equal_scores_leave_from_the_back_and_heads_in_turn() -> None:
    heads = ChannelGroup("g", 6, 2, (), (), "s", "b")
    assert order_by(torch.ones(6), heads).tolist() == [2, 5, 1, 4, 0, 3]
    assert order_by(torch.tensor([3.0, 1, 2, 0, 5, 4]), heads).tolist() == [1, 3, 2, 5, 0, 4]
    whole = dataclasses.replace(heads, whole_heads=True)
    assert order_by(torch.tensor([3.0, 1, 2, 0, 5, 4]), whole).tolist() == [0, 1, 2, 3, 4, 5]
    assert order_by(torch.tensor([9.0, 1, 2, 0, 5, 4]), whole).tolist() == [3, 4, 5, 0, 1, 2]


@pytest.mark.parametrize("criterion", ALLOWED["channels"])
def test_every_criterion_builds_nested_networks(network: Network, criterion: str) -> None:
    images = inputs_of(network)
    activity = activity_of(network, channels=criterion, compensation="mean")
    options = SurgeryOptions(channels=criterion, compensation="mean")
    prepared, again = (PreparedSurgery(network, options, {}, activity) for _ in range(2))
    for group in network.declaration.channels:
        check_nested(prepared, again, group)
    small = compress(network, chosen(network, channel=0.5), prepared)
    assert small(images).isfinite().all()


def check_nested(prepared: PreparedSurgery, again: PreparedSurgery, group: ChannelGroup) -> None:
    wider = set(range(group.size))
    for width in (group.size, group.size - group.unit, group.unit):
        width = max(width, group.unit)
        kept = prepared.kept(group.name, width)
        assert torch.equal(kept, again.kept(group.name, width))
        assert len(kept) == width
        assert set(kept.tolist()) <= wider
        heads = torch.bincount(kept * group.heads // group.size, minlength=group.heads)
        part = group.size // group.heads
        allowed = {0, part} if group.whole_heads else {width // group.heads}
        assert set(heads.tolist()) <= allowed
        wider = set(kept.tolist())


def test_compensation_by_means_keeps_the_mean_of_what_reads(network: Network) -> None:
    activity = activity_of(network, channels="l2", compensation="mean")
    kept_mean, dropped = (surgery(network, activity, how) for how in ("mean", "none"))
    images, changed = inputs_of(network), 0
    readers = list(readers_of(network))
    assert readers
    wanted = outputs_of(network, [norm for _, norm in readers], images)
    for group, norm in readers:
        site = next(s for s in network.sites if s.key == (SiteKind.CHANNEL, group.name))
        candidate = Candidate.of({site: site.value_at(0.5)})
        mean = wanted[norm].flatten(0, -2).mean(0)
        found, without = (
            outputs_of(compress(network, candidate, each), [norm], images)[norm]
            .flatten(0, -2)
            .mean(0)
            for each in (kept_mean, dropped)
        )
        torch.testing.assert_close(found, mean, rtol=1e-5, atol=1e-5)
        changed += int(not torch.allclose(without, mean, rtol=1e-3, atol=1e-3))
    assert changed > len(readers) // 2


def readers_of(network: Network) -> Iterator[tuple[ChannelGroup, str]]:
    """One group per kind of place, and the batch norm behind the synapse that reads it."""
    norms = {s.name: s.norm for s in network.declaration.synapses if not s.links}
    seen: set[str] = set()
    for group in network.declaration.channels:
        kind = group.name.rpartition(".")[2]
        norm = norms.get(group.consumers[0]) if group.consumers else None
        if norm is not None and kind not in seen:
            seen.add(kind)
            yield group, norm


def surgery(network: Network, activity: Activity, compensation: str) -> PreparedSurgery:
    options = SurgeryOptions(channels="l2", compensation=compensation)
    return PreparedSurgery(network, options, {}, activity)


def test_means_are_folded_into_integers_too() -> None:
    network = network_of("spikformer_cifar10")
    activity = activity_of(network, channels="l2", compensation="mean")
    hidden = group_of(network, "mlp.hidden")
    (reader,) = hidden.consumers
    prepared = surgery(network, activity, "mean")
    kept = prepared.kept(hidden.name, hidden.size // 2)
    shift = prepared.cut(reader, kept).shift
    assert shift is not None and shift.abs().max() > 0
    plain = surgery(network, activity, "none").rounded(reader, kept, 8)
    synapse = next(s for s in network.declaration.synapses if s.name == reader)
    norm = network.get_submodule(synapse.norm or "")
    assert isinstance(norm, ChannelNorm)
    expected = plain.bias + shift * norm.folded()[0]
    torch.testing.assert_close(prepared.rounded(reader, kept, 8).bias, expected)


def test_a_consumer_reads_every_channel_of_its_group_once(network: Network) -> None:
    stored = {s.name: s.weight for s in network.declaration.stored}
    for group in network.declaration.channels:
        for name in set(group.consumers) & set(stored):
            weight, _ = parameters_of(network.get_submodule(stored[name]))
            assert weight.shape[1] == group.size

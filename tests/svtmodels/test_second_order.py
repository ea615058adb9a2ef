"""Surgery with moments, and recovery, on networks of every family."""

from __future__ import annotations

import pytest
import torch
from lively_networks import FAMILIES, chosen, images_for, network_of, prepared_surgery
from torch import Tensor

from spikefront.spaces import BadInput, Candidate, SurgeryOptions
from spikefront.spaces.site import SiteKind
from spikefront.svtmodels import compress
from spikefront.svtmodels.costs import static_costs
from spikefront.svtmodels.parts.synapse import parameters_of, window_of
from spikefront.svtmodels.surgery import cache as cache_module
from spikefront.svtmodels.surgery import moments as moments_module
from spikefront.svtmodels.surgery.moments import collect_moments, without_moments
from spikefront.svtmodels.surgery.prepared import PreparedSurgery


@pytest.fixture(params=FAMILIES)
def prepared(request: pytest.FixtureRequest) -> PreparedSurgery:
    return prepared_surgery(request.param)


def test_every_candidate_has_the_costs_that_were_promised(prepared: PreparedSurgery) -> None:
    network = prepared.network
    images = images_for(network)
    for levels in ({"channel": 0.5}, {"weight": 3}, {"channel": 0.5, "weight": 2, "token": 0.5}):
        candidate = chosen(network, **levels)
        small = compress(network, candidate, prepared)
        plain = compress(network, candidate)
        shapes = {name: tensor.shape for name, tensor in small.state_dict().items()}
        assert shapes == {name: tensor.shape for name, tensor in plain.state_dict().items()}
        assert static_costs(network, candidate).bytes > 0
        logits = small(images)
        assert logits.isfinite().all()
        again = compress(network, candidate, prepared)
        for name, tensor in again.state_dict().items():
            assert torch.equal(tensor, small.state_dict()[name]), name


def test_nothing_chosen_changes_nothing(prepared: PreparedSurgery) -> None:
    network = prepared.network
    same = compress(network, Candidate(), prepared)
    images = images_for(network)
    assert torch.equal(same(images), network(images))


def test_moments_are_those_of_what_enters() -> None:
    network = network_of("spikformer_cifar10")
    images = images_for(network)
    found = collect_moments(network, [images[:1], images[1:]], len(images))
    assert without_moments(network, found) == []
    for synapse in network.declaration.synapses:
        module = network.get_submodule(synapse.weight)
        seen: list[Tensor] = []
        handle = module.register_forward_hook(lambda _, __, out, seen=seen: seen.append(out))
        with torch.no_grad():
            network(images)
        handle.remove()
        weight, bias = parameters_of(module)
        outputs = seen[0].flatten(0, -2) - (0 if bias is None else bias)
        rows = weight.flatten(1)
        moments = found[synapse.name]
        products = rows @ torch.from_numpy(moments.products) @ rows.T
        # All positions were sampled, so the moments of the outputs follow exactly.
        torch.testing.assert_close(
            products, outputs.T @ outputs / len(outputs), rtol=1e-3, atol=1e-3
        )
        means = rows @ torch.from_numpy(moments.means)
        torch.testing.assert_close(means, outputs.mean(0), rtol=1e-3, atol=1e-3)


def test_wide_and_depthwise_synapses_fall_back(monkeypatch: pytest.MonkeyPatch) -> None:
    network = network_of("sdt_v2")
    images = images_for(network)
    monkeypatch.setattr(moments_module, "LARGEST", 64)
    found = collect_moments(network, [images], len(images))
    left = set(without_moments(network, found))
    for synapse in network.declaration.synapses:
        module = network.get_submodule(synapse.weight)
        weight, _ = parameters_of(module)
        wide = weight[0].numel() > 64 or window_of(module)["groups"] != 1
        assert (synapse.name in left) == wide
    assert left
    small = compress(
        network,
        chosen(network, channel=0.5, weight=3),
        PreparedSurgery(network, SurgeryOptions(), found),
    )
    assert small(images).isfinite().all()


def test_silent_channels_leave_no_trace() -> None:
    network = network_of("spikformer_cifar10").double()
    hidden = next(g for g in network.declaration.channels if g.name == "block.0.mlp.hidden")
    silent = torch.arange(0, hidden.size, 2)
    norm = network.get_submodule("block.0.mlp.fc1_bn")
    norm.get_parameter("weight").data[silent] = 0
    norm.get_parameter("bias").data[silent] = -1.0
    images = images_for(network).double()
    surgery = PreparedSurgery(
        network, SurgeryOptions(), collect_moments(network, [images], len(images))
    )
    (site,) = [s for s in network.sites if s.name == hidden.name and s.kind is SiteKind.CHANNEL]
    small = compress(network, Candidate.of({site: hidden.size // 2}), surgery)
    assert torch.equal(small.kept_channels[hidden.name], torch.arange(1, hidden.size, 2))
    assert (small(images) - network(images)).abs().max() < 1e-9


def test_the_cache_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    network = network_of("spikformer_cifar10")
    images = images_for(network)
    moments = collect_moments(network, [images], len(images))
    candidates = [chosen(network, channel=c, weight=w) for c in (0.5, 0.25) for w in (2, 4)]
    roomy = PreparedSurgery(network, SurgeryOptions(), moments)
    expected = [compress(network, c, roomy).state_dict() for c in candidates]
    monkeypatch.setattr(cache_module, "MEMORY_BYTES", 1)
    cramped = PreparedSurgery(network, SurgeryOptions(), moments)
    for candidate, wanted in zip(reversed(candidates), reversed(expected), strict=True):
        found = compress(network, candidate, cramped).state_dict()
        assert all(torch.equal(found[name], tensor) for name, tensor in wanted.items())


def test_surgery_of_another_network_is_refused() -> None:
    network, other = network_of("spikformer_cifar10"), network_of("spikformer_cifar10")
    with pytest.raises(BadInput, match="prepared for another network"):
        compress(network, Candidate(), PreparedSurgery(other))

"""What Spike-Driven Transformer v2 and v3 have in common: calls, sites, costs, files."""

from __future__ import annotations

import random

import pytest
import torch
from network_checks import (
    TOLERANCE,
    check_call,
    check_candidate,
    check_declaration,
    check_drift,
    check_groups,
    logits,
    silence,
)
from small_metaformers import NETWORKS, make
from small_spikformers import choose, inputs_for

from spikefront.evaluators.synops import SynOpCounter
from spikefront.spaces import BadInput, Candidate, SiteKind
from spikefront.svtmodels import build_official, compress
from spikefront.svtmodels.configurations import CONFIGURATIONS
from spikefront.svtmodels.metaformer import MetaFormer
from spikefront.svtmodels.parts.synapse import shape_of, window_of
from spikefront.svtmodels.recognise import recognise

FAMILIES = ("sdt_v2", "sdt_v3", "sdt_v3_large")
PUBLISHED = {n: c for n, c in CONFIGURATIONS.items() if c.architecture in FAMILIES}

each_network = pytest.mark.parametrize("name", NETWORKS)


@each_network
def test_a_call_is_its_own(name: str):
    check_call(make(name))


@each_network
def test_the_declaration_is_what_runs(name: str):
    check_declaration(make(name))


@pytest.mark.parametrize("name", ["v2", "v3", "v3 large", "v3 large base"])
def test_removing_a_group_is_silencing_it(name: str):
    check_groups(make(name, torch.float64), ("block3.1",))


@each_network
def test_removing_half_of_everything_is_silencing_it(name: str):
    network = make(name, torch.float64)
    groups = [site for site in network.sites if site.kind is SiteKind.CHANNEL]
    small = compress(network, Candidate.of({site: site.value_at(0.5) for site in groups}))
    assert len(small.kept_channels) == len(groups)
    x = inputs_for(network)
    silenced = silence(network, small.kept_channels)
    assert torch.allclose(logits(small, x), logits(silenced, x), rtol=0, atol=TOLERANCE)
    assert not torch.allclose(logits(small, x), logits(network, x), atol=1e-2)


@each_network
def test_the_empty_candidate_changes_no_bit(name: str):
    network = make(name)
    x = inputs_for(network)
    assert torch.equal(logits(compress(network, Candidate()), x), logits(network, x))


@each_network
@pytest.mark.parametrize("seed", range(2))
def test_random_candidates_can_be_built_and_packed(name: str, seed: int, tmp_path):
    network = make(name)
    candidate = network.space("layer").sample(random.Random(seed))
    check_candidate(network, candidate, tmp_path / "packed")


@each_network
@pytest.mark.parametrize("kind", SiteKind)
def test_each_kind_of_site_alone(name: str, kind: SiteKind, tmp_path):
    network = make(name)
    sites = [site for site in network.sites if site.kind is kind]
    level = {SiteKind.WEIGHT: 3, SiteKind.TIME: 1, SiteKind.STATE: 6}.get(kind, 0.5)
    candidate = Candidate.of({site: site.value_at(level) for site in sites})
    check_candidate(network, candidate, tmp_path / "packed")


@each_network
def test_drift(name: str):
    network = make(name)
    check_drift(network, network.space("network").sample(random.Random(1)))


@each_network
def test_every_layer_that_sees_spikes_costs_synops(name: str):
    network = make(name)
    x = inputs_for(network)
    with SynOpCounter(network) as counted:
        logits(network, x)
    spiking = [s.name for s in network.declaration.synapses if s.source == "spikes"]
    products = [p.name for p in network.declaration.attentions]
    assert set(counted.by_layer) == {*spiking, *products}
    assert min(counted.by_layer.values()) > 0


@each_network
def test_bits_of_eight_stay_near_the_trained_synapse(name: str):
    network = make(name, torch.float64)
    weights = [site.name for site in network.sites if site.kind is SiteKind.WEIGHT]
    small = compress(network, choose(network, weight=dict.fromkeys(weights, 8)))
    generator = torch.Generator().manual_seed(0)
    for synapse in network.declaration.synapses:
        module, rounded = (n.get_submodule(synapse.weight) for n in (network, small))
        norm = network.get_submodule(synapse.norm) if synapse.norm else torch.nn.Identity()
        grid, limit = network.input_grid(synapse.source)
        channels = shape_of(module)[1] * window_of(module)["groups"]
        counts = torch.randint(
            0, min(limit, 4 * grid) + 1, (1, 1, 9, 7, channels), generator=generator
        )
        with torch.no_grad():
            expected, got = (run(counts.double() / grid) for run in (module, rounded))
            expected = norm(expected)
        assert got.shape == expected.shape
        assert (got - expected).abs().max() < 0.05 * expected.std() + 1e-3, synapse.name


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_of_published_networks(name: str):
    configuration = PUBLISHED[name]
    with torch.device("meta"):
        network = build_official(configuration.architecture, configuration.arguments)
    assert sum(p.numel() for p in network.parameters()) == configuration.parameters
    assert network.time_steps == configuration.time_steps
    assert network.input_shape == (3, configuration.resolution, configuration.resolution)


@each_network
def test_recognised_from_keys_and_shapes(name: str):
    network = make(name)
    architecture, arguments = NETWORKS[name]
    unknown = {key: arguments[key] for key in ("num_heads", "T", "levels") if key in arguments}
    found, read = recognise(network.state_dict(), {"levels": 4, "T": 1, **unknown})
    assert found == architecture
    sized = {"img_size_h": 224, "img_size_w": 224}
    assert {key: read[key] for key in arguments} == {**arguments, **sized}
    assert isinstance(network, MetaFormer)
    allowed = {key: value for key, value in read.items() if key in network.settings}
    build_official(found, allowed).load_state_dict(network.state_dict(), strict=True)


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("v2", r"num_heads=… \(likely: 8\), T=… \(likely: 1, 4\)"),
        ("v3", r"num_heads=… \(likely: 8\)\."),
        ("v3 large", r"num_heads=… \(likely: 8\), levels=… \(likely: 4, 8\)"),
    ],
)
def test_what_no_shape_tells_is_asked_for(name: str, asked: str):
    with pytest.raises(BadInput, match=asked):
        recognise(make(name).state_dict(), {})


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"width": 3}, "unknown argument of .* 'width'"),
        ({"num_heads": 0}, "argument num_heads of .*: got 0"),
        ({"mlp_ratios": 2.5}, "argument mlp_ratios of .*: got 2.5"),
        ({"embed_dim": [8, 16]}, "argument embed_dim of .* whole numbers from 2"),
        ({"embed_dim": "wide"}, "argument embed_dim of .* whole numbers from 2"),
        ({"num_heads": 5}, "embed_dim 16 must be a multiple of num_heads 5"),
    ],
)
@each_network
def test_arguments_that_do_not_fit(name: str, changed: dict, message: str):
    with pytest.raises(BadInput, match=message):
        make(name, **changed)


def test_every_size_of_image_is_allowed():
    network = make("v2", img_size_h=37, img_size_w=50, T=1)
    assert isinstance(network, MetaFormer)
    assert network.grid(3) == (3, 4)
    assert logits(network, inputs_for(network)).shape == (2, 7)


@each_network
def test_training_reaches_every_parameter(name: str):
    network = make(name).train()
    network(inputs_for(network, batch=3)).square().sum().backward()
    gradients = {name: p.grad for name, p in network.named_parameters()}
    assert [name for name, grad in gradients.items() if grad is None] == []
    assert all(bool(g.isfinite().all()) for g in gradients.values() if g is not None)

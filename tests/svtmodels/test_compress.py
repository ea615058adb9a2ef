"""Surgery: what comes out is the candidate, really smaller, and the trained network stays."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from small_spikformers import (
    ARCHITECTURES,
    any_candidates,
    choose,
    few,
    inputs_for,
    small,
    space_candidates,
)
from torch import Tensor

from spikefront.spaces import BadInput, Candidate, SiteKind
from spikefront.spaces.site import INTEGER_BITS
from spikefront.svtmodels import Network, compress
from spikefront.svtmodels.parts.synapse import QuantisedSynapse, parameters_of

NETWORKS = {name: small(name) for name in ARCHITECTURES}
networks = st.sampled_from(list(NETWORKS.values()))
each_network = pytest.mark.parametrize("network", NETWORKS.values(), ids=list(NETWORKS))
fewer = settings(few, max_examples=10)


@each_network
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_the_empty_candidate_changes_no_bit(network: Network, dtype):
    network = copy.deepcopy(network).to(dtype)
    x = inputs_for(network)
    same = compress(network, Candidate())
    assert same is not network
    assert torch.equal(same(x), network(x))
    assert torch.equal(same.per_step(x), network.per_step(x))


@each_network
def test_only_parameters_that_act_are_carried_over(network: Network):
    kept = compress(network, Candidate()).state_dict()
    idle = set(network.state_dict()) - set(kept)
    assert idle == {
        name for name in network.state_dict() if ".norm" in name or name.startswith(("norm", "pos"))
    }
    assert idle


@few
@given(networks, st.data())
def test_every_point_of_every_space_builds_runs_and_learns(network: Network, data):
    candidate = data.draw(space_candidates(network))
    compressed = compress(network, candidate)
    _check_shapes(network, compressed, candidate)
    logits = compressed(inputs_for(network))
    assert logits.shape == (2, network.classes)
    assert torch.isfinite(logits).all()
    parameters = dict(compressed.named_parameters())
    assume(parameters)
    logits.square().sum().backward()
    for name, parameter in parameters.items():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


@few
@given(networks, st.data())
def test_every_legal_value_builds(network: Network, data):
    candidate = data.draw(any_candidates(network))
    compressed = compress(network, candidate)
    _check_shapes(network, compressed, candidate)
    with torch.no_grad():
        assert torch.isfinite(compressed(inputs_for(network, batch=1))).all()


def _check_shapes(network: Network, compressed: Network, candidate: Candidate) -> None:
    """Every weight has the shape that the candidate says, and every token layer its tokens."""
    chosen = {kind: candidate.to_dict().get(kind, {}) for kind in SiteKind}
    rows: dict[str, int] = {}
    columns: dict[str, int] = {}
    widths = {**chosen[SiteKind.CHANNEL], **chosen[SiteKind.RESIDUAL]}
    for group in network.declaration.groups:
        width = widths.get(group.name, group.size)
        assert width % group.heads == 0
        rows |= dict.fromkeys(group.producers, width)
        columns |= dict.fromkeys(group.consumers, width)
    for synapse in network.declaration.synapses:
        before = network.get_submodule(synapse.weight)
        after = compressed.get_submodule(synapse.weight)
        outputs, inputs, *kernel = parameters_of(before)[0].shape
        outputs, inputs = rows.get(synapse.name, outputs), columns.get(synapse.name, inputs)
        assert parameters_of(after)[0].shape == (outputs, inputs, *kernel)
        bits = chosen[SiteKind.WEIGHT].get(synapse.name)
        coded = after.bits if isinstance(after, QuantisedSynapse) else None
        assert coded == (bits if bits in INTEGER_BITS else None)
        if synapse.norm is not None and bits is None:
            norm = compressed.get_submodule(synapse.norm)
            assert {len(t) for t in norm.state_dict().values() if t.dim()} == {outputs}
    for site in network.declaration.tokens:
        selector = getattr(compressed.get_submodule(site.name), "selector")  # noqa: B009
        assert (selector.keep if selector else None) == chosen[SiteKind.TOKEN].get(site.name)
    assert compressed.time_steps == chosen[SiteKind.TIME].get("steps", network.time_steps)
    assert compressed.candidate == candidate


@each_network
def test_heads_lose_equally_many_of_their_own_channels(network: Network):
    candidate = choose(network, channel={"block.0.attn.qk": 12, "block.1.attn.v": 20})
    kept = compress(network, candidate).kept_channels
    assert set(kept) == {"block.0.attn.qk", "block.1.attn.v"}
    for name, per_head in (("block.0.attn.qk", 3), ("block.1.attn.v", 5)):
        assert torch.equal(kept[name] // 8, torch.arange(4).repeat_interleave(per_head))
        assert torch.equal(kept[name], kept[name].unique())


@each_network
def test_the_channels_of_the_largest_norm_stay(network: Network):
    hidden = "block.0.mlp.hidden"
    kept = compress(network, choose(network, channel={hidden: 10})).kept_channels[hidden]
    weights = {s.name: s.weight for s in network.declaration.synapses}
    weight = network.get_submodule(weights["block.0.mlp.fc1"]).state_dict()["weight"]
    norms = weight.flatten(1).norm(dim=1)
    assert sorted(norms.argsort(descending=True)[:10].tolist()) == kept.tolist()


def test_queries_and_keys_are_judged_together():
    network = small()
    q, k = (network.get_submodule(f"block.0.attn.{n}_linear").state_dict() for n in "qk")
    candidate = choose(network, channel={"block.0.attn.qk": 4})
    for loud in (q, k):
        quiet = k if loud is q else q
        loud["weight"].fill_(0.1)[[1, 10, 20, 31]] = 1.0
        quiet["weight"].fill_(0.2)
        kept = compress(network, candidate).kept_channels["block.0.attn.qk"]
        assert kept.tolist() == [1, 10, 20, 31]


def test_equal_norms_keep_the_first_channels():
    network = small()
    network.get_submodule("block.0.mlp.fc1_linear").state_dict()["weight"].fill_(0.1)
    kept = compress(network, choose(network, channel={"block.0.mlp.hidden": 40})).kept_channels
    assert kept["block.0.mlp.hidden"].tolist() == list(range(40))


@fewer
@given(networks, st.data())
def test_the_trained_network_stays_as_it_is(network: Network, data):
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    x = inputs_for(network)
    with torch.no_grad():
        logits = network(x)
    compressed = compress(network, data.draw(space_candidates(network)))
    assume(list(compressed.parameters()))
    compressed.train()(x).square().sum().backward()
    with torch.no_grad():
        for parameter in compressed.parameters():
            parameter.add_(1)
    after = network.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], before[name]) for name in before)
    with torch.no_grad():
        assert torch.equal(network(x), logits)
    assert not network.training
    assert network.candidate == Candidate()


@fewer
@given(networks, st.data())
def test_the_order_of_choices_and_the_repetition_do_not_matter(network: Network, data):
    candidate = data.draw(any_candidates(network))
    shuffled = Candidate(tuple(data.draw(st.permutations(candidate.choices))))
    first, second, third = (compress(network, c) for c in (candidate, shuffled, candidate))
    for other in (second, third):
        assert list(other.state_dict()) == list(first.state_dict())
        for name, tensor in first.state_dict().items():
            assert torch.equal(other.state_dict()[name], tensor), name


@each_network
def test_mode_and_type_follow_the_trained_network(network: Network):
    everything = choose(
        network,
        channel={"block.0.mlp.hidden": 10},
        token={"block.1": 3},
        weight={"patch_embed.proj_conv1": 4, "head": 8},
        time={"steps": 2},
    )
    for training in (True, False):
        double = copy.deepcopy(network).double().train(training)
        compressed = compress(double, everything)
        assert compressed.training is training
        tensors = compressed.state_dict().values()
        assert {t.dtype for t in tensors} == {torch.float64, torch.int8, torch.int64}
        assert all(m.training is training for m in compressed.modules())
    assert compressed.card is not None
    assert [s.key for s in compressed.sites] == [s.key for s in network.sites]


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("architecture", ["spikformer_cifar10", "spikformer_cifar10dvs"])
def test_fewer_steps_are_a_network_of_fewer_steps(architecture, steps):
    network = small(architecture)
    compressed = compress(network, choose(network, time={"steps": steps}))
    shorter = small(architecture, T=steps)
    x = inputs_for(network)
    cut = x[:, :steps] if x.dim() == 5 else x
    with torch.no_grad():
        assert torch.equal(compressed(x), shorter(cut))
        assert torch.equal(compressed.per_step(x), network.per_step(x)[:, :steps])
    assert compressed.per_step(x).shape == (2, steps, 7)


class TestRefusals:
    """Candidates and networks that do not fit."""

    network = NETWORKS[ARCHITECTURES[0]]

    @pytest.mark.parametrize(
        ("choice", "message"),
        [
            (("channel", "block.0.mlp.hiden", 4), "Did you mean 'block.0.mlp.hidden'"),
            (("channel", "block.2.mlp.hidden", 4), "Allowed: .*block.1.mlp.hidden"),
            (("weight", "block.0.mlp.fc3", 4), "Did you mean 'block.0.mlp.fc[12]'"),
            (("tokens", "block.0", 4), "Did you mean 'token'"),
            (("channel", "block.0.attn.qk", 30), "multiples of 4 up to 32"),
            (("channel", "block.0.mlp.hidden", 65), "allowed: 1..64"),
            (("token", "block.0", 0), "allowed: 1..16"),
            (("weight", "head", 12), "allowed: 1..8, 16 or 32"),
            (("weight", "head", 0), "allowed: 1..8, 16 or 32"),
            (("time", "steps", 5), "allowed: 1..4"),
        ],
    )
    def test_candidate_of_another_network(self, choice, message):
        with pytest.raises(BadInput, match=message):
            compress(self.network, Candidate((choice,)))

    def test_compressed_network(self):
        compressed = compress(self.network, choose(self.network, time={"steps": 2}))
        with pytest.raises(BadInput, match="compressed before"):
            compress(compressed, Candidate())


def test_a_compressed_network_can_be_copied():
    network = small()
    compressed = compress(
        network,
        choose(network, channel={"block.0.attn.v": 8}, token={"block.0": 4}, weight={"head": 3}),
    )
    x: Tensor = inputs_for(network)
    assert torch.equal(copy.deepcopy(compressed)(x), compressed(x))

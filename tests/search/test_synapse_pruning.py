from __future__ import annotations

import pytest
from made_up_pruning import Network, channel, keep, spaces

from spikefront.search.strategies.synapse_pruning import SynapsePruning
from spikefront.spaces import BadInput, Candidate, Granularity, Site, SiteKind
from spikefront.svtmodels.checkpoint import load_checkpoint
from spikefront.svtmodels.zoo import zoo_names, zoo_path

SPARSITIES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
MATRICES = ("attn.q", "attn.k", "attn.v", "attn.proj", "mlp.fc1", "mlp.fc2")


def density(name: str, block: str) -> Site:
    return Site(f"{block}.{name}", SiteKind.DENSITY, 100, "encoder", block)


SITES = [
    channel("proj_conv.out", "patch_embed", 8),
    channel("attn.qk", "block.0", 40, 4),
    channel("mlp.hidden", "block.0"),
    density("proj_conv", "patch_embed"),
    *(density(name, f"block.{number}") for number in range(2) for name in MATRICES),
    Site("head", SiteKind.DENSITY, 100, "head", "head"),
]
SPACES = spaces(SITES, dict.fromkeys((SiteKind.DENSITY, SiteKind.CHANNEL), keep(SPARSITIES)))


def loss(per_site: float) -> dict:
    return {site.name: lambda missing: per_site * missing**4 for site in SITES}


def test_l1p_takes_the_largest_sparsity_within_the_limit():
    """12 matrices at 0.005 rho^4: 3.94 points at 90 %, 2.46 at 80 %; the limit is 3."""
    network = Network(SPACES, loss(0.005))
    strategy = SynapsePruning(network.task, "synapse-pruning")
    asked = network.play(strategy)
    assert asked[0] == Candidate()
    blocks = {f"block.{number}.{name}" for number in range(2) for name in MATRICES}
    for candidate, sparsity in zip(asked[1:], SPARSITIES, strict=True):
        chosen = candidate.to_dict()
        assert set(chosen) == {"density"}
        assert chosen["density"] == dict.fromkeys(blocks, round(100 * (1 - sparsity)))
    outcome = strategy.outcome()
    assert outcome["sparsity"] == 0.8
    assert outcome["chosen"] == asked[4].key
    assert outcome["met"] and outcome["finished"]
    assert [row["sparsity"] for row in outcome["sparsities"]] == list(SPARSITIES)
    assert outcome["sparsities"][4]["drop"] == pytest.approx(12 * 0.005 * 0.9**4)


def test_dsp_takes_dimensions_of_attention_and_mlp():
    network = Network(SPACES, loss(0.03))
    strategy = SynapsePruning(network.task, "synapse-pruning", "dsp")
    asked = network.play(strategy)
    assert asked[5].to_dict() == {"channel": {"block.0.attn.qk": 4, "block.0.mlp.hidden": 4}}
    # 40 dimensions in steps of 4 heads: 95 % leaves 4 of them, as 90 % does, and 2 of the MLP.
    assert asked[6].to_dict() == {"channel": {"block.0.attn.qk": 4, "block.0.mlp.hidden": 2}}
    assert strategy.outcome()["sparsity"] == 0.8  # 2 x 3 x 0.4096 = 2.46 points


def test_nearest_miss():
    network = Network(SPACES, loss(0.1))
    strategy = SynapsePruning(network.task, "synapse-pruning")
    asked = network.play(strategy)
    outcome = strategy.outcome()
    assert outcome["chosen"] is None and not outcome["met"] and outcome["sparsity"] is None
    assert outcome["nearest_miss"] == asked[1].key


def test_failed_evaluations_pass_nothing():
    network = Network(SPACES, loss(0.005))
    asked = network.play(SynapsePruning(network.task, "synapse-pruning"))
    network.failing = frozenset({asked[4].key})
    strategy = SynapsePruning(network.task, "synapse-pruning")
    network.play(strategy)
    assert strategy.outcome()["sparsity"] == 0.7


def test_nothing_to_prune():
    tied = spaces(SITES, {SiteKind.DENSITY: (0.5,)}, Granularity.NETWORK)
    with pytest.raises(BadInput, match=r"'l1p' prunes attention .* space\.levels\.density, and"):
        SynapsePruning(Network(tied).task, "synapse-pruning")
    with pytest.raises(BadInput, match=r"space\.levels\.channel"):
        SynapsePruning(Network(tied).task, "synapse-pruning", "dsp")
    with pytest.raises(BadInput, match=r"unknown mode of strategy 'synapse-pruning' 'l1'\. Did"):
        SynapsePruning(Network(SPACES).task, "synapse-pruning", "l1")
    with pytest.raises(BadInput, match=r"set constraints\.max_drop"):
        SynapsePruning(Network(SPACES, max_drop=None).task, "synapse-pruning")


@pytest.mark.parametrize("name", zoo_names())
def test_real_networks_lose_all_of_their_six_matrices_and_nothing_else(name: str):
    network = load_checkpoint(zoo_path(name))
    levels = {SiteKind.DENSITY: (0.5,), SiteKind.CHANNEL: (0.5,)}
    space = network.space(Granularity.LAYER, levels)
    made_up = Network([space])
    pruned = {
        mode: made_up.play(SynapsePruning(made_up.task, "synapse-pruning", mode))[-1].to_dict()
        for mode in ("l1p", "dsp")
    }
    attentions = [attention.name for attention in network.declaration.attentions]
    hidden = [g for g in network.declaration.channels if g.name.endswith(".mlp.hidden")]
    matrices = {name for group in hidden for name in (*group.producers, *group.consumers)}
    matrices |= {
        f"{attention}.{part}"
        for attention in attentions
        for part in ("q", "k", "v", "proj")
        if any(s.name == f"{attention}.{part}" for s in network.declaration.synapses)
    }
    assert set(pruned["l1p"]["density"]) == matrices
    tied = {
        group.name
        for group in network.declaration.channels
        if any(group.name.rpartition(".")[0] == attention for attention in attentions)
    }
    assert set(pruned["dsp"]["channel"]) == tied | {group.name for group in hidden}

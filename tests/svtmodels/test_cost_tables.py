from __future__ import annotations

import random

import numpy as np
import pytest

from spikefront.spaces import Granularity, SiteKind, Space, SurgeryOptions
from spikefront.svtmodels.checkpoint import load_checkpoint
from spikefront.svtmodels.cost_tables import CostTables, total
from spikefront.svtmodels.costs import static_costs
from spikefront.svtmodels.network import Network
from spikefront.svtmodels.surgery.prepared import PreparedSurgery
from spikefront.svtmodels.zoo import zoo_path

LEVELS = {
    SiteKind.CHANNEL: (0.3, 0.6, 1.0),
    SiteKind.TOKEN: (0.5, 0.75),
    SiteKind.WEIGHT: (1, 2, 3, 8, 16),
    SiteKind.TIME: (1, 2, 3),
    SiteKind.RESIDUAL: (0.5, 0.75),
    SiteKind.DENSITY: (0.2, 0.6),
    SiteKind.STATE: (4, 8),
}
ZOO = ("spikformer-digits", "sdt-v1-cifar10", "sdt-v3-cifar10", "qkformer-cifar10")


def network(name: str) -> Network:
    return load_checkpoint(zoo_path(name))


def drawn(space: Space, count: int) -> list[list[int]]:
    rng = random.Random(0)
    return [[rng.randrange(len(axis.levels)) for axis in space.axes] for _ in range(count)]


@pytest.mark.parametrize("name", ZOO)
@pytest.mark.parametrize("granularity", [Granularity.STAGE, Granularity.LAYER])
def test_sums_of_tables_are_the_costs_of_one_candidate_after_another(
    name: str, granularity: Granularity
):
    trained = network(name)
    space = trained.space(granularity, LEVELS)
    tables = CostTables.build(trained, space, SurgeryOptions())
    prepared = PreparedSurgery(trained, SurgeryOptions())
    points = drawn(space, 12)
    costs = [static_costs(trained, space.decode(point), prepared) for point in points]
    assert total(tables.bytes, points).tolist() == [each.bytes for each in costs]
    assert total(tables.macs, points).tolist() == [each.macs for each in costs]


@pytest.mark.parametrize("name", ["spikformer-digits", "sdt-v3-cifar10"])
def test_vectors_of_half_the_bytes_are_counted(name: str):
    trained, options = network(name), SurgeryOptions(vectors="float16")
    space = trained.space("layer", LEVELS)
    sizes = total(CostTables.build(trained, space, options).bytes, points := drawn(space, 12))
    prepared = PreparedSurgery(trained, options)
    costs = [static_costs(trained, space.decode(point), prepared).bytes for point in points]
    assert sizes.tolist() == costs
    whole = [static_costs(trained, space.decode(point)).bytes for point in points]
    assert all(size < larger for size, larger in zip(costs, whole, strict=True))


@pytest.mark.parametrize(
    "options",
    [
        SurgeryOptions(tokens="information", token_mode="stop"),
        SurgeryOptions(tokens="official", token_masks="step"),
    ],
    ids=["stop", "step"],
)
def test_the_rule_for_tokens_decides_their_costs(options: SurgeryOptions):
    trained = network("spikformer-digits")
    space = trained.space("layer", {SiteKind.TOKEN: (0.3, 0.5, 0.75), SiteKind.TIME: (1, 2, 4)})
    macs = total(CostTables.build(trained, space, options).macs, points := drawn(space, 20))
    prepared = PreparedSurgery(trained, options)
    costs = [static_costs(trained, space.decode(point), prepared).macs for point in points]
    assert macs.tolist() == costs
    assert len(set(costs)) > 5


def test_terms_that_spikes_enter_are_marked():
    trained = network("spikformer-digits")
    tables = CostTables.build(trained, trained.space("layer", LEVELS), SurgeryOptions())
    dense = {term.name for term in tables.macs if not term.spikes}
    assert {"patch_embed.proj_conv", "head"} <= dense
    assert "block.0.mlp.fc2" not in dense


def test_a_term_knows_only_its_own_axes():
    trained = network("spikformer-digits")
    space = trained.space("layer", {SiteKind.WEIGHT: (2, 4), SiteKind.CHANNEL: (0.5,)})
    tables = CostTables.build(trained, space, SurgeryOptions())
    names = {term.name: {space.axes[axis].name for axis in term.axes} for term in tables.bytes}
    assert names["block.0.mlp.fc2"] == {"weight:block.0.mlp.fc2", "channel:block.0.mlp.hidden"}
    assert names["neurons"] == set()


def test_no_points_cost_nothing():
    trained = network("spikformer-digits")
    space = trained.space("network", {SiteKind.WEIGHT: (2, 4)})
    tables = CostTables.build(trained, space, SurgeryOptions())
    assert total(tables.bytes, np.empty((0, len(space.axes)))).shape == (0,)

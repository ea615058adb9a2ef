"""What `joint` believes of every choice alone: which points are probed, and what follows."""

from __future__ import annotations

import random

import numpy as np
import pytest
from simulated import SITES, SPACES

from spikefront.search.strategies.joint.probes import Probes
from spikefront.spaces import Granularity, SiteKind, Space

SPACE = SPACES[-1]


def at_four_bits() -> Probes:
    probes = Probes(SPACE)
    probes.base = probes.uniform()[1]
    return probes


class TestProbes:
    def test_uniform_points_change_weights_alone_and_all_alike(self):
        found = []
        for point in Probes(SPACE).uniform():
            for axis, level, full in zip(SPACE.axes, point, SPACE.full, strict=True):
                assert axis.kind is SiteKind.WEIGHT or level == full
            kinds = zip(SPACE.axes, point, strict=True)
            found.append({a.levels[n] for a, n in kinds if a.kind is SiteKind.WEIGHT})
        assert found == [{3}, {4}, {6}, {8}]

    def test_without_weights_there_is_nothing_uniform(self):
        space = Space.build(SITES, Granularity.LAYER, {SiteKind.CHANNEL: (0.5,)})
        assert Probes(space).uniform() == []
        assert Probes(space).start() == [space.full]
        assert all((table[:-1] > 10).all() for table in Probes(space).tables())

    def test_first_every_axis_at_its_lowest_from_the_base(self):
        probes = at_four_bits()
        assert probes.start() == [SPACE.full, probes.base]
        points = probes.first()
        assert len(points) == len(SPACE.axes)
        for axis, point in enumerate(points):
            assert point[axis] == 0
            assert probes.changed_axis(point) == axis

    def test_second_where_the_lowest_level_harms_and_one_lies_in_between(self):
        probes = at_four_bits()
        for number, point in enumerate(probes.first()):
            probes.note(point, number / 100, number / 100)
        axes = {probes.changed_axis(point) for point in probes.second()}
        harmed = {a for a in range(len(SPACE.axes)) if a >= (len(SPACE.axes) - 1) / 2}
        assert axes == {a for a in harmed if probes.base[a] > 1}

    def test_tables_fall_from_level_to_level_and_beyond_the_base(self):
        probes = at_four_bits()
        for point in probes.first():
            probes.note(point, 0.4, 0.4)
        for point in probes.second():
            probes.note(point, 0.1, 0.1)
        for axis, table in enumerate(probes.tables()):
            base, full = probes.base[axis], SPACE.full[axis]
            assert (np.diff(table) <= 1e-12).all()
            assert table[0] - table[base] == pytest.approx(0.4, rel=0.02)
            assert (table[full:] == 0).all()
            assert (table[base:full] > 0).all()
        bits = next(a for a, axis in enumerate(SPACE.axes) if axis.kind is SiteKind.WEIGHT)
        table = probes.tables()[bits]
        assert probes.base[bits] == 2
        assert table[1] - table[2] == pytest.approx(0.1, rel=0.1)
        # As from the lowest level to the next, above the base, too.
        assert table[3] / table[2] == pytest.approx(0.25, abs=0.02)

    def test_noise_of_harmless_probes_does_not_hide_what_drift_shows(self):
        """Weights of which 2 bits do 0.004 nats, measured to within 0.008: those that look
        harmless are believed to do what the drift of their kind lets expect."""
        rng = random.Random(0)
        probes = at_four_bits()
        weights = [a.kind is SiteKind.WEIGHT for a in SPACE.axes]
        for point, weight in zip(probes.first(), weights, strict=True):
            done = 0.004 if weight else 0.1
            probes.note(point, done + rng.gauss(0, 0.008), done)
        for point in probes.second():
            probes.note(point, 0.03, 0.03)
        each = zip(probes.tables(), probes.base, weights, strict=True)
        lowest = [table[0] - table[base] for table, base, weight in each if weight]
        assert min(lowest) > 0.002
        assert np.mean(lowest) == pytest.approx(0.004, abs=0.002)

    def test_channels_are_judged_by_divergence_as_what_is_gone_has_no_drift(self):
        probes = at_four_bits()
        for point, axis in zip(probes.first(), SPACE.axes, strict=True):
            gone = axis.kind is SiteKind.CHANNEL
            probes.note(point, 0.05, 0.0 if gone else 0.05)
        for table, axis in zip(probes.tables(), SPACE.axes, strict=True):
            if axis.kind is SiteKind.CHANNEL:
                assert table[0] == pytest.approx(0.05, rel=0.2)

    def test_an_axis_whose_probe_failed_is_left_alone(self):
        probes = at_four_bits()
        bits = next(a for a, axis in enumerate(SPACE.axes) if axis.kind is SiteKind.WEIGHT)
        for axis, point in enumerate(probes.first()):
            if axis in (0, bits):
                probes.fail(point)
            else:
                probes.note(point, 0.1, 0.1)
        for axis, table in enumerate(probes.tables()):
            assert (table[: probes.base[axis]] > 10).all() == (axis in (0, bits))

    def test_before_any_probe_early_weights_are_expected_to_need_bits_and_the_rest_stays(self):
        probes = at_four_bits()
        tables = dict(zip((axis.name for axis in SPACE.axes), probes.tables(), strict=True))
        weights = [table for name, table in tables.items() if name.startswith("weight")]
        lowest = [table[0] for table in weights]
        assert (np.diff(lowest) < 0).all()
        assert lowest[0] > 10 * lowest[-1]
        assert all((np.diff(table) <= 0).all() and table[-1] == 0 for table in weights)
        others = [table for name, table in tables.items() if not name.startswith("weight")]
        assert others
        assert all((table[:-1] > 10).all() for table in others)

    def test_what_the_first_probes_show_of_weights_holds_for_the_others(self):
        probes = at_four_bits()
        before = probes.tables()
        bits = [a for a, axis in enumerate(SPACE.axes) if axis.kind is SiteKind.WEIGHT]
        for axis in bits[:-1]:
            probes.note(probes.first()[axis], 0.2, 0.2)
        assert probes.tables()[bits[-1]][0] > 2 * before[bits[-1]][0]

    def test_what_the_base_was_measured_to_lose_is_shared_among_its_axes(self):
        probes = at_four_bits()

        def lost() -> float:
            return sum(t[level] for t, level in zip(probes.tables(), probes.base, strict=True))

        for point in probes.first():
            probes.note(point, 0.4, 0.4)
        follows = lost()
        for measured in (0.0, 0.5):
            probes.left = measured
            assert abs(lost() - measured) < abs(follows - measured) / 2

    def test_between_the_last_known_level_and_the_base_damage_falls_to_nothing(self):
        """As ``D decay^level`` does beyond what is left at the base."""
        probes = Probes(SPACE)
        bits = next(a for a, axis in enumerate(SPACE.axes) if axis.kind is SiteKind.WEIGHT)
        probes.base = tuple(
            4 if axis.kind is SiteKind.WEIGHT else full
            for axis, full in zip(SPACE.axes, SPACE.full, strict=True)
        )
        point = probes.first()[bits]
        probes.note(point, 0.8 * (1 - 0.25**4), 0.8)
        table = probes.tables()[bits]
        beyond = table[:4] - table[4]
        assert beyond / beyond[0] == pytest.approx(
            [(0.25**n - 0.25**4) / (1 - 0.25**4) for n in range(4)]
        )

    def test_a_base_at_the_lowest_level_leaves_tables_that_evaluations_can_correct(self):
        space = Space.build(SITES, Granularity.LAYER, {SiteKind.WEIGHT: (3, 4, 8)})
        probes = Probes(space)
        probes.base = probes.uniform()[0]
        assert set(probes.base) == {0}
        assert probes.first() == []
        tables = np.array(probes.tables())
        assert (np.diff(tables, axis=0) < 0)[:, 0].all()
        assert (np.diff(tables, axis=1) < 0).all()
        assert (tables[:, -1] == 0).all()

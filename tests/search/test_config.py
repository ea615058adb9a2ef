"""The config: its defaults, what it works out, overrides and the round trip."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from spikefront.search import config_sections
from spikefront.search.config import Config
from spikefront.spaces import (
    DEFAULT_KINDS,
    DEFAULT_LEVELS,
    BadInput,
    Granularity,
    Site,
    SiteKind,
    Space,
    SurgeryOptions,
)

MINIMAL = "model: {zoo: small}\n"


def test_defaults():
    config = Config.parse(MINIMAL, "folder/night-1.yaml")
    assert config.name == "night-1"
    assert (config.model.zoo, config.model.checkpoint, config.model.known) == ("small", None, {})
    assert config.data == {"name": "digits"}
    assert config.space.granularity is Granularity.LAYER
    assert config.space.levels.chosen() == {kind: DEFAULT_LEVELS[kind] for kind in DEFAULT_KINDS}
    assert config.surgery.model_dump() == SurgeryOptions().to_dict()
    assert config.objectives == ("accuracy", "bytes")
    assert set(config.constraints.model_dump().values()) == {None}
    assert config.strategy.model_dump() == {
        "name": "joint",
        "population": 40,
        "options": {},
        "warm_start": (),
    }
    assert config.gate.model_dump() == {
        "enabled": True,
        "by": "model",
        "max_drift": "auto",
        "warmup": 32,
        "false_reject_rate": 0.05,
        "audit_share": 0.1,
        "learn_order": True,
    }
    assert config.evaluation.model_dump() == {
        "batch_size": 100,
        "gate_images": 128,
        "alpha": 0.05,
        "energy_preset": "45nm",
        "engine": "compiled",
        "prefix_mib": 256,
    }
    assert config.budget.model_dump() == {
        "candidates": 300,
        "image_evaluations": None,
        "seconds": None,
        "patience": None,
    }
    assert config.cluster.model_dump(exclude={"window"}) == {
        "backend": "ray",
        "workers": "auto",
        "ordered": True,
        "max_attempts": 3,
        "address": "local",
        "call_timeout": None,
    }
    assert config.tracking.model_dump() == {
        "enabled": True,
        "uri": None,
        "experiment": "spikefront",
        "registered_model": None,
    }
    assert (config.seed, config.output) == (0, "runs")


@pytest.mark.parametrize("cluster", ["{}", "{window: null}"])
def test_the_window_is_twice_the_workers_and_a_number(cluster, monkeypatch):
    monkeypatch.setattr(config_sections.os, "cpu_count", lambda: 6)
    config = Config.parse(f"{MINIMAL}cluster: {cluster}")
    assert (config.cluster.worker_count, config.cluster.window) == (6, 12)
    assert config.merged({"cluster.workers": 5}).cluster.window == 10
    saved = Config.parse(config.to_yaml())
    monkeypatch.setattr(config_sections.os, "cpu_count", lambda: 64)
    assert saved.merged({"cluster.workers": 5}).cluster.window == 12
    assert Config.parse(saved.to_yaml()).cluster.window == 12


def test_workers_and_window_as_given():
    cluster = Config.parse(f"{MINIMAL}cluster: {{workers: 3, window: 4}}").cluster
    assert (cluster.worker_count, cluster.window) == (3, 4)


@pytest.mark.parametrize("nothing", ["[]", "null"])
def test_an_emptied_kind_is_left_alone(nothing):
    config = Config.parse(f"{MINIMAL}space: {{levels: {{token: {nothing}, time: [1, 2]}}}}")
    chosen = config.space.levels.chosen()
    assert set(chosen) == {SiteKind.CHANNEL, SiteKind.WEIGHT, SiteKind.TIME}
    assert chosen[SiteKind.TIME] == (1, 2)
    sites = [
        Site("b", SiteKind.TOKEN, 64, "s", "b"),
        Site("time", SiteKind.TIME, 4, "network", "network"),
    ]
    space = Space.build(sites, config.space.granularity, chosen)
    assert [axis.name for axis in space.axes] == ["time:time"]
    assert Config.parse(config.to_yaml()) == config


_TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
_FIXED: dict[str, st.SearchStrategy[Any]] = {
    "model": st.fixed_dictionaries({"checkpoint": _TEXT, "known": st.dictionaries(_TEXT, _TEXT)}),
}
_OPTIONAL: dict[str, st.SearchStrategy[Any]] = {
    "name": st.from_regex(r"[A-Za-z0-9_-][A-Za-z0-9._-]*", fullmatch=True),
    "data": st.fixed_dictionaries({"name": _TEXT, "options": st.lists(st.integers() | _TEXT)}),
    "constraints": st.fixed_dictionaries(
        {}, optional={"max_drop": st.floats(0, 1, exclude_max=True)}
    ),
    "gate": st.fixed_dictionaries(
        {"max_drift": st.just("auto") | st.floats(0, 1e9, exclude_min=True)}
    ),
    "tracking": st.fixed_dictionaries({"experiment": _TEXT, "enabled": st.booleans()}),
    "cluster": st.fixed_dictionaries({}, optional={"workers": st.integers(1, 10**6)}),
    "seed": st.integers(0, 2**32 - 1),
}


@settings(deadline=None)
@given(st.fixed_dictionaries(_FIXED, optional=_OPTIONAL))
def test_round_trip(data):
    config = Config.parse(yaml.safe_dump(data), "run.yaml")
    text = config.to_yaml()
    again = Config.parse(text, "other.yaml")
    assert again == config
    assert again.to_yaml() == text
    assert list(yaml.safe_load(text)) == list(Config.model_fields)


def test_overrides():
    config = Config.parse(f"{MINIMAL}budget: {{seconds: 60}}\ndata: {{name: a, root: [1]}}")
    before = config.to_yaml()
    merged = config.merged({"seed": 7, "budget.candidates": 5, "data.root": "x"})
    assert (merged.seed, merged.budget.candidates, merged.budget.seconds) == (7, 5, 60)
    assert merged.data == {"name": "a", "root": "x"}
    assert (merged.name, merged.model) == (config.name, config.model)
    assert config.merged({}) == config
    assert config.to_yaml() == before


def test_a_registry_of_strategies_can_be_handed_in():
    text = f"{MINIMAL}strategy: {{name: evolution}}"
    config = Config.parse(text, strategies={"evolution": object()})
    assert config.strategy.name == "evolution"
    assert config.merged({"seed": 1}, strategies=["evolution"]).seed == 1
    with pytest.raises(BadInput, match="unknown strategy 'evolution'"):
        config.merged({"seed": 1})


def test_a_config_is_frozen():
    config = Config.parse(MINIMAL)
    with pytest.raises(ValidationError, match="frozen"):
        config.seed = 1
    with pytest.raises(ValidationError, match="frozen"):
        config.budget.candidates = 1


def test_merge_keys_are_no_duplicates():
    config = Config.parse("model: &m {zoo: a, known: &k {x: 1}}\ndata: {<<: *k, <<: *k, name: d}")
    assert config.data == {"x": 1, "name": "d"}


def test_a_file_is_loaded_as_its_text(tmp_path):
    path = tmp_path / "night.yaml"
    path.write_text(MINIMAL, encoding="utf-8")
    assert Config.load(path) == Config.load(str(path)) == Config.parse(MINIMAL, "night.yaml")


def test_latency_is_an_objective_of_unordered_searches_alone():
    text = "model: {zoo: x}\nobjectives: [accuracy, latency_ms, state_bytes, parameters]\n"
    with pytest.raises(BadInput, match=r"latency_ms is measured.*set cluster\.ordered to false"):
        Config.parse(text)
    config = Config.parse(text + "cluster: {ordered: false}\n")
    assert config.objectives == ("accuracy", "latency_ms", "state_bytes", "parameters")


def test_what_a_search_may_begin_with_and_end_at():
    config = Config.parse("model: {zoo: x}")
    assert (config.budget.patience, config.paper_split) == (None, False)
    given = "model: {zoo: x}\nstrategy: {warm_start: [runs/a, runs/b]}\nbudget: {patience: 50}"
    config = Config.parse(given + "\npaper_split: true")
    assert config.strategy.warm_start == ("runs/a", "runs/b")
    assert (config.budget.patience, config.paper_split) == (50, True)
    with pytest.raises(BadInput, match=r"budget\.patience: got 0; allowed: a whole number"):
        Config.parse("model: {zoo: x}\nbudget: {patience: 0}")

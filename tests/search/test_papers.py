"""What papers fill in where a config says nothing, and what comes before them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from small_model import Cli, write_checkpoint, write_config

from spikefront.search import Search
from spikefront.search.config import Config
from spikefront.search.papers import PAPERS, fill_in
from spikefront.search.strategies import STRATEGIES
from spikefront.spaces import BadInput, Granularity, SiteKind, SurgeryOptions

MODEL = "model: {zoo: small}\n"


def parse(text: str) -> Config:
    return Config.parse(MODEL + text, strategies=STRATEGIES)


def test_every_paper_is_a_strategy():
    assert set(PAPERS) <= set(STRATEGIES)


@pytest.mark.parametrize(
    ("strategy", "levels", "granularity", "max_drop"),
    [
        ("{name: psvit}", {"channel": (0.5, 0.6, 0.7, 0.8, 0.9)}, "layer", 0.03),
        ("{name: primesvt}", {"channel": tuple(n / 100 for n in range(10, 96, 5))}, "layer", 0.03),
        ("{name: aq4svit-greedy}", {"weight": (2, 3, 4, 5, 6, 8, 16)}, "block", 0.015),
        ("{name: aq4svit-beam}", {"weight": (2, 3, 4, 5, 6, 8, 16)}, "block", 0.015),
        (
            "{name: tp-spikformer}",
            {"token": tuple(n / 100 for n in range(30, 101, 5))},
            "layer",
            0.015,
        ),
        ("{name: synapse-pruning}", {"density": (0.05, 0.1, 0.2, 0.3, 0.4, 0.5)}, "layer", 0.015),
        (
            "{name: synapse-pruning, options: {mode: l1p}}",
            {"density": (0.05, 0.1, 0.2, 0.3, 0.4, 0.5)},
            "layer",
            0.015,
        ),
        (
            "{name: synapse-pruning, options: {mode: dsp}}",
            {"channel": (0.05, 0.1, 0.2, 0.3, 0.4, 0.5)},
            "layer",
            0.015,
        ),
    ],
)
def test_a_name_alone_is_the_method_of_its_paper(
    strategy: str, levels: dict[str, Any], granularity: str, max_drop: float
):
    config = parse(f"strategy: {strategy}")
    assert config.space.levels.chosen() == {SiteKind(kind): each for kind, each in levels.items()}
    assert config.space.granularity is Granularity(granularity)
    assert config.constraints.max_drop == max_drop
    surgery = SurgeryOptions.from_dict(config.surgery.model_dump())
    assert not surgery.second_order
    assert (surgery.compensation, surgery.scales, surgery.rounding) == ("none", "max", "nearest")
    assert (surgery.density, surgery.recovery_images) == ("magnitude", 0)
    assert surgery.channels == ("l1-joint" if "dsp" in strategy else "l2")
    assert surgery.tokens == ("information" if "tp-" in strategy else "energy")
    assert surgery.vectors == ("float16" if "aq4svit" in strategy else "float32")


@pytest.mark.parametrize("name", ["nsga2", "random", "joint"])
def test_strategies_without_a_paper_get_the_defaults(name: str):
    told, plain = parse(f"strategy: {{name: {name}}}"), parse("")
    for section in ("space", "constraints", "surgery"):
        assert getattr(told, section) == getattr(plain, section)


def test_what_is_given_wins_field_by_field():
    config = parse(
        "strategy: {name: psvit}\n"
        "surgery: {channels: surgeon}\n"
        "space: {granularity: block}\n"
        "constraints: {max_bytes: 7}\n"
    )
    assert (config.surgery.channels, config.surgery.compensation) == ("surgeon", "none")
    assert config.space.granularity is Granularity.BLOCK
    assert set(config.space.levels.chosen()) == {SiteKind.CHANNEL}
    assert (config.constraints.max_drop, config.constraints.max_bytes) == (0.03, 7)


def test_levels_are_given_as_a_whole():
    config = parse("strategy: {name: psvit}\nspace: {levels: {channel: [0.25], time: []}}")
    chosen = config.space.levels.chosen()
    assert chosen[SiteKind.CHANNEL] == (0.25,)
    assert set(chosen) == {SiteKind.CHANNEL, SiteKind.TOKEN, SiteKind.WEIGHT}


def test_an_explicit_null_stays():
    config = parse("strategy: {name: psvit}\nconstraints: {max_drop: null}")
    assert config.constraints.max_drop is None
    again = Config.parse(config.to_yaml(), strategies=STRATEGIES)
    assert again.constraints.max_drop is None
    assert again.merged({"seed": 3}, strategies=STRATEGIES).constraints.max_drop is None


@pytest.mark.parametrize("name", sorted(PAPERS))
def test_the_config_as_used_shows_everything_and_comes_back(name: str):
    config = parse(f"strategy: {{name: {name}}}")
    written = yaml.safe_load(config.to_yaml())
    for (section, field), value in PAPERS[name].fields():
        assert written[section][field] == value
    again = Config.parse(config.to_yaml(), strategies=STRATEGIES)
    assert again == config
    # A resumed run: its folder is set anew, all else stays as it was written down.
    resumed = again.merged({"output": "elsewhere"}, strategies=STRATEGIES)
    assert resumed.model_dump(exclude={"output"}) == config.model_dump(exclude={"output"})
    assert config.merged({}, strategies=STRATEGIES) == config


def test_what_nobody_gave_follows_the_strategy():
    config = parse("strategy: {name: psvit}\nsurgery: {scales: mse}")
    merged = config.merged({"strategy.name": "aq4svit-beam"}, strategies=STRATEGIES)
    assert set(merged.space.levels.chosen()) == {SiteKind.WEIGHT}
    assert merged.space.granularity is Granularity.BLOCK
    assert (merged.constraints.max_drop, merged.surgery.scales) == (0.015, "mse")
    plain = merged.merged({"strategy.name": "nsga2"}, strategies=STRATEGIES)
    assert plain.space == parse("").space
    assert plain.constraints.max_drop is None
    assert (plain.surgery.channels, plain.surgery.scales) == ("surgeon", "mse")
    pruned = parse("strategy: {name: synapse-pruning}")
    other = pruned.merged({"strategy.options.mode": "dsp"}, strategies=STRATEGIES)
    assert set(other.space.levels.chosen()) == {SiteKind.CHANNEL}
    # What was written down, by a run say, is given.
    again = Config.parse(config.to_yaml(), strategies=STRATEGIES)
    kept = again.merged({"strategy.name": "nsga2"}, strategies=STRATEGIES)
    assert kept.space == config.space


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("strategy: {name: psvit}\nsurgery: null", "surgery: got null"),
        ("strategy: {name: psvit}\nspace: [1]", "space: got"),
        ("strategy: psvit", "strategy: got 'psvit'"),
        ("strategy: {name: [psvit]}", "strategy.name"),
        ("strategy: {name: psvit}\nsurgery: {channel: l2}", "surgery.channel: unknown key"),
        ("strategy: {name: synapse-pruning, options: 3}", "strategy.options: got 3"),
    ],
)
def test_mistakes_are_still_told_as_they_are(text: str, message: str):
    with pytest.raises(BadInput, match=message.replace("[", r"\[")):
        parse(text)


def test_the_given_mapping_is_left_as_it_is():
    data = {"strategy": {"name": "psvit"}, "surgery": {"channels": "taylor"}}
    filled, added = fill_in(data)
    assert data == {"strategy": {"name": "psvit"}, "surgery": {"channels": "taylor"}}
    assert filled["surgery"]["channels"] == "taylor"
    assert ("surgery", "channels") not in added and ("surgery", "scales") in added


def test_a_dry_run_lays_out_the_space_of_the_paper(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    write_checkpoint(tmp_path)
    path = write_config(tmp_path, strategy={"name": "aq4svit-greedy"}, space={})
    done = Cli(capsys)("search", path, "--dry-run", "--json")
    axes = done.record["axes"]
    assert axes and all(name.startswith("weight:") for name in axes)
    assert all(levels == [2, 3, 4, 5, 6, 8, 16, 32] for levels in axes.values())
    path = write_config(tmp_path, strategy={"name": "psvit"}, constraints={"max_drop": None})
    with pytest.raises(BadInput, match=r"0\.03"):
        Search.from_config(path).plan()


def test_a_run_is_resumed_with_what_the_paper_said(tmp_path: Path):
    write_checkpoint(tmp_path)
    sections = {"strategy": {"name": "tp-spikformer"}, "space": {}, "constraints": {}}
    short = write_config(tmp_path, **sections, budget={"candidates": 2})
    config = Search.from_config(short).config
    first = Search.from_config(short).run()
    assert Config.load(first.folder / "config.yaml", STRATEGIES) == config
    resumed = Search.resume(first.folder, {"budget.candidates": 100}).run()
    whole = write_config(tmp_path, "whole", **sections, budget={"candidates": 100})
    at_once = Search.from_config(whole).run()
    assert [m.key for m in resumed.front] == [m.key for m in at_once.front]

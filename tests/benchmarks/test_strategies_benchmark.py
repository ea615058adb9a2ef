from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import strategies
from benchmarks.strategies_page import page
from spikefront.search import Search
from spikefront.search.run_folder import write_json


def row(strategy: str, seed: int, curve: list[list[float]], spent: int = 1000) -> dict:
    return {
        "network": "net",
        "strategy": strategy,
        "seed": seed,
        "curve": curve,
        "hypervolume": curve[-1][1],
        "image_evaluations": spent,
    }


def test_images_are_counted_until_the_rivals_mean_volume():
    rows = [
        row("nsga2", 0, [[100, 0.2], [800, 0.5]]),
        row("nsga2", 1, [[300, 0.7]]),
        row("joint", 0, [[50, 0.5], [100, 0.6], [400, 0.9]]),
        row("joint", 1, [[200, 0.65]]),
    ]
    found = strategies.summarise(rows)
    assert found["net: nsga2: hypervolume"] == pytest.approx(0.6)
    assert found["net: images until nsga2's hypervolume"] == 150
    assert found["net: times fewer images"] == pytest.approx(1000 / 150)
    assert found["net: times fewer images, from when it was had"] == pytest.approx(550 / 150)


def test_a_seed_that_never_gets_there_is_not_left_out():
    rows = [
        row("nsga2", 0, [[100, 0.6]]),
        row("joint", 0, [[50, 0.7]]),
        row("joint", 1, [[9, 0.5]]),
    ]
    found = strategies.summarise(rows)
    assert found["net: share of seeds that reach it"] == 0.5
    assert "net: times fewer images" not in found


@pytest.mark.parametrize("strategy", strategies.STRATEGIES)
def test_configs_are_those_of_searches(strategy: str, tmp_path: Path):
    told = strategies.config(strategies.DIGITS, strategy, 3, tmp_path)
    path = tmp_path / "config.yaml"
    write_json(path, told)
    config = Search.from_config(path).config
    assert (config.strategy.name, config.seed) == (strategy, 3)
    assert config.budget.image_evaluations == strategies.DIGITS.images
    assert config.constraints.max_drop is None


def test_the_page_is_the_record():
    root = Path(__file__).parents[2]
    record = json.loads((root / "benchmarks" / "results" / "strategies.json").read_text())
    assert (root / "docs" / "strategies-results.md").read_text() == page(record)

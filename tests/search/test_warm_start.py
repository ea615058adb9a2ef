"""What earlier runs found comes first, whatever strategy follows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from played import asked, fitting, judged, play
from simulated import SITES, SPACES
from simulated_search import digest, run

from spikefront.search.strategies import STRATEGIES
from spikefront.search.strategies.optuna_strategy import OptunaStrategy
from spikefront.search.strategies.stepwise import Stepwise
from spikefront.search.strategies.warm_start import Findings, WarmStart
from spikefront.spaces import BadInput, Candidate
from spikefront.spaces.errors import CorruptFile

SITE = {site.key: site for site in SITES}


def candidate(**bits: int) -> Candidate:
    """Bit-widths by layer of the first block."""
    return Candidate.of({SITE["weight", f"block.0.{n}"]: b for n, b in bits.items()})


FIRST, SECOND, MODEL = candidate(fc1=8), candidate(fc1=4, fc2=6), candidate(fc2=2)
UNKNOWN_WIDTH = candidate(fc1=5)
"""The network can do it, but the space has no such level."""


def finished(folder: Path, members: Sequence[Candidate], method: Candidate | None = None) -> str:
    folder.mkdir(parents=True)
    record: dict[str, Any] = {
        "members": [{"candidate": member.to_dict()} for member in members],
        "method": None if method is None else {"model": {"candidate": method.to_dict()}},
    }
    (folder / "front.json").write_text(json.dumps(record))
    return str(folder)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[str, ...]:
    one = finished(tmp_path / "one", [FIRST, UNKNOWN_WIDTH], MODEL)
    two = finished(tmp_path / "two", [SECOND, FIRST])
    return (one, two)


def test_members_and_chosen_models_each_once_in_order(folders: tuple[str, ...]):
    findings = Findings.read(folders, SPACES[-1])
    assert findings.candidates == (FIRST, MODEL, SECOND)
    assert findings.left_out == 1
    assert "3 candidates of earlier runs" in findings.note
    assert "1 do not fit the space" in findings.note


@pytest.mark.parametrize("name", STRATEGIES)
def test_whatever_follows_counts_from_zero(folders: tuple[str, ...], name: str):
    """Indices of the strategy behind are its own: methods ask for exactly what they would."""
    plain = fitting(name)
    warm = replace(plain, warm_start=folders if plain.spaces[-1] == SPACES[-1] else ())
    if not warm.warm_start:
        warm = replace(warm, warm_start=(coarse_run(Path(folders[0]).parent, plain.spaces[-1]),))
    strategy = warm.make_strategy()
    assert isinstance(strategy, WarmStart)
    first = len(strategy.findings.candidates)
    for index in range(first):
        suggestion = strategy.suggest(index)
        assert suggestion is not None
        assert suggestion.candidate == strategy.findings.candidates[index]
        assert suggestion.checks is None
        strategy.update(index, judged(warm, suggestion))
    alone = plain.make_strategy()
    for index in range(12):
        suggestion = strategy.suggest(first + index)
        if isinstance(alone, Stepwise) and name != "joint":
            assert suggestion == alone.suggest(index)
        if suggestion is None:
            break
        evaluation = judged(warm, suggestion)
        strategy.update(first + index, evaluation)
        if isinstance(alone, Stepwise) and name != "joint":
            alone.update(index, evaluation)
    assert (strategy.outcome() is None) == (alone.outcome() is None)


def coarse_run(folder: Path, space: Any) -> str:
    return finished(folder / "coarse", [space.decode([0] * len(space.axes))])


def test_samplers_learn_from_it_and_do_not_repeat_it(folders: tuple[str, ...]):
    setup = replace(fitting("nsga2"), warm_start=folders)
    strategy = setup.make_strategy()
    keys = play(setup, 60)
    assert keys[:3] == [FIRST.key, MODEL.key, SECOND.key]
    assert len(set(keys)) == 60
    assert isinstance(strategy, WarmStart)
    inner = strategy._inner
    assert isinstance(inner, OptunaStrategy)
    for index in range(3):
        suggestion = strategy.suggest(index)
        assert suggestion is not None
        strategy.update(index, judged(setup, suggestion))
    points = [SPACES[-1].encode(each) for each in (FIRST, MODEL, SECOND)]
    told = [t for t in inner._study.trials if t.values is not None]
    names = [axis.name for axis in SPACES[-1].axes]
    assert [tuple(t.params[name] for name in names) for t in told] == points


def test_open_warm_suggestions_and_those_behind_are_kept_apart(folders: tuple[str, ...]):
    """All of one window open at once, and committed in another order."""
    setup = replace(fitting("tpe"), warm_start=folders)
    strategy = setup.make_strategy()
    open_ = {index: asked(strategy, index) for index in range(8)}
    assert [asked(strategy, index) for index in range(8)] == list(open_.values())
    for index in (5, 0, 7, 2, 1, 3, 6, 4):
        suggestion = strategy.suggest(index)
        assert suggestion is not None
        assert suggestion.candidate == open_[index]
        strategy.update(index, judged(setup, suggestion))
    assert asked(strategy, 8) not in open_.values()


@pytest.mark.parametrize("name", ["nsga2", "psvit"])
def test_traces_agree_and_resume(tmp_path: Path, folders: tuple[str, ...], name: str):
    setup = replace(fitting(name), warm_start=folders).with_budget(30)
    run(setup, tmp_path / "whole")
    run(setup, tmp_path / "many", setup.make_backend(workers=5, seed=1, deaths=0.2))
    assert digest(tmp_path / "many") == digest(tmp_path / "whole")
    lines = (tmp_path / "whole").read_bytes().splitlines(keepends=True)
    for kept in (2, 5, 12, 31):
        (tmp_path / "part").write_bytes(b"".join(lines[:kept]))
        run(setup, tmp_path / "part")
        assert digest(tmp_path / "part") == digest(tmp_path / "whole"), kept


def test_nothing_that_fits_is_refused(tmp_path: Path):
    folder = finished(tmp_path / "run", [UNKNOWN_WIDTH])
    with pytest.raises(BadInput, match=r"can be expressed in this space \(1 candidates\)"):
        replace(fitting("random"), warm_start=(folder,)).make_strategy()


def test_runs_that_cannot_be_used(tmp_path: Path):
    with pytest.raises(BadInput, match=r"nowhere has no front\.json"):
        Findings.read([str(tmp_path / "nowhere")], SPACES[-1])
    other = tmp_path / "other"
    other.mkdir()
    (other / "front.json").write_text('{"members": [{"candidate": {"weight": {"stem": 4}}}]}')
    with pytest.raises(BadInput, match="not of this network"):
        Findings.read([str(other)], SPACES[-1])
    for text in ("{}", '{"members": 3}', '{"members": [{}]}', "[1]"):
        (other / "front.json").write_text(text)
        with pytest.raises(CorruptFile, match="holds no front"):
            Findings.read([str(other)], SPACES[-1])

"""The config: a message for everything that can be wrong with it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from spikefront.search.config import Config
from spikefront.spaces import BadInput

MINIMAL = "model: {zoo: small}\n"


def problems(text: str, source: str = "run.yaml") -> list[str]:
    """Lines of the one error that a text causes, without the heading."""
    with pytest.raises(BadInput) as caught:
        Config.parse(text, source)
    heading, *lines = str(caught.value).split("\n  ")
    count = "1 problem" if len(lines) == 1 else f"{len(lines)} problems"
    assert heading == f"{source}: {count}"
    return lines


_RATIOS = "allowed: a list of keep ratios above 0 and up to 1"
_NAME = "allowed: letters, digits, '.', '_' and '-'"
_PATH = "allowed: the path of a folder"

_WRONG = [
    ("name: a b", f"name: got 'a b'; {_NAME}"),
    ("name: a/b", "name: got 'a/b'"),
    ("name: ..", "name: got '..'"),
    ('name: "a\\n"', "name: got 'a\\n'"),
    ("name: 3", f"name: got 3; {_NAME}"),
    ("name: null", "name: got null"),
    ("model: {}", "model: give exactly one of checkpoint and zoo; got neither"),
    ("model: {zoo: a, checkpoint: b}", "model: give exactly one of checkpoint and zoo; got both"),
    ("model: {checkpoint: 3}", "model.checkpoint: got 3; allowed: the path of a checkpoint"),
    ("model: {zoo: ''}", "model.zoo: got ''; allowed: the name of a network"),
    ("model: {zoo: a, known: {1: 2}}", "model.known.1: a key must be text; put it in quotes"),
    ("model: small", "model: got 'small'; allowed: a mapping with the keys checkpoint, zoo, known"),
    ("data: {}", "data.name: missing; give the name of a data set"),
    ("data: {name: 3}", "data.name: got 3; give the name of a data set"),
    ("data: {name: a, day: 2024-01-01}", "data.day: got datetime.date(2024, 1, 1); allowed: "),
    ("space: {granularity: layers}", "space.granularity: unknown granularity 'layers'. Did you"),
    ("space: {minimum_width: 0}", "space.minimum_width: got 0; allowed: a whole number of at"),
    ("space: {width_multiple: 1.5}", "space.width_multiple: got 1.5; allowed: a whole number"),
    ("space: {levels: {channel: [0.5, 0]}}", f"space.levels.channel.1: got 0; {_RATIOS}"),
    ("space: {levels: {token: [1.5]}}", f"space.levels.token.0: got 1.5; {_RATIOS}"),
    ("space: {levels: {token: 0.5}}", f"space.levels.token: got 0.5; {_RATIOS}"),
    ("space: {levels: {weight: [9]}}", "space.levels.weight.0: got 9; allowed: 1..8, 16 or 32"),
    ("space: {levels: {weight: [2.0]}}", "space.levels.weight.0: got 2.0; allowed: a list of bit"),
    ("space: {levels: {time: [0]}}", "space.levels.time.0: got 0; allowed: a list of numbers"),
    (
        "space: {levels: {channel: , token: [], weight: , time: }}",
        "space.levels: every kind is left alone",
    ),
    ("objectives: [accuracy, byte]", "objectives.1: unknown objective 'byte'. Did you mean 'byt"),
    ("objectives: [bytes]", "objectives: got ['bytes']; accuracy must be among them"),
    ("objectives: [accuracy, macs, macs]", "objectives: got ['accuracy', 'macs', 'macs']; name"),
    ("objectives: accuracy", "objectives: got 'accuracy'; allowed: a list from accuracy, bytes"),
    ("constraints: {max_drop: 1}", "constraints.max_drop: got 1; allowed: a fraction of at least"),
    ("constraints: {max_drop: 1e-3}", "It was read as text: leave out the quotes, and write 1.0e"),
    ("constraints: {max_bytes: 0}", "constraints.max_bytes: got 0; allowed: a whole number of at"),
    ("constraints: {max_bytes: 1.5}", "constraints.max_bytes: got 1.5"),
    ("constraints: {max_bytes_ratio: 1.1}", "constraints.max_bytes_ratio: got 1.1; allowed: a r"),
    ("constraints: {max_energy_mj: .inf}", "constraints.max_energy_mj: got inf; allowed: a numb"),
    ("strategy: {name: nsga}", "strategy.name: unknown strategy 'nsga'. Did you mean 'nsga2'?"),
    ("strategy: {population: 1}", "strategy.population: got 1; allowed: a whole number of at le"),
    ("strategy: {options: [1]}", "strategy.options: got [1]; allowed: a mapping of names"),
    ("gate: {enabled: 1}", "gate.enabled: got 1; allowed: true or false"),
    ("gate: {max_drift: 0}", "gate.max_drift: got 0; allowed: a number above 0, or auto"),
    ("gate: {max_drift: Auto}", "gate.max_drift: got 'Auto'; allowed: a number above 0, or auto"),
    ("gate: {warmup: -1}", "gate.warmup: got -1"),
    ("gate: {false_reject_rate: 1}", "gate.false_reject_rate: got 1"),
    ("gate: {audit_share: 1.01}", "gate.audit_share: got 1.01; allowed: a fraction from 0 to 1"),
    ("gate:", "gate: got null; allowed: a mapping with the keys enabled, by, max_drift"),
    ("evaluation: {batch_size: 0}", "evaluation.batch_size: got 0"),
    ("evaluation: {gate_images: 0}", "evaluation.gate_images: got 0"),
    ("evaluation: {alpha: 0}", "evaluation.alpha: got 0; allowed: a fraction between 0 and 1"),
    ("evaluation: {energy_preset: 45}", "evaluation.energy_preset: got 45"),
    ("budget: {candidates: null}", "budget.candidates: got null"),
    ("budget: {candidate: 3}", "budget.candidate: unknown key. Did you mean 'candidates'?"),
    ("budget: {image_evaluations: 0}", "budget.image_evaluations: got 0"),
    ("budget: {seconds: -1}", "budget.seconds: got -1; allowed: a number above 0, or null"),
    ("cluster: {backend: Ray}", "cluster.backend: unknown backend 'Ray'. Did you mean 'ray'?"),
    ("cluster: {workers: 0}", "cluster.workers: got 0; allowed: a whole number of at least 1, or"),
    ("cluster: {workers: true}", "cluster.workers: got true"),
    ("cluster: {window: 0}", "cluster.window: got 0; allowed: a whole number of at least 1, or n"),
    ("cluster: {max_attempts: 0}", "cluster.max_attempts: got 0"),
    ("cluster: {ordered: 'true'}", "cluster.ordered: got 'true'; allowed: true or false"),
    ("cluster: {call_timeout: 0}", "cluster.call_timeout: got 0"),
    ("tracking: {uri: ''}", "tracking.uri: got ''"),
    ("tracking: {experiment: null}", "tracking.experiment: got null; allowed: a name"),
    ("seed: 0.5", "seed: got 0.5; allowed: a whole number from 0 to"),
    ("seed: 4294967296", "seed: got 4294967296"),
    ("output: ''", f"output: got ''; {_PATH}"),
    ("modle: x", "modle: unknown key. Did you mean 'model'? Allowed: name, model, data"),
    ("x.seed: 1", "x.seed: unknown key. Did you mean 'seed'?"),
    ("zzzz: x", "zzzz: unknown key. Allowed: name, model, data"),
    ("on: x", "true: a key must be text; put it in quotes"),
]


@pytest.mark.parametrize(("text", "message"), _WRONG)
def test_a_wrong_field_is_named(text, message):
    model = "" if text.startswith("model") else MINIMAL
    (line,) = problems(model + text)
    assert message in line


def test_all_problems_are_told_at_once():
    text = "seed: -1\nbudget: {candidate: 1, seconds: no}\ncluster: {workers: many}\ngates: {}"
    paths = [line.partition(":")[0] for line in problems(text)]
    expected = {"model", "seed", "budget.candidate", "budget.seconds", "cluster.workers", "gates"}
    assert set(paths) == expected
    assert len(paths) == len(expected)
    assert "model: missing; give a mapping with the keys" in "\n".join(problems(text))


def test_a_file_name_that_is_no_run_name_is_told():
    (line,) = problems(MINIMAL, "my search.yaml")
    assert line.startswith("name: got 'my search'; allowed: ")


def _sections(data: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    for key, value in data.items():
        if isinstance(value, dict) and key not in ("known", "options", "data"):
            yield from _sections(value, (*path, key))


_FULL = yaml.safe_load(Config.parse(MINIMAL).to_yaml())
_ALL_SECTIONS = list(_sections(_FULL))


def test_every_section_is_tried_for_unknown_keys():
    assert len(_ALL_SECTIONS) == 12


@settings(deadline=None)
@given(st.sampled_from(_ALL_SECTIONS), st.text("abcdefghijklmnopqrstuvwxyz_", min_size=1))
@example((), "Seed")
@example(("cluster",), "resources")
def test_unknown_keys_are_refused_everywhere(path, key):
    data = yaml.safe_load(yaml.safe_dump(_FULL))
    section = data
    for name in path:
        section = section[name]
    assume(key not in section)
    section[key] = 1
    (line,) = problems(yaml.safe_dump(data))
    assert line.startswith(f"{'.'.join([*path, key])}: unknown key.")


_BROKEN = [
    ("model: {zoo: a\nseed: 1", "run.yaml: line 2, column 5: "),
    ("model:\n\tzoo: a", "run.yaml: line 2, column 1: found character '\\t'"),
    ("seed: 1\nseed: 2", "line 2, column 1: the key 'seed' is given twice (first on line 1)"),
    ("gate:\n  warmup: 1\n  warmup: 1", "line 3, column 3: the key 'warmup' is given twice"),
    ("data: {name: 2024-99-99}", "line 1, column 14: cannot read the value '2024-99-99'"),
    ("data:\n  train: s3://key:secret@b/x", "line 2, column 10: this URL holds a password"),
    ("data: {train: [a, 'https://u:p@host/x']}", "this URL holds a password"),
    ("tracking: {uri: 'https://u:p@host'}", "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASS"),
    ("seed: !!python/name:os.system ''", "line 1, column 7: could not determine a constructor"),
    ("a: 1\n---\nb: 2", "line 2, column 1: but found another document"),
    ("a: \0", "run.yaml: not YAML: unacceptable character #x0000"),
    ("- a\n- b", "run.yaml: holds a list; it must be a mapping"),
    ("just words", "run.yaml: holds a str; it must be a mapping"),
    ("# only a comment", "run.yaml: holds nothing; it must be a mapping"),
]


@pytest.mark.parametrize(("text", "message"), _BROKEN)
def test_what_is_not_a_yaml_mapping_is_refused_with_its_place(text, message):
    with pytest.raises(BadInput, match=re.escape(message)):
        Config.parse(text, "run.yaml")


def test_a_password_is_not_repeated_and_other_urls_are_no_passwords():
    with pytest.raises(BadInput) as caught:
        Config.parse(MINIMAL + "tracking: {uri: 'https://user:secret@host'}")
    assert "secret" not in str(caught.value)
    urls = ["s3://bucket/a@b:c", "abfs://container@account/x", "http://host:5000/x?to=a:b@c"]
    Config.parse(MINIMAL + yaml.safe_dump({"data": {"name": "parquet", "train": urls}}))


def test_files_that_cannot_be_read_are_named(tmp_path):
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"name: \xff")
    for path, message in [
        (tmp_path / "none.yaml", "none.yaml: no such file"),
        (tmp_path, f"{tmp_path}: cannot be read (Is a directory)"),
        (binary, "binary.yaml: byte 6 is not UTF-8"),
    ]:
        with pytest.raises(BadInput, match=re.escape(message)):
            Config.load(path)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"cluster.worker": 3}, "cluster.worker: unknown key. Did you mean 'workers'?"),
        ({"sed": 3}, "sed: unknown key. Did you mean 'seed'?"),
        ({"seed": -1, "output": ""}, "options: 2 problems\n  seed: got -1;"),
        ({"name.first": "x"}, "name.first: 'name' is no section"),
        ({"model.checkpoint": "x.pt"}, "model: give exactly one of checkpoint and zoo; got both"),
    ],
)
def test_wrong_overrides_are_refused(overrides, message):
    with pytest.raises(BadInput, match=re.escape(message)):
        Config.parse(MINIMAL).merged(overrides)

"""What the README promises and a machine can check."""

from __future__ import annotations

import re
from pathlib import Path

from spikefront.search.cli.main import VERBS
from spikefront.svtmodels.configurations import CONFIGURATIONS

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text()


def test_links_lead_somewhere():
    links = re.findall(r"\]\(([^)#]+)\)", TEXT)
    assert links
    assert not [link for link in links if "://" not in link and not (ROOT / link).exists()]


def test_every_verb_is_shown_and_exists():
    shown = set(re.findall(r"^\$ spikefront (\w+)", TEXT, re.MULTILINE))
    assert shown == {verb.name for verb in VERBS}


def test_every_make_target_exists():
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"make ([a-z][a-z-]*)", TEXT))
    assert targets
    assert not [target for target in targets if f"\n{target}:" not in makefile]


def test_the_number_of_networks_is_right():
    (count,) = re.findall(r"lists (\d+) published configurations", TEXT)
    assert int(count) == len(CONFIGURATIONS)


def test_examples_that_are_named_exist():
    named = set(re.findall(r"examples/[\w.-]+", TEXT))
    assert named
    assert not [name for name in named if not (ROOT / name).exists()]

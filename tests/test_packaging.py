"""What a wheel would hold: every package and every file that code reads at run time."""

from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
ROOMS = ("spaces", "svtmodels", "evaluators", "cluster", "search")
CONFIG = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]


def test_every_package_is_listed():
    found = {
        ".".join(("spikefront", *init.parent.relative_to(ROOT).parts))
        for room in ROOMS
        for init in (ROOT / room).rglob("__init__.py")
    }
    assert found == set(CONFIG["packages"])


def test_every_data_file_is_packaged():
    patterns = {
        ROOT / Path(*package.split(".")[1:]) / pattern
        for package, named in CONFIG["package-data"].items()
        for pattern in named
    }
    data = [
        file
        for room in ROOMS
        for file in (ROOT / room).rglob("*")
        if file.is_file() and file.suffix not in {".py", ".pyc"}
    ]
    assert data
    missing = [file for file in data if not any(file.match(str(p)) for p in patterns)]
    assert not missing


def test_dependencies_are_pinned():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {line.split("==")[0].lower() for line in lines if "==" in line}
    named = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    names = {name.split(">=")[0].split("[")[0].lower() for name in named}
    assert names <= {name.replace("_", "-") for name in pinned} | pinned

"""The house stands: rooms import only what is below them, and every file stays small.

The rules are checked on source texts, without importing anything, so that they can be shown to
bite on made-up files as well.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = "spikefront"
ROOMS = ("spaces", "svtmodels", "evaluators", "cluster", "search")
"""From the bottom up."""

MAX_LINES = 400

FORBIDDEN = {
    "search": {"torch"},
    "cluster": {"optuna", "mlflow"},
    "evaluators": {"ray", "optuna", "mlflow"},
}

SHIPPED = {"search/tracking/packed_model.py"}
"""Code that is copied into a logged model and run elsewhere, where it has no siblings."""


class Import(NamedTuple):
    """One imported name: dotted path from the root (relative) or as written (absolute)."""

    line: int
    relative: bool
    target: tuple[str, ...]


def imports(path: str, source: str) -> Iterator[Import]:
    """All imports of a file, those inside functions and type-checking blocks included."""
    for node in ast.walk(ast.parse(source, path)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(node.lineno, False, tuple(alias.name.split(".")))
        elif isinstance(node, ast.ImportFrom):
            base = _package(path, node.level) if node.level else ()
            module = node.module.split(".") if node.module else ()
            for alias in node.names:
                yield Import(node.lineno, node.level > 0, (*base, *module, alias.name))


def _package(path: str, dots: int) -> tuple[str, ...]:
    """Package that the dots of a relative import stand for."""
    package = PurePosixPath(path).parent.parts
    keep = len(package) - (dots - 1)
    return package[:keep] if keep >= 0 else ("<above the root>",)


def violations(files: Mapping[str, str]) -> list[str]:
    """Everything that is wrong with a tree of ``{path from the root: source}``."""
    found = []
    for path, source in files.items():
        length = len(source.splitlines())
        if length > MAX_LINES:
            found.append(f"{path}: {length} lines; at most {MAX_LINES}, split it by concept")
        for each in imports(path, source):
            wrong = _wrong_relative(path, each) if each.relative else _wrong_absolute(path, each)
            if wrong:
                found.append(f"{path}:{each.line}: {wrong}")
    return found + _circles(files)


def _wrong_relative(path: str, each: Import) -> str | None:
    own, target = path.partition("/")[0], each.target[0]
    if target not in ROOMS:
        return f"relative import of {'.'.join(each.target)}, which is no room"
    if ROOMS.index(target) > ROOMS.index(own):
        return f"{own} imports {target}, which is above it"
    return None


def _wrong_absolute(path: str, each: Import) -> str | None:
    room, top = path.partition("/")[0], each.target[0]
    if top == PACKAGE or top in ROOMS:
        if top == PACKAGE and path in SHIPPED:
            return None
        return f"absolute import of {top}; rooms import each other relatively"
    if top in FORBIDDEN.get(room, ()):
        return f"{room} knows nothing of {top}"
    if room == "spaces" and top not in sys.stdlib_module_names:
        return f"spaces is pure Python, but imports {top}"
    return None


def _circles(files: Mapping[str, str]) -> list[str]:
    graph = {
        path: {
            module
            for each in imports(path, source)
            if each.relative and (module := _module(each.target, files)) not in (None, path)
        }
        for path, source in files.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return [f"import circle: {' <- '.join(error.args[1])}"]
    return []


def _module(target: tuple[str, ...], files: Mapping[str, str]) -> str | None:
    """File that an imported name comes from: the module itself, or the one that holds it."""
    for dotted in (target, target[:-1]):
        stem = "/".join(dotted)
        for path in (f"{stem}.py", f"{stem}/__init__.py"):
            if path in files:
                return path
    return None


def tree() -> dict[str, str]:
    return {
        path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
        for room in ROOMS
        for path in sorted((ROOT / room).rglob("*.py"))
    }


def test_the_house_stands():
    files = tree()
    assert {path.partition("/")[0] for path in files} == set(ROOMS)
    assert violations(files) == []


_WRONG = [
    ("spaces/a.py", "from ..search import b", "spaces imports search, which is above it"),
    ("spaces/a.py", "from .. import search", "spaces imports search, which is above it"),
    ("cluster/a.py", "from ..search.front import Front", "cluster imports search"),
    ("svtmodels/parts/a.py", "from ...evaluators import b", "svtmodels imports evaluators"),
    ("evaluators/a.py", "def f():\n    from ..cluster import b", ":2: evaluators imports cluster"),
    ("search/a.py", "from ..spces import b", "relative import of spces.b, which is no room"),
    ("search/a.py", "from ...spaces import b", "which is no room"),
    ("search/a.py", "import spikefront.spaces", "absolute import of spikefront"),
    ("search/a.py", "from spikefront.spaces import Site", "absolute import of spikefront"),
    ("search/a.py", "from spaces import Site", "absolute import of spaces"),
    ("search/a.py", "import torch.nn as nn", "search knows nothing of torch"),
    ("search/tracking/packed_model.py", "import torch", "search knows nothing of torch"),
    ("evaluators/a.py", "from ray import remote", "evaluators knows nothing of ray"),
    ("evaluators/a.py", "import os, optuna", "evaluators knows nothing of optuna"),
    ("evaluators/data/a.py", "import mlflow.pyfunc", "evaluators knows nothing of mlflow"),
    ("cluster/a.py", "import optuna", "cluster knows nothing of optuna"),
    ("cluster/a.py", "import mlflow", "cluster knows nothing of mlflow"),
    ("spaces/a.py", "import numpy", "spaces is pure Python, but imports numpy"),
    ("search/a.py", "x = 1\n" * 401, "search/a.py: 401 lines; at most 400"),
]


@pytest.mark.parametrize(("path", "source", "message"), _WRONG)
def test_a_broken_rule_is_found(path, source, message):
    found = violations({path: source})
    assert len(found) == 1
    assert path in found[0]
    assert message in found[0]


_RIGHT = {
    "spaces/__init__.py": "from .site import Site",
    "spaces/site.py": "from __future__ import annotations\nimport math\nimport os.path",
    "spaces/axis.py": "from .site import Site",
    "svtmodels/parts/a.py": "import torch\nfrom ...spaces import Site\nfrom . import b",
    "svtmodels/parts/b.py": "from ...spaces.site import Site",
    "evaluators/a.py": "import torch\nfrom ..svtmodels.parts.a import x",
    "cluster/a.py": "import ray\nfrom .. import evaluators, spaces",
    "search/a.py": "import optuna, mlflow\nfrom ..cluster import a\n" + "x = 1\n" * 398,
    "search/tracking/packed_model.py": "from spikefront.svtmodels import load_packed",
}


def test_a_sound_house_passes():
    assert violations(_RIGHT) == []


@pytest.mark.parametrize(
    "files",
    [
        {"spaces/a.py": "from .b import x", "spaces/b.py": "from . import a"},
        {"spaces/a.py": "from . import x", "spaces/__init__.py": "from .a import y"},
        {
            "search/a.py": "from .cli.b import x",
            "search/cli/b.py": "def f():\n    from .c import x",
            "search/cli/c.py": "from ..a import x",
        },
    ],
)
def test_an_import_circle_is_found(files):
    (found,) = violations(files)
    assert found.startswith("import circle: ")
    assert all(path in found for path in files)

"""`make bench-search`: a whole search against what a user would write today.

Both sides search channels, tokens, bits and time steps of `spikformer-cifar10` (0.16 M
parameters) for accuracy and bytes, judged on the same 2,000 search images, with two workers of one
thread each, in processes of their own with empty caches. One side is `Search` with NSGA-II and
defaults; the other is `plain_search.py`. Seconds count from the start of a side's process.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from spikefront.cluster.worker_environment import worker_environment
from spikefront.evaluators.data import load_splits
from spikefront.search.cli.table import table
from spikefront.svtmodels.checkpoint import load_checkpoint, save_checkpoint
from spikefront.svtmodels.costs import parent_bytes
from spikefront.svtmodels.network import Network
from spikefront.svtmodels.zoo import zoo_path

from .record import RESULTS, write_record
from .search_curve import OWN, PLAIN, Reference, curve, summarise
from .search_page import write_pages

ROOT = Path(__file__).parents[1]
NETWORK = "spikformer-cifar10"
WORKERS = 2
POPULATION = 40
SEED = 0
_MODULES = {OWN: "own_search", PLAIN: "plain_search"}


def setup(
    network: Network, candidates: int, images: int, compiled: bool, folder: Path
) -> dict[str, Any]:
    """What both sides are told.

    A network is refused search images other than those that it was trained without: for a trial
    on fewer of them it is written anew without saying which they were.

    Args:
        network: of the zoo.
        candidates: to evaluate on each side.
        images: search images.
        compiled: whether the plain side has our compiled neurons.
        folder: for files.
    """
    card, checkpoint = dict(network.card), zoo_path(NETWORK)
    if images != card["data"]["search"]:
        card.pop("held_out")
        checkpoint = folder / "network.safetensors"
        save_checkpoint(network, checkpoint, card)
    demo = yaml.safe_load((ROOT / "examples" / "demo.yaml").read_text(encoding="utf-8"))
    return {
        "checkpoint": str(checkpoint),
        "data": {**card["data"], "search": images},
        "levels": demo["space"]["levels"],
        "candidates": candidates,
        "population": POPULATION,
        "workers": WORKERS,
        "seed": SEED,
        "compiled": compiled,
    }


def config(told: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Config of our side."""
    return {
        "name": "search",
        "model": {"checkpoint": told["checkpoint"]},
        "data": told["data"],
        "space": {"granularity": "layer", "levels": told["levels"]},
        "objectives": ["accuracy", "bytes"],
        "strategy": {"name": "nsga2", "population": told["population"]},
        "budget": {"candidates": told["candidates"]},
        "cluster": {"backend": "ray", "workers": told["workers"]},
        "seed": told["seed"],
        "output": str(folder / "runs"),
    }


def run_side(
    side: str, told: Mapping[str, Any], folder: Path, reference: Reference
) -> tuple[list[dict[str, Any]], float]:
    """Curve of one side, and the seconds that its process took."""
    own = folder / side
    own.mkdir()
    given, points = own / "setup.yaml", own / "points.json"
    # JSON is YAML, so that one file serves either side.
    given.write_text(json.dumps(config(told, own) if side == OWN else told), encoding="utf-8")
    call = f"from benchmarks.{_MODULES[side]} import main; main()"
    started = time.monotonic()
    # Imported by name, not run as __main__: what Ray sends to its workers must be importable.
    subprocess.run(
        [sys.executable, "-c", call, str(given), str(points)],
        env={
            **os.environ,
            **worker_environment(),
            "PYTHONPATH": str(ROOT),
            "XDG_CACHE_HOME": str(own / "cache"),
            "RAY_AIR_NEW_OUTPUT": "0",  # Tune prints a table of its settings even if verbose=0.
        },
        check=True,
    )
    wall = time.monotonic() - started
    found = json.loads(points.read_text(encoding="utf-8"))
    return curve(side, found, started, reference), wall


def show(summary: Mapping[str, float]) -> str:
    """Table of the figures."""
    return table(("figure", "value"), [(name, f"{value:,.3f}") for name, value in summary.items()])


def _facts(
    network: Network, told: Mapping[str, Any], images: int, reference: Reference
) -> dict[str, Any]:
    return {
        "part": "setup",
        "network": NETWORK,
        "parameters": sum(each.numel() for each in network.parameters()),
        "axes": len(network.space("layer", told["levels"]).axes),
        "images": images,
        "workers": WORKERS,
        "population": POPULATION,
        "seed": SEED,
        "plain_neurons": "spikefront" if told["compiled"] else "spikingjelly",
        "reference": {"accuracy": reference.accuracy, "bytes": reference.bytes},
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Run both sides, print the figures, write record and page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--candidates", type=int, default=200, help="on each side")
    parser.add_argument("--images", type=int, default=2000, help="search images to judge on")
    parser.add_argument(
        "--compiled-neurons", action="store_true", help="give the plain side our neurons"
    )
    options = parser.parse_args(arguments)
    if min(options.candidates, options.images) < 1:
        parser.error("--candidates and --images must be at least 1.")
    network = load_checkpoint(zoo_path(NETWORK))
    reference = Reference(1 / network.classes, parent_bytes(network))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        told = setup(network, options.candidates, options.images, options.compiled_neurons, folder)
        judged = len(load_splits(told["data"], with_train=False, with_test=False).search)
        plain, plain_wall = run_side(PLAIN, told, folder, reference)
        own, own_wall = run_side(OWN, told, folder, reference)
    summary = summarise(own, plain, {OWN: own_wall, PLAIN: plain_wall})
    summary["hours"] = (own_wall + plain_wall) / 3600
    rows = [_facts(network, told, judged, reference), *own, *plain]
    given = " ".join(sys.argv[1:] if arguments is None else arguments)
    path = write_record("search", rows, summary, RESULTS, given)
    print(show(summary))
    written = [path, *write_pages(path, ROOT / "docs")]
    print(f"Written to {', '.join(os.path.relpath(each) for each in written)}.")


if __name__ == "__main__":
    main()

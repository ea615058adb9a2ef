"""`make bench-strategies`: hypervolume against image evaluations, strategy by strategy.

Every search is real: candidates are built and run, on one worker, with the gate and the sequential
test as they are by default. `spikformer-digits` is searched by each strategy with several seeds,
`spikformer-cifar10` by two of them once. All have the same number of image evaluations to spend;
what a strategy spends on probes counts. A finished search's points are kept in the work folder, so
that the benchmark may be interrupted.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from spikefront.cluster.worker_environment import worker_environment
from spikefront.search.cli.table import table
from spikefront.search.run_folder import write_json
from spikefront.svtmodels.checkpoint import load_checkpoint
from spikefront.svtmodels.costs import parent_bytes
from spikefront.svtmodels.zoo import zoo_path

from .record import RESULTS, write_record
from .search_curve import Reference, curve
from .strategies_page import write_pages

ROOT = Path(__file__).parents[1]
STRATEGIES = ("joint", "nsga2", "tpe", "random")
JOINT, RIVAL = "joint", "nsga2"
_CALL = "from benchmarks.own_search import main; main()"


@dataclass(frozen=True, slots=True)
class Case:
    """One network and who searches it.

    Attributes:
        network: of the zoo.
        images: image evaluations that each search may spend.
        population: of NSGA-II.
        strategies: that search it.
    """

    network: str
    images: int
    population: int
    strategies: tuple[str, ...] = STRATEGIES


DIGITS = Case("spikformer-digits", 100_000, 24)
PAIR = Case("spikformer-cifar10", 300_000, 40, (JOINT, RIVAL))


def config(case: Case, strategy: str, seed: int, folder: Path) -> dict[str, Any]:
    """Config of one search."""
    demo = yaml.safe_load((ROOT / "examples" / "demo.yaml").read_text(encoding="utf-8"))
    return {
        "name": f"{case.network}.{strategy}.{seed}",
        "model": {"zoo": case.network},
        "data": dict(load_checkpoint(zoo_path(case.network)).card["data"]),
        "space": demo["space"],
        "objectives": ["accuracy", "bytes"],
        "strategy": {"name": strategy, "population": case.population},
        "budget": {"candidates": 1_000_000, "image_evaluations": case.images},
        "cluster": {"backend": "in-process", "window": 4},
        "tracking": {"enabled": False},
        "seed": seed,
        "output": str(folder / "runs"),
    }


def points_of(case: Case, strategy: str, seed: int, folder: Path) -> list[dict[str, Any]]:
    """One point per evaluation of a search, which is run unless its points lie in the folder."""
    path = folder / f"{case.network}.{strategy}.{seed}.json"
    if not path.exists():
        told, fresh = path.with_suffix(".yaml"), path.with_suffix(".new")
        write_json(told, config(case, strategy, seed, folder))
        subprocess.run(
            [sys.executable, "-c", _CALL, str(told), str(fresh)],
            env={**os.environ, **worker_environment(), "PYTHONPATH": str(ROOT)},
            check=True,
        )
        fresh.replace(path)
    return json.loads(path.read_text(encoding="utf-8"))


def run_row(
    case: Case, strategy: str, seed: int, points: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Row of a search: hypervolume over image evaluations, where it rose."""
    network = load_checkpoint(zoo_path(case.network))
    reference = Reference(1 / network.classes, parent_bytes(network))
    rows = curve(strategy, points, points[0]["at"], reference)
    spent = np.cumsum([row["images"] for row in rows]).tolist()
    risen, volume = [], 0.0
    for images, row in zip(spent, rows, strict=True):
        if row["hypervolume"] > volume:
            volume = row["hypervolume"]
            risen.append([images, volume])
    return {
        "part": "run",
        "network": case.network,
        "strategy": strategy,
        "seed": seed,
        "image_evaluations": spent[-1],
        "evaluations": len(rows),
        "probes": sum(row["state"] == "probed" for row in rows),
        "hypervolume": volume,
        "curve": risen,
        "seconds": points[-1]["at"] - points[0]["at"],
    }


def images_until(row: Mapping[str, Any], wanted: float) -> int | None:
    """Image evaluations after which a search's hypervolume was at least this; None: never."""
    return next((images for images, volume in row["curve"] if volume >= wanted), None)


def summarise(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Mean and spread of the hypervolumes, and how much sooner `joint` had its rival's."""
    figures: dict[str, float] = {}
    for network in dict.fromkeys(row["network"] for row in rows):
        own = [row for row in rows if row["network"] == network]
        for strategy in dict.fromkeys(row["strategy"] for row in own):
            volumes = [row["hypervolume"] for row in own if row["strategy"] == strategy]
            figures[f"{network}: {strategy}: hypervolume"] = float(np.mean(volumes))
            figures[f"{network}: {strategy}: standard deviation"] = float(np.std(volumes))
        figures |= _times_fewer(network, own)
    return figures


def _times_fewer(network: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    rivals = [row for row in rows if row["strategy"] == RIVAL]
    ours = [row for row in rows if row["strategy"] == JOINT]
    if not rivals or not ours:
        return {}
    wanted = float(np.mean([row["hypervolume"] for row in rivals]))
    reached = [images_until(row, wanted) for row in ours]
    figures = {
        f"{network}: share of seeds that reach it": float(np.mean([r is not None for r in reached]))
    }
    known = [images for images in reached if images is not None]
    if len(known) < len(reached):
        return figures
    spent = float(np.mean([row["image_evaluations"] for row in rivals]))
    # From when it was had: a rival that stagnates is not charged for its last evaluations.
    had = float(np.mean([row["curve"][-1][0] for row in rivals]))
    return figures | {
        f"{network}: images until {RIVAL}'s hypervolume": float(np.mean(known)),
        f"{network}: times fewer images": spent / float(np.mean(known)),
        f"{network}: times fewer images, from when it was had": had / float(np.mean(known)),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Run all searches, print the figures, write record, page and picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5, help="of the searches on digits")
    parser.add_argument("--images", type=int, default=DIGITS.images, help="of each of these")
    parser.add_argument("--pair-images", type=int, default=PAIR.images, help="of each on CIFAR-10")
    parser.add_argument("--no-pair", action="store_true", help="leave CIFAR-10 out")
    parser.add_argument("--workers", type=int, default=1, help="searches at once")
    parser.add_argument("--folder", type=Path, help="work folder (default: a temporary one)")
    options = parser.parse_args(arguments)
    if min(options.seeds, options.images, options.pair_images, options.workers) < 1:
        parser.error("--seeds, --images, --pair-images and --workers must be at least 1.")
    digits = Case(DIGITS.network, options.images, DIGITS.population)
    pair = Case(PAIR.network, options.pair_images, PAIR.population, PAIR.strategies)
    jobs: list[tuple[Case, str, int]] = [
        (digits, s, seed) for seed in range(options.seeds) for s in digits.strategies
    ]
    jobs += [] if options.no_pair else [(pair, strategy, 0) for strategy in pair.strategies]
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.folder or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor(options.workers) as pool:
            found = list(pool.map(lambda job: points_of(job[0], job[1], job[2], folder), jobs))
    rows = [
        run_row(case, strategy, seed, points)
        for (case, strategy, seed), points in zip(jobs, found, strict=True)
    ]
    summary = summarise(rows)
    summary["hours"] = sum(row["seconds"] for row in rows) / 3600
    given = " ".join(sys.argv[1:] if arguments is None else arguments)
    path = write_record("strategies", rows, summary, RESULTS, given)
    print(table(("figure", "value"), [(name, f"{value:,.3f}") for name, value in summary.items()]))
    written = [path, *write_pages(path, ROOT / "docs")]
    print(f"Written to {', '.join(os.path.relpath(each) for each in written)}.")


if __name__ == "__main__":
    main()

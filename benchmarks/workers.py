"""`make bench-workers`: what the environment and the number of worker processes are worth.

Candidates of two networks of the zoo are evaluated in full (surgery looked up, no gate), by one
process per core with one thread each or by one process with a thread per core, with and without
the variables of `cluster/worker_environment.py`. Every way is started anew in every round, in
turn; candidates are shared out among its processes, which begin together after one candidate
that does not count.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from spikefront.cluster.worker_environment import ALLOCATOR, WAITING, worker_environment
from spikefront.evaluators.blueprint import Blueprint
from spikefront.evaluators.data import Preprocessing, load_splits
from spikefront.evaluators.evaluation import Request
from spikefront.evaluators.evaluator import EvaluationSettings
from spikefront.search.cli.table import table
from spikefront.spaces import Candidate
from spikefront.spaces.errors import RunFailed
from spikefront.svtmodels.checkpoint import load_checkpoint
from spikefront.svtmodels.zoo import zoo_path

from .pairing import seconds
from .record import write_record
from .workers_page import write_page

ROOT = Path(__file__).parents[1]
NETWORKS = ("spikformer-digits", "spikformer-cifar10")
_HEADER = (
    "network",
    "processes x threads",
    "without",
    "images/s",
    "of the default",
    "CPU ms per image",
)


@dataclass(frozen=True, slots=True)
class Way:
    """One way to use the cores.

    Attributes:
        processes: evaluating at once.
        threads: of each.
        without: variables that are left out: nothing, waiting, allocator, or both.
    """

    processes: int
    threads: int
    without: str = "nothing"

    @property
    def environment(self) -> dict[str, str]:
        """Environment of its processes."""
        left_out = {
            "nothing": (),
            "waiting": tuple(WAITING),
            "allocator": tuple(ALLOCATOR),
            "both": (*WAITING, *ALLOCATOR),
        }[self.without]
        ours = worker_environment(self.threads)
        kept = {name: value for name, value in os.environ.items() if name not in ours}
        return kept | {name: value for name, value in ours.items() if name not in left_out}


def ways(cores: int) -> list[Way]:
    """The default first: a process per core, with all variables."""
    shapes = dict.fromkeys([(cores, 1), (1, cores)])
    return [
        Way(*shape, left)
        for shape in shapes
        for left in ("nothing", "waiting", "allocator", "both")
    ]


def blueprint(name: str, images: int) -> Blueprint:
    """Blueprint of a network of the zoo, judged on its first search images."""
    network = load_checkpoint(zoo_path(name))
    splits = load_splits(network.card["data"], with_train=False, with_test=False)
    few = replace(splits, search=splits.search.take(range(min(images, len(splits.search)))))
    preprocessing = Preprocessing.from_dict(network.card["preprocessing"])
    return Blueprint.prepare(network, few, preprocessing, EvaluationSettings())


def candidates(made: Blueprint, count: int) -> list[Candidate]:
    """Candidates drawn from the default space, the same ones every time."""
    space, source = made.network().space(), random.Random(0)
    return [space.sample(source) for _ in range(count)]


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast a way was, over all of its processes.

    Attributes:
        images_per_second: by the clock; what else runs on the machine slows it.
        cpu_ms: milliseconds of CPU, user and kernel, that an image took.
    """

    images_per_second: float
    cpu_ms: float


def speed(way: Way, made: Path, share: Sequence[Sequence[int]]) -> Speed:
    """Start the processes of a way, let them evaluate, and time it.

    Args:
        way: how the cores are used.
        made: pickled blueprint and candidates, our own file.
        share: numbers of the candidates of each process.

    Raises:
        RunFailed: a process died.
    """
    command = [sys.executable, "-m", "benchmarks.workers", "--worker", str(made)]
    with ExitStack() as stack:
        workers = [
            stack.enter_context(
                subprocess.Popen(
                    [*command, str(way.threads), json.dumps(list(own))],
                    env=way.environment,
                    cwd=ROOT,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            for own in share
        ]
        lines = [_lines(worker) for worker in workers]
        for each in lines:
            _told(each)  # It is ready.
        started = time.perf_counter()
        for worker in workers:
            assert worker.stdin is not None
            worker.stdin.write("go\n")
            worker.stdin.flush()
        counts = [json.loads(_told(each)) for each in lines]
        wall = time.perf_counter() - started
    images, cpu = (sum(count[name] for count in counts) for name in ("images", "cpu"))
    return Speed(images / wall, 1000 * cpu / images)


def _told(lines: Iterator[str]) -> str:
    line = next(lines, None)
    if line is None:
        raise RunFailed("a worker died; what it said last stands above.")
    return line


def _lines(worker: subprocess.Popen[str]) -> Iterator[str]:
    assert worker.stdout is not None
    return iter(worker.stdout)


def work(made: Path, threads: int, own: Sequence[int]) -> None:
    """Evaluate a share: say when ready, wait for the word, say what it took."""
    stored: tuple[Blueprint, list[Candidate]] = pickle.loads(made.read_bytes())
    evaluator = stored[0].build()
    torch.set_num_threads(threads)
    evaluator(Request(stored[1][own[0]]))
    print("ready", flush=True)
    sys.stdin.readline()
    before = time.process_time()
    done = [evaluator(Request(stored[1][number])) for number in own]
    took = {
        "images": sum(each.image_evaluations for each in done),
        "cpu": time.process_time() - before,
    }
    print(json.dumps(took), flush=True)


def shared_out(count: int, processes: int) -> list[list[int]]:
    """Numbers 0..count-1, dealt out in turn."""
    return [list(range(first, count, processes)) for first in range(processes)]


def measure(
    name: str, tried: Sequence[Way], count: int, images: int, rounds: int
) -> list[dict[str, Any]]:
    """One row per way: median images/s over the rounds, and the ratio to the first way."""
    made = blueprint(name, images)
    drawn = candidates(made, count)
    warm = made.build()
    for candidate in drawn:  # Surgery comes from the cache in every process, and costs all alike.
        warm(Request(candidate))
    found: dict[Way, list[Speed]] = {way: [] for way in tried}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "made.pickle")
        path.write_bytes(pickle.dumps((made, drawn)))
        for _ in range(rounds):
            for way in tried:
                found[way].append(speed(way, path, shared_out(count, way.processes)))
    default = found[tried[0]]
    return [
        {
            "network": name,
            "processes": way.processes,
            "threads": way.threads,
            "without": way.without,
            "candidates": count,
            "images": len(made.search),
            "images_per_second": statistics.median(each.images_per_second for each in speeds),
            "images_per_second_rounds": [each.images_per_second for each in speeds],
            "of_default": statistics.median(
                own.images_per_second / first.images_per_second
                for own, first in zip(speeds, default, strict=True)
            ),
            "cpu_ms_per_image": statistics.median(each.cpu_ms for each in speeds),
        }
        for way, speeds in found.items()
    ]


def summarise(rows: Sequence[Mapping[str, Any]], spent: float) -> dict[str, float]:
    """Ratio of every way to the default, mean over the networks; `spent` in seconds."""
    ratios: dict[str, list[float]] = {}
    for row in rows:
        name = f"{row['processes']} x {row['threads']}, without {row['without']}"
        ratios.setdefault(name, []).append(row["of_default"])
    means = {name: statistics.mean(found) for name, found in ratios.items()}
    return {**means, "hours": spent / 3600}


def show(rows: Sequence[Mapping[str, Any]]) -> str:
    """Table of all rows."""
    return table(
        _HEADER,
        [
            (
                row["network"],
                f"{row['processes']} x {row['threads']}",
                row["without"],
                f"{row['images_per_second']:.0f}",
                f"{row['of_default']:.2f}",
                f"{row['cpu_ms_per_image']:.2f}",
            )
            for row in rows
        ],
    )


def main() -> None:
    """Measure all ways, print the table and write the record; or be one of the workers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--candidates", type=int, default=12, help="per way and round")
    parser.add_argument("--images", type=int, default=400, help="search images")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        made, threads, own = options.worker
        return work(Path(made), int(threads), json.loads(own))
    cores = len(os.sched_getaffinity(0))
    if options.candidates < cores or min(options.images, options.rounds) < 1:
        parser.error(f"--candidates must be at least {cores}, --images and --rounds 1.")
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []

    def run() -> None:
        for name in NETWORKS:
            rows.extend(
                measure(name, ways(cores), options.candidates, options.images, options.rounds)
            )

    spent = seconds(run)
    given = " ".join(sys.argv[1:])
    path = write_record("workers", rows, summarise(rows, spent), arguments=given)
    print(f"{show(rows)}\n\nMedians of {options.rounds} rounds.")
    written = [path, write_page(path, ROOT / "docs" / "workers-results.md")]
    print(f"Written to {', '.join(os.path.relpath(each) for each in written)}.")
    return None


if __name__ == "__main__":
    main()

"""`make bench-papers`: the published methods against this project's, on the networks of the zoo.

Every method searches each network by itself, on the same 2,000 search images, and what it chooses
is judged on the 10,000 test images of CIFAR-10, which nothing looked at before. As published:
surgery, levels and limit of the method's paper where a config is silent. Second order: the same
method on this project's surgery. Nothing is trained.

Rows of finished searches are kept in the work folder, and the record is made of all that lie
there: the benchmark may be interrupted, and done in parts. A search that was interrupted goes on,
with its seconds anew.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import torch

from spikefront.cluster.worker_environment import worker_environment
from spikefront.search.run_folder import write_json
from spikefront.spaces import RunFailed

from .pairing import seconds
from .papers_page import show, write_page
from .papers_runs import NETWORKS, REPEATED, RUNS, SECONDS, Setting, config
from .papers_tokens import measure_tokens
from .record import RESULTS, write_record

ROOT = Path(__file__).parents[1]
TOKENS = "tokens"
"""Name, among the methods, of the comparison of token criteria."""

_IMAGES = 2000


class Work:
    """A folder with the rows of what is finished.

    Args:
        folder: made where it is missing.
        setting: of all searches.
    """

    def __init__(self, folder: Path, setting: Setting) -> None:
        self._folder = folder
        self._setting = setting
        (folder / "rows").mkdir(parents=True, exist_ok=True)
        (folder / "configs").mkdir(exist_ok=True)

    def do(self, network: str, method: str) -> None:
        """Do one search, or compare token criteria, unless its rows lie there.

        Raises:
            RunFailed: its process failed; what it said is on standard error.
        """
        if self._row(network, method).exists():
            return
        if method == TOKENS:
            rows = measure_tokens(network, self._setting.images or _IMAGES)
            write_json(self._row(network, method), {"rows": rows})
        else:
            self._search(network, method)

    def rows(self) -> Iterator[dict[str, Any]]:
        """All rows that lie there, network by network."""
        for network in NETWORKS:
            for method in (*RUNS, TOKENS):
                path = self._row(network, method)
                if path.exists():
                    read = json.loads(path.read_text(encoding="utf-8"))
                    yield from read.get("rows", [read])

    def _row(self, network: str, method: str) -> Path:
        return self._folder / "rows" / f"{network}.{method}.json"

    def _search(self, network: str, method: str) -> None:
        told = self._folder / "configs" / f"{network}.{method}.yaml"
        # JSON is YAML.
        write_json(told, config(RUNS[method], network, self._setting, self._folder))
        given = [str(told), method, network, str(self._row(network, method))]
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.papers_runs", *given],
            cwd=ROOT,
            env={**os.environ, **worker_environment()},
            check=False,
        )
        if done.returncode:
            raise RunFailed(f"{network}, {method}: exit code {done.returncode}.")
        print(f"{network}, {method}: done.", flush=True)


def do_all(work: Work, jobs: Sequence[tuple[str, str]], workers: int) -> None:
    """Do jobs, so many at once; a failure stops none of the others.

    Raises:
        RunFailed: some of them failed.
    """
    pool = ThreadPoolExecutor(workers)
    try:
        futures = [pool.submit(work.do, network, method) for network, method in jobs]
        wait(futures)
    finally:
        # Interrupted: what has not begun is left for the next time.
        pool.shutdown(cancel_futures=True)
    failures = [error for future in futures if (error := future.exception()) is not None]
    if failures:
        raise RunFailed("; ".join(map(str, failures))) from failures[0]


def summarise(rows: Sequence[Mapping[str, Any]], spent: float) -> dict[str, float]:
    """Bytes saved and test accuracy gained (mostly lost) by network and method; seconds `spent`."""
    figures: dict[str, float] = {}
    for row in rows:
        if row["part"] != "search" or row["method"] in REPEATED:
            continue
        if row["model"] is not None:
            name = f"{row['network']}: {row['method']}"
            figures[f"{name}: saved"] = 1 - row["model"]["bytes_ratio"]
            if row["model"].get("test_difference") is not None:
                figures[f"{name}: test difference"] = row["model"]["test_difference"]
    return {**figures, "hours": spent / 3600}


def main(arguments: Sequence[str] | None = None) -> None:
    """Search with all methods, print the table, write record and page."""
    parser = argparse.ArgumentParser(description=__doc__)
    names = [*RUNS, TOKENS]
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--methods", nargs="+", choices=names, default=names, metavar="METHOD")
    parser.add_argument("--workers", type=int, default=1, help="searches at once")
    parser.add_argument("--images", type=int, help="search images, for a trial on fewer")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of a search, at most")
    parser.add_argument("--folder", type=Path, help="work folder; left out: one that is removed")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the record")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="folder of the page")
    options = parser.parse_args(arguments)
    if options.workers < 1 or options.seconds <= 0 or (options.images or 1) < 1:
        parser.error("--workers, --seconds and --images must be above 0.")
    torch.set_num_threads(1)
    jobs = [(network, method) for network in options.networks for method in options.methods]
    setting = Setting(options.images, options.seconds)
    with tempfile.TemporaryDirectory() as temporary:
        work = Work((options.folder or Path(temporary)).resolve(), setting)
        spent = seconds(lambda: do_all(work, jobs, options.workers))
        rows = list(work.rows())
    given = " ".join(sys.argv[1:] if arguments is None else arguments)
    path = write_record("papers", rows, summarise(rows, spent), options.results, given)
    print(show(rows))
    page = write_page(path, options.docs / "papers-results.md")
    print(f"Written to {os.path.relpath(path)}, {os.path.relpath(page)}.")


if __name__ == "__main__":
    main()

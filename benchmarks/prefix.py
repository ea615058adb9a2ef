"""`make bench-prefix`: what layer-by-layer strategies gain from prefix reuse.

Two passes over trained networks of the zoo, evaluated candidate by candidate in one process:
PrimeSVT (a sensitivity sweep of all channel groups, then the robust ones from large to small,
each as narrow as the accuracy allows) and AQ4SViT's greedy one (bits of layers in order of memory,
step by step down as long as the accuracy holds). Accuracy is that on all search images. Both are
run with and without reuse in turn, each time by a new evaluator; all evaluations must be equal, to
the last bit. Surgery is in the cache before, and costs both alike.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from spikefront.evaluators.blueprint import Blueprint
from spikefront.evaluators.evaluation import Evaluation, Request
from spikefront.evaluators.evaluator import Evaluator
from spikefront.search.cli.table import table
from spikefront.spaces import Candidate
from spikefront.spaces.site import Site, SiteKind
from spikefront.svtmodels.network import Network

from .pairing import seconds
from .record import write_record
from .workers import blueprint

RATES = (0.75, 0.5, 0.25)
"""Shares of channels that PrimeSVT keeps, coarse to fine."""
WIDTHS = (8, 6, 5, 4, 3, 2)
"""Bits that AQ4SViT tries, one after the other (methods 5)."""
LARGEST_DROP = 0.03
"""What both may lose in all: the papers' budget before any fine-tuning (methods 0)."""
_HEADER = (
    "network",
    "pass",
    "candidates",
    "sections",
    "without s",
    "with s",
    "ratio",
    "least, most",
    "CPU ratio",
)

Choice = dict[Site, int]
Judge = Callable[[Choice], float]
"""Gives the drop of a choice's candidate on all search images."""


def primesvt(network: Network, judge: Judge) -> Choice:
    """Widths that PrimeSVT's policy ends with (methods 1).

    Layers that lose more than the budget by themselves at the first rate are no targets.
    """
    sites = [site for site in network.sites if site.kind is SiteKind.CHANNEL]
    alone = {site: [judge(_narrow(site, rate)) for rate in RATES] for site in sites}
    targets = [site for site in sites if alone[site][0] <= LARGEST_DROP]
    chosen: Choice = {}
    for site in sorted(targets, key=lambda each: -_numbers(network, each)):
        for rate in RATES:
            tried = {**chosen, **_narrow(site, rate)}
            if judge(tried) > LARGEST_DROP:
                break
            chosen = tried
    return chosen


def aq4svit(network: Network, judge: Judge) -> Choice:
    """Bits that a greedy search in the manner of AQ4SViT ends with (methods 5).

    From the largest width of all layers down, layer by layer, those that take most memory first.
    """
    sites = [site for site in network.sites if site.kind is SiteKind.WEIGHT]
    chosen: Choice = dict.fromkeys(sites, WIDTHS[0])
    judge(chosen)
    sizes = {synapse.name: synapse.weight for synapse in network.declaration.synapses}
    weights = {site: network.get_submodule(sizes[site.name]).weight for site in sites}
    for site in sorted(sites, key=lambda each: -weights[each].numel()):  # pyright: ignore
        for bits in (each for each in WIDTHS if each < chosen[site]):
            tried = {**chosen, site: bits}
            if judge(tried) > LARGEST_DROP:
                break
            chosen = tried
    return chosen


PASSES: Mapping[str, Callable[[Network, Judge], Choice]] = {
    "PrimeSVT": primesvt,
    "AQ4SViT greedy": aq4svit,
}


def _narrow(site: Site, rate: float) -> Choice:
    return {site: site.value_at(rate)}


def _numbers(network: Network, site: Site) -> int:
    """Weights that hang on a channel group."""
    group = next(each for each in network.declaration.channels if each.name == site.name)
    modules = {each.name: each.weight for each in network.declaration.synapses}
    names = {*group.producers, *group.consumers}
    return sum(network.get_parameter(f"{modules[name]}.weight").numel() for name in names)


@dataclass(frozen=True, slots=True)
class Done:
    """One pass.

    Attributes:
        seconds: that it took, by the clock.
        cpu: seconds of the processor, which other processes hardly change.
        choice: that it ended with.
        evaluations: in order, without what was timed.
        sections: share of sections and images that was run.
    """

    seconds: float
    cpu: float
    choice: Choice
    evaluations: tuple[Evaluation, ...]
    sections: float


def run_pass(made: Blueprint, name: str, mib: int) -> Done:
    """Run a pass with a new evaluator that may keep so many MiB."""
    evaluator = replace(made, settings=replace(made.settings, prefix_mib=mib)).build()
    found: list[Evaluation] = []
    chosen: list[Choice] = []
    # What an evaluator computes once for all candidates is no part of a pass.
    evaluator(Request(Candidate.of({next(_bits(evaluator)): WIDTHS[0]})))

    def judge(choice: Choice) -> float:
        evaluation = evaluator(Request(Candidate.of(choice)))
        found.append(replace(evaluation, timing={}))
        return evaluation.measures["drop"]

    before = time.process_time()
    spent = seconds(lambda: chosen.append(PASSES[name](evaluator.network, judge)))
    assert evaluator.prefixes is not None
    work = evaluator.prefixes.work
    cpu = time.process_time() - before
    return Done(spent, cpu, chosen[0], tuple(found), work.run / work.asked)


def _bits(evaluator: Evaluator) -> Any:
    return (site for site in evaluator.network.sites if site.kind is SiteKind.WEIGHT)


def measure(network: str, images: int, rounds: int, mib: int) -> list[dict[str, Any]]:
    """One row per pass: seconds with and without reuse, round by round."""
    made = blueprint(network, images)
    rows = []
    for name in PASSES:
        first = run_pass(made, name, mib)
        found: dict[int, list[Done]] = {0: [], mib: []}
        for turn in range(rounds):
            for budget in (0, mib) if turn % 2 == 0 else (mib, 0):
                done = run_pass(made, name, budget)
                assert done.evaluations == first.evaluations, "reuse changed an evaluation"
                found[budget].append(done)
        pairs = list(zip(found[0], found[mib], strict=True))
        ratios = [a.seconds / b.seconds for a, b in pairs]
        rows.append(
            {
                "network": network,
                "pass": name,
                "candidates": len(first.evaluations),
                "images": images,
                "image_evaluations": sum(each.image_evaluations for each in first.evaluations),
                "prefix_mib": mib,
                "seconds_without": [each.seconds for each in found[0]],
                "seconds_with": [each.seconds for each in found[mib]],
                "cpu_without": [each.cpu for each in found[0]],
                "cpu_with": [each.cpu for each in found[mib]],
                "cpu_ratio": statistics.median(a.cpu / b.cpu for a, b in pairs),
                "sections_run": first.sections,
                "ratio": statistics.median(ratios),
                "ratios": ratios,
                "load_1_minute": round(os.getloadavg()[0], 2),
            }
        )
        print(show(rows[-1:]), flush=True)
    return rows


def summarise(rows: Sequence[Mapping[str, Any]], spent: float) -> dict[str, float]:
    """Ratio of every pass; `spent` in seconds."""
    ratios = {f"{row['network']}, {row['pass']}": row["ratio"] for row in rows}
    return {**ratios, "hours": spent / 3600}


def show(rows: Sequence[Mapping[str, Any]]) -> str:
    """Table of all rows."""
    return table(
        _HEADER,
        [
            (
                row["network"],
                row["pass"],
                str(row["candidates"]),
                f"{row['sections_run']:.0%}",
                f"{statistics.median(row['seconds_without']):.1f}",
                f"{statistics.median(row['seconds_with']):.1f}",
                f"{row['ratio']:.2f}",
                f"{min(row['ratios']):.2f} to {max(row['ratios']):.2f}",
                f"{row['cpu_ratio']:.2f}",
            )
            for row in rows
        ],
    )


def main() -> None:
    """Measure all passes, print the table and write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", nargs="+", default=["spikformer-cifar10"], help="of the zoo")
    parser.add_argument("--images", type=int, default=500, help="search images")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--mib", type=int, default=256, help="memory for what is reused")
    options = parser.parse_args()
    if min(options.images, options.rounds, options.mib) < 1:
        parser.error("--images, --rounds and --mib must be at least 1.")
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []

    def run() -> None:
        for name in options.networks:
            rows.extend(measure(name, options.images, options.rounds, options.mib))

    spent = seconds(run)
    given = " ".join(sys.argv[1:])
    path = write_record("prefix", rows, summarise(rows, spent), arguments=given)
    print(f"\n{show(rows)}\n\nMedians of {options.rounds} rounds, each way in turn.")
    print(f"Written to {os.path.relpath(path)}.")


if __name__ == "__main__":
    main()

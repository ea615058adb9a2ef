"""Images per second of the compiled engine, beside plain torch and beside spikingjelly."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import torch

from spikefront.evaluators.synops import SynOpCounter
from spikefront.svtmodels.engine.program import Program

from .engine_cases import EngineCase, facts_of, firing_rate
from .matching import check_match, forward_other
from .pairing import Pairs, time_pairs

_CHECKED = 2
"""Images that the match of two networks is checked on."""


@torch.inference_mode()
def measure_speed(case: EngineCase, bits: int, pairs: int) -> dict[str, Any]:
    """One row: the engine beside the network's own modules, the same candidate on both sides."""
    network, images = case.built(bits), case.images
    program = Program(network)
    timed = time_pairs(lambda: program(images), lambda: network(images), pairs)
    with SynOpCounter(network, program) as counter:
        ours = program(images)
    plain = network(images)
    macs, synops = case.macs(bits), counter.total / len(images)
    speed = len(images) / statistics.median(timed.first)
    return {
        "part": "speed",
        **facts_of(case),
        "bits": bits,
        **_timed(timed, len(images), "plain"),
        "firing_rate": firing_rate(network, images),
        "macs": macs,
        "synops": synops,
        "macs_per_second": macs * speed,
        "synops_per_second": synops * speed,
        "same_bits": torch.equal(ours, plain),
        "same_answers": float((ours.argmax(1) == plain.argmax(1)).double().mean()),
        "plain_parts": len(program.plain_parts),
    }


@torch.inference_mode()
def measure_other(case: EngineCase, pairs: int) -> dict[str, Any] | None:
    """One row: the engine beside spikingjelly's network of the same shape, if there is one.

    Raises:
        RunFailed: the two networks are not the same.
    """
    theirs = None if case.other is None else case.other()
    if theirs is None or case.match is None:
        return None
    check_match(case.match, case.network, theirs, case.images[:_CHECKED])
    program, images = Program(case.network), case.images
    other: Callable[[], object] = lambda: forward_other(theirs, images)  # noqa: E731
    timed = time_pairs(lambda: program(images), other, pairs)
    return {
        "part": "spikingjelly",
        **facts_of(case),
        "bits": 32,
        **_timed(timed, len(images), "spikingjelly"),
    }


def _timed(timed: Pairs, images: int, other: str) -> dict[str, Any]:
    """Medians of both sides, and median and range of the ratio of pairs."""
    return {
        "pairs": len(timed.first),
        "images_per_second": images / statistics.median(timed.first),
        f"{other}_images_per_second": images / statistics.median(timed.second),
        "times_faster": timed.ratio,
        "times_faster_range": [min(timed.ratios), max(timed.ratios)],
    }

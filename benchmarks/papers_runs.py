"""The searches of `make bench-papers`: what each is told, and its row of the record."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from spikefront.search import Search
from spikefront.search.run_folder import RunFolder, write_json
from spikefront.spaces import NothingFeasible, SiteKind, SurgeryOptions
from spikefront.svtmodels.checkpoint import load_checkpoint, save_checkpoint
from spikefront.svtmodels.zoo import zoo_path

NETWORKS = ("spikformer-cifar10", "sdt-v1-cifar10", "qkformer-cifar10", "sdt-v3-cifar10")
SECONDS = 7200
_ALL = 1_000_000
"""Candidates of a method that ends by itself."""

PAPER, OWN = "as published", "second order"


@dataclass(frozen=True, slots=True)
class Run:
    """One search, whatever network it is done on.

    Attributes:
        name: of the row.
        strategy: section of the config.
        surgery: PAPER leaves it to the method's paper; OWN is this project's default.
        max_drop: None leaves it to the method's paper.
        objectives: what the front is of.
        candidates: at most.
        levels: of the space; None leaves them to the method's paper.
        gate_images: that drift and divergence are measured on.
        seed: of the search.
        images: image evaluations, at most; None: no limit.
    """

    name: str
    strategy: Mapping[str, Any]
    surgery: str = PAPER
    max_drop: float | None = None
    objectives: tuple[str, ...] = ("accuracy", "bytes")
    candidates: int = _ALL
    levels: Mapping[str, Any] | None = None
    gate_images: int = 256
    seed: int = 0
    images: int | None = None


_CHANNELS: Mapping[str, Any] = {"channel": [tenths / 10 for tenths in range(1, 11)]}
"""Of PSViT where surgery allows for more than half of a group to leave."""
_JOINT: Mapping[str, Any] = {
    "channel": [0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0],
    "residual": [0.5, 0.625, 0.75, 0.875, 1.0],
    "token": [0.5, 0.625, 0.75, 0.875, 1.0],
    "weight": [1, 2, 3, 4, 5, 6, 8],
    "time": [1, 2, 3, 4],
}
_SECOND_ORDER = SurgeryOptions(recovery_images=128, vectors="int8")
"""More recovery images than the default: on `spikformer-cifar10` candidates of 2 and 3 bits lost 1
to 3 points less than with 32 (`make bench-surgery` has the default)."""
_PROBES = 128
"""Images of a probe of `joint`, which asks for as many probes as there are axes, and more."""
_OFF: Mapping[str, Any] = {"gate": False, "mini_batch": False}
REPEATED = {f"joint-{seed}": seed for seed in range(1, 5)}
"""The beginning of `joint` again, by name, with other seeds. Of a candidate with few bits some 200
of 2,000 answers turn from right to wrong or back, and another rounding deals most of them out anew.
That is a standard deviation of 0.7 points: one search has a small candidate early, another late."""
BEGINNING = 65_000
"""Image evaluations of these: as many as the longest AQ4SViT spent."""


def _joint(name: str, max_drop: float, levels: Mapping[str, Any], **special: Any) -> Run:
    kinds: dict[str, Any] = {kind.value: [] for kind in SiteKind}
    return Run(
        name,
        {"name": "joint"},
        OWN,
        max_drop,
        candidates=250,
        levels={**kinds, **levels},
        gate_images=_PROBES,
        **special,
    )


RUNS: Mapping[str, Run] = {
    run.name: run
    for run in (
        Run("psvit", {"name": "psvit"}),
        Run("primesvt", {"name": "primesvt"}),
        Run("aq4svit-greedy", {"name": "aq4svit-greedy"}),
        Run("aq4svit-beam", {"name": "aq4svit-beam"}),
        Run("l1p", {"name": "synapse-pruning", "options": {"mode": "l1p"}}),
        Run("dsp", {"name": "synapse-pruning", "options": {"mode": "dsp"}}),
        Run("tp-spikformer", {"name": "tp-spikformer"}, objectives=("accuracy", "macs")),
        Run("psvit-own", {"name": "psvit"}, OWN, levels=_CHANNELS),
        Run("primesvt-own", {"name": "primesvt"}, OWN),
        Run("aq4svit-greedy-own", {"name": "aq4svit-greedy"}, OWN),
        Run("aq4svit-greedy-own-ungated", {"name": "aq4svit-greedy", "options": _OFF}, OWN),
        _joint("joint", 0.015, _JOINT),
        _joint("joint-channels", 0.03, {k: _JOINT[k] for k in ("channel", "residual")}),
        _joint("joint-bits", 0.015, {"weight": _JOINT["weight"]}),
        *(
            _joint(name, 0.015, _JOINT, seed=seed, images=BEGINNING)
            for name, seed in REPEATED.items()
        ),
    )
}
"""By name, in the order of the page."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What is the same for all searches.

    Attributes:
        images: search images; None: those that the network's card names.
        seconds: at most, of each search.
    """

    images: int | None = None
    seconds: float = SECONDS


def config(run: Run, network: str, setting: Setting, folder: Path) -> dict[str, Any]:
    """Config of one search, for the network of a name in the zoo."""
    name = f"{network}.{run.name}"
    # A file of its own for each search: several may begin at the same time.
    model, data = _model(network, setting.images, folder / f"{name}.safetensors")
    told: dict[str, Any] = {
        "name": name,
        "model": model,
        "data": data,
        "objectives": list(run.objectives),
        "evaluation": {"gate_images": run.gate_images},
        "strategy": dict(run.strategy),
        "budget": {"candidates": run.candidates, "seconds": float(setting.seconds)},
        # One after the other, so each is suggested with all that is known.
        "cluster": {"backend": "in-process", "window": 1},
        "tracking": {"enabled": False},
        "output": str(folder / "runs"),
        "seed": run.seed,
    }
    if run.images is not None:
        told["budget"]["image_evaluations"] = run.images
    if run.max_drop is not None:
        told["constraints"] = {"max_drop": run.max_drop}
    if run.surgery == OWN:
        told["surgery"] = _SECOND_ORDER.to_dict()
    if run.levels is not None:
        told["space"] = {"levels": dict(run.levels)}
    return told


def _model(network: str, images: int | None, path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Sections of network and data.

    A network is refused search images other than those that it was trained without: for a trial
    on fewer of them it is written anew, to `path`, without saying which they were.
    """
    loaded = load_checkpoint(zoo_path(network))
    card = dict(loaded.card)
    data = dict(card["data"])
    if images is None or images == data.get("search"):
        return {"zoo": network}, data
    card.pop("held_out", None)
    save_checkpoint(loaded, path, card)
    return {"checkpoint": str(path)}, {**data, "search": images}


def search_row(run: Run, network: str, folder: RunFolder) -> dict[str, Any]:
    """Row of a finished search, from the files of its run.

    A strategy without a result of its own is credited with the smallest member of its front.

    Args:
        run: that was done.
        network: its name.
        folder: of the run.
    """
    record = folder.read_front()
    table = pq.read_table(folder.evaluations).to_pydict()
    method, members = record["method"], record["members"]
    if method is None:
        model = members[0] if members else None
        outcome = {"met": bool(members), "finished": True}
    else:
        model = method["model"]
        outcome = {name: value for name, value in method.items() if name != "model"}
    parent = record["parent"]
    return {
        "part": "search",
        "network": network,
        "method": run.name,
        "surgery": run.surgery,
        "limit": record["limits"]["drop"],
        "candidates": len(set(table["key"])),
        "evaluations": len(table["key"]),
        "full_evaluations": sum(stage == "full" for stage in table["stage"]),
        "image_evaluations": sum(table["image_evaluations"]),
        "seconds": sum(table["seconds"]),
        "n_search": parent["n_search"],
        "trained": parent["accuracy_search"],
        "trained_test": parent["accuracy_test"],
        "trained_macs": parent["macs"],
        "met": bool(outcome["met"]),
        "finished": bool(outcome["finished"]),
        "model": None if model is None else _measures(model),
        "smallest": _measures(members[0]) if members else None,
        "progress": _progress(table),
        "outcome": outcome,
    }


def _progress(table: Mapping[str, Sequence[Any]]) -> list[tuple[int, float]]:
    """Image evaluations spent, and the bytes' ratio, whenever a smaller one kept the limits."""
    spent, smallest, found = 0, math.inf, []
    names = ("image_evaluations", "state", "stage", "bytes_ratio")
    for images, state, stage, ratio in zip(*(table[name] for name in names), strict=True):
        spent += images
        if (state, stage) == ("complete", "full") and ratio < smallest:
            smallest = ratio
            found.append((spent, ratio))
    return found


_MEASURES = (
    "key",
    "bytes",
    "bytes_ratio",
    "macs",
    "synops",
    "energy_mj",
    "accuracy_search",
    "accuracy_test",
    "n_test",
    "test_difference",
    "test_interval",
)


def _measures(record: Mapping[str, Any]) -> dict[str, Any]:
    return {name: record[name] for name in _MEASURES if name in record}


def perform(config_path: Path, run: Run, network: str, row: Path) -> None:
    """Search by a config, or go on where it was interrupted; then write the row.

    Args:
        config_path: of the search.
        run: what the config was made from.
        network: its name.
        row: file that the row goes to, whole or not at all.
    """
    told = json.loads(config_path.read_text(encoding="utf-8"))
    folder = RunFolder(Path(told["output"]) / told["name"])
    begun = folder.ledger.exists()
    search = Search.resume(folder.path) if begun else Search.from_config(config_path)
    with suppress(NothingFeasible):  # The row says so.
        search.run()
    write_json(row, search_row(run, network, folder))


def main() -> None:
    """One search, in a process of its own."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("run", choices=list(RUNS))
    parser.add_argument("network")
    parser.add_argument("row", type=Path)
    options = parser.parse_args()
    perform(options.config, RUNS[options.run], options.network, options.row)


if __name__ == "__main__":
    main()

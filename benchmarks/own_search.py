"""Our side of `make bench-search`: `Search` as it is, with a clock at every commit."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from typing_extensions import override

from spikefront.cluster.backend import Backend
from spikefront.evaluators.evaluation import Evaluation, Request
from spikefront.search.controller import Controller
from spikefront.search.ledger import Ledger
from spikefront.search.parent import Parent
from spikefront.search.plan import Plan
from spikefront.search.search import Search


class Clock:
    """Notes when each evaluation was committed.

    Attributes:
        points: one per evaluation; accuracy is None unless the candidate is complete.
    """

    def __init__(self) -> None:
        self.points: list[dict[str, Any]] = []

    def committed(self, evaluation: Evaluation, hit: bool) -> None:
        """Take a commit down; a suggestion made before is no evaluation."""
        if hit:
            return
        complete = evaluation.feasible
        self.points.append(
            {
                "at": time.monotonic(),
                "state": evaluation.state.value,
                "accuracy": evaluation.measures["accuracy"] if complete else None,
                "bytes": evaluation.measures.get("bytes"),
                "images": evaluation.image_evaluations,
            }
        )


class TimedSearch(Search):
    """A search with a clock."""

    clock: Clock

    @override
    def _controller(
        self, plan: Plan, parent: Parent, backend: Backend[Request, Evaluation], ledger: Ledger
    ) -> Controller:
        controller = super()._controller(plan, parent, backend, ledger)
        controller.observe(self.clock)
        return controller


def main() -> None:
    """Run a config; write its points as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("points", type=Path)
    options = parser.parse_args()
    search = TimedSearch.from_config(options.config)
    search.clock = Clock()
    search.run()
    options.points.write_text(json.dumps(search.clock.points), encoding="utf-8")


if __name__ == "__main__":
    main()

"""PSViT (arXiv 2606.03257): uniform pruning, sensitivity analysis, fine-grained pruning.

The body of the paper could not be read; its three steps are certain, rates, sensitivity measure
and refinement are this project's reading.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from typing_extensions import override

from ...evaluators.evaluation import Evaluation
from ...spaces.errors import unknown_name
from ...spaces.site import Site
from .base import Task
from .limited_method import Asked, require_drop
from .profile import ProfiledMethod
from .pruning_groups import ATTENTION_DIMENSIONS, PruningGroups, named
from .stepwise import Steps

MAX_DROP = 0.03
"""Accuracy that the paper's network loses before it is fine-tuned (73.3 to 70.3 %)."""


GROUPS: Mapping[str, Callable[[Site], bool] | None] = {
    "blocks": named(rf"(^|\.)hidden$|{ATTENTION_DIMENSIONS}"),
    "all": None,
}
"""Which channel groups are pruned. Second-hand, the paper begins with the large layers, which a
narrow stem is not: 10 % everywhere cost spikformer-cifar10 42.2 points with its stem (measured) and
4.35 without."""


class PSViT(ProfiledMethod):
    """One rate for all, corrected by blocks.

    Pruned are the hidden widths of MLPs and convolution blocks and the inner dimensions of
    attentions; with ``groups: all`` every channel group, stems among them.

    1. Uniform. All groups at one rate, for every rate that the levels have. The base is
       the largest rate within the accuracy limit (0 if there is none).
    2. Sensitivity. One group at a time at the same rates. A group's sensitivity is its mean drop
       over the rates, a block's the sum over its groups. Sorted by it, the first third of the
       blocks (rounded down, at least one where there are two) is weakly sensitive, the last third
       highly.
    3. Fine-grained. The weakly sensitive blocks go up one rate at a time, all together. As soon
       as that breaks the limit, the highly sensitive ones go down one rate at a time, all
       together, until it is kept again, and the weak ones go on up. It ends when the limit stays
       broken though the highly sensitive blocks are whole, or when the weak ones are at the
       highest rate. The blocks between keep the base rate.

    Of all settings of steps 1 and 3 within the limit the smallest one is chosen.

    Args:
        task: what is searched, and for what.
        name: of the strategy.
        groups: which ones are pruned, of `GROUPS`.
        sensitivity: as for `ProfiledMethod`.

    Raises:
        BadInput: no limit of accuracy, no channels to choose, unknown groups, or an unusable table.
    """

    def __init__(
        self, task: Task, name: str, groups: str = "blocks", sensitivity: object = None
    ) -> None:
        require_drop(task, name, MAX_DROP, "PSViT")
        if str(groups) not in GROUPS:
            raise unknown_name(f"groups of strategy {name!r}", str(groups), GROUPS)
        pruned = PruningGroups.channels(task.space, name, GROUPS[groups])
        super().__init__(task, pruned, sensitivity)
        self._grid = (0.0, *self._groups.rates)
        self._base = 0
        self._weak: list[str] = []
        self._high: list[str] = []

    @override
    def steps(self) -> Steps:
        yield from self._uniform()
        yield from self._profile((group, group.rates) for group in self._groups.groups)
        self._part_blocks()
        yield from self._refine()

    def _uniform(self) -> Steps:
        names = [group.name for group in self._groups.groups]
        asked = [self._setting(dict.fromkeys(names, rate)) for rate in self._grid]
        tried = yield from self._ask("uniform", asked)
        within = [place for place, done in enumerate(tried) if self._passes(done)]
        self._base = max(within, default=0)

    def _part_blocks(self) -> None:
        sensitivity = self._sensitivity()
        blocks = sorted(sensitivity, key=sensitivity.__getitem__)
        third = max(len(blocks) // 3, 1) if len(blocks) > 1 else 0
        self._weak, self._high = blocks[:third], blocks[len(blocks) - third :]

    def _sensitivity(self) -> dict[str, float]:
        """By block. Every rate of the grid counts once, even where it takes nothing away."""
        found: dict[str, float] = {}
        for group in self._groups.groups:
            drops = {group.index_at(rate): self._drop(group, rate) for rate in group.rates}
            mean = sum(drops.get(group.index_at(rate), 0.0) for rate in self._grid[1:])
            mean /= len(self._grid) - 1
            found[group.block] = found.get(group.block, 0.0) + mean
        return found

    def _refine(self) -> Steps:
        weak = high = self._base
        while self._weak and weak < len(self._grid) - 1:
            weak += 1
            (done,) = yield from self._try(weak, high)
            while not self._passes(done) and high > 0:
                high -= 1
                (done,) = yield from self._try(weak, high)
            if not self._passes(done):
                return

    def _try(self, weak: int, high: int) -> Asked:
        """One setting; the arguments are places in the grid."""
        place = dict.fromkeys(self._weak, weak) | dict.fromkeys(self._high, high)
        rates = {g.name: self._grid[place.get(g.block, self._base)] for g in self._groups.groups}
        return self._ask("fine-grained", [self._setting(rates)])

    @override
    def _facts(self, chosen: Evaluation | None) -> Mapping[str, Any]:
        return {
            "uniform_rate": self._grid[self._base],
            "weakly_sensitive": self._weak,
            "highly_sensitive": self._high,
            "sensitivity": self._sensitivity() if self._weak else None,
            "profile": self._profile_record(),
            "rates": self._rates(chosen),
        }

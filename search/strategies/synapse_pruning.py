"""Synapse pruning of spiking transformers (Sun et al., arXiv 2508.01992): L1P and DSP.

Equations, sparsities and results of the paper could not be read; which matrices are pruned, and
that L1P gives sparse and DSP low-rank ones, is certain.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from typing_extensions import override

from ...evaluators.evaluation import WHOLE, Evaluation
from ...spaces.candidate import Candidate
from ...spaces.errors import BadInput, unknown_name
from ...spaces.site import SiteKind
from .base import Suggestion, Task
from .limited_method import LimitedMethod, require_drop
from .pruning_groups import ATTENTION_DIMENSIONS, PruningGroups, named
from .stepwise import Steps

MAX_DROP = 0.015
"""Accuracy that may be lost without training: our choice, the paper's is not known."""

_MATRICES = r"\.(attn|ssa|tssa)\.(q|k|v|proj)$|\.mlp\.(fc|mlp)[12]$"
"""U_q, U_k, U_v, M_0, M_1 and M_2 by the names that the official codes give them."""

MODES: Mapping[str, tuple[SiteKind, str]] = {
    "l1p": (SiteKind.DENSITY, _MATRICES),
    "dsp": (SiteKind.CHANNEL, rf"\.mlp\.hidden$|{ATTENTION_DIMENSIONS}"),
}
"""Kind and names of the sites that each mode prunes."""


class SynapsePruning(LimitedMethod):
    """One sparsity for the six matrices of all blocks, in one shot.

    ``l1p`` sets the weights of least magnitude to zero, in each matrix its share (surgery option
    ``density_scope: network`` takes one threshold for all). ``dsp`` removes the inner dimensions
    of attention and MLP that weigh least, from all matrices that they tie, the same number per
    head. Stem, patch embeddings, convolution blocks and head stay as they are.

    All sparsities that the levels have are measured at once; the largest one within the accuracy
    limit is chosen.

    What the paper adds is a training step and not done here: fine-tuning with neurons (sLIF)
    that learn threshold and time constant. Thresholds are set right without training by surgery
    option ``recovery: rates``.

    Args:
        task: what is searched, and for what.
        name: of the strategy.
        mode: of `MODES`.

    Raises:
        BadInput: an unknown mode, no limit of accuracy, or nothing that this mode prunes.
    """

    def __init__(self, task: Task, name: str, mode: str = "l1p") -> None:
        super().__init__(task)
        if str(mode) not in MODES:
            raise unknown_name(f"mode of strategy {name!r}", str(mode), MODES)
        require_drop(task, name, MAX_DROP, "our choice; the paper's is not known")
        kind, names = MODES[mode]
        self._mode = mode
        self._groups = PruningGroups.of(task.space, kind, named(names))
        if not self._groups.groups:
            raise BadInput(
                f"strategy {name!r} in mode {mode!r} prunes attention and MLP alone and found no "
                f"axis of these: give keep ratios in space.levels.{kind.value}, and a granularity "
                "that does not tie them to anything else (block or layer)."
            )
        self._rates = {self._groups.uniform(rate).key: rate for rate in self._groups.rates}

    @override
    def steps(self) -> Steps:
        candidates = [Candidate(), *map(self._groups.uniform, self._groups.rates)]
        yield from self._ask("sparsities", [Suggestion(each, WHOLE) for each in candidates])

    @override
    def _choices(self) -> list[Evaluation]:
        return [done for done in self._full() if done.key in self._rates]

    @override
    def _cost(self, evaluation: Evaluation) -> float:
        return -self._rates[evaluation.key]

    @override
    def _facts(self, chosen: Evaluation | None) -> Mapping[str, Any]:
        return {
            "mode": self._mode,
            "pruned": [group.name for group in self._groups.groups],
            "sparsity": None if chosen is None else self._rates[chosen.key],
            "sparsities": [
                {
                    "sparsity": self._rates[done.key],
                    "key": done.key,
                    **{name: done.measures[name] for name in ("accuracy", "drop", "bytes")},
                }
                for done in self._choices()
            ],
        }

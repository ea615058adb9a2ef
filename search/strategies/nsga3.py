"""NSGA-III by Optuna: NSGA-II whose survivors are spread by reference points."""

from __future__ import annotations

import math
from typing import Any

from optuna.samplers import NSGAIIISampler
from typing_extensions import override

from .nsga2 import Nsga2


class Nsga3(Nsga2):
    """Genetic search for three objectives and more (Deb and Jain 2014).

    Their advice is followed that there be about as many reference points as members of a
    generation: the finest grid with no more points than that is taken.
    """

    _kind = NSGAIIISampler

    @override
    def _options(self) -> dict[str, Any]:
        return {"dividing_parameter": divisions(len(self._objectives), self._population)}


def divisions(objectives: int, population: int) -> int:
    """Parts that each axis is cut into, so that the grid has at most `population` points.

    A grid of p parts has C(M + p - 1, p) points for M objectives (at least one part).
    """
    if objectives == 1:
        return 1
    parts = 1
    while math.comb(objectives + parts, parts + 1) <= population:
        parts += 1
    return parts

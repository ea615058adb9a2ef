"""What a search is going to do, before anything is spent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..evaluators.evaluator import EvaluationSettings
from ..evaluators.preparation import TrainedModel
from ..spaces.space import Space
from ..spaces.surgery import SurgeryOptions
from ..svtmodels.cost_tables import CostTables
from .config import Config
from .front import Objective
from .strategies import Limits, Strategy, Task, build_strategy

_MAXIMISED = frozenset({"accuracy"})


@dataclass(frozen=True)
class Plan:
    """What a search is going to do."""

    model: TrainedModel
    spaces: Sequence[Space]
    objectives: Sequence[Objective]
    strategy: Strategy
    settings: EvaluationSettings

    @classmethod
    def of(cls, config: Config) -> Plan:
        """Load the network, lay out the space and make the strategy.

        Raises:
            BadInput: the checkpoint cannot be used, levels are out of range, or the strategy
                does not know an option.
        """
        model = TrainedModel.load(config.model.checkpoint, config.model.zoo, config.model.known)
        spaces = model.spaces(
            config.space.granularity,
            config.space.levels.chosen(),
            minimum_width=config.space.minimum_width,
            width_multiple=config.space.width_multiple,
        )
        objectives = [Objective(name, name in _MAXIMISED) for name in config.objectives]
        settings = _settings(config, model.bytes)
        task = Task(
            spaces,
            objectives,
            Limits(settings.max_drop, settings.max_bytes),
            config.seed,
            model.pricer(settings.surgery),
            lambda: CostTables.build(model.network, spaces[-1], settings.surgery),
        )
        return cls(model, spaces, objectives, build_strategy(task, config.strategy), settings)

    @property
    def space(self) -> Space:
        """The searched space."""
        return self.spaces[-1]


def _settings(config: Config, parent: int) -> EvaluationSettings:
    """Settings of the evaluation; `parent`: bytes of the trained network."""
    given, limits = config.evaluation, config.constraints
    sizes = [limits.max_bytes]
    if limits.max_bytes_ratio is not None:
        sizes.append(int(limits.max_bytes_ratio * parent))
    return EvaluationSettings(
        batch_size=given.batch_size,
        gate_images=given.gate_images,
        alpha=given.alpha,
        energy_preset=given.energy_preset,
        engine=given.engine,
        prefix_mib=given.prefix_mib,
        surgery=SurgeryOptions.from_dict(config.surgery.model_dump()),
        max_drop=limits.max_drop,
        max_bytes=min((s for s in sizes if s is not None), default=None),
        max_energy_mj=limits.max_energy_mj,
        max_synops=limits.max_synops,
        max_macs=limits.max_macs,
    )

"""The sections of a search's config.

The description of a field is what an error message gives as allowed; what a field means is in
the docstrings here and, line by line, in `examples/search.yaml`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    ValidationInfo,
    create_model,
    field_validator,
    model_validator,
)

from ..evaluators.engines import ENGINES
from ..spaces.errors import unknown_name
from ..spaces.site import HALF_BITS, INTEGER_BITS, UNTOUCHED_BITS, SiteKind
from ..spaces.space import DEFAULT_LEVELS, Granularity
from ..spaces.surgery import ALLOWED, SurgeryOptions
from .tracking.settings import TrackingSettings

Objective = Literal[
    "accuracy",
    "bytes",
    "energy_mj",
    "synops",
    "macs",
    "parameters",
    "state_bytes",
    "latency_ms",
]
OBJECTIVES: tuple[Objective, ...] = get_args(Objective)

STRATEGIES = ("joint", "nsga2", "random")
"""Names that `strategy.name` may have where no registry is handed in."""

GATES = ("model", "drift")
"""What the gate may judge by."""

_AUTO = "auto"
_WIDTHS = f"1..8, {HALF_BITS} or {UNTOUCHED_BITS}"


class Section(BaseModel):
    """Base of all sections: unknown keys refused, nothing converted, nothing assigned."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def one_of(what: str, names: Collection[str]) -> Callable[[Any], Any]:
    """Build the validator of a name from a closed list; it names the nearest valid one."""

    def check(value: Any) -> Any:
        if value not in names:
            raise ValueError(str(unknown_name(what, str(value), names)))
        return value

    return check


def _none_is_empty(value: Any) -> Any:
    return () if value is None else value


def _bits(value: int) -> int:
    if value not in (*INTEGER_BITS, HALF_BITS, UNTOUCHED_BITS):
        raise ValueError(f"got {value}; allowed: {_WIDTHS} for untouched.")
    return value


def _state_bits(value: int) -> int:
    if not (4 <= value <= 16 or value == UNTOUCHED_BITS):
        raise ValueError(f"got {value}; allowed: 4..16, or {UNTOUCHED_BITS} for untouched.")
    return value


Text = Annotated[str, Field(min_length=1)]
Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
_Ratio = Annotated[float, Field(gt=0, le=1)]
_Lax = Field(strict=False)  # YAML has lists where the code has tuples
_Ratios = Annotated[tuple[_Ratio, ...], _Lax, BeforeValidator(_none_is_empty)]
_Bits = Annotated[
    tuple[Annotated[int, AfterValidator(_bits)], ...], _Lax, BeforeValidator(_none_is_empty)
]
_Steps = Annotated[tuple[Count, ...], _Lax, BeforeValidator(_none_is_empty)]
_StateBits = Annotated[
    tuple[Annotated[int, AfterValidator(_state_bits)], ...], _Lax, BeforeValidator(_none_is_empty)
]
_Switches = Annotated[
    tuple[Annotated[int, Field(ge=0, le=1)], ...], _Lax, BeforeValidator(_none_is_empty)
]

PLAIN = "a mapping of names to text, numbers, true, false, null, lists, mappings"
"""What a free mapping may hold; dates and the like need quotes."""

_COUNT = "a whole number of at least 1"
_COUNT_OR_NULL = f"{_COUNT}, or null"
_POSITIVE_OR_NULL = "a number above 0, or null"
_FLAG = "true or false"
_NAME = "a name"
_LEFT_ALONE = "[] or null: leave this kind alone"
_RATIOS = f"a list of keep ratios above 0 and up to 1; {_LEFT_ALONE}"


class ModelSection(Section):
    """The trained network, from a checkpoint or from the zoo.

    `known` tells what cannot be read off a foreign checkpoint.
    """

    checkpoint: Text | None = Field(default=None, description="the path of a checkpoint, or null")
    zoo: Text | None = Field(default=None, description="the name of a network of the zoo, or null")
    known: dict[str, JsonValue] = Field(default_factory=dict, description=PLAIN)

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.checkpoint is None) == (self.zoo is None):
            got = "neither" if self.zoo is None else "both"
            raise ValueError(f"give exactly one of checkpoint and zoo; got {got}.")
        return self


class LevelsSection(Section):
    """Nominal levels per kind of site; an empty kind is left alone."""

    channel: _Ratios = Field(default=DEFAULT_LEVELS[SiteKind.CHANNEL], description=_RATIOS)
    token: _Ratios = Field(default=DEFAULT_LEVELS[SiteKind.TOKEN], description=_RATIOS)
    weight: _Bits = Field(
        default=tuple(int(bits) for bits in DEFAULT_LEVELS[SiteKind.WEIGHT]),
        description=f"a list of bit-widths, {_WIDTHS}; {_LEFT_ALONE}",
    )
    time: _Steps = Field(
        default=tuple(int(steps) for steps in DEFAULT_LEVELS[SiteKind.TIME]),
        description=f"a list of numbers of steps from 1 up; {_LEFT_ALONE}",
    )

    state: _StateBits = Field(
        default=(), description=f"a list of bit-widths, 4..16 or {UNTOUCHED_BITS}; {_LEFT_ALONE}"
    )
    density: _Ratios = Field(default=(), description=_RATIOS)
    residual: _Ratios = Field(default=(), description=_RATIOS)
    recovery: _Switches = Field(default=(), description=f"a list of 0 and 1; {_LEFT_ALONE}")

    @model_validator(mode="after")
    def _something_left(self) -> Self:
        if not self.chosen():
            raise ValueError("every kind is left alone; name some levels of at least one.")
        return self

    def chosen(self) -> dict[SiteKind, Sequence[float]]:
        """Levels of the kinds that are searched, ready for `Space.build`."""
        named = {kind: getattr(self, kind.value) for kind in SiteKind}
        return {kind: levels for kind, levels in named.items() if levels}


class SpaceSection(Section):
    """What may be chosen, and how many places share one choice.

    Channels keep at least `minimum_width` of a group, and a multiple of `width_multiple`, or all.
    """

    granularity: Annotated[
        Granularity, _Lax, BeforeValidator(one_of("granularity", [g.value for g in Granularity]))
    ] = Granularity.LAYER
    minimum_width: int = Field(default=1, ge=1, description=_COUNT)
    width_multiple: int = Field(default=1, ge=1, description=_COUNT)
    levels: LevelsSection = LevelsSection()


class ConstraintsSection(Section):
    """Limits that a feasible candidate keeps; null: no limit.

    `max_drop` is the accuracy that may be lost against the parent, as a fraction (0.015 = 1.5
    points); `max_bytes_ratio` is relative to the parent's bytes; energy, SynOps and MACs are per
    image.
    """

    max_drop: Annotated[float, Field(ge=0, lt=1)] | None = Field(
        default=None,
        description="a fraction of at least 0 and below 1 (0.015 = 1.5 points), or null",
    )
    max_bytes: Count | None = Field(default=None, description=_COUNT_OR_NULL)
    max_bytes_ratio: _Ratio | None = Field(
        default=None, description="a ratio above 0 and up to 1, or null"
    )
    max_energy_mj: Positive | None = Field(default=None, description=_POSITIVE_OR_NULL)
    max_synops: Positive | None = Field(default=None, description=_POSITIVE_OR_NULL)
    max_macs: Count | None = Field(default=None, description=_COUNT_OR_NULL)


class StrategySection(Section):
    """Who suggests candidates; `options` are its own and are checked by it.

    What the runs in the folders of `warm_start` found comes first, whoever follows.
    """

    name: str = Field(default="joint", description="the name of a strategy")
    population: int = Field(default=40, ge=2, description="a whole number of at least 2")
    options: dict[str, JsonValue] = Field(default_factory=dict, description=PLAIN)
    warm_start: Annotated[tuple[Text, ...], _Lax, BeforeValidator(_none_is_empty)] = Field(
        default=(), description="a list of folders of finished runs"
    )

    @field_validator("name")
    @classmethod
    def _registered(cls, name: str, info: ValidationInfo) -> str:
        names = (info.context or {}).get("strategies", STRATEGIES)
        return one_of("strategy", names)(name)


class GateSection(Section):
    """The gate, which rejects candidates by what calibration images say of them.

    `by: model` predicts their drop; `by: drift` looks at the mean membrane drift alone, as
    published, against `max_drift`. What is learned (the model, or `max_drift: auto`) lets the first
    `warmup` candidates pass and then wrongly rejects `false_reject_rate`. A share of `audit_share`
    passes anyway.

    With `learn_order` the sequential test asks images first on which candidates have differed
    from the trained network; it holds with the drift gate off, too.
    """

    enabled: bool = Field(default=True, description=_FLAG)
    by: Annotated[str, BeforeValidator(one_of("gate.by", GATES))] = Field(
        default=GATES[0], description=", ".join(GATES)
    )
    max_drift: Positive | Literal["auto"] = Field(
        default=_AUTO, description="a number above 0, or auto"
    )
    warmup: int = Field(default=32, ge=0, description="a whole number of at least 0")
    false_reject_rate: float = Field(
        default=0.05, gt=0, lt=1, description="a fraction between 0 and 1"
    )
    audit_share: float = Field(default=0.1, ge=0, le=1, description="a fraction from 0 to 1")
    learn_order: bool = Field(default=True, description=_FLAG)


class EvaluationSection(Section):
    """How a candidate is measured; `alpha` is the error level of the sequential test."""

    batch_size: int = Field(default=100, ge=1, description=_COUNT)
    gate_images: int = Field(default=128, ge=1, description=_COUNT)
    alpha: float = Field(default=0.05, gt=0, lt=1, description="a fraction between 0 and 1")
    energy_preset: Text = Field(default="45nm", description="the name of an energy preset")
    engine: Annotated[str, BeforeValidator(one_of("engine", ENGINES))] = Field(
        default=ENGINES[0], description=", ".join(ENGINES)
    )
    prefix_mib: int = Field(default=256, ge=0, description="a whole number of at least 0")


def _surgery_fields() -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, default in SurgeryOptions().to_dict().items():
        allowed = ALLOWED.get(name)
        if allowed is not None:
            kind = Annotated[str, BeforeValidator(one_of(f"surgery.{name}", allowed))]
            fields[name] = (kind, Field(default=default, description=", ".join(allowed)))
        else:
            kind = Annotated[int, Field(ge=0)]
            fields[name] = (kind, Field(default=default, description="a whole number from 0"))
    return fields


SurgerySection = create_model("SurgerySection", __base__=Section, **_surgery_fields())
"""The fields of `SurgeryOptions`, which knows what they mean and what is allowed."""


class BudgetSection(Section):
    """When to stop: at whichever limit is reached first.

    `patience` is a number of evaluations over which the hypervolume of the front must have grown
    by a thousandth.
    """

    candidates: int = Field(default=300, ge=1, description=_COUNT)
    image_evaluations: Count | None = Field(default=None, description=_COUNT_OR_NULL)
    seconds: Positive | None = Field(default=None, description=_POSITIVE_OR_NULL)
    patience: Count | None = Field(default=None, description=_COUNT_OR_NULL)


def _default_window(fields: dict[str, Any]) -> int:
    return 2 * _count_workers(fields["workers"])


def _count_workers(workers: int | str) -> int:
    return (os.cpu_count() or 1) if workers == _AUTO else int(workers)


class ClusterSection(Section):
    """Where evaluations are done.

    `window` is how many suggestions may be open at once, and part of what makes a trace
    reproducible: it is settled here, once, and written down as a number.
    """

    backend: Annotated[
        Literal["ray", "in-process"], BeforeValidator(one_of("backend", ["ray", "in-process"]))
    ] = "ray"
    workers: Count | Literal["auto"] = Field(default=_AUTO, description=f"{_COUNT}, or auto")
    window: int = Field(default_factory=_default_window, ge=1, description=_COUNT_OR_NULL)
    ordered: bool = Field(default=True, description=_FLAG)
    max_attempts: int = Field(default=3, ge=1, description=_COUNT)
    address: Text = Field(default="local", description="local, or the address of a Ray cluster")
    call_timeout: Positive | None = Field(
        default=None, description="a number of seconds above 0, or null"
    )

    @model_validator(mode="before")
    @classmethod
    def _null_window_is_default(cls, data: Any) -> Any:
        if not isinstance(data, dict) or data.get("window", 0) is not None:
            return data
        return {key: value for key, value in data.items() if key != "window"}

    @property
    def worker_count(self) -> int:
        """Number of workers; `auto` is the number of cores of this machine."""
        return _count_workers(self.workers)


class TrackingSection(Section):
    """MLflow; without a `uri` it is a database in the run's folder."""

    enabled: bool = Field(default=True, description=_FLAG)
    uri: Text | None = Field(default=None, description="the URI of a tracking server, or null")
    experiment: Text = Field(default="spikefront", description=_NAME)
    registered_model: Text | None = Field(default=None, description=f"{_NAME}, or null")

    @property
    def settings(self) -> TrackingSettings:
        """What a tracker takes."""
        return TrackingSettings(
            self.uri, self.experiment, self.registered_model, enabled=self.enabled
        )

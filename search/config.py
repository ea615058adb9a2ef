"""The config of a search: one schema-checked YAML file, frozen once it is read."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import (
    BeforeValidator,
    Field,
    JsonValue,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from ..spaces.errors import BadInput
from .config_errors import explain, shown
from .config_sections import (
    OBJECTIVES,
    PLAIN,
    STRATEGIES,
    BudgetSection,
    ClusterSection,
    ConstraintsSection,
    EvaluationSection,
    GateSection,
    ModelSection,
    Objective,
    Section,
    SpaceSection,
    StrategySection,
    SurgerySection,
    Text,
    TrackingSection,
    one_of,
)
from .config_yaml import parse_mapping, read_text
from .papers import fill_in

_NAME = re.compile(r"[A-Za-z0-9._-]+")
_NAME_RULE = "letters, digits, '.', '_' and '-' (left out: the file's name without its ending)"


class Config(Section):
    """Everything that a search was told.

    Attributes:
        name: the run's name; its folder is `output`/`name`.
        model: the trained network.
        data: the data set: `name` and whatever options that one takes.
        space: what may be chosen.
        objectives: what is optimised; accuracy is always among them.
        constraints: limits of a feasible candidate.
        strategy: who suggests candidates.
        gate: the early rejection by membrane drift.
        paper_split: search on the test images, as the published methods do, for comparison.
        surgery: how a candidate is built.
        evaluation: how a candidate is measured.
        budget: when to stop.
        cluster: where evaluations are done.
        tracking: MLflow.
        seed: the same seed and window give the same trace on like hardware.
        output: folder of all runs.
    """

    name: str = Field(description=_NAME_RULE)
    model: ModelSection
    data: dict[str, JsonValue] = Field(
        default_factory=lambda: {"name": "digits"},
        description=PLAIN,
    )
    space: SpaceSection = SpaceSection()
    objectives: Annotated[
        tuple[Annotated[Objective, BeforeValidator(one_of("objective", OBJECTIVES))], ...],
        Field(strict=False),
    ] = Field(default=("accuracy", "bytes"), description=f"a list from {', '.join(OBJECTIVES)}")
    constraints: ConstraintsSection = ConstraintsSection()
    strategy: StrategySection = StrategySection()
    gate: GateSection = GateSection()
    paper_split: bool = Field(default=False, description="true or false")
    surgery: SurgerySection = SurgerySection()  # pyright: ignore[reportInvalidTypeForm]
    evaluation: EvaluationSection = EvaluationSection()
    budget: BudgetSection = BudgetSection()
    cluster: ClusterSection = Field(default_factory=lambda: ClusterSection())
    tracking: TrackingSection = TrackingSection()
    seed: int = Field(default=0, ge=0, lt=2**32, description="a whole number from 0 to 2**32 - 1")
    output: Text = Field(default="runs", description="the path of a folder")

    @classmethod
    def load(cls, path: str | Path, strategies: Collection[str] = STRATEGIES) -> Self:
        """Config of a file; see `parse`."""
        return cls.parse(read_text(Path(path)), str(path), strategies)

    @classmethod
    def parse(
        cls, text: str, source: str = "config.yaml", strategies: Collection[str] = STRATEGIES
    ) -> Self:
        """Config of a YAML text.

        Where the strategy is a published method, its paper fills in what the text leaves open
        (`papers`).

        Args:
            text: the YAML.
            source: name of the text in messages; its stem is the default name of the run.
            strategies: names that `strategy.name` may have.

        Raises:
            BadInput: one error that lists every problem of the text.
        """
        data = parse_mapping(text, source)
        return cls._check({"name": Path(source).stem} | data, source, strategies)

    def merged(
        self,
        overrides: Mapping[str, Any],
        source: str = "options",
        strategies: Collection[str] = STRATEGIES,
    ) -> Self:
        """Return a config with some fields set anew, checked like a file.

        What was left to its default is worked out again: a window that nobody chose follows
        the number of workers, what a paper says follows the strategy; what is written down stays.

        Args:
            overrides: values by dotted path, e.g. ``{"cluster.workers": 4, "seed": 3}``.
            source: where they come from, for messages.
            strategies: names that `strategy.name` may have.

        Raises:
            BadInput: one error that lists every problem.
        """
        data = self.model_dump(exclude_unset=True)
        for path, value in overrides.items():
            *sections, field = path.split(".")
            inner = data
            for section in sections:
                inner = inner.setdefault(section, {})
                if not isinstance(inner, dict):
                    raise BadInput(f"{source}: {path}: {section!r} is no section.")
            inner[field] = value
        return self._check(data, source, strategies)

    def to_yaml(self) -> str:
        """Write the whole config, all defaults filled in; `parse` gives an equal one back."""
        # ASCII only: unescaped, U+0085 would come back as a line break.
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)

    @classmethod
    def _check(cls, data: dict[Any, Any], source: str, strategies: Collection[str]) -> Self:
        whole, filled = fill_in(data)
        try:
            config = cls.model_validate(whole, context={"strategies": tuple(strategies)})
        except ValidationError as error:
            raise explain(error, cls, whole, source) from None
        for section, field in filled:
            # Nobody set it: `merged` works it out again.
            getattr(config, section).model_fields_set.discard(field)
        return config

    @field_validator("name")
    @classmethod
    def _name_is_a_folder(cls, name: str) -> str:
        if not _NAME.fullmatch(name) or not name.strip("."):
            raise ValueError(f"got {shown(name)}; allowed: {_NAME_RULE}.")
        return name

    @field_validator("data")
    @classmethod
    def _data_is_named(cls, data: dict[str, JsonValue]) -> dict[str, JsonValue]:
        name = data.get("name")
        if not isinstance(name, str) or not name:
            got = f"got {shown(name)}" if "name" in data else "missing"
            raise PydanticCustomError(
                "incomplete", "{got}; give the name of a data set.", {"got": got, "inner": "name"}
            )
        return data

    @model_validator(mode="after")
    def _latency_is_not_reproducible(self) -> Self:
        if "latency_ms" in self.objectives and self.cluster.ordered:
            raise ValueError(
                "objectives: latency_ms is measured, so no trace with it can be reproduced; set "
                "cluster.ordered to false, or take synops or energy_mj."
            )
        return self

    @field_validator("objectives")
    @classmethod
    def _accuracy_among_them(cls, objectives: tuple[Objective, ...]) -> tuple[Objective, ...]:
        if "accuracy" not in objectives:
            raise ValueError(f"got {shown(list(objectives))}; accuracy must be among them.")
        if len(set(objectives)) < len(objectives):
            raise ValueError(f"got {shown(list(objectives))}; name each of them once.")
        return objectives

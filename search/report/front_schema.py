"""What front.json must hold. Fields that are not named here are allowed and kept."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

CandidateDict = dict[str, dict[str, int]]
"""``{kind: {site name: value}}``, only of what is not left as it is."""

# Keys name folders: nothing that could lead out of the run is let in.
Key = Annotated[str, Field(pattern=r"^[0-9A-Za-z_-]{1,64}$")]
Fraction = Annotated[float, Field(ge=0, le=1)]
Size = Annotated[int, Field(gt=0)]


class _Record(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)


class SiteRecord(_Record):
    """One compressible place of the parent, in the order of the network."""

    kind: str
    name: str
    size: Size
    block: str
    stage: str


class EnergyPreset(_Record):
    """Named cost constants; pJ per operation where the run recorded them."""

    name: str
    mac_pj: float | None = None
    ac_pj: float | None = None


class Parent(_Record):
    """The trained network that the search started from. Energy and SynOps are per image."""

    name: str
    architecture: str
    accuracy_search: Fraction
    accuracy_test: Fraction | None = None
    n_search: int | None = None
    n_test: int | None = None
    bytes: Size
    parameters: int | None = None
    macs: float | None = None
    synops: float | None = None
    energy_mj: float | None = None
    time_steps: int
    energy_preset: str | EnergyPreset
    energy_formula: str | None = None
    sites: tuple[SiteRecord, ...]

    @property
    def preset(self) -> EnergyPreset:
        """The energy preset, whichever way it was written."""
        given = self.energy_preset
        return EnergyPreset(name=given) if isinstance(given, str) else given


class Member(_Record):
    """One member of the front.

    `test_interval` is the 95 % interval of member minus parent on the test split, as fractions:
    negative is less accurate. Test figures are None until the test split was touched.
    `accuracy_corrected` is the search accuracy without what choosing by it has added.
    """

    key: Key
    candidate: CandidateDict
    accuracy_search: Fraction
    accuracy_corrected: Fraction | None = None
    accuracy_test: Fraction | None = None
    n_search: int
    n_test: int | None = None
    test_interval: tuple[float, float] | None = None
    bytes: Size
    bytes_ratio: float
    bytes_container: int | None = None
    macs: float | None = None
    synops: float | None = None
    energy_mj: float | None = None
    path: str | None = None


class Method(_Record):
    """What a method with a result of its own came to; `chosen` is a key."""

    name: str
    chosen: str | None
    met: bool
    finished: bool
    nearest_miss: str | None = None
    model: Member | None = None


class Counts(_Record):
    """How often each outcome occurred; `hits` are suggestions that were known already."""

    complete: int
    rejected: int
    infeasible: int
    failed: int
    lost: int
    quarantined: int
    probed: int = 0
    hits: int | None = None
    duplicates: int
    image_evaluations: int


class GateAudit(_Record):
    """How right the gate was on the candidates that were evaluated whatever it said."""

    audited: int | None = None
    rejected: int | None = None
    precision: float | None = None
    recall: float | None = None
    rank_correlation: float | None = None
    rank_correlation_kl: float | None = None


class Limits(_Record):
    """Constraints of the search: largest accuracy drop (fraction) and largest bytes."""

    drop: float | None = None
    bytes: int | None = None


class Front(_Record):
    """The whole file."""

    # `schema` is a method of BaseModel, hence the alias.
    schema_version: Literal[1] = Field(alias="schema")
    parent: Parent
    members: tuple[Member, ...]
    hypervolume: float | None = None
    reference: dict[str, float] | list[float] | None = None
    counts: Counts
    gate_audit: GateAudit | None = None
    limits: Limits = Limits()
    method: Method | None = None
    paper_split: bool = False

    @property
    def headline(self) -> Member | None:
        """The member that answers the search's question; None without a front.

        That is the smallest one, or the most accurate one where only the size was limited.
        """
        if not self.members:
            return None
        if self.limits.drop is None and self.limits.bytes is not None:
            return min(self.members, key=lambda m: (-m.accuracy_search, m.bytes, m.key))
        return min(self.members, key=lambda m: (m.bytes, m.key))

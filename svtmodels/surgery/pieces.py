"""What surgery prepares for a synapse or a group of channels, as tensors that can be kept."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Order:
    """In which order the channels of a group leave.

    Attributes:
        channels: [size], first to leave first.
    """

    channels: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """A synapse that reads fewer channels; all rows.

    Attributes:
        weight: [C_out, kept, ...].
        shift: what is added to its output to keep its mean, [C_out]; None where nothing can be.
    """

    weight: Tensor
    shift: Tensor | None


@dataclass(frozen=True, slots=True, eq=False)
class Rounded:
    """A synapse as integers, batch norm folded in; all rows, or those that a pruned one keeps.

    Attributes:
        codes: int8 [C_out, kept, ...].
        scale: [C_out].
        bias: [C_out].
    """

    codes: Tensor
    scale: Tensor
    bias: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Sparse:
    """What a pruned synapse keeps.

    Attributes:
        rows: its output channels; None: all of them.
        count: numbers of its weight that are not zero.
    """

    rows: Tensor | None
    count: int


@dataclass(frozen=True, slots=True, eq=False)
class Pruned:
    """A synapse that lost single weights, batch norm not folded in; the kept rows.

    Attributes:
        weight: [C_out, kept, ...].
        kept: bool of its shape, which numbers did not leave.
        shift: what is added to its output to keep its mean, besides that of the cut, [C_out];
            None where nothing can be.
    """

    weight: Tensor
    kept: Tensor
    shift: Tensor | None

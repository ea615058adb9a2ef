"""Activations as the engine holds them: rows (image, position, step) of channels."""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from torch import Tensor

WORD = 64
"""Spikes per stored word."""


class Form(enum.StrEnum):
    """How the channels of a row are stored."""

    BITS = "bits"
    """Spikes, one bit each, in words of 64: int64 [..., words]. Bits behind the last are 0."""
    COUNTS = "counts"
    """Integer spikes or sums of spikes: uint8 [..., C]."""
    CURRENTS = "currents"
    """Real values: float32 [..., C]."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Activations of a batch; time runs inside a position, so that neurons see all of it at once.

    Attributes:
        form: how channels are stored.
        data: [B, P, T, C or words], contiguous. A static input has one step for all.
        channels: C.
        grid: (height, width) of the positions; (P, 1) where they lie on no grid.
        unit: what a count of one stands for.
    """

    form: Form
    data: Tensor
    channels: int
    grid: tuple[int, int]
    unit: float = 1.0

    @property
    def images(self) -> int:
        """B."""
        return self.data.shape[0]

    @property
    def positions(self) -> int:
        """P."""
        return self.data.shape[1]

    @property
    def steps(self) -> int:
        """T."""
        return self.data.shape[2]

    def at(self, form: Form) -> int | None:
        """Address of the data if it has this form, for a kernel that takes several."""
        return self.data.data_ptr() if self.form is form else None

    def plain(self) -> Tensor:
        """Float activations [T, B, P, C] as the network's own modules take them."""
        data = self.data
        if self.form is Form.BITS:
            stored = np.ascontiguousarray(data.numpy()).view(np.uint8)
            spikes = np.unpackbits(stored, axis=-1, count=self.channels, bitorder="little")
            data = torch.from_numpy(spikes)
        # Contiguous: what is summed up is then summed in the order in which the network does it.
        shape = (self.steps, self.images, self.positions, self.channels)
        values = torch.empty(shape).copy_(data.permute(2, 0, 1, 3))
        return values if self.unit == 1 else values * self.unit

    @classmethod
    def of_currents(cls, values: Tensor, grid: tuple[int, int]) -> Self:
        """Rows of real values [T, B, P, C]."""
        data = values.permute(1, 2, 0, 3).contiguous()
        return cls(Form.CURRENTS, data, values.shape[-1], grid)

    def like(self, values: Tensor) -> Self:
        """Rows of this form, of what a module gave [T, B, P, C]."""
        data = values.permute(1, 2, 0, 3).contiguous()
        if self.form is Form.COUNTS:
            data = (data / self.unit).to(torch.uint8)
        elif self.form is Form.BITS:
            data = _packed(data)
        return replace(self, data=data, channels=values.shape[-1])

    def take(self, kept: Tensor) -> Self:
        """Rows of the positions [B, k] of each image."""
        images = torch.arange(self.images)[:, None]
        return replace(self, data=self.data[images, kept], grid=(kept.shape[1], 1))

    def strided(self, stride: int) -> Self:
        """Every so many-th position of both axes of the grid."""
        if stride == 1:
            return self
        maps = self.data.unflatten(1, self.grid)[:, ::stride, ::stride]
        grid = (maps.shape[1], maps.shape[2])
        return replace(self, data=maps.flatten(1, 2).contiguous(), grid=grid)

    def repeated(self, steps: int) -> Self:
        """Static rows for all steps."""
        return replace(self, data=self.data.expand(-1, -1, steps, -1).contiguous())

    def with_rows(self, kept: Tensor, passed: Rows) -> Self:
        """Copy with the positions [B, k] of each image replaced."""
        data = self.data.clone()
        data[torch.arange(self.images)[:, None], kept] = passed.data
        return replace(self, data=data)


def words_of(channels: int) -> int:
    """Words that hold the bits of so many channels."""
    return -(-channels // WORD)


def _packed(spikes: Tensor) -> Tensor:
    """Words of spikes [..., C] of 0 and 1."""
    *leading, channels = spikes.shape
    padded = np.zeros((*leading, words_of(channels) * WORD), np.uint8)
    padded[..., :channels] = spikes.numpy()
    bits = np.packbits(padded, axis=-1, bitorder="little")
    return torch.from_numpy(bits.view(np.int64))

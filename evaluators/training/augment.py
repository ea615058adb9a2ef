"""Random shifts and mirrors of a batch, drawn from a seeded generator."""

from __future__ import annotations

import torch
from torch import Tensor


def augment(images: Tensor, padding: int, flip: bool, generator: torch.Generator) -> Tensor:
    """Each image cropped at random from its padded self, and mirrored half of the time.

    All frames of one recording move alike.

    The padding of a channel is its darkest value in the batch: black, also after normalisation.

    Args:
        images: float [B, C, H, W], or frames of events [B, T, 2, H, W].
        padding: pixels on each side; 0 leaves the crop out.
        flip: whether to mirror.
        generator: source of randomness.
    """
    shape = images.shape
    images = images.flatten(1, -3)
    batch, _, height, width = images.shape
    if padding:
        sides = slice(padding, padding + height), slice(padding, padding + width)
        darkest = images.amin((0, 2, 3), keepdim=True)
        padded = darkest.repeat(batch, 1, height + 2 * padding, width + 2 * padding)
        padded[:, :, *sides] = images
        offsets = torch.randint(0, 2 * padding + 1, (batch, 2), generator=generator)
        rows = offsets[:, :1] + torch.arange(height)
        columns = offsets[:, 1:] + torch.arange(width)
        index = torch.arange(batch)[:, None, None]
        images = padded.permute(0, 2, 3, 1)[index, rows[:, :, None], columns[:, None, :]]
        images = images.permute(0, 3, 1, 2).contiguous()
    if flip:
        mirrored = torch.rand(batch, generator=generator) < 0.5
        images = torch.where(mirrored[:, None, None, None], images.flip(-1), images)
    return images.view(shape)

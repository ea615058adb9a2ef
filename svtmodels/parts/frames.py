"""How inputs become maps: static images stand for all steps at once, event data has frames."""

from __future__ import annotations

from torch import Tensor


def frames(x: Tensor, steps: int, static: bool) -> tuple[Tensor, int]:
    """Channel-last maps of a batch, and the number of steps that they stand for.

    Static images [B, C, H, W] give one frame [1, B, H, W, C] for all `steps`: what the first
    synapse makes of it is computed once and repeated, which is exact. Event data [B, T, C, H, W]
    gives its first `steps` frames [T, B, H, W, C].
    """
    if static:
        return x.permute(0, 2, 3, 1)[None], steps
    maps = x[:, :steps].permute(1, 0, 3, 4, 2)
    return maps, len(maps)


def repeat(currents: Tensor, steps: int) -> Tensor:
    """Currents [T, ...] of one frame for all steps, without a copy; of all steps as they are."""
    return currents.expand(steps, *currents.shape[1:])

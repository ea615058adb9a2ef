"""How a network is run on images: by its compiled program, or as plain torch modules."""

from __future__ import annotations

import torch
from torch import Tensor

from ..spaces.errors import RunFailed
from ..svtmodels.engine.library import engine_backend
from ..svtmodels.engine.prefix import Images, Notes, PrefixRun
from ..svtmodels.engine.prefix_cache import PrefixCache
from ..svtmodels.engine.program import Program, unsupported
from ..svtmodels.network import Network
from .engines import COMPILED, PLAIN


class Runner:
    """Logits of a network in eval mode.

    Args:
        network: not to be changed while the runner is in use.
        engine: of `ENGINES`. A network that has no program (`unsupported` says why) runs as plain
            torch modules under either.
        prefixes: what other networks left of the same images; only a program can take it up.

    Attributes:
        network: that is run.
        program: of it, if it has one.
        prefix: how the program runs on images that are known, if anything is reused.

    Raises:
        RunFailed: the compiled engine is not available on this machine.
    """

    def __init__(
        self, network: Network, engine: str = COMPILED, prefixes: PrefixCache | None = None
    ) -> None:
        self.network = network
        self.program: Program | None = None
        self.prefix: PrefixRun | None = None
        if engine == PLAIN:
            return
        if engine_backend() != COMPILED:
            raise RunFailed(
                "the compiled engine is not available on this machine: install a C compiler (cc), "
                "or set evaluation.engine: torch for the whole search."
            )
        if unsupported(network) is None:
            self.program = Program(network)
            if prefixes is not None:
                self.prefix = PrefixRun(self.program, prefixes)

    @torch.inference_mode()
    def __call__(
        self, x: Tensor, images: Images | None = None, notes: Notes | None = None
    ) -> Tensor:
        """Logits [B, K] of images [B, C, H, W], or of frames [B, T, C, H, W].

        Args:
            x: network input.
            images: that it is, if they come again for other networks.
            notes: of who watches the program's currents.
        """
        if self.prefix is not None and images is not None:
            return self.prefix(x, images, notes)
        if self.program is not None:
            return self.program(x)
        return self.network(x.to(self.network.device)).cpu()


def available_engine(asked: str) -> tuple[str, str | None]:
    """The engine that a search runs with, and a note where it is not the one asked for."""
    if asked == PLAIN or engine_backend() == COMPILED:
        return asked, None
    return PLAIN, (
        "evaluation.engine: compiled was asked for, torch runs (no C compiler, or the kernels are "
        "switched off), which is slower."
    )


def plain_note(network: Network, engine: str) -> str | None:
    """What a search should say of parts of a network that the compiled engine runs plainly."""
    if engine == PLAIN:
        return None
    reason = unsupported(network)
    if reason is not None:
        return f"evaluations run in plain torch: {reason}."
    parts = Program(network).plain_parts
    if not parts:
        return None
    named = "; ".join(f"{path} ({why})" for path, why in list(parts.items())[:3])
    return f"{len(parts)} parts run in plain torch: {named}."

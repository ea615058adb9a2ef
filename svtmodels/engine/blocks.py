"""Blocks of tokens: which of them pass, and what becomes of those."""

from __future__ import annotations

import abc

from typing_extensions import override

from ..parts.block import SpikeSumBlock, TokenBlock
from ..parts.mlp import Mlp
from ..parts.self_attention import SelfAttention
from ..parts.token_attention import TokenAttention
from ..parts.tokens import Survivors
from ..sdt_v1_layers import MembraneBlock
from ..sdt_v2_layers import Block as BlockV2
from ..sdt_v3_layers import Block as BlockV3
from ..sdt_v3_layers import LargeBlock
from .branches import (
    Branch,
    CurrentAttentionRun,
    CurrentMlpRun,
    MembraneMlpRun,
    MlpRun,
    SelfAttentionRun,
    TokenAttentionRun,
    hadamard_run,
    normed_run,
    scaled,
    separable_run,
)
from .context import Context
from .maps import SumRun
from .neurons import NeuronRun
from .rows import Rows


class BlockRun(abc.ABC):
    """A block of which some tokens may pass.

    Args:
        context: of the program.
        block: of the network.
    """

    def __init__(self, context: Context, block: TokenBlock) -> None:
        self._selector = block.selector

    def __call__(self, x: Rows, survivors: Survivors) -> Rows:
        """Residual stream to residual stream."""
        if self._selector is None:
            return self.process(self.everywhere(x))
        kept = self._selector(x.plain(), survivors)
        tokens = self.everywhere(x)
        passed = self.process(tokens.take(kept))
        return tokens.with_rows(kept, passed)

    def everywhere(self, x: Rows) -> Rows:
        """What no token skips, behind the choice and before the rest."""
        return x

    @abc.abstractmethod
    def process(self, x: Rows) -> Rows:
        """The block itself, on the tokens that pass."""


class PlainBlock:
    """A block that runs as its plain module."""

    def __init__(self, block: TokenBlock) -> None:
        self._block = block

    def __call__(self, x: Rows, survivors: Survivors) -> Rows:
        """Residual stream to residual stream."""
        maps = x.plain().unflatten(2, x.grid)
        tokens = maps if isinstance(self._block, BlockV2 | BlockV3) else maps.flatten(2, 3)
        return x.like(self._block(tokens, survivors).flatten(2, -2))


class SpikeSumRun(BlockRun):
    """``x + attention(x)``, then ``x + mlp(x)``, of spikes."""

    def __init__(self, context: Context, block: SpikeSumBlock) -> None:
        super().__init__(context, block)
        attention, mlp = block.attention, block.mlp
        assert isinstance(mlp, Mlp)
        if isinstance(attention, SelfAttention):
            self._attention: Branch = SelfAttentionRun(context, attention)
        else:
            assert isinstance(attention, TokenAttention)
            self._attention = TokenAttentionRun(context, attention)
        self._mlp = MlpRun(context, mlp)
        self._sums = SumRun(context), SumRun(context)

    @override
    def process(self, x: Rows) -> Rows:
        """Spike sums to spike sums."""
        first, second = self._sums
        x = first(x, self._attention(x))
        return second(x, self._mlp(x))


class MembraneRun(BlockRun):
    """Attention and MLP of Spike-Driven Transformer v1."""

    def __init__(self, context: Context, block: MembraneBlock) -> None:
        super().__init__(context, block)
        self._attention = hadamard_run(context, block.attn)
        self._mlp = MembraneMlpRun(context, block.mlp)

    @override
    def process(self, x: Rows) -> Rows:
        """Membrane stream to membrane stream."""
        return self._mlp(self._attention(x))


class CurrentRun(BlockRun):
    """``x + attention(x)``, ``x + mlp(x)`` of Spike-Driven Transformer v2 and v3."""

    def __init__(self, context: Context, block: BlockV2 | BlockV3) -> None:
        super().__init__(context, block)
        has_separable = isinstance(block, BlockV3)
        self._separable = separable_run(context, block.conv) if has_separable else None
        self._attention = CurrentAttentionRun(context, block.attn)
        self._mlp = CurrentMlpRun(context, block.mlp)

    @override
    def everywhere(self, x: Rows) -> Rows:
        return x if self._separable is None else self._separable(x)

    @override
    def process(self, x: Rows) -> Rows:
        """Membrane stream to membrane stream."""
        x = self._attention(x, x)
        return self._mlp(x, x)


class LargeRun(BlockRun):
    """A block of the large file of Spike-Driven Transformer v3."""

    def __init__(self, context: Context, block: LargeBlock) -> None:
        super().__init__(context, block)
        self._rep = None
        if block.rep_conv is not None:
            self._rep = NeuronRun(context, block.lif), normed_run(context, block.rep_conv)
        self._attention = CurrentAttentionRun(context, block.attn)
        self._mlp = CurrentMlpRun(context, block.mlp)
        self._scales = block.layer_scale1.detach(), block.layer_scale2.detach()

    @override
    def process(self, x: Rows) -> Rows:
        """Membrane stream to membrane stream."""
        if self._rep is not None:
            neuron, synapse = self._rep
            x = synapse(neuron(x), x)
        x = scaled(self._attention(x, None), x, self._scales[0])
        return scaled(self._mlp(x, None), x, self._scales[1])


def block_run(context: Context, block: TokenBlock) -> BlockRun | PlainBlock:
    """The fastest run of a block."""
    reason = _no_kernel(block)
    if reason is not None:
        context.plain[context.path(block)] = reason
        return PlainBlock(block)
    match block:
        case SpikeSumBlock():
            return SpikeSumRun(context, block)
        case MembraneBlock():
            return MembraneRun(context, block)
        case LargeBlock():
            return LargeRun(context, block)
        case BlockV2() | BlockV3():
            return CurrentRun(context, block)
        case _:
            raise NotImplementedError(f"no run for blocks of type {type(block).__name__}")


def _no_kernel(block: TokenBlock) -> str | None:
    """Why a block runs plainly; None if it need not."""
    selector = block.selector
    if selector is not None and selector.rule.masks == "step":
        return "token masks by step"
    if selector is not None and isinstance(block, BlockV2):
        return "attention synapses that need the whole grid, of which some tokens pass"
    if isinstance(block, SpikeSumBlock) and getattr(block.attention, "over_batch", False):
        return "a neuron over the images of a batch"
    return None

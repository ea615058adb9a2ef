"""A network compiled for inference: the same logits, faster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...spaces.surgery import DEFAULT
from ..declaration import Source
from ..metaformer import MetaFormer, Role
from ..metaformer_layers import ConvBlock, DownSampling, Encoder
from ..network import Network
from ..parts.block import TokenBlock
from ..parts.stem import Stem
from ..parts.tokens import Survivors
from ..qkformer import QKFormer
from ..qkformer_layers import PatchEmbedding
from ..sdt_v1 import SpikeDrivenTransformer
from ..sdt_v3_layers import LargeConvBlock
from ..spikformer import Spikformer
from .blocks import block_run
from .branches import ConvBlockRun, DownSamplingRun, LargeConvBlockRun
from .context import Context, CurrentsWatcher
from .library import kernels
from .packing import MOST_STEPS
from .rows import Rows
from .stems import EmbeddingRun, EncoderRun, InputRun, StemRun


@dataclass(frozen=True, slots=True, eq=False)
class Passed:
    """A batch on its way through a program.

    Attributes:
        rows: activations; in memory that the next pass uses again.
        kept: tokens [B, k] or [T, B, k] that are still in, where they leave for good.
        counted: SynOps [B] so far, by synapse and attention.
    """

    rows: Rows
    kept: Tensor | None
    counted: Mapping[str, Tensor]


SectionRun = Callable[[Rows, Survivors], Rows]


@dataclass(frozen=True, eq=False)
class Section:
    """A part of a network between which its activations may be kept.

    Attributes:
        path: of the module that ends it.
        run: residual stream to residual stream.
        opens: whether the choice of tokens starts anew before it.
    """

    path: str
    run: SectionRun
    opens: bool


class Program:
    """The inference program of a network in eval mode, on the CPU.

    Batch norms are folded into one affine, chains of linear maps are merged, and a synapse adds
    up the weights of the spikes that reach it, in integers where they are quantised. Quantised
    synapses and all sums of spikes give the network's bits; unquantised ones add in another order
    (design, "Arithmetic contract").

    The network must not be changed while the program is in use: its weights were copied.

    Args:
        network: in eval mode, in float32.

    Attributes:
        sections: of the network, in order, behind the input.
        counts_plain_parts: whether somebody tells `count` of what runs plainly.

    Raises:
        NotImplementedError: no program exists for it; `unsupported` says so beforehand.
    """

    def __init__(self, network: Network) -> None:
        library = kernels()
        assert library is not None, "ask `unsupported` first"
        self.network = network
        self.counts_plain_parts = False
        self._context = Context(network, library)
        self._operations: dict[str, int] = {}
        with torch.no_grad():
            self._input, self.sections = _lowered(self._context, network)

    @property
    def plain_parts(self) -> dict[str, str]:
        """Parts that run as plain torch modules, and why."""
        return dict(self._context.plain)

    @property
    def operations(self) -> dict[str, int]:
        """SynOps of all calls so far, by synapse and attention.

        What runs plainly is in it where `count` was told of it.
        """
        return dict(self._operations)

    @contextmanager
    def watched(self, watcher: CurrentsWatcher) -> Iterator[None]:
        """Shows a watcher the currents of all neuron layers that do not run plainly."""
        self._context.watcher = watcher
        try:
            yield
        finally:
            self._context.watcher = None

    def count(self, name: str, operations: Tensor) -> None:
        """Add SynOps [B] of a part that runs plainly, of the images on their way."""
        self._context.count(name, operations)

    @property
    def is_watched(self) -> bool:
        """Whether anybody sees currents."""
        return self._context.watcher is not None

    @torch.inference_mode()
    def __call__(self, x: Tensor) -> Tensor:
        """Logits [B, K] of images [B, C, H, W], or of frames [B, T, C, H, W]."""
        return self.finished(self.entered(x), 0)

    @torch.inference_mode()
    def entered(self, x: Tensor, boundary: int = 0) -> Passed:
        """Images or frames behind a boundary.

        Args:
            x: network input.
            boundary: 0 lies behind the input, i behind section i - 1.
        """
        self.network.check_input(x)
        self._context.counted = {}
        rows = self._input(x, self.network.time_steps)
        return self.advanced(Passed(rows, None, self._context.counted), 0, boundary)

    @torch.inference_mode()
    def advanced(self, passed: Passed, start: int, end: int) -> Passed:
        """A batch that stands behind one boundary, behind a later one."""
        self._context.counted = dict(passed.counted)
        rows, survivors = passed.rows, Survivors(passed.kept)
        for section in self.sections[start:end]:
            survivors = Survivors() if section.opens else survivors
            rows = section.run(rows, survivors)
        return Passed(rows, survivors.kept, self._context.counted)

    @torch.inference_mode()
    def finished(self, passed: Passed, start: int) -> Tensor:
        """Logits [B, K] of a batch that stands behind a boundary; counts its SynOps."""
        rows = self.advanced(passed, start, len(self.sections)).rows
        logits = self.network.logits(self.network.pooled(rows.plain()))
        for name, operations in self._context.counted.items():
            self._operations[name] = self._operations.get(name, 0) + int(operations.sum())
        return logits


def unsupported(network: Network) -> str | None:
    """Why a network has no program; None if it has one."""
    if kernels() is None:
        return "no C compiler, or the kernels are switched off"
    if network.device.type != "cpu":
        return f"kernels run on the CPU, the network lies on {network.device}"
    if network.training:
        return "the network is in training mode"
    if any(p.dtype != torch.float32 for p in network.parameters()):
        return "the network is not in float32"
    if network.time_steps > MOST_STEPS:
        return f"more than {MOST_STEPS} time steps"
    if network.arithmetic != DEFAULT.arithmetic:
        return "fixed-point arithmetic"
    return None


def _lowered(context: Context, network: Network) -> tuple[InputRun, Sequence[Section]]:
    match network:
        case Spikformer() | SpikeDrivenTransformer():
            stem = network.patch_embed
            assert isinstance(stem, Stem)
            return _stem(context, stem, _blocks(context, network.block))
        case QKFormer():
            return _qkformer(context, network)
        case MetaFormer():
            return _metaformer(context, network)
        case _:
            raise NotImplementedError(f"no program for {type(network).__name__}")


def _stem(
    context: Context, stem: Stem, blocks: list[Section]
) -> tuple[InputRun, Sequence[Section]]:
    path, run = context.path(stem), StemRun(context, stem)
    ends = (f"{path}.proj_lif1", f"{path}.proj_lif2", path)
    parts = [Section(end, _always(p), True) for end, p in zip(ends, run.rest, strict=True)]
    return run, [*parts, *blocks]


def _blocks(context: Context, blocks: nn.Module) -> list[Section]:
    sections = []
    for index, block in enumerate(blocks.children()):
        assert isinstance(block, TokenBlock)
        sections.append(Section(context.path(block), block_run(context, block), index == 0))
    return sections


def _always(run: Callable[[Rows], Rows]) -> SectionRun:
    return lambda rows, _survivors: run(rows)


def _qkformer(context: Context, network: QKFormer) -> tuple[InputRun, Sequence[Section]]:
    static = network.variant.source is Source.IMAGE
    sections: list[Section] = []
    first: InputRun | None = None
    for stage in network.stages:
        embedding = network.get_submodule(stage.embedding)
        assert isinstance(embedding, PatchEmbedding)
        if first is None:
            first = EmbeddingRun(context, embedding, static=static)
        else:
            run = EmbeddingRun(context, embedding, static=None)
            sections.append(Section(stage.embedding, _always(run.behind), True))
        sections += _blocks(context, network.get_submodule(stage.name))
    assert first is not None
    return first, sections


def _metaformer(context: Context, network: MetaFormer) -> tuple[InputRun, Sequence[Section]]:
    first, *parts = network.parts
    encoder = network.get_submodule(first.name)
    assert isinstance(encoder, Encoder)
    sections: list[Section] = []
    for part in parts:
        module = network.get_submodule(part.name)
        if part.role is Role.TRANSFORMER:
            sections += _blocks(context, module)
        elif isinstance(module, DownSampling):
            sections.append(Section(part.name, _always(DownSamplingRun(context, module)), True))
        else:
            sections += [_convolutions(context, block) for block in module.children()]
    return EncoderRun(context, encoder), sections


def _convolutions(context: Context, block: nn.Module) -> Section:
    path = context.path(block)
    if isinstance(block, LargeConvBlock):
        return Section(path, _always(LargeConvBlockRun(context, block)), True)
    assert isinstance(block, ConvBlock)
    return Section(path, _always(ConvBlockRun(context, block)), True)

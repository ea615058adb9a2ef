"""The patch embeddings of QKFormer: spiking, with a deformed shortcut (SPEDS)."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from .declaration import ChannelGroup, Declaration, NeuronLayer, Source, Stream, Synapse
from .parts.chain import Chains
from .parts.frames import repeat
from .parts.neuron import LIF
from .parts.synapse import Conv, Pointwise, pool
from .qkformer_plan import Embedding, Link

SHORTCUT = "proj_res"


class PatchEmbedding(Chains):
    """SPEDS: the spikes of a main path plus those of its shortcut.

    Args:
        plan: its links.
        inputs: channels that enter.
        widths: channels of every link.
    """

    def __init__(self, plan: Embedding, inputs: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.plan = plan
        entering = (inputs, *widths)
        for link, before, width in zip(plan.links, entering, widths, strict=False):
            self.add_chain(link.name, Conv(before, width, 3), LIF())
        shortcut = Pointwise(entering[plan.fork], widths[-1], bias=False, trailing=2)
        self.add_chain(SHORTCUT, shortcut, LIF())

    def forward(self, x: Tensor, steps: int) -> Tensor:
        """Spike sums [T, B, h, w, C] of maps [T, B, H, W, C_in], or of one map for all steps."""
        fork, stride = self.plan.fork, self.plan.stride
        for link in self.plan.links[:fork]:
            x = self._fire(link, x, steps)
        main = x
        for link in self.plan.links[fork:]:
            main = self._fire(link, main, steps)
        # A 1x1 convolution with a stride is a pointwise map of every so many-th position.
        return main + self.fire(SHORTCUT, x[..., ::stride, ::stride, :])

    def _fire(self, link: Link, x: Tensor, steps: int) -> Tensor:
        currents = self.currents(link.name, x)
        currents = pool(currents) if link.pooled else currents
        return self.spikes(link.name, repeat(currents, steps))


def embedding_widths(plan: Embedding, stream: Stream, widths: Mapping[str, int]) -> tuple[int, ...]:
    """Channels of every link where some groups were made smaller; the last ones are the stream's.

    Args:
        plan: its links.
        stream: that the patch embedding opens.
        widths: of the groups that were made smaller.
    """
    *links, _ = plan.links
    return (
        *(widths.get(_group(stream.block, link), stream.size // link.share) for link in links),
        widths.get(stream.name, stream.size),
    )


def declare_embedding(
    plan: Embedding, stream: Stream, size: tuple[int, int], source: Source, before: Stream | None
) -> Declaration:
    """What a patch embedding declares.

    Args:
        plan: its links.
        stream: that it opens.
        size: height and width of the map that enters.
        source: what enters.
        before: the stream that enters; None for the input of the network.
    """
    path, stage = stream.block, stream.stage
    paths = [f"{path}.{link.name}_conv" for link in plan.links]
    shortcut = f"{path}.{SHORTCUT}_conv"
    positions = size[0] * size[1]
    synapses, groups, neurons = [], [], []
    for index, (link, synapse) in enumerate(zip(plan.links, paths, strict=True)):
        sees = Source.SPIKES if index else source
        synapses.append(_synapse(synapse, positions, sees, stage, path))
        positions //= 4 if link.pooled else 1
        consumers = (*paths[index + 1 : index + 2], *([shortcut] * (index == plan.fork - 1)))
        last = index == len(paths) - 1
        group = stream.name if last else _group(path, link)
        if not last:
            share = stream.size // link.share
            groups.append(ChannelGroup(group, share, 1, (synapse,), consumers, stage, path))
        neurons.append(NeuronLayer(f"{path}.{link.name}_lif", stage, path, group))
    synapses.append(_synapse(shortcut, positions, Source.SPIKES, stage, path))
    neurons.append(NeuronLayer(f"{path}.{SHORTCUT}_lif", stage, path, stream.name))
    residuals = stream.group(writes=(paths[-1], shortcut))
    if before is not None:
        # A shortcut that leaves behind a link reads that link's channels.
        entering = (paths[0], *([shortcut] * (plan.fork == 0)))
        residuals = (*before.group(reads=entering), *residuals)
    return Declaration(tuple(synapses), tuple(groups), neurons=tuple(neurons), residuals=residuals)


def _synapse(path: str, positions: int, source: Source, stage: str, block: str) -> Synapse:
    return Synapse(path, path, path.replace("_conv", "_bn"), positions, source, stage, block)


def _group(path: str, link: Link) -> str:
    return f"{path}.{link.name}_conv.out"

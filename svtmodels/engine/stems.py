"""From images to the residual stream."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol

from torch import Tensor, nn

from ..metaformer_layers import Encoder
from ..parts.frames import frames
from ..parts.stem import Stem
from ..qkformer_layers import SHORTCUT, PatchEmbedding
from ..qkformer_plan import Link
from ..sdt_v1_layers import MembraneStem
from .context import Context
from .image_synapse import ImageSynapse
from .maps import PoolRun, SumRun
from .neurons import NeuronRun
from .rows import Rows
from .synapses import synapse_run


class InputRun(Protocol):
    """Rows of a batch of network inputs."""

    def __call__(self, x: Tensor, steps: int) -> Rows:
        """Residual stream, or what stands before it."""
        ...


class _FirstSynapse:
    """The first synapse, its pooling if there is one, and its neurons."""

    def __init__(
        self,
        context: Context,
        synapse: tuple[nn.Module, nn.Module],
        neuron: nn.Module,
        *,
        static: bool,
        pooled: bool = False,
    ) -> None:
        self._synapse = synapse
        self._image = ImageSynapse(context, *synapse) if static else None
        self._pool = PoolRun(context) if pooled else None
        self._neuron = NeuronRun(context, neuron)

    def __call__(self, x: Tensor, steps: int) -> Rows:
        """Spikes of images [B, C, H, W] or frames [B, T, C, H, W]."""
        if self._image is not None:
            currents = self._image(x)
            return self._neuron(self._pooled(currents), steps)
        weight, norm = self._synapse
        maps = norm(weight(frames(x, steps, static=False)[0]))
        height, width = maps.shape[2:4]
        return self._neuron(self._pooled(Rows.of_currents(maps.flatten(2, 3), (height, width))))

    def _pooled(self, currents: Rows) -> Rows:
        return currents if self._pool is None else self._pool(currents)


class StemRun:
    """SPS of Spikformer and Spike-Driven Transformer v1, convolution by convolution.

    Called, it gives the first one's spikes; `rest` are the others.
    """

    def __init__(self, context: Context, stem: Stem) -> None:
        self._membrane = isinstance(stem, MembraneStem)
        parts = [
            [stem.get_submodule(f"proj_{kind}{i or ''}") for kind in ("conv", "bn", "lif")]
            for i in range(4)
        ]
        weight, norm, neuron = parts[0]
        self._first = _FirstSynapse(context, (weight, norm), neuron, static=stem.static)
        self._middle = [synapse_run(context, *parts[index]) for index in (1, 2)]
        self._pools = [PoolRun(context) if pooled else None for pooled in stem.pools]
        weight, norm, neuron = parts[3]
        if self._membrane:
            self._last = synapse_run(context, weight, norm)
            self._fire = NeuronRun(context, neuron)
            self._places = synapse_run(context, stem.rpe_conv, stem.rpe_bn)
            return
        self._last = synapse_run(context, weight, norm, neuron)
        self._places = synapse_run(
            context, stem.rpe_conv, stem.rpe_bn, stem.get_submodule("rpe_lif")
        )
        self._sum = SumRun(context)

    def __call__(self, x: Tensor, steps: int) -> Rows:
        """Spikes behind the first convolution, of images or frames."""
        return self._pooled(0, self._first(x, steps))

    @property
    def rest(self) -> tuple[Callable[[Rows], Rows], ...]:
        """The second and third convolution, spikes to spikes; the last two, to the stream."""
        return partial(self._convolved, 1), partial(self._convolved, 2), self._finished

    def _convolved(self, index: int, rows: Rows) -> Rows:
        return self._pooled(index, self._middle[index - 1](rows))

    def _finished(self, rows: Rows) -> Rows:
        rows = self._pooled(3, self._last(rows))
        if self._membrane:
            return self._places(self._fire(rows), rows)
        return self._sum(rows, self._places(rows))

    def _pooled(self, index: int, rows: Rows) -> Rows:
        pool = self._pools[index]
        return rows if pool is None else pool(rows)


class EmbeddingRun:
    """A patch embedding of QKFormer."""

    def __init__(self, context: Context, embedding: PatchEmbedding, *, static: bool | None) -> None:
        plan = embedding.plan
        self._fork, self._stride = plan.fork, plan.stride
        links = plan.links
        self._first = None
        if static is not None:
            weight, norm, neuron = _chain(embedding, links[0].name)
            self._first = _FirstSynapse(
                context, (weight, norm), neuron, static=static, pooled=links[0].pooled
            )
            links = links[1:]
            self._fork -= 1
        self._links = [_LinkRun(context, embedding, link) for link in links]
        self._shortcut = synapse_run(context, *_chain(embedding, SHORTCUT))
        self._sum = SumRun(context)

    def __call__(self, x: Tensor, steps: int) -> Rows:
        """Residual stream of images or frames."""
        assert self._first is not None
        return self.behind(self._first(x, steps))

    def behind(self, rows: Rows) -> Rows:
        """Residual stream of what came before, the last stage's stream."""
        for link in self._links[: self._fork]:
            rows = link(rows)
        main = rows
        for link in self._links[self._fork :]:
            main = link(main)
        return self._sum(self._shortcut(rows.strided(self._stride)), main)


class _LinkRun:
    def __init__(self, context: Context, embedding: PatchEmbedding, link: Link) -> None:
        weight, norm, neuron = _chain(embedding, link.name)
        self._pool = PoolRun(context) if link.pooled else None
        self._synapse = synapse_run(context, weight, norm, None if link.pooled else neuron)
        self._neuron = NeuronRun(context, neuron) if link.pooled else None

    def __call__(self, x: Rows) -> Rows:
        rows = self._synapse(x)
        if self._pool is None or self._neuron is None:
            return rows
        return self._neuron(self._pool(rows))


class EncoderRun:
    """The encoder of Spike-Driven Transformer v2 and v3: currents that all steps share."""

    def __init__(self, context: Context, encoder: Encoder) -> None:
        self._synapse = ImageSynapse(context, encoder.encode_conv, encoder.encode_bn)

    def __call__(self, x: Tensor, steps: int) -> Rows:
        """Residual stream of images."""
        return self._synapse(x).repeated(steps)


def _chain(embedding: PatchEmbedding, name: str) -> tuple[nn.Module, nn.Module, nn.Module]:
    conv, norm, neuron = (embedding.get_submodule(f"{name}_{p}") for p in ("conv", "bn", "lif"))
    return conv, norm, neuron

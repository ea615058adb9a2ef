"""In which order the channels of a coupled group leave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ..declaration import ChannelGroup, Synapse
from .least_squares import removal_order, shared_removal_order


def order_by(scores: Tensor, group: ChannelGroup) -> Tensor:
    """Channels [size] by their worth [size], the least first.

    Heads that leave whole go by the L2 norm of what their channels are worth.
    """
    scores = scores.reshape(group.heads, -1)
    channels = torch.arange(group.size).reshape(group.heads, -1)
    if group.whole_heads:
        heads = _least_first(scores.square().sum(1))
        # Channels of one head leave together: their order does not matter.
        return channels[heads].flatten()
    ranks = _least_first(scores)
    return channels.gather(1, ranks).T.flatten()


def surgeon_order(weight: Tensor, products: Tensor, group: ChannelGroup) -> Tensor:
    """Channels [size], first to leave first, by what their loss costs the synapse that reads them.

    Args:
        weight: of the consumer, [C_out, size * k * k], batch norm folded in.
        products: second moments of its input.
        group: of channels.
    """
    kernel = weight.shape[1] // group.size
    if not group.whole_heads:
        return removal_order(weight, products, kernel, group.heads)
    size = group.size // group.heads
    heads = removal_order(weight, products, kernel * size, 1)
    return torch.arange(group.size).reshape(group.heads, size)[heads].flatten()


def stream_order(readers: Sequence[tuple[Tensor, Tensor]], group: ChannelGroup) -> Tensor:
    """Channels [size] of a residual stream, first to leave first.

    A loss counts relative to what the output of the synapse varies by: logits, and currents of
    neurons with large and with small batch norms, have no unit in common.

    Args:
        readers: of each synapse that reads the stream its weight [C_out, size * k], batch norm
            folded in, and the second moments of its input.
        group: of the stream.
    """
    return shared_removal_order([_relative(*reader) for reader in readers], group.size)


def loss_order(forms: Tensor, group: ChannelGroup) -> Tensor:
    """Channels [size], first to leave first, by what an attention loses with them.

    The one leaves whose loss adds least to the quadratic form, given what has left.

    Args:
        forms: of each head, [heads, d, d]: a set costs the sum over its rows and columns.
        group: of channels; its heads lose equally many.
    """
    heads = torch.stack([_greedy(form.double()) for form in forms])
    start = torch.arange(group.heads)[:, None] * forms.shape[-1]
    return (heads + start).T.flatten()


def sole_consumer(synapses: Mapping[str, Synapse], group: ChannelGroup) -> Synapse | None:
    """The one synapse that reads a group's channels, if it is one with a weight of its own."""
    if len(group.consumers) != 1:
        return None
    # A link of a chain is no synapse of its own.
    consumer = synapses.get(group.consumers[0])
    return None if consumer is None or consumer.links else consumer


def _relative(weight: Tensor, products: Tensor) -> tuple[Tensor, Tensor]:
    """A reader whose mean squared output is one; one that is silent stays as it is."""
    rows = weight.double()
    energy = ((rows @ products) * rows).sum()
    return (rows / energy.sqrt() if energy > 0 else rows), products


def _greedy(form: Tensor) -> Tensor:
    """Order in which the channels of one form [d, d] leave."""
    # What each adds to the loss: its own entry, and twice those it shares with what has left.
    added = form.diagonal().clone()
    order = []
    for _ in range(len(form)):
        channel = int(added.argmin())
        order.append(channel)
        added += 2 * form[channel]
        added[order] = torch.inf
    return torch.tensor(order)


def _least_first(values: Tensor) -> Tensor:
    # A stable sort, so that equal ones leave in the same order on every machine: the last first.
    return torch.sort(values, dim=-1, descending=True, stable=True).indices.flip(-1)

"""The MLP of networks that add spikes: two pointwise chains."""

from __future__ import annotations

from torch import Tensor

from ..declaration import Declaration, Place
from .chain import Chains
from .neuron import LIF
from .synapse import Pointwise

Names = tuple[str, str]
"""Official names of the two chains."""


class Mlp(Chains):
    """``LIF(BN(W LIF(BN(W x))))``.

    Args:
        dim: channels of the residual stream.
        hidden: channels between.
        names: of the chains.
        suffix: of the synapses.
        trailing: kernel axes in the official weights.
    """

    def __init__(
        self,
        dim: int,
        hidden: int,
        *,
        names: Names = ("fc1", "fc2"),
        suffix: str = "conv",
        trailing: int = 2,
    ) -> None:
        super().__init__()
        self.suffix = suffix
        self.names = names
        for name, inputs, outputs in zip(names, (dim, hidden), (hidden, dim), strict=True):
            self.add_chain(name, Pointwise(inputs, outputs, True, trailing), LIF())

    def forward(self, x: Tensor) -> Tensor:
        """Spikes [T, B, N, D] for spike sums of the same shape."""
        for name in self.names:
            x = self.fire(name, x)
        return x


def declare_mlp(path: str, place: Place, hidden: int, names: Names = ("fc1", "fc2")) -> Declaration:
    """What an MLP at a path declares."""
    first, second = names
    group = f"{path}.hidden"
    return Declaration(
        place.synapses(path, *names),
        (place.group(group, hidden, (f"{path}.{first}",), (f"{path}.{second}",)),),
        neurons=place.neurons(path, **{f"{first}_lif": group, f"{second}_lif": place.residual}),
        residuals=place.residuals(writes=(f"{path}.{second}",), reads=(f"{path}.{first}",)),
    )

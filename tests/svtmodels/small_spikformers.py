"""Small Spikformers that fire in every layer, and candidates for them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from golden_rule import make_input, make_state
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from spikefront.spaces import Candidate, Granularity, Site, SiteKind
from spikefront.svtmodels import Network, build_official

ARCHITECTURES = ("spikformer_cifar10", "spikformer_imagenet", "spikformer_cifar10dvs")
CIFAR = ARCHITECTURES[0]

_PIXELS = {"spikformer_cifar10": 16, "spikformer_imagenet": 64, "spikformer_cifar10dvs": 64}
"""Side of the image that gives a grid of 4x4 tokens."""
_RULE = {
    "gain": 2.0,
    "bn_w": [0.6, 1.4],
    "bn_b": [0.6, 0.5],
    "mean_std": 0.2,
    "var": [0.5, 1.5],
    "lin_b": 0.2,
    "other": 0.02,
}

few = settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
"""A busy machine must not fail a property, and a network costs milliseconds."""


def arguments_of(architecture: str = CIFAR, **changed: Any) -> dict[str, Any]:
    """Constructor arguments of a small network."""
    size = _PIXELS[architecture]
    steps = {} if architecture == "spikformer_imagenet" else {"T": 4}
    return {
        "img_size_h": size,
        "img_size_w": size,
        "in_channels": 2 if architecture == "spikformer_cifar10dvs" else 3,
        "num_classes": 7,
        "embed_dims": 32,
        "num_heads": 4,
        "mlp_ratios": 2,
        "depths": 2,
        **steps,
        **changed,
    }


def small(architecture: str = CIFAR, dtype: torch.dtype = torch.float32, **changed: Any) -> Network:
    """A network whose weights follow the golden rule, in eval mode."""
    network = build_official(architecture, arguments_of(architecture, **changed))
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    network.load_state_dict(make_state(shapes, {}, _RULE), strict=True)
    return network.eval().to(dtype)


def inputs_for(network: Network, batch: int = 2, seed: int = 1) -> Tensor:
    """A batch of images or event counts of the network's type."""
    kind = "dvs" if len(network.input_shape) == 4 else "cifar"
    dtype = next(network.parameters()).dtype
    return make_input(kind, [batch, *network.input_shape], seed).to(dtype)


def space_candidates(network: Network) -> st.SearchStrategy[Candidate]:
    """A candidate of one of the network's spaces, at any granularity."""

    def of(granularity: Granularity) -> st.SearchStrategy[Candidate]:
        space = network.space(granularity)
        levels = (st.integers(0, len(axis.levels) - 1) for axis in space.axes)
        return st.tuples(*levels).map(space.decode)

    return st.sampled_from(Granularity).flatmap(of)


def any_candidates(network: Network) -> st.SearchStrategy[Candidate]:
    """A candidate with any legal value at any of the sites."""

    def value(site: Site) -> st.SearchStrategy[int]:
        if site.kind is SiteKind.WEIGHT:
            return st.sampled_from((1, 2, 3, 4, 5, 6, 7, 8, 16, 32))
        if site.kind is SiteKind.STATE:
            return st.sampled_from((*range(4, 17), 32))
        return st.integers(1, site.size // site.unit).map(lambda units: units * site.unit)

    return st.fixed_dictionaries({}, optional={s: value(s) for s in network.sites}).map(
        Candidate.of
    )


def choose(network: Network, **chosen: dict[str, int]) -> Candidate:
    """Candidate from keywords: ``choose(n, channel={...}, token={...}, weight={...})``."""
    return Candidate.from_dict(chosen, network.sites)


@contextmanager
def watched(network: nn.Module, names: Iterable[str]) -> Iterator[dict[str, tuple[Tensor, Tensor]]]:
    """First input and output of each named module, as of its latest call."""
    seen: dict[str, tuple[Tensor, Tensor]] = {}

    def watch(name: str) -> Any:
        def see(module: nn.Module, inputs: tuple[Tensor, ...], output: Any) -> None:
            seen[name] = (inputs[0], output)

        return network.get_submodule(name).register_forward_hook(see)

    hooks = [watch(name) for name in names]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()

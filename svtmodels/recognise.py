"""Which official architecture a state dict belongs to, from its keys and shapes alone."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ..spaces.errors import BadInput
from .official import ARCHITECTURES


def recognise(state: Mapping[str, Tensor], known: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Architecture and constructor arguments of an official state dict.

    Args:
        state: official keys and tensors.
        known: arguments that shapes cannot tell, or that shall overrule what they tell; may
            hold `architecture`.

    Raises:
        BadInput: not recognised, or something must be told by name.
    """
    given = dict(known)
    architecture = given.pop("architecture", None) or _architecture(state)
    arguments = {**_spikformer_arguments(state, architecture), **given}
    if "num_heads" not in arguments:
        dim = arguments["embed_dims"]
        likely = [h for h in (4, 8, 12, 16) if dim % h == 0]
        raise BadInput(
            f"the number of heads cannot be read off the weights: give num_heads=…"
            f" (likely: {', '.join(map(str, likely))})."
        )
    return architecture, arguments


def _architecture(state: Mapping[str, Tensor]) -> str:
    if "patch_embed.rpe_conv.weight" in state and "block.0.attn.attn_lif.w" not in state:
        if "block.0.attn.q_linear.weight" in state:
            return "spikformer_cifar10"
        if "pos_embed" in state:
            return "spikformer_cifar10dvs"
        if "block.0.mlp.fc1_conv.weight" in state and "block.0.norm1.weight" in state:
            return "spikformer_imagenet"
    some = ", ".join(list(state)[:3])
    raise BadInput(
        f"no known network has these keys ({some}, …); known: {', '.join(sorted(ARCHITECTURES))}. "
        "Give architecture=… to see what differs."
    )


def _spikformer_arguments(state: Mapping[str, Tensor], architecture: str) -> dict[str, Any]:
    wanted = ("patch_embed.proj_conv.weight", "patch_embed.proj_conv3.weight", "head.weight")
    absent = [name for name in wanted if name not in state]
    if absent:
        raise BadInput(f"not a {architecture}: missing keys: {', '.join(absent)}.")
    flat = [name for name in wanted if state[name].dim() < 2 or not state[name].numel()]
    if flat:
        raise BadInput(f"not a {architecture}: these are no weight tensors: {', '.join(flat)}.")
    first, last, head = (state[name] for name in wanted)
    dim = last.shape[0]
    depths = {int(m.group(1)) for name in state if (m := re.match(r"block\.(\d+)\.", name))}
    hidden = next(
        (
            t.shape[0]
            for n, t in state.items()
            if re.fullmatch(r"block\.0\.mlp\.fc1_\w+\.weight", n) and t.dim() > 1
        ),
        4 * dim,
    )
    size = {"spikformer_cifar10": 32, "spikformer_imagenet": 224}.get(architecture, 128)
    return {
        "img_size_h": size,
        "img_size_w": size,
        "in_channels": first.shape[1],
        "num_classes": head.shape[0],
        "embed_dims": dim,
        "mlp_ratios": hidden // dim,
        "depths": len(depths),
    }

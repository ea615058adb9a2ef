"""The first synapse of a network of static images."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from . import structs
from .context import Buffer, Context
from .packing import weights_of
from .rows import Form, Rows


class ImageSynapse:
    """The first convolution of a static image, once for all steps."""

    def __init__(self, context: Context, weight: nn.Module, norm: nn.Module) -> None:
        self._context = context
        self._image, self._rounded, self._out = Buffer(), Buffer(), Buffer()
        self._weights = weights_of(weight, norm)
        quantised = self._weights.quantised
        self._struct = structs.Dense(
            inputs=self._weights.inputs,
            kernel=self._weights.kernel,
            stride=self._weights.window["stride"],
            padding=self._weights.padding,
            outputs=self._weights.outputs,
            weights=self._weights.rows.data_ptr(),
            scale=self._weights.affine.scale.data_ptr(),
            bias=self._weights.affine.bias.data_ptr(),
            grid=quantised.grid if quantised else 0,
            largest=quantised.max_input if quantised else 0,
            integers=int(quantised is not None and not quantised.exact_in_float32),
        )

    def __call__(self, images: Tensor) -> Rows:
        """Currents [B, P, 1, C] of images [B, C_in, H, W]."""
        batch, channels, height, width = images.shape
        pixels = self._image.take((batch, height, width, channels), torch.float32)
        pixels.copy_(images.permute(0, 2, 3, 1))
        d, w = self._struct, self._weights
        grid = tuple(
            (size + 2 * w.padding - w.kernel) // w.window["stride"] + 1 for size in (height, width)
        )
        out = self._out.take((batch, grid[0] * grid[1], 1, w.outputs), torch.float32)
        d.in_, d.images, d.height, d.width = pixels.data_ptr(), batch, height, width
        d.out_height, d.out_width = grid
        d.out = out.data_ptr()
        d.rounded = self._rounded.take((height * width * channels,), torch.float32).data_ptr()
        self._context.run("run_dense", d)
        return Rows(Form.CURRENTS, out, w.outputs, (grid[0], grid[1]))

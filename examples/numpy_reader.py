"""Runs a packed Spikformer in plain Python and numpy, and checks it against its golden vectors.

    python examples/numpy_reader.py runs/demo/members/KEY

Spikes come out bit for bit as they were recorded where every synapse is quantised; sums of float32
weights depend on the order of summation.
"""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

SCHEMA = 4  # Of the manifest: the version of the format.
DTYPES = {"U8": np.uint8, "I8": np.int8, "F32": np.float32, "F16": np.float16, "I64": np.int64}
# How a block chooses its tokens; the manifest may name other rules, which are not built here.
RULE = {"criterion": "energy", "masks": "image", "mode": "revisit", "window": 3}
# Architecture: max pooling behind the four convolutions of the stem, scale of the attention.
VARIANTS = {
    "spikformer_cifar10": ((False, False, True, True), np.float32(0.125)),
    "spikformer_imagenet": ((True, True, True, True), np.float32(0.125)),
    "spikformer_cifar10dvs": ((True, True, True, True), np.float32(0.25)),
}


def open_tensors(path: Path, checksum: str) -> dict[str, np.ndarray]:
    """Arrays of a safetensors file, mapped into memory: header length, JSON header, raw data."""
    data = np.memmap(path, np.uint8, "r")
    if hashlib.sha256(data).hexdigest() != checksum:
        sys.exit(f"{path} was truncated or altered: its checksum differs.")
    start = 8 + int.from_bytes(data[:8].tobytes(), "little")
    header = json.loads(data[8:start].tobytes())
    header.pop("__metadata__", None)
    for name, entry in header.items():
        first, last = (start + offset for offset in entry["data_offsets"])
        header[name] = data[first:last].view(DTYPES[entry["dtype"]]).reshape(entry["shape"])
    return header


class Synapse:
    """``acc * scale + bias`` per output channel, in this order and in float32."""

    def __init__(self, name: str, entries: dict, tensors: dict) -> None:
        affine = entries[f"{name}.affine"]
        numbers = tensors[f"{name}.affine"][: np.prod(affine["shape"])].astype(np.float64)
        units = np.array(affine.get("units", [1.0]))  # Of a row; float16 and int8 have them.
        vectors = (numbers.reshape(affine["shape"]) * units[:, None]).astype(np.float32)
        self.vectors = dict(zip(affine["rows"], vectors, strict=True))
        self.quantised = f"{name}.codes" in entries
        stored = f"{name}.codes" if self.quantised else f"{name}.weight"
        self.entry = entries[stored]
        weight = np.zeros(int(np.prod(self.entry["shape"])))
        marked = np.ones(weight.shape, bool)
        if f"{name}.bitmap" in tensors:  # Of a pruned weight, only what is marked is stored.
            bitmap = np.unpackbits(tensors[f"{name}.bitmap"], bitorder="little")
            marked = bitmap[: len(weight)].astype(bool)
        numbers = unpack(tensors[stored], self.entry) if self.quantised else tensors[stored]
        weight[marked] = numbers[: marked.sum()]
        # Float64 holds every sum of integers that the format allows exactly.
        kind = np.float64 if self.quantised else np.float32
        self.weight = weight.reshape(self.entry["shape"]).astype(kind)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """[..., C_in] (maps: [..., H, W, C_in]) -> [..., C_out]."""
        if self.quantised and self.entry["input_grid"] != 1:
            limit = self.entry["input_limit"]
            # What is real-valued is rounded to a grid, half to even; the scale carries the grid.
            x = np.rint(x * np.float32(self.entry["input_grid"])).clip(-limit, limit)
        acc = self.accumulate(x.astype(self.weight.dtype)).astype(np.float32)
        acc = acc + self.vectors.get("synapse_bias", 0)
        return acc * self.vectors.get("scale", 1) + self.vectors.get("bias", 0)

    def accumulate(self, x: np.ndarray) -> np.ndarray:
        """Sums of weighted inputs; a kernel sees zeros around the map."""
        matrix = self.weight.reshape(len(self.weight), -1).T
        kernel = self.weight.shape[-1] if self.weight.ndim == 4 else 1
        if kernel == 1:
            return x @ matrix
        padded = np.pad(x, [(0, 0)] * (x.ndim - 3) + [(kernel // 2,) * 2] * 2 + [(0, 0)])
        windows = sliding_window_view(padded, (kernel, kernel), axis=(-3, -2))
        return windows.reshape(*windows.shape[:-3], -1) @ matrix


def unpack(stream: np.ndarray, entry: dict) -> np.ndarray:
    """Codes stored as ``code + 2^(bits-1)`` without gaps, lowest bit first; one bit: -1 or 1.

    Of two bits, -1, 0 and 1 are digits of base 3, five to a byte, the lowest first.
    """
    if entry["order"] == "base-3":
        digits = stream[:, None] // 3 ** np.arange(5, dtype=np.uint8) % 3
        return digits.reshape(-1).astype(np.int64) - 1
    bits, planes = entry["bits"], np.unpackbits(stream, bitorder="little")
    planes = planes[: len(planes) // bits * bits].reshape(-1, bits)
    unsigned = planes @ (1 << np.arange(bits, dtype=np.int64))
    return unsigned - 2 ** (bits - 1) if bits > 1 else 2 * unsigned - 1


class Spikformer:
    """The forward pass; `counts` holds how many spikes every neuron layer fired."""

    def __init__(self, folder: Path) -> None:
        self.manifest = json.loads((folder / "manifest.json").read_text())
        if self.manifest["schema"] != SCHEMA:
            sys.exit(f"this reader knows schema {SCHEMA} only, not {self.manifest['schema']}.")
        if self.manifest["architecture"] not in VARIANTS:
            sys.exit(f"this reader runs {', '.join(VARIANTS)}.")
        if self.manifest["kept_tokens"] and self.manifest["token_rule"] != RULE:
            sys.exit(f"this reader knows the token rule {RULE} only.")
        files = self.manifest["sha256"].items()
        opened = {name: open_tensors(folder / name, checksum) for name, checksum in files}
        self.golden, tensors = opened["golden.safetensors"], opened["model.safetensors"]
        entries = self.manifest["tensors"]
        names = [n.removesuffix(".affine") for n in entries if n.endswith(".affine")]
        self.synapses = {name: Synapse(name, entries, tensors) for name in names}
        layers = self.manifest["neurons"]["layers"]
        self.states = self.manifest["neurons"].get("state", {}).get("bits", {})
        self.constants = dict(zip(layers, tensors["neurons"].reshape(-1, 2), strict=False))
        self.counts: dict[str, int] = {}

    def fire(self, layer: str, currents: np.ndarray) -> np.ndarray:
        """Spikes [T, ...] of leaky integrate-and-fire neurons with a hard reset to zero."""
        tau, threshold = self.constants[layer]
        v = np.zeros_like(currents[0])
        spikes = np.empty_like(currents)
        for step, x in enumerate(currents):
            h = v + (x - v) / tau
            spikes[step] = h >= threshold
            v = np.where(spikes[step] > 0, np.float32(0), h)
            if layer in self.states:  # Kept in a few bits: rounded half to even, two's complement.
                half = 2 ** (self.states[layer] - 1)
                unit = np.float32(float(threshold) / (half / 2))
                v = np.rint(v / unit).clip(-half, half - 1) * unit
        self.counts[layer] = int(spikes.sum())
        return spikes

    def chain(self, name: str, x: np.ndarray) -> np.ndarray:
        """Synapse and neuron."""
        return self.fire(f"{name}_lif", self.synapses[name](x))

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Logits [B, K] of images [B, C, H, W]; of frames [B, T, C, H, W]."""
        x = self.stem(images)
        steps, batch, height, width, channels = x.shape
        x = x.reshape(steps, batch, height * width, channels)
        depth = sum(name.endswith(".mlp.fc1") for name in self.synapses)
        for name in (f"block.{i}" for i in range(depth)):
            index = choose(x, self.manifest["kept_tokens"].get(name, height * width))
            passing = np.take_along_axis(x, index, 2)
            np.put_along_axis(x, index, self.block(name, passing), 2)
        return self.synapses["head"](x.mean(2).mean(0))

    def stem(self, images: np.ndarray) -> np.ndarray:
        """Convolutions with pooled spikes, and relative positions: [T, B, H, W, C]."""
        steps = self.manifest["time_steps"]
        frames = images if images.ndim == 5 else np.repeat(images[:, None], steps, 1)
        x = frames[:, :steps].transpose(1, 0, 3, 4, 2)
        pools = VARIANTS[self.manifest["architecture"]][0]
        for number, pooled in zip(("", "1", "2", "3"), pools, strict=True):
            currents = self.synapses[f"patch_embed.proj_conv{number}"](x)
            x = self.fire(f"patch_embed.proj_lif{number}", currents)
            x = pool(x) if pooled else x
        return x + self.fire("patch_embed.rpe_lif", self.synapses["patch_embed.rpe_conv"](x))

    def block(self, name: str, x: np.ndarray) -> np.ndarray:
        """``x + SSA(x)``, then ``x + MLP(x)``; x holds sums of spikes [T, B, N, C]."""
        heads = self.manifest["arguments"].get("num_heads", 12)
        q, k, v = (split(self.chain(f"{name}.attn.{part}", x), heads) for part in "qkv")
        mixed = np.moveaxis(q @ (np.swapaxes(k, -1, -2) @ v), 2, 3)
        mixed = mixed.reshape(*x.shape[:3], -1) * VARIANTS[self.manifest["architecture"]][1]
        x = x + self.chain(f"{name}.attn.proj", self.fire(f"{name}.attn.attn_lif", mixed))
        return x + self.chain(f"{name}.mlp.fc2", self.chain(f"{name}.mlp.fc1", x))


def split(x: np.ndarray, heads: int) -> np.ndarray:
    """[T, B, N, h*d] -> [T, B, h, N, d]; heads are contiguous groups of channels."""
    return np.moveaxis(x.reshape(*x.shape[:3], heads, -1), 3, 2)


def pool(x: np.ndarray) -> np.ndarray:
    """Largest of 3 x 3 positions, stride 2, margin 1, of spikes [T, B, H, W, C]."""
    padded = np.pad(x, [(0, 0), (0, 0), (1, 1), (1, 1), (0, 0)])
    return sliding_window_view(padded, (3, 3), axis=(2, 3))[:, :, ::2, ::2].max((-1, -2))


def choose(x: np.ndarray, keep: int) -> np.ndarray:
    """Indices [1, B, keep, 1] of the tokens of [T, B, N, C] with the longest vectors."""
    score = np.sqrt((x * x).sum(-1)).sum(0)
    return np.sort(np.argsort(-score, axis=1, kind="stable")[:, :keep])[None, :, :, None]


def main(folder: Path) -> None:
    """Run the golden inputs and compare spikes and logits with what is recorded."""
    network = Spikformer(folder)
    if "arithmetic" in network.manifest:
        sys.exit("this reader computes in float32; save a candidate with arithmetic: float32.")
    logits = network(network.golden["inputs"])
    recorded = zip(network.manifest["neurons"]["layers"], network.golden["spikes"], strict=True)
    wrong = [name for name, spikes in recorded if network.counts[name] != spikes]
    print(f"{sum(network.counts.values()):,} spikes, {len(wrong)} layers differ")
    print(f"largest difference of a logit: {np.abs(logits - network.golden['logits']).max():.2g}")
    sys.exit(f"these layers differ: {', '.join(wrong)}." if wrong else 0)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: numpy_reader.py FOLDER")
    main(Path(sys.argv[1]))

"""The page about the engine's speed: tables of the record."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]

_LARGEST_SHARES = 6
"""Rows of kernels per network and width on the page; the record has all."""

_INTRODUCTION = """# The compiled engine, measured

    {command}

wrote this on {date}: {processor}, one process with one thread, load {load_1_minute} when it ended.
Both sides in turn, in one process; images/s are medians over {pairs} runs of each, ratios those of
pairs: median [smallest, largest].

The networks of the zoo are trained ones and see test images of CIFAR-10. Those of width 384 are
untrained and see normal noise; their batch norms hold the statistics of it and a bias of one half,
so that their neurons fire.
The engine works where spikes are, so how fast it is depends on how many there are: *fires* is the
share of neuron values that are not zero. Candidates of 8 and 4 bits are rounded to nearest.
"""

_SPEED = """## Beside plain torch

The same network as this project's own torch modules, whose neurons are compiled as well. *Same
bits*: whether the logits of both sides were equal bit for bit; else the share of images that were
answered alike.
"""

_OTHER = """## Beside spikingjelly

Networks of spikingjelly's model zoo, of the same widths, depth and time steps, reset after every
pass, in full precision.
"""

_WORK = """## Work done per second

*Dense* is what the network would cost if every input were dense (static MACs) times images/s, and
so may lie above what the machine can do; *real* are the accumulates that spikes triggered (SynOps).
At best the machine did {peaks},
in square matrix products of side {side} with torch.

This says what limits the engine. In full precision the plain network already runs near the best
that a float32 product can (*plain*), so all that can be gained is what need not be done. A vector
of weights is added for every spike; the core adds as many in a cycle as it would multiply and add
densely, so with a share r of inputs that fire at most 1 / r is gained, less what lists of spikes,
neurons and the weights' way from memory cost. Where a quarter fires, as in the small trained
networks, that is a factor of 2 to 4. Of integer weights two vectors are added per cycle, or four
bytes multiplied in one instruction where much fires: up to four times the rate of float32.
"""

_KERNELS = """## Where the time goes

The largest shares of one pass, by kernel and shape of the layer (channels, kernel, outputs),
{passes} passes. `run_synapse` adds up the weights of spikes, `run_integers` multiplies bytes.
"""


def page(record: Mapping[str, Any]) -> str:
    """Markdown of a record of `make bench-engine`."""
    rows = record["rows"]
    parts = {name: [row for row in rows if row["part"] == name] for name in _PARTS}
    speed, peaks = parts["speed"], parts["peak"]
    head = _INTRODUCTION.format(
        command=record["command"],
        date=record["date"][:10],
        pairs=speed[0]["pairs"],
        **record["machine"],
    )
    best = " and ".join(f"{_giga(p['macs_per_second'])} G/s in {p['type']}" for p in peaks)
    return "\n".join(
        [
            head,
            f"{_SPEED}\n{_table(_SPEED_HEADER, map(_speed_cells, speed))}\n",
            f"{_OTHER}\n{_table(_OTHER_HEADER, map(_other_cells, parts['spikingjelly']))}\n",
            _WORK.format(peaks=best, side=peaks[0]["side"]),
            f"{_table(_WORK_HEADER, (_work_cells(row, peaks) for row in speed))}\n",
            _KERNELS.format(passes=parts["kernels"][0]["passes"]),
            f"{_table(_KERNEL_HEADER, _kernel_cells(parts['kernels']))}\n",
        ]
    )


def show(rows: Sequence[Row]) -> str:
    """What is printed of the rows of one network."""
    speed = [row for row in rows if row["part"] == "speed"]
    other = [row for row in rows if row["part"] == "spikingjelly"]
    lines = [_table(_SPEED_HEADER, map(_speed_cells, speed))]
    if other:
        lines.append(_table(_OTHER_HEADER, map(_other_cells, other)))
    return "\n".join(lines)


_PARTS = ("speed", "spikingjelly", "peak", "kernels")
_SPEED_HEADER = ("network", "bits", "fires", "plain", "engine", "times faster", "same bits")
_OTHER_HEADER = ("network", "T", "parameters", "spikingjelly", "engine", "times faster")
_WORK_HEADER = ("network", "bits", "plain, G/s", "dense, G/s", "of the best", "real, G/s")
_KERNEL_HEADER = ("network", "bits", "kernel", "layer", "share", "ms", "dense, G/s", "real, G/s")


def _speed_cells(row: Row) -> Sequence[str]:
    return (
        row["network"],
        str(row["bits"]),
        f"{row['firing_rate']:.1%}",
        f"{row['plain_images_per_second']:,.1f}",
        f"{row['images_per_second']:,.1f}",
        _ratio(row),
        "yes" if row["same_bits"] else f"{row['same_answers']:.0%} alike",
    )


def _other_cells(row: Row) -> Sequence[str]:
    return (
        row["network"],
        str(row["T"]),
        f"{row['parameters'] / 1e6:.2f} M",
        f"{row['spikingjelly_images_per_second']:,.1f}",
        f"{row['images_per_second']:,.1f}",
        _ratio(row),
    )


def _work_cells(row: Row, peaks: Sequence[Row]) -> Sequence[str]:
    name = "float32" if row["bits"] == 32 else "int8"
    best = next(p["macs_per_second"] for p in peaks if p["type"] == name)
    return (
        row["network"],
        str(row["bits"]),
        _giga(row["macs_per_second"] * row["plain_images_per_second"] / row["images_per_second"]),
        _giga(row["macs_per_second"]),
        f"{row['macs_per_second'] / best:.2f} ({name})",
        _giga(row["synops_per_second"]),
    )


def _kernel_cells(rows: Sequence[Row]) -> Iterable[Sequence[str]]:
    for network, bits in dict.fromkeys((row["network"], row["bits"]) for row in rows):
        own = [row for row in rows if (row["network"], row["bits"]) == (network, bits)]
        for row in sorted(own, key=lambda row: -row["share"])[:_LARGEST_SHARES]:
            yield (
                network,
                str(bits),
                row["kernel"],
                row["layer"],
                f"{row['share']:.0%}",
                f"{row['milliseconds']:.2f}",
                _giga(row["macs_per_second"]),
                _giga(row["synops_per_second"]),
            )


def _ratio(row: Row) -> str:
    low, high = row["times_faster_range"]
    return f"{row['times_faster']:.2f} [{low:.2f}, {high:.2f}]"


def _giga(per_second: float) -> str:
    return f"{per_second / 1e9:.1f}" if per_second else "-"


def _table(header: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    rule = ["---", *["--:"] * (len(header) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, rule, *body))

"""`spikefront data`: the caches of decoded images and prepared surgery: fill, list, clean."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...evaluators.data.cache import GIB, DataCache, Entry, Origin, verified
from ...evaluators.data.settings import load_splits
from ...evaluators.data.slices import SliceProgress
from ...evaluators.surgery_cache import surgery_store
from ...evaluators.training.job import TrainingJob
from ...spaces.errors import BadInput, CorruptFile
from ...svtmodels.surgery.store import SurgeryStore
from ..config import Config
from ..config_yaml import parse_mapping, read_text
from .table import table
from .verb import Result, Verb

_DAY = 86_400
_EVERY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class _Amount:
    """What prepared surgery there is: number of files, and their bytes."""

    files: int
    bytes: int

    @classmethod
    def of(cls, store: SurgeryStore) -> _Amount:
        files = store.files()
        return cls(len(files), sum(status.st_size for _, status in files))


def _arguments(parser: argparse.ArgumentParser) -> None:
    # `--json` belongs to the verb; what its parts share with it must not overwrite it.
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument(
        "--json", action="store_true", default=argparse.SUPPRESS, help="print the result as JSON"
    )
    parts = parser.add_subparsers(title="parts", metavar="PART", required=True)
    part = parts.add_parser("ls", parents=[shared], help="list what is in the caches")
    part.add_argument("--verify", action="store_true", help="read all pixels, find damaged files")
    part.set_defaults(part=_list)
    part = parts.add_parser(
        "clean", parents=[shared], help="remove files (without an option: to the size limits)"
    )
    how = part.add_mutually_exclusive_group()
    how.add_argument("--all", action="store_true", help="remove everything")
    how.add_argument("--older-than", type=float, metavar="DAYS", help="not used for so long")
    how.add_argument("--to-size", type=float, metavar="GIB", help="of each cache, oldest first")
    part.set_defaults(part=_clean)
    part = parts.add_parser(
        "prepare", parents=[shared], help="decode what a search or a training needs"
    )
    part.add_argument("config", help="YAML file of `spikefront search` or `spikefront train`")
    part.set_defaults(part=_prepare)


def _run(options: argparse.Namespace) -> Result:
    return options.part(options)


def _list(options: argparse.Namespace) -> Result:
    cache = DataCache.from_environment()
    entries = cache.entries()
    if options.verify:
        entries = [verified(entry) for entry in entries]
    records = [_record(entry) for entry in entries]
    damaged = sum(entry.record is None for entry in entries)
    total = sum(entry.bytes for entry in entries)
    header = ("source", "split", "rows", "shape", "MiB", "last used (UTC)", "key")
    lines = [
        f"{cache.folder}: {len(entries)} files, {total / GIB:.3f} of {cache.limit / GIB:g} GiB."
    ]
    if entries:
        lines = [table(header, [_row(record) for record in records]), "", *lines]
    surgery = surgery_store()
    prepared = _Amount.of(surgery)
    lines.append(
        f"{surgery.folder}: {prepared.files:,} files of prepared surgery, "
        f"{prepared.bytes / GIB:.3f} of {surgery.limit / GIB:g} GiB."
    )
    if damaged:
        lines.append(f"{damaged} damaged: decoded anew when next needed; data clean removes them.")
    record = {
        "folder": str(cache.folder),
        "limit_bytes": cache.limit,
        "bytes": total,
        "damaged": damaged,
        "entries": records,
        "surgery": {
            "folder": str(surgery.folder),
            "limit_bytes": surgery.limit,
            "bytes": prepared.bytes,
            "files": prepared.files,
        },
    }
    return Result("\n".join(lines), record, CorruptFile.exit_code if damaged else 0)


def _clean(options: argparse.Namespace) -> Result:
    cache = DataCache.from_environment()
    for name in ("older_than", "to_size"):
        value = getattr(options, name)
        if value is not None and not 0 <= value < float("inf"):
            raise BadInput(f"--{name.replace('_', '-')} {value}; give 0 or more.")
    surgery = surgery_store()
    before = _Amount.of(surgery)
    if options.older_than is not None:
        moment = time.time() - _DAY * options.older_than
        removed = cache.remove_unused_since(moment)
        surgery.remove_unused_since(moment)
    else:
        size = 0 if options.all else None if options.to_size is None else options.to_size * GIB
        removed = cache.shrink(cache.limit if size is None else int(size))
        surgery.shrink(surgery.limit if size is None else int(size))
    after, left = _Amount.of(surgery), cache.total()
    freed = sum(entry.bytes for entry in removed)
    counts = before.files - after.files, before.bytes - after.bytes, after.bytes
    text = "\n".join(
        f"{what}: {files:,} files removed, {gone / GIB:.3f} GiB; {rest / GIB:.3f} GiB are left."
        for what, files, gone, rest in (
            ("images", len(removed), freed, left),
            ("prepared surgery", *counts),
        )
    )
    record = {
        "removed": [_record(e) for e in removed],
        "bytes_removed": freed,
        "bytes_left": left,
        "surgery": dict(zip(("files_removed", "bytes_removed", "bytes_left"), counts, strict=True)),
    }
    return Result(text, record)


def _prepare(options: argparse.Namespace) -> Result:
    data, with_train = _data_section(options.config)
    if not DataCache.from_environment().limit:
        raise BadInput("the cache is off (SPIKEFRONT_CACHE_GIB is 0), so nothing can be prepared.")
    watch = _Watch()
    load_splits(data, with_train=with_train, report=watch)
    slices = [
        {"split": p.split, "source": p.source, "rows": p.rows, "origin": str(p.origin)}
        for p in watch.finished
    ]
    unkept = [p.split for p in watch.finished if p.origin is Origin.UNKEPT]
    rows = [(s["split"], s["source"], f"{s['rows']:,}", s["origin"]) for s in slices]
    if not rows:
        return Result("These data need no decoding into the cache.", {"slices": []})
    text = table(("split", "source", "rows", "images"), rows)
    if unkept:
        text += f"\n\nNot cached: {', '.join(unkept)}. Warnings above say why."
    return Result(text, {"slices": slices})


def _data_section(path: str) -> tuple[dict[str, Any], bool]:
    """Settings of the data, and whether the config is one of a training."""
    values = parse_mapping(read_text(Path(path)), path)
    if "network" in values:
        return dict(TrainingJob.from_dict(values).data), True
    data = Config.load(path).data
    return {key: value for key, value in data.items() if key != "preprocessing"}, False


class _Watch:
    """Prints progress to standard error: about once a second, and when a slice is there."""

    def __init__(self) -> None:
        self.finished: list[SliceProgress] = []
        self._split = ""
        self._started = self._printed = 0.0

    def __call__(self, progress: SliceProgress) -> None:
        now = time.monotonic()
        if progress.origin is not None:
            self.finished.append(progress)
            self._print(progress, str(progress.origin))
        elif progress.split != self._split:
            self._split, self._started, self._printed = progress.split, now, now
        elif now - self._printed >= _EVERY_SECONDS:
            self._printed = now
            rate = progress.done / (now - self._started)
            left = (progress.rows - progress.done) / rate
            self._print(progress, f"{rate:,.0f} rows/s, {left:,.0f} s left")

    def _print(self, progress: SliceProgress, what: str) -> None:
        print(
            f"{progress.source}, {progress.split}: {progress.done:,} of {progress.rows:,} rows, "
            f"{what}",
            file=sys.stderr,
            flush=True,
        )


def _record(entry: Entry) -> dict[str, Any]:
    known = entry.record
    return {
        "file": str(entry.path),
        "key": entry.path.stem,
        "source": known.source if known else None,
        "split": known.split if known else None,
        "shape": list(known.shape) if known else None,
        "bytes": entry.bytes,
        "last_used": entry.last_used,
        "damaged": known is None,
    }


def _row(record: Mapping[str, Any]) -> tuple[str, ...]:
    shape = record["shape"]
    used = time.strftime("%Y-%m-%d %H:%M", time.gmtime(record["last_used"]))
    return (
        record["source"] or "damaged",
        record["split"] or "-",
        f"{shape[0]:,}" if shape else "-",
        "x".join(map(str, shape[1:])) if shape else "-",
        f"{record['bytes'] / 2**20:.2f}",
        used,
        record["key"][:12],
    )


VERB = Verb(
    "data", "fill, list and clean the caches of images and prepared surgery", _arguments, _run
)

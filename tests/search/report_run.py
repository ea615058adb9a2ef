"""A synthetic run's folder, as a search leaves it behind."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

PARENT_BYTES = 1_240_000
PARENT_ACCURACY = 0.762
LIMIT = 0.702


def make_sites(blocks: int = 2) -> list[dict]:
    def site(kind, name, size, block, stage="encoder"):
        return {"kind": kind, "name": name, "size": size, "block": block, "stage": stage}

    sites = [
        site("channel", "patch_embed.proj_conv.out", 64, "patch_embed", "patch_embed"),
        site("weight", "patch_embed.proj_conv", 32, "patch_embed", "patch_embed"),
        site("weight", "patch_embed.rpe_conv", 32, "patch_embed", "patch_embed"),
    ]
    for index in range(blocks):
        block = f"block.{index}"
        sites += [
            site("channel", f"{block}.attn.qk", 128, block),
            site("channel", f"{block}.attn.v", 128, block),
            site("channel", f"{block}.mlp.hidden", 512, block),
            site("token", block, 64, block),
        ]
        layers = ("attn.q", "attn.k", "attn.v", "attn.proj", "mlp.fc1", "mlp.fc2")
        sites += [site("weight", f"{block}.{layer}", 32, block) for layer in layers]
    return [*sites, site("weight", "head", 32, "head", "head"), site("time", "time", 4, "all")]


def make_candidate(rng: np.random.Generator, sites: list[dict]) -> dict:
    candidate: dict[str, dict[str, int]] = {}
    for site in sites:
        if site["kind"] == "weight":
            value = int(rng.choice([2, 3, 4, 5, 6, 8, 32]))
        elif site["kind"] == "time":
            value = int(rng.integers(1, 5))
        else:
            value = int(site["size"] * rng.choice([0.25, 0.5, 0.625, 0.75, 1.0]))
        if value != site["size"]:
            candidate.setdefault(site["kind"], {})[site["name"]] = value
    return candidate


def make_columns(rng: np.random.Generator, count: int, members: int) -> dict[str, np.ndarray]:
    """Plausible evaluations: accuracy saturates with size, energy grows with it.

    The first rows are members; whatever would dominate them is moved below their staircase.
    """
    size = np.exp(rng.uniform(np.log(30_000), np.log(800_000), count)).round()
    accuracy = 0.77 - 0.03 * (60_000 / size) ** 1.2 - 0.35 * (1 - rng.beta(4, 2, count)) ** 2
    size[:members] = np.geomspace(60_000, 600_000, members).round()
    accuracy[:members] = 0.77 - 0.04 * (60_000 / size[:members]) ** 1.2
    step = np.searchsorted(size[:members], size[members:], side="right") - 1
    ceiling = np.where(step < 0, LIMIT - 0.002, accuracy[step] - 0.001)
    accuracy[members:] = np.minimum(accuracy[members:], ceiling)
    accuracy = np.round(np.clip(accuracy, 0.1, 1) * 2_000) / 2_000
    state = np.where(accuracy >= LIMIT, "complete", "rejected").astype("<U12")
    state[(accuracy > LIMIT - 0.02) & (accuracy < LIMIT)] = "infeasible"
    state[-3:] = ["failed", "lost", "quarantined"]
    early = (state == "rejected") & (accuracy < LIMIT - 0.1)
    stage = np.select([early, state == "rejected"], ["drift", "subset"], "full")
    energy = 0.009 * (size / 200_000) ** 0.45 * rng.uniform(0.7, 1.3, count)
    return {
        "state": state,
        "stage": stage,
        "rejected_by": np.where(state == "rejected", stage, ""),
        "accuracy": np.where(early, np.nan, accuracy),
        "bytes": size,
        "energy_mj": np.where(state == "rejected", np.nan, energy),
        "violation": np.maximum(LIMIT - accuracy, 0.0),
        "drift": np.clip(0.9 - accuracy, 0, 1),
    }


def make_run(
    folder: Path, count: int = 300, members: int = 6, feasible: bool = True, **parent: object
) -> dict:
    """Write a run's folder and return what went into front.json."""
    rng = np.random.default_rng(7)
    folder.mkdir(parents=True, exist_ok=True)
    sites = make_sites()
    columns = make_columns(rng, count, members)
    if not feasible:
        columns["state"][columns["state"] == "complete"] = "infeasible"
        columns["violation"] = 0.8 - np.nan_to_num(columns["accuracy"])
    # A few are enough: thousands would take seconds, and only the keys must differ.
    some = [make_candidate(rng, sites) for _ in range(50)]
    candidates = [some[index % len(some)] for index in range(count)]
    keys = [f"{index:016x}" for index in range(count)]
    front = {
        "schema": 1,
        "parent": {
            "name": "spikformer-2-128",
            "architecture": "spikformer",
            "accuracy_search": PARENT_ACCURACY,
            "accuracy_test": 0.7581,
            "n_test": 10_000,
            "bytes": PARENT_BYTES,
            "parameters": 310_000,
            "macs": 4.1e6,
            "synops": 12.3e6,
            "energy_mj": 0.0214,
            "time_steps": 4,
            "energy_preset": {"name": "45nm", "mac_pj": 4.6, "ac_pj": 0.9},
            "energy_formula": "4.6 pJ x MACs on real values + 0.9 pJ x SynOps (45 nm, float32)",
            "sites": sites,
            **parent,
        },
        "members": [
            make_member(keys[index], candidates[index], columns, index)
            for index in range(members if feasible else 0)
        ],
        "hypervolume": 0.4213,
        "reference": {"bytes": PARENT_BYTES, "accuracy": 0.1},
        "counts": {
            name: int(np.sum(columns["state"] == name))
            for name in ("complete", "rejected", "infeasible", "failed", "lost", "quarantined")
        }
        | {"hits": 21, "duplicates": 4, "image_evaluations": 412_000},
        "gate_audit": {
            "audited": 31,
            "rejected": 17,
            "precision": 0.94,
            "recall": 0.81,
            "rank_correlation": -0.87,
            "rank_correlation_kl": -0.91,
        },
        "limits": {"drop": PARENT_ACCURACY - LIMIT, "bytes": None},
        "strategy": "nsga2",
        "seed": 3,
    }
    (folder / "front.json").write_text(json.dumps(front))
    (folder / "config.yaml").write_text("seed: 3\nmodel: spikformer-2-128\nbudget:\n  n: 300\n")
    write_table(folder / "evaluations.parquet", keys, candidates, columns)
    for member in front["members"][:2]:
        path = folder / "members" / member["key"]
        path.mkdir(parents=True)
        (path / "manifest.json").write_text('{"format": 1}')
    return front


def make_member(key: str, candidate: dict, columns: dict, row: int) -> dict:
    accuracy = float(columns["accuracy"][row])
    test = round(accuracy - 0.006, 4)
    size = int(columns["bytes"][row])
    return {
        "key": key,
        "candidate": candidate,
        "accuracy_search": accuracy,
        "accuracy_test": test,
        "n_search": 2_000,
        "n_test": 10_000,
        "test_interval": [test - 0.7581 - 0.0042, test - 0.7581 + 0.0042],
        "bytes": size,
        "bytes_ratio": size / PARENT_BYTES,
        "bytes_container": size + 9_000,
        "macs": 1.0e6,
        "synops": 3.1e6 * (1 + 0.4 * row),
        "energy_mj": float(columns["energy_mj"][row]),
        "path": f"members/{key}",
    }


def write_table(path: Path, keys: list, candidates: list, columns: dict) -> None:
    count = len(keys)
    known = columns | {
        "bytes_ratio": columns["bytes"] / PARENT_BYTES,
        "bytes_container": columns["bytes"] + 9_000,
        "drop": PARENT_ACCURACY - columns["accuracy"],
        "rejection_value": np.where(columns["state"] == "rejected", columns["drift"], np.nan),
        "rejection_threshold": np.where(columns["state"] == "rejected", 0.2, np.nan),
    }
    floats = ("parameters", "macs", "n_search", "synops")
    unknown = {name: np.full(count, np.nan) for name in floats}
    texts = {name: known.pop(name).tolist() for name in ("state", "stage", "rejected_by")}
    texts["rejected_by"] = [text or None for text in texts["rejected_by"]]
    table = pa.table(
        {
            "key": keys,
            "candidate": [json.dumps(candidate) for candidate in candidates],
            **texts,
            **{n: pa.array(v, from_pandas=True) for n, v in (known | unknown).items()},
            "audited": [index % 10 == 0 for index in range(count)],
            "gate_version": [0] * count,
            "image_evaluations": [1_000] * count,
            "number": list(range(count)),
        }
    )
    pq.write_table(table, path)

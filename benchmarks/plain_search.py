"""What a user would write today to search for a small network: Ray Tune and Optuna, nothing else.

A function trainable, Optuna's NSGA-II through `OptunaSearch`, two trials at a time. Every
candidate is cut by the size of weights, rounded to nearest and judged on all search images; there
is no gate, no early stop and nothing that makes up for what was lost. Its neurons are
spikingjelly's. It is not held back: trials share their worker processes (`reuse_actors`), images
are decoded and normalised once and shared without a copy, surgery is looked up where it was done
before, and the trained network itself is the first candidate, as it is on the other side.
"""

from __future__ import annotations

import argparse
import functools
import json
import logging
import os
import tempfile
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import torch
from numpy.typing import NDArray
from optuna.distributions import IntDistribution
from spikingjelly.activation_based import functional, neuron
from torch import Tensor

from spikefront.cluster.ray_session import RaySession
from spikefront.evaluators.data import Preprocessing, load_splits
from spikefront.spaces import MAGNITUDE, Space
from spikefront.svtmodels.checkpoint import load_checkpoint
from spikefront.svtmodels.costs import static_costs
from spikefront.svtmodels.network import Network
from spikefront.svtmodels.parts.neuron import LIF
from spikefront.svtmodels.surgery.compress import compress
from spikefront.svtmodels.surgery.prepared import PreparedSurgery

# After ray_session, which decides how Ray authenticates before Ray is imported.
from ray import tune  # isort: skip
from ray.tune.search.optuna import OptunaSearch  # isort: skip

_BATCH = 100


def search(setup: Mapping[str, Any], folder: Path) -> list[dict[str, Any]]:
    """Run the search; one point per candidate, in order of completion.

    Args:
        setup: `checkpoint`, `data`, `levels`, `candidates`, `population`, `workers`, `seed` and
            `compiled` (neurons of spikefront instead of spikingjelly's).
        folder: for Tune's own files.
    """
    surgery, space = _trained(setup["checkpoint"], json.dumps(setup["levels"]))
    images, labels = _images(surgery.network, setup["data"])
    trainable = tune.with_parameters(evaluate, setup=dict(setup), images=images, labels=labels)
    sampler = optuna.samplers.NSGAIISampler(population_size=setup["population"], seed=setup["seed"])
    tuner = tune.Tuner(
        tune.with_resources(trainable, {"cpu": 1}),
        tune_config=tune.TuneConfig(
            search_alg=OptunaSearch(
                {axis.name: IntDistribution(0, len(axis.levels) - 1) for axis in space.axes},
                metric=["accuracy", "bytes"],
                mode=["max", "min"],
                points_to_evaluate=[_named(space, space.full)],
                sampler=sampler,
            ),
            num_samples=setup["candidates"],
            max_concurrent_trials=setup["workers"],
            reuse_actors=True,
            trial_dirname_creator=lambda trial: trial.trial_id,
        ),
        run_config=tune.RunConfig(name="plain", storage_path=str(folder), verbose=0),
    )
    results = tuner.fit()
    if results.num_errors:
        raise results.errors[0]
    metrics = [result.metrics or {} for result in results]
    names = ("at", "state", "accuracy", "bytes", "images")
    points = [{name: each[name] for name in names} for each in metrics]
    return sorted(points, key=lambda point: point["at"])


def evaluate(
    config: Mapping[str, int],
    setup: Mapping[str, Any],
    images: NDArray[np.float32],
    labels: NDArray[np.int64],
) -> None:
    """Trainable: build the candidate, judge it on all images, report.

    Args:
        config: number of a level by name of an axis.
        setup: of `search`.
        images: normalised, [N, C, H, W].
        labels: [N].
    """
    torch.set_num_threads(1)
    surgery, space = _trained(setup["checkpoint"], json.dumps(setup["levels"]))
    candidate = space.decode([config[axis.name] for axis in space.axes])
    small = compress(surgery.network, candidate, surgery)
    if not setup["compiled"]:
        with_plain_neurons(small)
    with warnings.catch_warnings():
        # Arrays of the object store are read-only, and nothing writes to them.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        inputs, answers = torch.from_numpy(images), torch.from_numpy(labels)
    tune.report(
        {
            "accuracy": accuracy(small, inputs, answers),
            "bytes": static_costs(surgery.network, candidate, surgery).bytes,
            "state": "complete",
            "images": len(images),
            "at": time.monotonic(),
        }
    )


@torch.inference_mode()
def accuracy(network: Network, images: Tensor, labels: Tensor) -> float:
    """Share of images [N, C, H, W] that are classified correctly."""
    right = 0
    for some, truth in zip(images.split(_BATCH), labels.split(_BATCH), strict=True):
        right += int((network(some).argmax(1) == truth).sum())
        functional.reset_net(network)
    return right / len(images)


def with_plain_neurons(network: Network) -> None:
    """Give a network the neurons of spikingjelly, in place."""
    for name, module in list(network.named_modules()):
        if isinstance(module, LIF):
            plain = neuron.LIFNode(
                tau=float(module.tau),
                decay_input=True,
                v_threshold=float(module.v_threshold),
                v_reset=0.0,
                step_mode="m",
            )
            network.set_submodule(name, plain.eval())


@functools.cache
def _trained(checkpoint: str, levels: str) -> tuple[PreparedSurgery, Space]:
    """Trained network with its surgery, and the space; once per process."""
    network = load_checkpoint(checkpoint).eval()
    return PreparedSurgery(network, MAGNITUDE), network.space("layer", json.loads(levels))


def _images(
    network: Network, data: Mapping[str, Any]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    found = load_splits(data, with_train=False, with_test=False).search
    preprocessing = Preprocessing.from_dict(network.card["preprocessing"])
    return preprocessing.apply(found.images).numpy(), found.labels.astype(np.int64)


def _named(space: Space, point: tuple[int, ...]) -> dict[str, int]:
    return {axis.name: level for axis, level in zip(space.axes, point, strict=True)}


def main() -> None:
    """Run one side of `make bench-search`: setup in, points out, as JSON files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("setup", type=Path)
    parser.add_argument("points", type=Path)
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    logging.getLogger("ray").setLevel(logging.ERROR)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    setup = json.loads(options.setup.read_text(encoding="utf-8"))
    session = RaySession("local", cpus=setup["workers"], resources={})
    try:
        with tempfile.TemporaryDirectory() as folder:
            points = search(setup, Path(folder))
    finally:
        session.close()
    options.points.write_text(json.dumps(points), encoding="utf-8")


if __name__ == "__main__":
    main()

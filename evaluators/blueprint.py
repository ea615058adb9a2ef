"""Everything an evaluator is made of, as plain arrays: placed once per node.

Arrays come out of an object store read-only and without a copy; the evaluator maps them into
tensors and never writes to them.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..spaces.surgery import SurgeryOptions
from ..svtmodels.costs import parent_bytes
from ..svtmodels.engine.prefix_cache import MEBIBYTE, PrefixCache
from ..svtmodels.network import Network
from ..svtmodels.official import build_official
from ..svtmodels.surgery.activity import Activity, collect_activity
from ..svtmodels.surgery.moments import Moments, collect_moments
from .accuracy import BATCH_SIZE, batches, correct
from .builder import CandidateBuilder
from .data.dataset import ImageData
from .data.preprocessing import Preprocessing
from .data.splits import Splits
from .drift import Traces, traces_and_logits
from .energy import energy_preset
from .evaluator import EvaluationSettings, Evaluator
from .runner import Runner
from .signals import gate_batch
from .surgery_cache import shared_cache

CODE_VERSION = 7
"""Raised whenever the same candidate may evaluate differently than before.

7: bytes of two bits, and of one bit that was pruned: five codes share a byte; rounding is refined;
cross-entropy is a measure.
6: more signals than the drift; the gate's images are one batch, left once the verdict is sure;
recovery takes other images than the gate.
"""


@dataclass(frozen=True, eq=False)
class Blueprint:
    """A trained network, its data and what was measured of it once.

    Attributes:
        architecture: official name.
        arguments: official constructor arguments.
        state: weights by key.
        calibration: images for the gate.
        recovery: images that candidates are recovered on; others than the gate's where there are
            enough. On its own images recovery would make a candidate look better than it is: with
            128 for both, the divergence of candidates of `spikformer-cifar10` that lose 1 to 3
            points no longer told which.
        search: images that candidates are judged on, shuffled once.
        test: images for front members.
        preprocessing: from pixels to input.
        moments: of what enters its synapses; empty where surgery needs none.
        activity: of its channels, as far as surgery needs it.
        traces: membrane potentials of the trained network.
        gate_logits: of the trained network on the gate's images, [B, K].
        search_correct: whether the trained network is right, bool per search image.
        settings: of the evaluation.
    """

    architecture: str
    arguments: Mapping[str, Any]
    state: Mapping[str, NDArray[Any]]
    calibration: ImageData
    recovery: ImageData
    search: ImageData
    test: ImageData
    preprocessing: Preprocessing
    moments: Mapping[str, Moments]
    activity: Activity
    traces: Traces
    gate_logits: NDArray[Any]
    search_correct: NDArray[np.bool_]
    settings: EvaluationSettings

    @classmethod
    def prepare(
        cls,
        network: Network,
        splits: Splits,
        preprocessing: Preprocessing,
        settings: EvaluationSettings,
        seed: int = 0,
    ) -> Blueprint:
        """Measure the trained network once: its traces, and its answers on the search images.

        Raises:
            BadInput: unknown energy preset.
        """
        energy_preset(settings.energy_preset)
        calibration = splits.calibration.take(
            range(min(settings.gate_images, len(splits.calibration)))
        )
        # Batches of no order of their own; the sequential test draws one per candidate.
        order = np.random.default_rng(seed).permutation(len(splits.search))
        search = splits.search.take(order)
        batch = settings.batch_size
        runner = Runner(network, settings.engine)
        inputs = preprocessing.apply(calibration.images)
        # In the batches in which candidates will run, or plain torch would differ in a last bit.
        traces, logits = traces_and_logits(
            network, inputs, gate_batch(len(inputs), batch), seed, runner=runner
        )
        return cls(
            architecture=network.architecture,
            arguments=network.arguments,
            state={name: t.detach().numpy() for name, t in network.state_dict().items()},
            calibration=calibration,
            recovery=_last(splits.calibration, settings.surgery.recovery_images),
            search=search,
            test=splits.test,
            preprocessing=preprocessing,
            moments=_moments(network, splits.calibration, preprocessing, settings.surgery, seed),
            activity=collect_activity(
                network, batches(splits.calibration, preprocessing, batch), settings.surgery
            ),
            traces=traces,
            gate_logits=logits.numpy(),
            search_correct=correct(runner, search, preprocessing, batch).numpy(),
            settings=settings,
        )

    def build(self) -> Evaluator:
        """Evaluator over these arrays."""
        torch.set_num_threads(1)
        return Evaluator(
            builder=self.builder(),
            calibration=self.calibration,
            search=self.search,
            test=self.test,
            preprocessing=self.preprocessing,
            traces=self.traces,
            gate_logits=self.gate_logits,
            search_correct=self.search_correct,
            settings=self.settings,
        )

    def builder(self) -> CandidateBuilder:
        """Builder of candidates of the trained network."""
        options = self.settings.surgery
        images = self.preprocessing.apply(self.recovery.images)
        cache = shared_cache(_digest([self._of_network(), asdict(options)]))
        prefixes = PrefixCache(self.settings.prefix_mib * MEBIBYTE)
        return CandidateBuilder(
            self.network(), options, self.moments, images, self.activity, cache, prefixes
        )

    def network(self) -> Network:
        """The trained network over these arrays, in eval mode."""
        with torch.device("meta"):
            network = build_official(self.architecture, self.arguments)
        with warnings.catch_warnings():
            # Weights from an object store are read-only, and nothing writes to them.
            warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
            state = {name: torch.from_numpy(array) for name, array in self.state.items()}
        network.load_state_dict(state, strict=True, assign=True)
        return network.eval()

    def fingerprints(self) -> dict[str, str]:
        """What identifies an evaluation besides its candidate, as short digests."""
        return {
            "code": str(CODE_VERSION),
            **self._of_network(),
            "calibration": self.calibration.digest[:16],
            "recovery": self.recovery.digest[:16],
            "search": self.search.digest[:16],
            "test": self.test.digest[:16],
            "preprocessing": _digest(self.preprocessing.to_dict()),
            "settings": _digest(_deciding(self.settings)),
        }

    def _of_network(self) -> dict[str, str]:
        """Digests of the trained network and of what was measured of it."""
        weights = hashlib.sha256()
        for name in sorted(self.state):
            weights.update(name.encode())
            weights.update(np.ascontiguousarray(self.state[name]).tobytes())
        return {
            "network": _digest([self.architecture, dict(self.arguments)]),
            "weights": weights.hexdigest()[:16],
            "moments": self._moments_digest(),
            "activity": self.activity.digest,
        }

    def _moments_digest(self) -> str:
        # They come from all calibration images, of which only the gate's are kept here.
        content = hashlib.sha256()
        for name in sorted(self.moments):
            content.update(name.encode())
            content.update(self.moments[name].products.tobytes())
        return content.hexdigest()[:16]

    def parent(self, accuracy_test: float | None) -> dict[str, Any]:
        """What is known of the trained network, for reports and for the front's file.

        Args:
            accuracy_test: on the test images, which nothing looks at before the end; None:
                nothing did.
        """
        evaluator = self.build()
        measures = evaluator.parent_measures()
        network = evaluator.network
        preset = energy_preset(self.settings.energy_preset)
        return {
            "architecture": self.architecture,
            "arguments": dict(self.arguments),
            "time_steps": network.time_steps,
            "bytes": parent_bytes(network),
            "n_search": len(self.search),
            "n_test": len(self.test),
            "accuracy_search": float(self.search_correct.mean()),
            "accuracy_test": accuracy_test,
            "energy_preset": {"name": preset.name, "mac_pj": preset.mac, "ac_pj": preset.ac},
            "energy_formula": preset.formula,
            "sites": [
                {
                    "kind": site.kind.value,
                    "name": site.name,
                    "size": site.size,
                    "block": site.block,
                    "stage": site.stage,
                }
                for site in network.sites
            ],
            **measures,
        }


def _last(calibration: ImageData, count: int) -> ImageData:
    """The last images, as many as there are."""
    return calibration.take(range(max(len(calibration) - count, 0), len(calibration)))


def _moments(
    network: Network,
    calibration: ImageData,
    preprocessing: Preprocessing,
    options: SurgeryOptions,
    seed: int,
) -> dict[str, Moments]:
    if not options.second_order:
        return {}
    # Which vectors are sampled depends on the batches: these are the same for every batch size
    # of the evaluation, or candidates would be built differently.
    inputs = (images for images, _ in batches(calibration, preprocessing, BATCH_SIZE))
    return collect_moments(network, inputs, len(calibration), seed)


def _deciding(settings: EvaluationSettings) -> dict[str, Any]:
    """Settings that a result may depend on."""
    return {name: value for name, value in asdict(settings).items() if name != "prefix_mib"}


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]

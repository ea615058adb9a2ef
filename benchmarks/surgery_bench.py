"""A trained network of the zoo with all that surgery and its judging need."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import torch
from torch import Tensor

from spikefront.evaluators.accuracy import accuracy, batches
from spikefront.evaluators.builder import CandidateBuilder
from spikefront.evaluators.data import Preprocessing, load_splits
from spikefront.evaluators.synops import SynOpCounter
from spikefront.spaces import Candidate, SurgeryOptions
from spikefront.svtmodels.checkpoint import load_checkpoint
from spikefront.svtmodels.network import Network
from spikefront.svtmodels.surgery.activity import collect_activity
from spikefront.svtmodels.surgery.moments import Moments, collect_moments
from spikefront.svtmodels.zoo import zoo_path

_BATCH = 100
RECOVERY_IMAGES = 32


class SurgeryBench:
    """One network of the zoo.

    Args:
        name: in the zoo.
        images: search images to judge on.

    Raises:
        BadInput: its data are not there.
    """

    def __init__(self, name: str, images: int) -> None:
        self.name = name
        self.network = load_checkpoint(zoo_path(name))
        splits = load_splits(self.network.card["data"], with_train=False, with_test=False)
        self.preprocessing = Preprocessing.from_dict(self.network.card["preprocessing"])
        self.judged = splits.search.take(range(min(images, len(splits.search))))
        self._calibration = splits.calibration

    @cached_property
    def inputs(self) -> Tensor:
        """The first calibration images as network input, [B, ...]."""
        return self.preprocessing.apply(self._calibration.images[:RECOVERY_IMAGES])

    @cached_property
    def trained(self) -> float:
        """Accuracy of the trained network."""
        return self.accuracy(self.network)

    def builder(self, options: SurgeryOptions) -> CandidateBuilder:
        """Builder of candidates with these options."""
        labelled = batches(self._calibration, self.preprocessing, _BATCH)
        activity = collect_activity(self.network, labelled, options)
        moments = self._moments if options.second_order else {}
        return CandidateBuilder(self.network, options, moments, self.inputs, activity)

    def accuracy(self, network: Network) -> float:
        """Accuracy on the judged images."""
        return accuracy(network, self.judged, self.preprocessing)

    @torch.inference_mode()
    def synops(self, network: Network) -> float:
        """SynOps per image, on the calibration images."""
        with SynOpCounter(network) as counted:
            network(self.inputs)
        return counted.total / len(self.inputs)

    @cached_property
    def _moments(self) -> Mapping[str, Moments]:
        inputs = (x for x, _ in batches(self._calibration, self.preprocessing, _BATCH))
        return collect_moments(self.network, inputs, len(self._calibration))


def choice(network: Network, levels: Mapping[str, float]) -> Candidate:
    """Candidate with one level per kind of site, the same at all sites of the kind."""
    sites = [site for site in network.sites if site.kind.value in levels]
    return Candidate.of({site: site.value_at(levels[site.kind.value]) for site in sites})

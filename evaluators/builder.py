"""From candidates to networks: surgery on a trained network, and recovery from it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

from torch import Tensor

from ..spaces.candidate import Candidate
from ..spaces.site import SiteKind
from ..spaces.surgery import SurgeryOptions
from ..svtmodels.costs import Costs, static_costs
from ..svtmodels.engine.prefix_cache import PrefixCache
from ..svtmodels.network import RECOVERY_SITE, Network
from ..svtmodels.parts.short_vectors import SHORT_TYPES
from ..svtmodels.surgery.activity import Activity
from ..svtmodels.surgery.cache import SurgeryCache
from ..svtmodels.surgery.compress import compress
from ..svtmodels.surgery.fixed_point import FIXED, to_fixed_point
from ..svtmodels.surgery.moments import Moments
from ..svtmodels.surgery.prepared import PreparedSurgery
from ..svtmodels.surgery.recovery import Reference, recover, reference_of
from ..svtmodels.surgery.short_vectors import to_short_vectors


class CandidateBuilder:
    """Builds the network of any candidate; what many candidates need is prepared once.

    The same candidate gives the same network, whatever was built before.

    Args:
        network: the trained network, in eval mode.
        options: of surgery.
        moments: of its synapses' inputs; may be empty where the options need none.
        images: network input, [B, ...], that candidates are recovered on.
        activity: of its channels; None where the options need none.
        cache: of prepared surgery; None: this builder's own.
        prefixes: what candidates have in common; None: nothing is reused.

    Attributes:
        network: the trained one.
        prefixes: as they were given.
    """

    def __init__(
        self,
        network: Network,
        options: SurgeryOptions,
        moments: Mapping[str, Moments],
        images: Tensor,
        activity: Activity | None = None,
        cache: SurgeryCache | None = None,
        prefixes: PrefixCache | None = None,
    ) -> None:
        self.network = network
        self.prefixes = prefixes
        self._prepared = PreparedSurgery(network, options, moments, activity, cache)
        self._images = images[: options.recovery_images]
        self._method = options.recovery
        self._fixed = options.arithmetic == FIXED
        self._vectors = options.vectors

    def build(self, candidate: Candidate) -> Network:
        """Network of a candidate, in eval mode.

        Raises:
            BadInput: the candidate does not fit the network.
        """
        small = compress(self.network, candidate, self._prepared)
        # What nothing was done to needs no recovery, and stays the same bit for bit.
        if self.images_for(candidate):
            recover(small, self._reference, self._images, self._method, self.prefixes)
        # Last of all: recovery moves scales, biases and thresholds off any grid.
        if self._fixed:
            to_fixed_point(small)
        if self._vectors in SHORT_TYPES:
            to_short_vectors(small, self._vectors)
        return small

    def costs(self, candidate: Candidate) -> Costs:
        """Static costs of a candidate's network, before it is built.

        Raises:
            BadInput: the candidate does not fit the network.
        """
        return static_costs(self.network, candidate, self._prepared)

    def images_for(self, candidate: Candidate) -> int:
        """Images that building a candidate takes."""
        chosen = candidate.to_dict()
        recovers = chosen.pop(SiteKind.RECOVERY.value, {}).get(RECOVERY_SITE, 1)
        return len(self._images) if recovers and chosen else 0

    @cached_property
    def _reference(self) -> Reference:
        return reference_of(self.network, self._images)

"""From candidates to networks: surgery on a trained network, and recovery from it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

from torch import Tensor

from ..spaces.candidate import Candidate
from ..spaces.surgery import SurgeryOptions
from ..svtmodels.network import Network
from ..svtmodels.surgery.compress import compress
from ..svtmodels.surgery.moments import Moments
from ..svtmodels.surgery.prepared import PreparedSurgery
from ..svtmodels.surgery.recovery import Spread, output_spreads, recover


class CandidateBuilder:
    """Builds the network of any candidate; what many candidates need is prepared once.

    The same candidate gives the same network, whatever was built before.

    Args:
        network: the trained network, in eval mode.
        options: of surgery.
        moments: of its synapses' inputs; may be empty where the options need none.
        images: network input, [B, ...], of which the first serve recovery.
    """

    def __init__(
        self,
        network: Network,
        options: SurgeryOptions,
        moments: Mapping[str, Moments],
        images: Tensor,
    ) -> None:
        self.network = network
        self._prepared = PreparedSurgery(network, options, moments)
        self._images = images[: options.recovery_images]

    def build(self, candidate: Candidate) -> Network:
        """Network of a candidate, in eval mode.

        Raises:
            BadInput: the candidate does not fit the network.
        """
        small = compress(self.network, candidate, self._prepared)
        # What nothing was done to needs no recovery, and stays the same bit for bit.
        if self.images_for(candidate):
            recover(small, self._spreads, self._images)
        return small

    def images_for(self, candidate: Candidate) -> int:
        """Images that building a candidate takes."""
        return 0 if candidate == Candidate() else len(self._images)

    @cached_property
    def _spreads(self) -> dict[str, Spread]:
        return output_spreads(self.network, self._images)

"""Recovery without training: means, spreads and firing rates of the trained network."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from lively_networks import FAMILIES, chosen, images_for, prepared_surgery
from torch import Tensor

from spikefront.svtmodels import Network, compress
from spikefront.svtmodels.parts.neuron import LIF
from spikefront.svtmodels.surgery.prepared import PreparedSurgery
from spikefront.svtmodels.surgery.recovery import recover, reference_of


@pytest.fixture(params=FAMILIES)
def prepared(request: pytest.FixtureRequest) -> PreparedSurgery:
    return prepared_surgery(request.param)


def test_means_and_spreads_are_restored(prepared: PreparedSurgery) -> None:
    network = prepared.network
    images = images_for(network)
    reference = reference_of(network, images)
    small = compress(network, chosen(network, channel=0.5, weight=4), prepared)
    before = _distance(small, network, images)
    recover(small, reference, images, "spread")
    # Not zero: folding the correction rounds anew, and spikes at the threshold flip.
    assert _distance(small, network, images) < 0.5 * before
    assert small(images).isfinite().all()
    assert not [m for m in small.modules() if len(m._forward_hooks) + len(m._forward_pre_hooks)]


def test_the_mean_alone_leaves_the_spread(prepared: PreparedSurgery) -> None:
    network = prepared.network
    images = images_for(network)
    small = compress(network, chosen(network, channel=0.5, weight=4), prepared)
    scales = {name: t.clone() for name, t in small.state_dict().items() if name.endswith("scale")}
    recover(small, reference_of(network, images), images, "mean")
    state = small.state_dict()
    assert scales
    assert all(torch.equal(state[name], scale) for name, scale in scales.items())


@pytest.mark.parametrize("method", ["rates", "spread-rates"])
def test_neurons_fire_as_often_as_they_did(prepared: PreparedSurgery, method: str) -> None:
    network = prepared.network
    if not any(isinstance(module, LIF) for module in network.modules()):
        pytest.skip("integer neurons have no threshold")
    images = images_for(network)
    reference = reference_of(network, images)
    small = compress(network, chosen(network, channel=0.5, weight=3, time=1), prepared)
    before = _rate_distance(small, reference.rates, images)
    recover(small, reference, images, method)
    assert _rate_distance(small, reference.rates, images) < 0.5 * before
    thresholds = [m.v_threshold for m in small.modules() if isinstance(m, LIF)]
    # The file keeps float32.
    assert thresholds == [float(torch.tensor(t, dtype=torch.float32)) for t in thresholds]


def _distance(small: Network, network: Network, images: Tensor) -> float:
    """Sum over synapses of the distance of means to the trained network's, in its spreads."""
    rows, _ = network.declaration.rows_and_columns(small.kept_channels)
    spreads = reference_of(network, images).spreads
    total = 0.0
    for name, spread in reference_of(small, images).spreads.items():
        kept = rows.get(name, torch.arange(len(spreads[name].mean)))
        wanted, scale = spreads[name].mean[kept], spreads[name].deviation[kept] + 1e-3
        total += float(((spread.mean - wanted) / scale).abs().mean())
    return total


def _rate_distance(small: Network, rates: Mapping[str, Tensor], images: Tensor) -> float:
    channels = {layer.name: layer.channels for layer in small.declaration.neurons}
    total = 0.0
    for name, found in reference_of(small, images).rates.items():
        kept = small.kept_channels.get(channels[name] or "", slice(None))
        total += abs(float(found.mean() - rates[name][kept].mean()))
    return total

"""What must hold of the program of a network, beside the network itself."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from spikefront.evaluators.drift import Traces, layer_drifts
from spikefront.evaluators.runner import Runner
from spikefront.evaluators.synops import SynOpCounter
from spikefront.spaces import Candidate, SiteKind
from spikefront.svtmodels import Network
from spikefront.svtmodels.engine.program import Program


def quantised(network: Network, candidate: Candidate, bits: int = 8) -> Candidate:
    """The same candidate, no synapse of which has more bits than these."""
    chosen = {kind: dict(named) for kind, named in candidate.to_dict().items()}
    weights = chosen.get("weight", {})
    sites = [site.name for site in network.sites if site.kind is SiteKind.WEIGHT]
    chosen["weight"] = {name: min(weights.get(name, bits), bits) for name in sites}
    return Candidate.from_dict(chosen, network.sites)


def check_exact(small: Network, images: Tensor, traces: Traces | None = None) -> Program:
    """A quantised network's program gives all that it gives, bit for bit.

    Args:
        small: all of whose synapses are quantised.
        images: network inputs, at least 3.
        traces: of the trained network on them; None: drift is not compared.
    """
    runner = Runner(small)
    program = runner.program
    assert program is not None
    expected, operations = counted(small, images)
    logits, own_operations = counted(small, images, program)
    assert torch.equal(logits, expected)
    assert own_operations == operations
    check_cuts(program, images)
    if traces is not None:
        drifts = layer_drifts(small, traces, images, 2, runner)
        assert drifts == layer_drifts(small, traces, images, 2)
    assert torch.equal(program(images), expected)
    return program


@torch.inference_mode()
def check_cuts(program: Program, images: Tensor) -> None:
    """However a batch is cut, what stands before the classifier has the same bits.

    The classifier itself is torch's own, whose float32 sums depend on the batch.
    """
    stream, logits = _passed(program, images)
    parts = [_passed(program, part) for part in (images[:2], images[2:])]
    assert torch.equal(torch.cat([stream for stream, _ in parts]), stream)
    assert torch.allclose(torch.cat([got for _, got in parts]), logits, atol=1e-6, rtol=1e-5)


def _passed(program: Program, images: Tensor) -> tuple[Tensor, Tensor]:
    end = len(program.sections)
    passed = program.entered(images, end)
    return passed.rows.data.clone(), program.finished(passed, end)


@torch.inference_mode()
def counted(
    network: Network, images: Tensor, program: Program | None = None
) -> tuple[Tensor, Mapping[str, int]]:
    """Logits of images, and their SynOps by layer, with the sum as ``total``."""
    with SynOpCounter(network, program) as counter:
        logits = (network if program is None else program)(images)
    return logits, {**counter.by_layer, "total": counter.total}

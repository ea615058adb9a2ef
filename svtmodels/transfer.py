"""A trained network for other classes: everything but its classifier is kept."""

from __future__ import annotations

from .network import Network
from .official import build_official


def with_classes(network: Network, classes: int) -> Network:
    """The same trained network with a new, untrained classifier for `classes` classes.

    A network that has this number of classes is given back as it is.

    Args:
        network: uncompressed.
        classes: wanted number.
    """
    if network.classes == classes:
        return network
    # `nb_classes` is what the large file of SDT-v3 calls the classes of its classifier.
    names = {"num_classes", *({"nb_classes"} & network.arguments.keys())}
    built = build_official(
        network.architecture, {**network.arguments, **dict.fromkeys(names, classes)}
    )
    trained = network.state_dict()
    kept = {
        name: trained[name] if trained[name].shape == tensor.shape else tensor
        for name, tensor in built.state_dict().items()
    }
    built.load_state_dict(kept)
    return built

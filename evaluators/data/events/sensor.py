"""How large a sensor is, and the frames that hold its pixels."""

from __future__ import annotations

from ....spaces.errors import BadInput

Size = tuple[int, int]
"""Height and width in pixels."""


def sensor_size(where: str, given: Size | None, sensor: Size | None) -> Size:
    """Size of the frames: the given one, which holds the sensor, else the sensor's.

    Raises:
        BadInput: the given one is smaller than the sensor, or neither is known.
    """
    if given is None and sensor is None:
        raise BadInput(f"{where}: does not say how large its sensor is; give height and width.")
    if given is None or sensor is None:
        size = given or sensor
        assert size is not None
        return size
    if given[0] < sensor[0] or given[1] < sensor[1]:
        raise BadInput(
            f"height and width {given}, but the sensor of {where} has {sensor}; "
            "give at least that, and downscale to get smaller frames."
        )
    return given

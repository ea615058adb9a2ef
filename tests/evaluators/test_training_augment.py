"""Random shifts and mirrors against all shifts and mirrors that there are."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from spikefront.evaluators.training.augment import augment

PADDING = 2


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch(count: int, seed: int = 1) -> Tensor:
    """Normalised images [count, 2, 5, 6] in which black is another number per channel."""
    images = torch.rand(count, 2, 5, 6, generator=generator(seed)) + 0.01
    images[0, :, 0, 0] = 0.0  # One black pixel somewhere.
    black = torch.tensor([-1.5, -0.5]).view(2, 1, 1)
    return images + black


def shifts(image: Tensor, padding: int) -> dict[tuple[int, int], Tensor]:
    """The image moved by every (rows, columns); what is uncovered is black."""
    _, height, width = image.shape
    moved = {}
    for down in range(-padding, padding + 1):
        for right in range(-padding, padding + 1):
            new = torch.tensor([-1.5, -0.5]).view(2, 1, 1).repeat(1, height, width)
            for row in range(height):
                for column in range(width):
                    if 0 <= row - down < height and 0 <= column - right < width:
                        new[:, row, column] = image[:, row - down, column - right]
            moved[down, right] = new
    return moved


def test_every_image_is_shifted_within_black_margins() -> None:
    images = batch(40)
    found = augment(images, PADDING, False, generator())
    assert found.shape == images.shape
    moves = []
    for image, new in zip(images, found, strict=True):
        matches = [m for m, shifted in shifts(image, PADDING).items() if torch.equal(shifted, new)]
        assert len(matches) == 1
        moves += matches
    assert len(set(moves)) > 12  # of 25: each image has its own
    assert {down for down, _ in moves} == {right for _, right in moves} == {-2, -1, 0, 1, 2}


def test_all_shifts_are_equally_likely() -> None:
    image = batch(1)
    found = augment(image.expand(5000, -1, -1, -1), 1, False, generator())
    counts = [int((found == s).flatten(1).all(1).sum()) for s in shifts(image[0], 1).values()]
    assert sum(counts) == 5000
    assert min(counts) > 450  # 556 expected, standard deviation 22
    assert max(counts) < 660


def test_half_of_the_images_are_mirrored() -> None:
    images = batch(400)
    found = augment(images, 0, True, generator())
    same = (found == images).flatten(1).all(1)
    mirrored = (found == images.flip(-1)).flatten(1).all(1)
    assert (same ^ mirrored).all()
    assert 150 < int(mirrored.sum()) < 250


def test_shift_and_mirror_together() -> None:
    images = batch(20)
    found = augment(images, 1, True, generator())
    for image, new in zip(images, found, strict=True):
        shifted = shifts(image, 1).values()
        assert any(torch.equal(s, new) or torch.equal(s.flip(-1), new) for s in shifted)


def test_without_either_nothing_happens() -> None:
    images = batch(4)
    assert torch.equal(augment(images, 0, False, generator()), images)


@pytest.mark.parametrize(("padding", "flip"), [(2, False), (0, True), (2, True)])
def test_the_generator_decides_and_nothing_else(padding: int, flip: bool) -> None:
    images = batch(30)
    before = images.clone()
    first = augment(images, padding, flip, generator(5))
    torch.manual_seed(1)
    assert torch.equal(augment(images, padding, flip, generator(5)), first)
    assert not torch.equal(augment(images, padding, flip, generator(6)), first)
    assert torch.equal(images, before)
    going_on = generator(5)
    augment(images, padding, flip, going_on)
    assert not torch.equal(augment(images, padding, flip, going_on), first)

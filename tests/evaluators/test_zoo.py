"""The trained networks that come with the package: what their cards say, and whether it is true."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from spikefront.evaluators.assessment import assess
from spikefront.evaluators.training import Recipe
from spikefront.svtmodels.checkpoint import load_checkpoint
from spikefront.svtmodels.zoo import zoo_names, zoo_path

ROOT = Path(__file__).parents[2]
CIFAR = tuple(name for name in zoo_names() if name.endswith("-cifar10"))
_LARGEST = 10_000_000


@pytest.mark.parametrize("name", CIFAR)
def test_a_card_says_how_the_network_was_trained(name: str) -> None:
    path = zoo_path(name)
    assert path.stat().st_size <= _LARGEST
    card = load_checkpoint(path).card
    recipe = Recipe.from_dict(card["recipe"])
    assert recipe.to_dict() == card["recipe"]
    assert [epoch for epoch, _, _ in card["curve"]] == list(range(1, recipe.epochs + 1))
    assert card["n_test"] == 10_000
    assert 0.1 < card["accuracy_test"] < 1
    assert isinstance(card["seed"], int)
    with safe_open(path, framework="pt") as file:
        kinds = {file.get_tensor(key).dtype for key in file.keys()}  # noqa: SIM118
    assert kinds <= {torch.float16, torch.int64}


def test_the_readme_shows_the_accuracy_of_every_card() -> None:
    rows = [line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith("|")]
    for name in zoo_names():
        card = load_checkpoint(zoo_path(name)).card
        (row,) = [line for line in rows if f"`{name}`" in line]
        assert f"{100 * card['accuracy_test']:.2f} %" in row


@pytest.mark.slow
@pytest.mark.parametrize("name", CIFAR)
def test_the_accuracy_of_a_card_is_what_is_measured(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not (ROOT / "data" / "cifar10").is_dir():
        pytest.skip("CIFAR-10 is not in data/cifar10")
    network = load_checkpoint(zoo_path(name))
    monkeypatch.chdir(ROOT)
    found = assess(network, None, "test")["accuracy"]
    # Float32 differs between kinds of CPU; a few near-threshold images may then flip.
    assert found == pytest.approx(network.card["accuracy_test"], abs=0.002)

"""The rule by which blocks choose their tokens: part of what a compressed network is."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from ...spaces.errors import BadInput, unknown_name
from ...spaces.surgery import ALLOWED, SurgeryOptions

SMALL_WINDOW = 3
"""Side of the window that a token is compared with, unless a network's official code says more."""
_NAMES = {"criterion": "tokens", "masks": "token_masks", "mode": "token_mode"}


@dataclass(frozen=True, slots=True)
class TokenRule:
    """How tokens are chosen, the same in all blocks of a network.

    Attributes:
        criterion: which tokens stay, an allowed value of the option ``tokens``.
        masks: ``image``: one choice for all steps of an image; ``step``: one for each step.
        mode: ``revisit``: every block chooses among all tokens; ``stop``: among those that the
            block before processed, down to the next patch embedding.
        window: side of the official criterion's window, odd.
    """

    criterion: str = ALLOWED["tokens"][0]
    masks: str = ALLOWED["token_masks"][0]
    mode: str = ALLOWED["token_mode"][0]
    window: int = SMALL_WINDOW

    def __post_init__(self) -> None:
        for name, option in _NAMES.items():
            value = getattr(self, name)
            if value not in ALLOWED[option]:
                raise unknown_name(f"{name} of a token rule", str(value), ALLOWED[option])
        window = self.window
        if not isinstance(window, int) or isinstance(window, bool) or window < 1 or window % 2 == 0:
            raise BadInput(f"window of a token rule is {window!r}; give an odd whole number.")

    @classmethod
    def of(cls, options: SurgeryOptions, official_window: int) -> Self:
        """Rule of a search's options.

        Args:
            options: of surgery.
            official_window: side of the window in the official code of the network's family.
        """
        window = official_window if options.tokens == "official" else SMALL_WINDOW
        return cls(options.tokens, options.token_masks, options.token_mode, window)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Rule from `to_dict` of another one.

        Raises:
            BadInput: something else than all fields with legal values.
        """
        names = [field.name for field in dataclasses.fields(cls)]
        if not isinstance(data, Mapping) or sorted(data) != sorted(names):
            raise BadInput(f"token rule is {data!r}; give exactly {', '.join(names)}.")
        return cls(**data)

    def to_dict(self) -> dict[str, Any]:
        """All fields by name."""
        return dataclasses.asdict(self)

    def allowed(self, site: str, kept: Mapping[str, int]) -> int | None:
        """Tokens that the block at a site processes; None: all of its grid.

        Args:
            site: token site.
            kept: what was chosen, of the sites that do not keep all.
        """
        if self.mode == "revisit":
            return kept.get(site)
        own = [kept[site]] if site in kept else []
        return min([*own, *self._before(site, kept)], default=None)

    def chooses(self, site: str, kept: Mapping[str, int]) -> bool:
        """Whether the block at a site scores its tokens, instead of taking all that are alive."""
        if site not in kept or self.mode == "revisit":
            return site in kept
        return kept[site] < min(self._before(site, kept), default=kept[site] + 1)

    def _before(self, site: str, kept: Mapping[str, int]) -> list[int]:
        """What earlier blocks of the same sequence keep: ``block.2`` comes after ``block.1``."""
        sequence, _, index = site.rpartition(".")
        split = {name: name.rpartition(".") for name in kept}
        return [
            kept[name]
            for name, (other, _, number) in split.items()
            if other == sequence and int(number) < int(index)
        ]

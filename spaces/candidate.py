"""A candidate: one immutable point of a space, with a content key."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .errors import BadInput, unknown_name
from .site import Site, SiteKind

_KEY_LENGTH = 16
_ALLOWED = {
    SiteKind.WEIGHT: "1..8, 16 or 32",
    SiteKind.STATE: "4..16 or 32",
    SiteKind.RECOVERY: "0 or 1",
}


@dataclass(frozen=True, slots=True)
class Candidate:
    """What is chosen at each site that is not left as it is.

    Canonical: sites that keep their full size are absent, kinds and names are sorted. Two spaces
    of one network at different granularity therefore give the same candidate the same key.
    Build it with `of`, `from_dict` or by a `Space`; `choices` is ``((kind, name, value), ...)``.
    """

    choices: tuple[tuple[str, str, int], ...] = ()

    @classmethod
    def of(cls, values: Mapping[Site, int]) -> Candidate:
        """Candidate from site values; full sizes are dropped, illegal ones refused."""
        for site, value in values.items():
            _check(site, value)
        kept = (
            (site.kind.value, site.name, value)
            for site, value in values.items()
            if value != site.size
        )
        return cls(tuple(sorted(kept)))

    @classmethod
    def from_dict(cls, data: Mapping[str, Mapping[str, int]], sites: Iterable[Site]) -> Candidate:
        """Candidate from ``{kind: {site name: value}}``, checked against a network's sites.

        Raises:
            BadInput: an unknown kind or site, or a value that is not legal there.
        """
        if not isinstance(data, Mapping):
            got = type(data).__name__
            raise BadInput(f"candidate: got a {got}; give {{kind: {{site: value}}}}.")
        by_key = {site.key: site for site in sites}
        values: dict[Site, int] = {}
        for kind, named in data.items():
            if kind not in {k.value for k in SiteKind}:
                raise unknown_name("site kind", kind, (k.value for k in SiteKind))
            if not isinstance(named, Mapping):
                raise BadInput(f"candidate: {kind!r} holds {named!r}; give {{site: value}}.")
            for name, value in named.items():
                site = by_key.get((kind, name))
                if site is None:
                    names = (n for k, n in by_key if k == kind)
                    raise unknown_name(f"{kind} site", name, names)
                values[site] = value
        return cls.of(values)

    @classmethod
    def from_record(cls, data: Mapping[str, Mapping[str, int]]) -> Candidate:
        """Candidate from `to_dict` of another one; legality is not checked again."""
        return cls(
            tuple(
                sorted(
                    (kind, name, int(value))
                    for kind, named in data.items()
                    for name, value in named.items()
                )
            )
        )

    @property
    def key(self) -> str:
        """Content key: 16 hex digits of sha256 over the canonical JSON."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:_KEY_LENGTH]

    def value(self, site: Site) -> int:
        """What is chosen at a site; its full size where nothing was."""
        for kind, name, value in self.choices:
            if name == site.name and kind == site.kind.value:
                return value
        return site.size

    def values(self, sites: Iterable[Site]) -> dict[Site, int]:
        """What is chosen at each of the sites."""
        chosen = {(kind, name): value for kind, name, value in self.choices}
        return {site: chosen.get(site.key, site.size) for site in sites}

    def to_dict(self) -> dict[str, dict[str, int]]:
        """``{kind: {site name: value}}``, only of what is not left as it is."""
        nested: dict[str, dict[str, int]] = {}
        for kind, name, value in self.choices:
            nested.setdefault(kind, {})[name] = value
        return nested

    def to_json(self) -> str:
        """Canonical JSON: sorted keys, no spaces, ASCII."""
        return json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))


def _check(site: Site, value: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not site.allows(value):
        allowed = _ALLOWED.get(site.kind, f"1..{site.size}")
        if site.unit > 1:
            allowed = f"multiples of {site.unit} up to {site.size}"
        raise BadInput(f"{site.kind} site {site.name}: got {value!r}; allowed: {allowed}.")

"""Scripts that moved: which path of a later tree goes on with a script that is no longer under its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

#: As git has it, a file with half of another's text is that file renamed, if none other comes near.
_SURE = 0.5
_MARGIN = 0.15
#: Below this, two files have nothing to do with each other.
_LEAST = 0.2


@dataclass(frozen=True)
class Successor:
    """The path that goes on with a script, the share of the text that they have in common, and whether it is sure."""

    path: str
    likeness: float
    sure: bool


def find_successor(text: str, candidates: Mapping[str, str]) -> Successor | None:
    """The candidate that has most of a script's text; `sure` where it has half of it and no other comes near."""
    lines = _lines(text)
    ranked = sorted(((_likeness(lines, _lines(other)), path) for path, other in candidates.items()), reverse=True)
    if not ranked or ranked[0][0] < _LEAST:
        return None
    best, path = ranked[0]
    second = ranked[1][0] if len(ranked) > 1 else 0.0
    return Successor(path, best, best >= _SURE and best - second >= _MARGIN)


def _lines(text: str) -> Counter[str]:
    """Lines without indentation and blank ones, by their number of characters in all."""
    found: Counter[str] = Counter()
    for line in text.splitlines():
        stripped = line.strip()
        found[stripped] += len(stripped)
    return found


def _likeness(one: Counter[str], other: Counter[str]) -> float:
    larger = max(one.total(), other.total())
    return (one & other).total() / larger if larger else 0.0

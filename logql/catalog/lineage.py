"""Scripts that moved: which path of a later tree goes on with a script that is no longer under its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from logql.propagate.imports import reachable

#: As git has it, a file with half of another's text is that file renamed, if none other comes near.
_SURE = 0.5
_MARGIN = 0.15
#: Below this, two files have nothing to do with each other.
_LEAST = 0.2
#: Of so many candidates, those most alike by themselves, what they import is looked at, too.
_FOLLOWED = 20


@dataclass(frozen=True)
class Successor:
    """The path that goes on with a script, the share of the text that they have in common, and whether it is sure."""

    path: str
    likeness: float
    sure: bool


def find_successor(
    script: str, before: Mapping[str, str], candidates: Iterable[str], after: Mapping[str, str]
) -> Successor | None:
    """The candidate of a later tree that has most of a script's text; `sure` where it has half and no other comes near.

    The text is the script's own, or with it that of the imported files that the other tree lacks: one that was split
    into modules while it moved still has its text.
    """
    lines, tree = _lines(before[script]), _lines(_gone(before, script, after))
    alike = sorted(((_likeness(lines, _lines(after[path])), path) for path in candidates), reverse=True)
    ranked = [
        (max(own, _likeness(tree, _lines(_gone(after, path, before)))) if place < _FOLLOWED else own, path)
        for place, (own, path) in enumerate(alike)
    ]
    ranked.sort(reverse=True)
    if not ranked or ranked[0][0] < _LEAST:
        return None
    best, path = ranked[0]
    second = ranked[1][0] if len(ranked) > 1 else 0.0
    return Successor(path, best, best >= _SURE and best - second >= _MARGIN)


def _gone(files: Mapping[str, str], script: str, others: Mapping[str, str]) -> str:
    """The text of a script and of what it imports, as far as another tree has no such paths."""
    return "\n".join(text for path, text in reachable(files, script).items() if path not in others)


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

"""Statements of small sources, placed and looked at."""

from __future__ import annotations

import textwrap

from logql.model import Placement
from logql.propagate import place


def code(text: str) -> str:
    return textwrap.dedent(text).lstrip("\n")


def put(new: str, mark: str, old: str) -> Placement:
    """Place the statement of the line that holds `mark`."""
    new, old = code(new), code(old)
    line = next(n for n, text in enumerate(new.splitlines(), start=1) if mark in text)
    return place(new, line, old)


def added(result: Placement) -> list[str]:
    """The lines that were added, and that none was taken away."""
    assert result.source is not None, result.reason
    lines = result.diff.splitlines()[2:]
    assert not [line for line in lines if line.startswith("-")]
    return [line[1:] for line in lines if line.startswith("+")]

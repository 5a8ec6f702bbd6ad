"""Placements as they are handed out."""

from __future__ import annotations

import difflib

from logql.model import Placement


def refused(reason: str, *, candidates: tuple[tuple[str, int], ...] = ()) -> Placement:
    return Placement(None, reason, 0.0, "", candidates=candidates)


def placed(source: str, confidence: float, diff: str) -> Placement:
    return Placement(source, None, confidence, diff)


def make_diff(old: str, new: str, path: str) -> str:
    """The change as a unified diff."""
    lines = difflib.unified_diff(
        old.splitlines(keepends=True), new.splitlines(keepends=True), f"a/{path}", f"b/{path}", n=3
    )
    return "".join(line if line.endswith("\n") else line + "\n" for line in lines)

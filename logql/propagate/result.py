"""Placements as they are handed out."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

from logql.model import Placement
from logql.propagate.context import fingerprint_of, leads, levels_of, runs_once
from logql.propagate.locate import Spot
from logql.propagate.outline import Item, parse_source


class Refusal(Exception):
    """Raised when a statement can be placed in no way; the text is the reason."""


def refused(reason: str, *, candidates: tuple[tuple[str, int], ...] = ()) -> Placement:
    return Placement(None, reason, 0.0, "", candidates=candidates)


def finish(
    spot: Spot,
    source: str,
    line: int,
    texts: list[str],
    statement: Item,
    old_files: Mapping[str, str],
    feeders: Sequence[str] = (),
    staying: Sequence[tuple[Spot, str]] = (),
) -> Placement:
    """The placement of a patched text, `texts` being what was inserted there; refuses one that does not parse.

    `feeders` are the lines that came along, `staying` those of them that have places of their own.
    """
    path = spot.unit.outline.path
    try:
        parse_source(source)
    except SyntaxError as exc:
        raise Refusal(f"the statement does not fit there: {exc}") from exc
    original = old_files[path]
    source = "\ufeff" + source if original.startswith("\ufeff") else source
    return Placement(
        source,
        None,
        spot.confidence,
        make_diff(original, source, path),
        files={path: source},
        file=path,
        line=line,
        fingerprint=fingerprint_of(texts, spot, staying),
        levels=levels_of(spot, statement, old_files),
        once=runs_once(spot, statement, texts[0], {**old_files, path: source}),
        leads=leads(spot, old_files),
        carried=(*feeders, *texts[1:]),
    )


def make_diff(old: str, new: str, path: str) -> str:
    """The change as a unified diff."""
    lines = difflib.unified_diff(
        old.splitlines(keepends=True), new.splitlines(keepends=True), f"a/{path}", f"b/{path}", n=3
    )
    return "".join(line if line.endswith("\n") else line + "\n" for line in lines)

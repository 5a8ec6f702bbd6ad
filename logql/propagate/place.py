"""The way of one statement: find it, match the code around it, settle its names, put it in, check the result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from logql.model import Placement
from logql.propagate.align import align
from logql.propagate.context import fingerprint_of, levels_of, runs_once
from logql.propagate.edit import CannotInsert, dedent_statement, insert_text
from logql.propagate.locate import Nowhere, Spot, locate
from logql.propagate.names import is_bound, uses_of
from logql.propagate.outline import Item, Outline, read_outline
from logql.propagate.result import make_diff, placed, refused
from logql.propagate.units import find_hosts

_SINGLE = "<source>"


def place(new_source: str, line: int, old_source: str) -> Placement:
    """Put the statement that starts at `line` of the new source at its place in the old source, or refuse."""
    return place_files({_SINGLE: new_source}, _SINGLE, line, {_SINGLE: old_source})


def place_files(
    new_files: Mapping[str, str],
    path: str,
    line: int,
    old_files: Mapping[str, str],
    pin: tuple[str, int] | None = None,
) -> Placement:
    """Put the statement at `path`:`line` of the new files at its place in the old files, or refuse.

    `pin` names a file and line of the old version before which a person wants it.
    """
    try:
        new = read_outline(new_files[path], path)
    except KeyError:
        return refused(f"{path} is not among the new files")
    except SyntaxError as exc:
        return refused(f"the new source does not parse: {exc.msg} (line {exc.lineno})")
    statement = new.at_line(line)
    if statement is None:
        return refused(f"no statement starts at line {line}")
    if path not in old_files:
        return refused(f"{path} does not exist in the old version")
    try:
        old = read_outline(old_files[path], path)
    except SyntaxError as exc:
        return refused(f"the old source does not parse: {exc.msg} (line {exc.lineno})")
    spot, _ = find_spot(statement, [old])
    if isinstance(spot, Nowhere):
        return refused(spot.reason)
    missing = [name for name in sorted(uses_of(statement.node).reads) if not is_bound(name, spot.unit, spot.index)]
    if missing:
        return refused(f"`{missing[0]}` is not defined at this place")
    return _insert(statement, new, spot, old, old_files)


def find_spot(statement: Item, outlines: list[Outline]) -> tuple[Spot | Nowhere, dict[Item, Item]]:
    hosts = find_hosts(statement, outlines)
    if not hosts or hosts[0].score < 0.1:
        return Nowhere("no code like that around it exists here"), {}
    host = hosts[0].unit
    around = [item for item in statement.unit.items if not statement.index <= item.index < statement.end]
    matched = align(around, host.items)
    return locate(statement, matched, host), matched


def _insert(statement: Item, new: Outline, spot: Spot, old: Outline, old_files: Mapping[str, str]) -> Placement:
    text = dedent_statement(new, statement)
    try:
        source, line = insert_text(old, spot, text, simple=not statement.compound)
        read_outline(source)
    except CannotInsert as exc:
        return refused(str(exc))
    except SyntaxError as exc:
        return refused(f"the result does not parse: {exc.msg}")
    result = placed(source, spot.confidence, make_diff(old.source, source, old.path))
    return replace(
        result,
        file=old.path,
        line=line,
        files={old.path: source},
        fingerprint=fingerprint_of([text], spot),
        levels=levels_of(spot, old_files),
        once=runs_once(spot, statement.node),
    )

"""All wanted statements in one patched tree of an old version."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from logql.model import LogStatement, Placement
from logql.propagate.place import place_files
from logql.propagate.result import refused

Pin = tuple[str, int]


def place_all(
    new_files: Mapping[str, str],
    statements: Sequence[LogStatement],
    old_files: Mapping[str, str],
    pins: Mapping[LogStatement, Pin] | None = None,
) -> tuple[dict[str, str] | None, dict[LogStatement, Placement]]:
    """Put several statements of a newer version into an old one; the patched files, or None where none was placed.

    Each placement is what the statement alone would get (so its fingerprint does not depend on the company), with its
    line in the patched files. Of several statements of one name either all are placed or none.
    """
    pins = pins or {}
    placements = {
        statement: place_files(new_files, statement.file, statement.line, old_files, pins.get(statement))
        for statement in statements
    }
    _all_or_none(placements)
    files = dict(old_files)
    for statement in sorted(statements, key=lambda one: (one.file, one.line)):
        alone = placements[statement]
        if alone.files is None:
            continue
        together = alone
        if files != old_files:
            pin = _moved_pin(pins.get(statement), old_files, files)
            together = place_files(new_files, statement.file, statement.line, files, pin)
        if together.files is None or together.file is None or together.line is None:
            placements[statement] = refused(f"it cannot be put beside the other statements: {together.reason}")
            continue
        _shift(placements, files, together)
        files.update(together.files)
        placements[statement] = replace(alone, line=together.line, file=together.file)
    _all_or_none(placements)
    if not any(placement.files is not None for placement in placements.values()):
        return None, placements
    return files, placements


def _all_or_none(placements: dict[LogStatement, Placement]) -> None:
    """Refuse the placed statements of a name of which another was refused."""
    reasons = {
        statement.name: placement.reason
        for statement, placement in placements.items()
        if placement.files is None and statement.name is not None
    }
    for statement, placement in placements.items():
        if placement.files is not None and statement.name in reasons:
            placements[statement] = refused(
                f"another statement of `{statement.name}` cannot be placed: {reasons[statement.name]}"
            )


def _shift(placements: dict[LogStatement, Placement], before: Mapping[str, str], added: Placement) -> None:
    """Move the lines of the statements placed so far below what `added` inserts."""
    for path, text in (added.files or {}).items():
        old_lines, new_lines = before[path].splitlines(), text.splitlines()
        grown = len(new_lines) - len(old_lines)
        first = next((n for n, (a, b) in enumerate(zip(old_lines, new_lines, strict=False)) if a != b), len(old_lines))
        for statement, placement in placements.items():
            if placement.file == path and placement.line is not None and placement.line > first:
                placements[statement] = replace(placement, line=placement.line + grown)


def _moved_pin(pin: Pin | None, old_files: Mapping[str, str], files: Mapping[str, str]) -> Pin | None:
    """The pinned line in the files as patched so far."""
    if pin is None or pin[0] not in old_files:
        return pin
    path, line = pin
    old_lines, new_lines = old_files[path].splitlines(), files[path].splitlines()
    at = 0
    for number, text in enumerate(old_lines[:line], start=1):
        while at < len(new_lines) and new_lines[at] != text:
            at += 1
        at += 1
        if number == line:
            return path, at
    return pin

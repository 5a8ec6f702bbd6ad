"""What is left of the chunks of a live run that were sealed: contexts that are not over, and events that came too late.

It lies in `wal/<stream>-<n>c`, one record in the form of a chunk, and stands for everything before chunk n that is in
no file. A crash leaves it beside chunks that it stands for; which of the two counts, the catalog's position tells.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from logql.errors import CorruptFile
from logql.model import Enter, Event, Level, Line, Logged, Path, Step
from logql.store import layout, parquet, plain, wal
from logql.store.contexts import Begun, Cells, Group, Rows

_KINDS: dict[str, Any] = {"e": Enter, "v": Logged, "l": Line}
_LETTERS = {kind: letter for letter, kind in _KINDS.items()}


@dataclass
class Carried:
    """Rows by level, when settled iterations inside of them began, every name so far, and overdue events."""

    rows: dict[Level, Rows] = field(default_factory=dict)
    passed: dict[Path, array[int]] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)
    last_ts: float = 0.0
    overdue: list[Event] = field(default_factory=list)

    def paths(self) -> set[Path]:
        """The contexts that are not over."""
        return {path for rows in self.rows.values() for path in map(rows.path, range(len(rows)))}


def path_of(store: str, stem: str, number: int) -> str:
    """Where what is left of a stream before chunk `number` lies."""
    return os.path.join(store, "wal", f"{stem}-{number}c")


def write(path: str, carried: Carried) -> int:
    """Write it durably, whole or not at all; gives its bytes."""
    data = wal.record(wal.CARRY, plain.dumps(_encode(carried)))
    temporary = path + parquet.TEMPORARY
    with open(temporary, "wb") as file:
        file.write(data)
    parquet.sync(temporary)
    os.replace(temporary, path)
    layout.sync(os.path.dirname(path))
    return len(data)


def read(path: str) -> Carried:
    """The inverse of `write`; CorruptFile where it is none."""
    try:
        payloads = [payload for kind, payload, _ in wal.records(path) if kind == wal.CARRY]
    except FileNotFoundError:
        raise CorruptFile(f"{path}: it is missing", hint="logql doctor") from None
    for payload in payloads:
        try:
            return _decode(plain.loads(payload))
        except (CorruptFile, TypeError, ValueError, KeyError, IndexError, AttributeError, OverflowError) as exc:
            raise CorruptFile(f"{path}: it cannot be read: {exc}", hint="logql doctor") from exc
    raise CorruptFile(f"{path}: it has no end", hint="logql doctor")


class Sieve:
    """Lets through what happens in contexts that are known; what came too late for its context is `overdue`."""

    def __init__(self, carried: Carried) -> None:
        self.overdue = list(carried.overdue)
        self._known = {(), *carried.paths()}

    def __call__(self, events: Iterable[Event]) -> Iterator[Event]:
        known = self._known
        for event in events:
            if type(event) is Enter and event.path[:-1] in known:
                known.add(event.path)
            if event.path in known:
                yield event
            else:
                self.overdue.append(event)


def _encode(carried: Carried) -> dict[str, Any]:
    return {
        "rows": [_encode_rows(rows) for rows in carried.rows.values()],
        "passed": [[path, list(seqs)] for path, seqs in carried.passed.items()],
        "names": carried.names,
        "last_ts": carried.last_ts,
        "overdue": [[_LETTERS[type(event)], *event] for event in carried.overdue],
    }


def _encode_rows(rows: Rows) -> dict[str, Any]:
    numbers = range(len(rows))
    return {
        "level": rows.level,
        "paths": [rows.path(row) for row in numbers],
        "outer": [rows.outer(row) for row in numbers],
        "seqs": list(rows.seqs),
        "subs": list(rows.subs),
        "ts": list(rows.ts),
        "cells": {
            name: [list(c.rows), list(c.seqs), list(c.subs), list(c.times), list(c.values)]
            for name, c in rows.cells.items()
        },
        "begun": [[row, begun.parts, sorted(begun.names)] for row, begun in rows.begun.items()],
    }


def _decode(found: Any) -> Carried:
    rows = [_decode_rows(one) for one in found["rows"]]
    return Carried(
        {one.level: one for one in rows},
        {_path(path): array("q", seqs) for path, seqs in found["passed"]},
        [_checked(name, str) for name in found["names"]],
        float(found["last_ts"]),
        [_KINDS[letter](_path(path), *values) for letter, path, *values in found["overdue"]],
    )


def _decode_rows(found: Any) -> Rows:
    rows = Rows(tuple(_checked(loop, str) for loop in found["level"]))
    groups: dict[tuple[Path, str, int], Group] = {}
    columns = (found[name] for name in ("paths", "outer", "seqs", "subs", "ts"))
    for path, items, seq, sub, ts in zip(*columns, strict=True):
        _decode_row(rows, groups, _path(path), tuple(items), seq, sub, ts)
    for name, (places, seqs, subs, times, values) in found["cells"].items():
        cells = rows.cells[_checked(name, str)] = Cells()
        if not all(0 <= row < len(rows) for row in places):
            raise ValueError("values without a place")
        for row, seq, sub, ts, value in zip(places, seqs, subs, times, values, strict=True):
            cells.add(row, seq, sub, ts, value)
    for row, parts, names in found["begun"]:
        rows.begun[_checked(row, int)] = Begun(_checked(parts, int), frozenset(_checked(name, str) for name in names))
    return rows


def _decode_row(
    rows: Rows, groups: dict[tuple[Path, str, int], Group], path: Path, items: tuple[object, ...], seq: int, sub: int,
    ts: float,
) -> None:  # fmt: skip
    if len(items) != len(path) or tuple(step.loop for step in path) != rows.level:
        raise ValueError("a context of another level")
    loop, entry, index = path[-1] if path else ("", 0, 0)
    key = path[:-1], loop, entry
    if key not in groups:
        groups[key] = rows.adopt(Group(*key, items[:-1]))
    rows.add(groups[key], index, items[-1] if items else None, seq, sub, ts)


def _path(steps: Any) -> Path:
    return tuple(Step(_checked(loop, str), _checked(entry, int), _checked(index, int)) for loop, entry, index in steps)


def _checked(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise TypeError(f"{value!r} is no {kind.__name__}")
    return value

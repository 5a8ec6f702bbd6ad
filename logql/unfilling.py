"""UNFILL: hindsight cells are dropped from the fills that gave them; what was recorded is never touched."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from typing import Any, Protocol

from logql.catalog.coverage import covered
from logql.catalog.history import History
from logql.execute.scans import FRAME_TYPES, scan
from logql.execute.sqltext import ident, key_columns, text
from logql.execute.tables import Tables
from logql.model import Fill, Level, Logged, Step
from logql.replay.job import new_id
from logql.store.catalog import Catalog
from logql.store.fills import write_fill
from logql.store.layout import level_of

#: Main-loop coordinates: run, loop, entry and index; the last three are None outside of main loops.
Place = tuple[object, ...]


class Reader(Protocol):
    """What runs SQL."""

    def read(self, sql: str, tables: Tables) -> list[dict[str, Any]]:
        """The rows of a query."""


def unfill(
    catalog: Catalog,
    history: History,
    reader: Reader,
    fills: Iterable[Fill],
    name: str,
    picked: Collection[Place] | None,
) -> int:
    """Drop the cells that `fills` gave of `name`, in `picked` iterations or everywhere; how many fills have changed.

    Cells that could not be filled are dropped alike: they are missing again.
    """
    changed = 0
    for fill in fills:
        if name not in fill.names or fill.state not in ("done", "failed"):
            continue
        left = _left(fill, picked)
        if left == tuple(covered(fill)):
            continue
        changed += 1
        if left and len(fill.names) > 1:
            _split(catalog, history, reader, fill, name, left)
        else:
            catalog.put_fill(_narrowed(fill, left) if left else _without(fill, name))
    return changed


def _left(fill: Fill, picked: Collection[Place] | None) -> tuple[int | None, ...]:
    """The iterations that keep their cells."""
    if picked is None:
        return ()
    place = (fill.run, fill.loop, fill.entry) if fill.loop is not None else (fill.run, None, None)
    return tuple(index for index in covered(fill) if (*place, index) not in picked)


def _without(fill: Fill, name: str) -> Fill:
    names = {other: print_ for other, print_ in fill.names.items() if other != name}
    return replace(fill, names=names) if names else replace(fill, state="cancelled")


def _narrowed(fill: Fill, left: tuple[int | None, ...]) -> Fill:
    kept = tuple(index for index in left if index is not None)
    return replace(fill, covered=kept, first_index=kept[0], last_index=kept[-1])


def _split(
    catalog: Catalog, history: History, reader: Reader, fill: Fill, name: str, left: tuple[int | None, ...]
) -> None:
    """Move the cells of `name` that stay into a fill of their own: the other names keep all of theirs."""
    own = replace(
        _narrowed(fill, left),
        id=new_id(),
        names={name: fill.names[name]},
        levels={name: fill.levels.get(name, ())},
        executed=0,
        compared=0,
        estimated_s=0.0,
        actual_s=0.0,
    )
    values, places = list(_values(history, reader, fill, name, frozenset(left))), list(_places(history, reader, fill))
    write_fill(catalog.store, own, values, places=places)
    catalog.put_fill(_without(fill, name))


def _values(history: History, reader: Reader, fill: Fill, name: str, left: frozenset[int | None]) -> Iterator[Logged]:
    """The values of `name` that a fill gave in the iterations `left`, as they were logged."""
    for directory, pieces in history.snapshot.hindsight.items():
        level = level_of(directory)
        mine = [piece for piece in pieces if name in piece.schema]
        if not level or isinstance(level, str) or not mine:
            continue
        tables: Tables = {}
        types = {piece.schema[name] for piece in mine}
        wanted = dict.fromkeys(key_columns(level), "BIGINT")
        wanted |= {column: FRAME_TYPES[column] for column in ("_fill", "_null", "_seq", "_sub")}
        rows = scan(mine, {**wanted, name: types.pop() if len(types) == 1 else "VARCHAR"}, tables)
        there = f"{ident(name)} IS NOT NULL OR list_contains(_null, {text(name)})"
        sql = f"SELECT * FROM ({rows}) WHERE _fill = {text(fill.id)} AND ({there}) ORDER BY _seq, _sub"
        for row in reader.read(sql, tables):
            path = _path(level, row)
            if path[0].index in left:
                yield Logged(path, name, row[name], row["_seq"], row["_sub"], 0.0)


def _places(history: History, reader: Reader, fill: Fill) -> Iterator[Logged]:
    """Where the fill's replay saw recorded values logged."""
    for directory, pieces in history.snapshot.hindsight.items():
        level = level_of(directory)
        if not level or isinstance(level, str):
            continue
        tables: Tables = {}
        wanted = dict.fromkeys(key_columns(level), "BIGINT")
        rows = scan(pieces, {**wanted, **{c: FRAME_TYPES[c] for c in ("_fill", "_order", "_seq", "_sub")}}, tables)
        sql = f"SELECT * FROM ({rows}) WHERE _fill = {text(fill.id)} AND _order IS NOT NULL ORDER BY _seq, _sub"
        for row in reader.read(sql, tables):
            for name in set(row["_order"]) - fill.names.keys():
                yield Logged(_path(level, row), name, None, row["_seq"], row["_sub"], 0.0)


def _path(level: Level, row: dict[str, Any]) -> tuple[Step, ...]:
    keys = key_columns(level)
    return tuple(Step(loop, row[keys[2 * depth]], row[keys[2 * depth + 1]]) for depth, loop in enumerate(level))

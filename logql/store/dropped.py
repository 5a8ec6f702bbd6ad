"""What UNFILL dropped leaves the sidecars whenever they are written anew: cells of fills that have since lost them.

A sidecar's metadata tells its fills as they were when it was written, the catalog as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from logql.model import Fill
from logql.store import layout, levels, parquet, rows

if TYPE_CHECKING:
    import pyarrow as pa


def told_by(path: str) -> list[Fill]:
    """The fills of a file as they were when it was written; none for a recorded one."""
    return [rows.fill_of(row) for row in parquet.metadata_of(path).get("fills", ())]


def still_told(told: Iterable[Fill], known: Mapping[str, Fill]) -> list[Fill]:
    """Of what a file tells of its fills, what still is so: those that are gone are left out, others as they are."""
    return [known.get(fill.id, fill) for fill in told if known.get(fill.id, fill).state != "cancelled"]


def has_dropped(told: Iterable[Fill], known: Mapping[str, Fill]) -> bool:
    """Whether a file holds cells that its fills have lost."""
    return any(_has_lost(fill, known.get(fill.id, fill)) for fill in told)


def without_dropped(table: pa.Table, level: str, told: Iterable[Fill], known: Mapping[str, Fill]) -> pa.Table:
    """A sidecar's table without the cells that its fills have lost, and without rows that only held such ones."""
    for fill in told:
        now = known.get(fill.id, fill)
        if _has_lost(fill, now):
            table = _without_lost(table, level, fill, now)
    return table


def narrower(told: Fill, other: Fill) -> Fill:
    """The cells that both tellings of a fill have."""
    if other.state == "cancelled":
        return other
    names = {name: print_ for name, print_ in told.names.items() if name in other.names}
    if not names:
        return replace(told, state="cancelled")
    mine, theirs = told.covered, other.covered
    covered = mine if theirs is None else theirs if mine is None else tuple(i for i in mine if i in {*theirs})
    return replace(told, names=names, covered=covered)


def _has_lost(told: Fill, now: Fill) -> bool:
    return now.state == "cancelled" or told.names.keys() != now.names.keys() or told.covered != now.covered


def _without_lost(table: pa.Table, level: str, told: Fill, now: Fill) -> pa.Table:
    import pyarrow.compute as pc

    mine = pc.equal(table.column("_fill"), told.id)
    loops = layout.level_of(level)
    assert not isinstance(loops, str)  # captured lines are in no sidecar
    if now.state == "cancelled" or not any(loops in now.levels.get(name, (loops,)) for name in now.names):
        return table.filter(pc.invert(mine))
    for name in told.names.keys() - now.names.keys():
        for column in {name, f"{name}$text"} & {*table.column_names}:
            table = _blank(table, column, mine)
    if now.covered is not None and loops and loops[0] == now.loop:
        index = table.column(f"{levels.loop_names(loops)[0]}_index")
        covered = pc.is_in(index, value_set=_array(now.covered, index.type))
        table = table.filter(pc.or_(pc.invert(mine), covered))
    return table


def _blank(table: pa.Table, name: str, where: Any) -> pa.Table:
    """Nothing in the column `name` at the rows `where`; a column that holds nothing at all goes."""
    import pyarrow as pa
    import pyarrow.compute as pc

    old = table.column(name)
    column = pc.if_else(where, pa.scalar(None, old.type), old)
    if column.null_count == len(column):
        return table.drop_columns([name])
    return table.set_column(table.column_names.index(name), name, column)


def _array(values: Iterable[int], type_: pa.DataType) -> pa.Array:
    import pyarrow as pa

    return pa.array(list(values), type_)

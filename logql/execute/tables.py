"""Arrow tables that lowered SQL refers to by name, made without `pyarrow.array`, which imports pandas."""

from __future__ import annotations

import datetime
from array import array
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from logql.store import columns

#: Names of tables with their rows; a cursor registers them while its query runs.
Tables = dict[str, pa.Table]


def typed(rows: Mapping[str, Sequence[object]], types: Mapping[str, str]) -> pa.Table:
    """A table of `rows` (column by column), whose types are DuckDB's names in `types`."""
    arrays = {name: _array(values, types.get(name, "VARCHAR")) for name, values in rows.items()}
    return pa.table(arrays)


def _array(values: Sequence[object], type_: str) -> pa.Array:
    found, _ = columns.encode(values, arrow_type(type_))
    return found


def parameter_table(sets: Sequence[Sequence[Any]]) -> pa.Table | None:
    """A table with a row per set of parameters; None where a column has values of several types, or of unusual ones."""
    width = len(sets[0])
    if any(len(each) != width for each in sets):
        return None
    arrays = [_parameters(values) for values in zip(*sets, strict=True)]
    if any(each is None for each in arrays):
        return None
    return pa.table({f"p{number}": each for number, each in enumerate(arrays)})


def _parameters(values: Sequence[Any]) -> pa.Array | None:
    types = set(map(type, values)) - {type(None)}
    zoned = datetime.datetime in types and any(value is not None and value.tzinfo for value in values)
    if zoned or not types <= _SIMPLE or (len(types) > 1 and types != {int, float}):
        return None
    found, misfits = columns.encode(values, columns.infer(values))
    return None if misfits else found


_SIMPLE = frozenset({bool, int, float, str, bytes, datetime.date, datetime.datetime})


def arrow_type(type_: str) -> pa.DataType:
    """The Arrow type of a simple DuckDB type."""
    if type_.endswith("[]"):
        return pa.list_(arrow_type(type_[:-2]))
    known = {
        "BOOLEAN": pa.bool_(),
        "BIGINT": pa.int64(),
        "INTEGER": pa.int32(),
        "DOUBLE": pa.float64(),
        "VARCHAR": pa.string(),
        "TIMESTAMP": pa.timestamp("us"),
        "DATE": pa.date32(),
    }
    return known.get(type_, pa.string())


def keys(runs: Iterable[str]) -> pa.Table:
    """A table with the single column `run`."""
    return pa.table({"run": columns.strings(list(runs))})


def integers(values: Iterable[int]) -> pa.Array:
    """A BIGINT column without NULLs."""
    return columns.fixed(array("q", values), "int64")

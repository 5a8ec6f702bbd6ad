"""Several tables of one level as one: columns cast to one type each, rows sorted by version, run, rank and context."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from logql.store import columns, types

if TYPE_CHECKING:
    import pyarrow as pa


def merge(tables: Sequence[pa.Table], ordinals: Mapping[str, int]) -> pa.Table:
    """One sorted table of sorted ones; `ordinals` orders versions. What one run has in several is in order of time."""
    import pyarrow as pa

    schema = _schema(tables)
    slices: list[tuple[tuple[int, str, int, int, int], pa.Table]] = []
    for number, table in enumerate(tables):
        fitted = fit(table, schema)
        for version, run, rank, start, stop in _segments(table):
            key = (ordinals.get(version, 0), run, rank, table.column("_seq")[start].as_py(), number)
            slices.append((key, fitted.slice(start, stop - start)))
    slices.sort(key=lambda pair: pair[0])
    return pa.concat_tables([piece for _, piece in slices]).combine_chunks()


def fit(table: pa.Table, schema: Mapping[str, pa.DataType]) -> pa.Table:
    """`table` with the columns of `schema`; what does not fit its column's type is NULL with its text in `$text`."""
    import pyarrow as pa

    table = table.replace_schema_metadata(None)
    found: dict[str, pa.ChunkedArray] = {}
    for name, type_ in schema.items():
        if name not in table.column_names:
            found.setdefault(name, pa.nulls(table.num_rows, type_))
            continue
        column = table.column(name)
        if column.type == type_:
            found[name] = column
            continue
        found[name], texts = _cast(column, type_)
        if texts:
            _add_texts(found, table, f"{name}$text", texts)
    return pa.table({name: found[name] for name in schema})


def _schema(tables: Sequence[pa.Table]) -> dict[str, pa.DataType]:
    """Columns of all tables in the order of the first one that has them, a `$text` next to each that needs one."""
    import pyarrow as pa

    kinds: dict[str, list[pa.DataType]] = {}
    for table in tables:
        for field in table.schema:
            own = kinds.setdefault(field.name, [])
            if field.type not in own:
                own.append(field.type)
    schema: dict[str, pa.DataType] = {}
    for name, found in kinds.items():
        type_ = found[0] if len(found) == 1 else arrow_type(types.unify(map(types.type_text, found)), found)
        if len(found) > 1 and types.type_text(type_) == "NULL":
            type_ = found[0]
        schema[name] = type_
        if len(found) > 1 and not name.endswith("$text"):
            schema.setdefault(f"{name}$text", pa.string())
    needed = {f"{name}$text" for name, found in kinds.items() if len(found) > 1 and _may_misfit(found, schema[name])}
    return {name: type_ for name, type_ in schema.items() if name in kinds or name in needed}


def _may_misfit(found: Sequence[pa.DataType], type_: pa.DataType) -> bool:
    harmless = {"NULL", "BOOLEAN", "DATE", types.type_text(type_)}
    return not {types.type_text(one) for one in found} <= harmless


def arrow_type(text: str, like: Sequence[pa.DataType]) -> pa.DataType:
    """The Arrow type that DuckDB calls `text`; nested ones follow the types `like` that it was unified from."""
    import pyarrow as pa

    if text.endswith("[]"):
        items = [one.value_type for one in like if pa.types.is_list(one)]
        return pa.list_(arrow_type(text[:-2], items))
    if text.startswith("STRUCT("):
        structs = [one for one in like if pa.types.is_struct(one)]
        fields = [(field.name, [one.field(field.name).type for one in structs]) for field in structs[0]]
        return pa.struct([(name, arrow_type(types.unify(map(types.type_text, own)), own)) for name, own in fields])
    simple = {
        "NULL": pa.null(),
        "BOOLEAN": pa.bool_(),
        "INTEGER": pa.int32(),
        "BIGINT": pa.int64(),
        "DOUBLE": pa.float64(),
        "DATE": pa.date32(),
        "TIMESTAMP": pa.timestamp("us"),
        "TIME": pa.time64("us"),
        "VARCHAR": pa.string(),
        "BLOB": pa.binary(),
    }
    return simple[text]


def _cast(column: pa.ChunkedArray, type_: pa.DataType) -> tuple[Any, dict[int, str]]:
    """The column as `type_`, and the text of each value that does not fit, by row."""
    import pyarrow as pa
    import pyarrow.compute as pc

    source = types.type_text(column.type)
    if source == "NULL":
        return pa.nulls(len(column), type_), {}
    if source in ("BOOLEAN", "BIGINT") and pa.types.is_integer(type_):
        return column.cast(type_), {}
    if source == types.type_text(type_) or (source == "DATE" and pa.types.is_timestamp(type_)):
        return column.cast(type_), {}
    if source in ("BOOLEAN", "BIGINT") and pa.types.is_floating(type_):
        numbers = column.cast(pa.int64())
        if _is_exact(numbers):
            return numbers.cast(type_), {}
    values = column.to_pylist()
    array, misfits = columns.encode(values, type_)
    return array, {row: columns.text(values[row]) for row in misfits} if pc.count(column).as_py() else {}


def _is_exact(numbers: pa.ChunkedArray) -> bool:
    import pyarrow.compute as pc

    bounds = pc.min_max(numbers).as_py()
    return bounds["min"] is None or max(abs(bounds["min"]), abs(bounds["max"])) <= 1 << 53


def _add_texts(found: dict[str, Any], table: pa.Table, name: str, texts: Mapping[int, str]) -> None:
    values = table.column(name).to_pylist() if name in table.column_names else [None] * table.num_rows
    for row, text in texts.items():
        values[row] = text
    found[name] = columns.strings(values)


def _segments(table: pa.Table) -> list[tuple[str, str, int, int, int]]:
    """Maximal stretches of rows of one run and rank: (version, run, rank, start, stop)."""
    import pyarrow.compute as pc

    ends: set[int] = set()
    for name in ("run", "rank"):
        encoded = pc.run_end_encode(table.column(name).combine_chunks())
        ends.update(encoded.run_ends.to_pylist())
    found, start = [], 0
    for stop in sorted(ends):
        version, run, rank = (table.column(name)[start].as_py() for name in ("version", "run", "rank"))
        found.append((version, run, rank, start, stop))
        start = stop
    return found

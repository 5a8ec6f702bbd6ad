"""Parquet files of a store: written whole, synced and renamed, or not there at all."""

from __future__ import annotations

import contextlib
import json
import math
import os
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from logql.errors import CorruptFile, StoreError
from logql.settings import FORMAT_VERSION
from logql.store import layout
from logql.store.types import type_text

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

#: Upper bound of rows in a row group; groups of one file are of nearly equal size.
GROUP_ROWS = 120_000
TEMPORARY = ".tmp"
#: Columns that hold something in few files: a query need not read them in the others.
SPARSE = frozenset({"_part", "_order", "_null"})
_METADATA_KEY = b"logql"
_WRITE_HINT = "free some space or mend the disk, then try again: nothing was lost"


@dataclass(frozen=True)
class Written:
    """A file of a store as the catalog lists it; `path` is relative to the store."""

    path: str
    kind: str
    level: str
    rows: int
    bytes: int
    versions: tuple[int, int]
    epochs: tuple[int, int]
    schema: Mapping[str, str]
    checksum: str
    runs: tuple[int, ...]
    fills: tuple[str, ...] = ()


def file_path(kind: str, level: str, versions: tuple[int, int], epochs: tuple[int, int], name: str) -> str:
    """`logs/<level>/versions=<a>-<b>/epochs=<first>-<last>/<name>.parquet`."""
    partition = f"versions={versions[0]}-{versions[1]}/epochs={epochs[0]}-{epochs[1]}"
    return f"{kind}/{level}/{partition}/{name}.parquet"


def schema_of(table: pa.Table) -> dict[str, str]:
    """Columns of a table with DuckDB's names of their types; SPARSE ones that hold nothing are of the type NULL."""
    empty = {name for name in SPARSE if name in table.column_names and _is_empty(table.column(name))}
    return {field.name: "NULL" if field.name in empty else type_text(field.type) for field in table.schema}


def _is_empty(column: pa.ChunkedArray) -> bool:
    return bool(column.null_count == len(column))


def write(store: str, relative: str, table: pa.Table, metadata: Mapping[str, object]) -> tuple[int, str]:
    """Write `table` durably under `relative`; gives bytes and checksum. Raises StoreError, then nothing is there."""
    path = layout.inside(store, relative)
    text = json.dumps({"format": FORMAT_VERSION, **metadata}, default=str).encode()
    table = table.replace_schema_metadata({_METADATA_KEY: text})
    temporary = path + TEMPORARY
    try:
        _write_table(table, temporary)
        size, checksum = sync(temporary)
        os.replace(temporary, path)
        _sync_directories(store, os.path.dirname(path))
    except BaseException as exc:
        for left in (temporary, path):
            with contextlib.suppress(OSError):
                os.unlink(left)
        if isinstance(exc, OSError):
            raise StoreError(f"cannot write {path}: {exc.strerror or exc}", hint=_WRITE_HINT) from exc
        raise
    return size, checksum


def _write_table(table: pa.Table, path: str) -> None:
    """Write a file and the directory around it, which whoever removes the last file there may take away meanwhile."""
    import pyarrow.parquet as pq

    with contextlib.suppress(FileNotFoundError):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        pq.write_table(table, path, **_options(table))
        return
    os.makedirs(os.path.dirname(path), exist_ok=True)
    pq.write_table(table, path, **_options(table))


def metadata_of(path: str) -> dict[str, Any]:
    """What `write` put into a file's metadata; CorruptFile if it is no file of ours."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        found = (pq.read_schema(path).metadata or {})[_METADATA_KEY]
        metadata: dict[str, Any] = json.loads(found)
    except FileNotFoundError:
        raise CorruptFile(f"{path} is missing", hint="logql doctor --repair") from None
    except (OSError, KeyError, ValueError, pa.ArrowException) as exc:
        raise CorruptFile(f"{path} is not a file of a logql store: {exc}", hint="logql doctor --repair") from exc
    return metadata


def schema_and_rows(path: str) -> tuple[dict[str, str], int]:
    """Columns with their types, and the number of rows, from a file's footer."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        holding = _sparse_that_hold(file.metadata)
        return {
            field.name: "NULL" if field.name in SPARSE and field.name not in holding else type_text(field.type)
            for field in file.schema_arrow
        }, file.metadata.num_rows


def _sparse_that_hold(metadata: pq.FileMetaData) -> set[str]:
    """SPARSE columns of which the statistics do not say that they hold nothing."""
    found = set()
    for group in map(metadata.row_group, range(metadata.num_row_groups)):
        for column in map(group.column, range(group.num_columns)):
            name, known = column.path_in_schema.split(".")[0], column.statistics
            nulls = known.null_count if known is not None and known.has_null_count else 0
            if name in SPARSE and nulls < column.num_values:
                found.add(name)
    return found


def read(path: str, columns: list[str] | None = None) -> pa.Table:
    """All rows of a file; CorruptFile naming it where it cannot be read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            return file.read(columns=columns)
    except FileNotFoundError:
        raise CorruptFile(f"{path} is missing", hint="logql doctor --repair") from None
    except (OSError, pa.ArrowException) as exc:
        raise CorruptFile(f"{path} cannot be read: {exc}", hint="logql doctor --repair") from exc


def checksum_of(path: str) -> str:
    """CRC-32 of a file's bytes, as the catalog keeps it."""
    crc = 0
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            crc = zlib.crc32(block, crc)
    return f"{crc:08x}"


def sync(path: str) -> tuple[int, str]:
    """Put a file on the disk; gives its size and checksum."""
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        layout.fsync(descriptor)
        size = os.fstat(descriptor).st_size
    finally:
        os.close(descriptor)
    return size, checksum_of(path)


def _sync_directories(store: str, directory: str) -> None:
    while len(directory) > len(store):
        layout.sync(directory)
        directory = os.path.dirname(directory)


def _options(table: pa.Table) -> dict[str, Any]:

    deltas = [name for name in ("_seq", "ts") if name in table.column_names]
    dictionary = [field.name for field in table.schema if field.name not in deltas]
    groups = max(1, math.ceil(table.num_rows / GROUP_ROWS))
    return {
        "compression": "zstd",
        "use_dictionary": _leaves(table.schema, dictionary),
        "column_encoding": dict.fromkeys(deltas, "DELTA_BINARY_PACKED"),
        "row_group_size": max(1, math.ceil(table.num_rows / groups)),
        "write_statistics": [path for name in table.column_names for path in _bounded(table.column(name), name)],
    }


def _bounded(column: pa.ChunkedArray, path: str) -> Iterator[str]:
    """Leaves that lie between their least and greatest values: statistics leave out NaN, by which DuckDB would skip it.

    For DuckDB, NaN is greater than any number.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_struct(column.type):
        for place, child in enumerate(column.type):
            yield from _bounded(pc.struct_field(column, [place]), f"{path}.{child.name}")
    elif pa.types.is_list(column.type):
        yield from _bounded(pc.list_flatten(column), f"{path}.list.element")
    elif not (pa.types.is_floating(column.type) and pc.any(pc.is_nan(column)).as_py()):
        yield path


def _leaves(schema: pa.Schema, names: list[str]) -> list[str]:
    import pyarrow as pa

    return [name for name in names if not pa.types.is_nested(schema.field(name).type)]

"""Results as they are fetched: rows of Python values, of the types that DuckDB's own client gives, batches, tables."""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from logql.beyond import bignum, python_values
from logql.errors import ProgrammingError

if TYPE_CHECKING:
    import pyarrow as pa

    from logql.execute.answers import Answer

#: Rows that are made Python values at a time.
_CHUNK = 10_000
_DAYS_OF_A_MONTH = 30


class Result:
    """A result that is being read. Memory has a window of it: the whole, or of a large one what was read last."""

    def __init__(self, answer: Answer) -> None:
        self.types = answer.types
        self._window = answer.table
        self._rest = answer.rest
        self._taken = 0
        self._moved = False
        self._rows: list[tuple[Any, ...]] = []
        self._next = 0

    @property
    def count(self) -> int:
        """The number of rows; -1 where it is not known before they are read."""
        return -1 if self._moved or self._rest is not None else int(self._window.num_rows)

    @property
    def names(self) -> list[str]:
        """The names of the columns."""
        return list(self._window.column_names)

    def fetch(self, most: int | None = None) -> list[tuple[Any, ...]]:
        """The next rows, all that are left by default."""
        found: list[tuple[Any, ...]] = []
        while most is None or len(found) < most:
            if self._next >= len(self._rows) and not self._convert():
                break
            end = len(self._rows) if most is None else self._next + most - len(found)
            found += self._rows[self._next : end]
            self._next = min(end, len(self._rows))
        return found

    def table(self) -> pa.Table:
        """The whole result. Raises ProgrammingError where rows of a large one are gone."""
        import pyarrow as pa

        self._check_whole()
        if self._rest is not None:
            self._moved = True  # stays so where reading fails: what is there would pass for the whole
            self._window = pa.concat_tables([self._window, *map(self._as_table, iter(self._rest.read, None))])
            self._rest, self._moved = None, False
        return self._window

    def reader(self, rows: int) -> pa.RecordBatchReader:
        """The whole result in batches of up to `rows` rows, which a large one gives once."""
        import pyarrow as pa

        self._check_whole()
        if self._rest is None:
            return self._window.to_reader(max_chunksize=rows)
        return pa.RecordBatchReader.from_batches(self._window.schema, self._batches(rows))

    def close(self) -> None:
        """Give up what was not read."""
        if self._rest is not None:
            self._rest.close()

    def _batches(self, rows: int) -> Iterator[pa.RecordBatch]:
        yield from self._window.to_batches(max_chunksize=rows)
        while self._move():
            yield from self._window.to_batches(max_chunksize=rows)

    def _convert(self) -> bool:
        """Make the next rows Python values; whether there were any."""
        if self._taken >= self._window.num_rows and not self._move():
            return False
        part = self._window.slice(self._taken, _CHUNK)
        self._taken += part.num_rows
        self._rows, self._next = python_rows(part, self.types), 0
        return bool(self._rows)

    def _move(self) -> bool:
        """Take the rest's next rows into memory, for those that were there; whether there were any."""
        batch = self._rest.read() if self._rest is not None else None
        if batch is None:
            return False
        self._window, self._taken, self._moved = self._as_table(batch), 0, True
        return True

    def _as_table(self, batch: pa.RecordBatch) -> pa.Table:
        import pyarrow as pa

        return pa.Table.from_batches([batch]).rename_columns(self._window.column_names)

    def _check_whole(self) -> None:
        if self._moved:
            raise ProgrammingError(
                "rows of this large result were fetched already and are not kept", hint="run the query again"
            )


def python_rows(table: pa.Table, types: Sequence[str]) -> list[tuple[Any, ...]]:
    """The rows of a result whose columns have these types of DuckDB's."""
    columns = [_values(column, type_) for column, type_ in zip(table.columns, types, strict=True)]
    return list(zip(*columns, strict=True)) if columns else []


def _values(column: pa.ChunkedArray, type_: str) -> list[Any]:
    if type_ == "TIMESTAMP_NS":
        column = column.cast("timestamp[us]", safe=False)
    values = python_values(column)
    convert = _CONVERTERS.get(type_) or (_map if type_.startswith("MAP(") and type_.endswith(")") else None)
    return [None if value is None else convert(value) for value in values] if convert else values


def _interval(value: Any) -> datetime.timedelta:
    days = value.months * _DAYS_OF_A_MONTH + value.days
    return datetime.timedelta(days=days, microseconds=value.nanoseconds // 1000)


def _map(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    """A map; of keys that cannot be a dict's, their list and that of the values, as DuckDB's client has it."""
    try:
        return dict(pairs)
    except TypeError:
        return {"key": [key for key, _ in pairs], "value": [value for _, value in pairs]}


def bits(value: bytes) -> str:
    """Text of a BIT, whose first byte counts the bits that pad the second."""
    return "".join(f"{byte:08b}" for byte in value[1:])[value[0] :]


_CONVERTERS: dict[str, Callable[[Any], Any]] = {
    "HUGEINT": int,
    "UHUGEINT": int,
    "UUID": uuid.UUID,
    "INTERVAL": _interval,
    "BIT": bits,
    "BIGNUM": lambda value: str(bignum(value)),
}

"""What is left of a large result: read while it is fetched, so that memory holds a part of it at a time."""

from __future__ import annotations

import tempfile
import threading
import weakref
from collections.abc import Callable
from typing import IO

import duckdb
import pyarrow as pa

from logql.errors import Error

#: Makes one of logql's errors of what went wrong while rows were read.
AsError = Callable[[Exception], Error]
#: Rows read from DuckDB at a time.
BATCH_ROWS = 100_000
#: A result up to this size is held whole; of a larger one, this much is read before the first row is given.
HELD_BYTES = 32 << 20


class Rest:
    """The rows behind the first ones of a result, in their order. Any thread may read or keep them.

    They come from the connection until that is needed for another statement (`keep`), then from a temporary file.
    """

    def __init__(self, reader: pa.RecordBatchReader, as_error: AsError) -> None:
        self._reader: pa.RecordBatchReader | None = reader
        self._as_error = as_error
        self._file: IO[bytes] | None = None
        self._failure: Error | None = None
        self._lock = threading.Lock()
        self._uses: tuple[object, ...] = ()

    def hold(self, *uses: object) -> None:
        """Keep objects referenced for as long as rows may be read: the snapshot whose files they are in."""
        self._uses = uses

    def read(self) -> pa.RecordBatch | None:
        """The next rows, None at the end. Raises logql's errors."""
        with self._lock:
            return self._read()

    def keep(self) -> None:
        """Give the connection back; what is not read yet goes to a temporary file, an error to its reader."""
        with self._lock:
            if self._reader is None or self._file is not None:
                return
            file = tempfile.TemporaryFile(prefix="logql-result-")  # noqa: SIM115
            try:
                self._write(file, self._reader.schema)
            except Error as error:
                self._failure = error
            except BaseException:
                file.close()
                raise
            file.seek(0)
            weakref.finalize(self, file.close)
            self._file, self._reader = file, pa.ipc.open_stream(file)

    def _write(self, file: IO[bytes], schema: pa.Schema) -> None:
        with pa.ipc.new_stream(file, schema) as writer:
            while (batch := self._read()) is not None:
                writer.write_batch(batch)

    def close(self) -> None:
        """Give up what was not read."""
        with self._lock:
            self._end()

    def _read(self) -> pa.RecordBatch | None:
        if self._reader is None:
            return None
        try:
            return next_batch(self._reader, self._as_error)
        except StopIteration:
            self._end()
            if self._failure is not None:
                raise self._failure from None
            return None
        except BaseException:
            self._end()
            raise

    def _end(self) -> None:
        if self._file is not None:
            self._file.close()
        self._reader, self._file, self._uses = None, None, ()


def next_batch(reader: pa.RecordBatchReader, as_error: AsError) -> pa.RecordBatch:
    """The next batch of a reader of DuckDB's. Raises StopIteration at the end, and logql's errors."""
    try:
        return reader.read_next_batch()
    except (duckdb.Error, OSError, pa.ArrowException) as error:
        raise as_error(error) from error

"""Rows as Parquet, written by DuckDB: it knows intervals, unions and empty maps, which Arrow's own writer does not."""

from __future__ import annotations

import os
import shutil
import tempfile
from typing import BinaryIO

import duckdb
import pyarrow as pa

from logql.execute.errors import translate
from logql.execute.sqltext import text


def write_parquet(reader: pa.RecordBatchReader, stream: BinaryIO) -> int:
    """Write all rows to a stream; returns their number. Raises logql's errors for what Parquet has no type for."""
    with tempfile.TemporaryDirectory(prefix="logql-parquet-") as folder, duckdb.connect() as connection:
        path = os.path.join(folder, "rows.parquet")
        connection.register("_lq_rows", reader)
        try:
            written = connection.execute(f"COPY _lq_rows TO {text(path)} (FORMAT parquet, COMPRESSION zstd)")
            count = written.fetchall()[0][0]
        except duckdb.Error as error:
            raise translate(error, rewritten=True) from error
        with open(path, "rb") as file:
            shutil.copyfileobj(file, stream)
    return int(count)

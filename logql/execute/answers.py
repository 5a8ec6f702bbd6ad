"""Answers of DuckDB's: their rows as Arrow tables, whole or in parts, under the names that a person wrote."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace

import duckdb
import pyarrow as pa
from sqlglot import exp

from logql.execute.rest import AsError, Rest, next_batch
from logql.execute.sqltext import ident
from logql.sql.bound import BoundQuery
from logql.sql.dialect import write
from logql.sql.macros import parse
from logql.sql.sources import HIDDEN
from logql.sql.split import all_tokens, main_word
from logql.sql.walk import find

#: Statements that give no rows.
_SILENT_WORDS = (
    "CREATE DROP ALTER INSERT UPDATE DELETE MERGE TRUNCATE COPY BEGIN START COMMIT ROLLBACK ABORT SET RESET USE ATTACH "
    "DETACH LOAD INSTALL COMMENT ANALYZE VACUUM CHECKPOINT PREPARE DEALLOCATE EXPORT IMPORT"
)
_SILENT = frozenset(_SILENT_WORDS.split())


@dataclass(frozen=True)
class Answer:
    """A result: its rows, and DuckDB's names of its columns' types. `count` is of a statement that changed rows.

    Of a large result that was asked for in parts, `table` has the first rows and `rest` the others.
    """

    table: pa.Table
    types: tuple[str, ...]
    count: int = -1
    rest: Rest | None = None


def answer_of(found: duckdb.DuckDBPyRelation | None, sql: str) -> Answer:
    """A result; of a statement that gives none, the number of rows that it changed."""
    if found is None:
        return Answer(pa.table({}), ())
    types = tuple(str(type_) for type_ in found.types)
    table = found.to_arrow_table()
    if gives_rows(sql):
        return Answer(table, types)
    counts = table.num_rows == 1 and table.column_names == ["Count"]
    return Answer(pa.table({}), (), table.column(0)[0].as_py() if counts else -1)


def read_batches(reader: pa.RecordBatchReader, as_error: AsError) -> Iterator[pa.RecordBatch]:
    """The batches of a reader; its errors come out as logql's."""
    with suppress(StopIteration):
        while True:
            yield next_batch(reader, as_error)


def as_written(answer: Answer, bound: BoundQuery) -> Answer:
    """Names of columns without what logql wrote into a query: the text of a relation, the columns behind origin()."""
    names = answer.table.column_names
    shown = bound.tree.selects if bound.refs and isinstance(bound.tree, exp.Query) else []
    if len(shown) == len(names) and any(map(_holds_query, shown)):
        written = parse(bound.sql)
        texts = [write(item) for item in written.selects] if isinstance(written, exp.Query) else []
        if len(texts) == len(names):
            pairs = zip(names, shown, texts, strict=True)
            names = [text if _holds_query(item) else name for name, item, text in pairs]
    for ref in bound.refs:
        for column in ref.columns:
            bare, mark, what = column.rpartition("$")
            if mark and what in HIDDEN:
                names = [name.replace(f"{ref.alias}.{ident(column)}", f"{what}({bare})") for name in names]
    return replace(answer, table=answer.table.rename_columns(names)) if names != answer.table.column_names else answer


def _holds_query(item: exp.Expr) -> bool:
    """Whether a column has no name of its own, and another query in it."""
    return not isinstance(item, exp.Alias) and any(True for _ in find(item, exp.Select))


def unqualified(answer: Answer, bound: BoundQuery) -> Answer:
    """Names of columns without the aliases that only the generated text has: `sum(l.acc)` is `sum(acc)` again."""
    added = [ref.alias for ref in bound.refs if f"{ref.alias}." not in bound.sql.replace('"', "")]
    names = answer.table.column_names
    for alias in added:
        names = [name.replace(f"{ident(alias)}.", "").replace(f"{alias}.", "") for name in names]
    return replace(answer, table=answer.table.rename_columns(names)) if names != answer.table.column_names else answer


def gives_rows(sql: str) -> bool:
    """Whether a statement has a result."""
    word = main_word(sql)
    return word not in _SILENT or ("RETURNING" in sql.upper() and _says(sql, "RETURNING"))


def _says(sql: str, word: str) -> bool:
    """Whether a word stands in a statement, outside of strings and quotes."""
    return any(token.kind == "word" and sql[token.start : token.end].upper() == word for token in all_tokens(sql))

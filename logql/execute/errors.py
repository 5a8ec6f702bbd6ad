"""DuckDB's errors as logql's."""

from __future__ import annotations

import re

import duckdb

from logql import errors

_CLASSES: tuple[tuple[type[Exception], type[errors.Error]], ...] = (
    (duckdb.InterruptException, errors.Interrupted),
    (duckdb.ParserException, errors.ParseError),
    (duckdb.SyntaxException, errors.ParseError),
    (duckdb.BinderException, errors.BindError),
    (duckdb.CatalogException, errors.BindError),
    (duckdb.ConstraintException, errors.IntegrityError),
    (duckdb.ConversionException, errors.DataError),
    (duckdb.OutOfRangeException, errors.DataError),
    (duckdb.TypeMismatchException, errors.DataError),
    (duckdb.NotImplementedException, errors.NotSupportedError),
    (duckdb.InvalidInputException, errors.ProgrammingError),
    (duckdb.IntegrityError, errors.IntegrityError),
    (duckdb.DataError, errors.DataError),
    (duckdb.NotSupportedError, errors.NotSupportedError),
    (duckdb.InternalError, errors.InternalError),
    (duckdb.ProgrammingError, errors.ProgrammingError),
    (duckdb.OperationalError, errors.OperationalError),
)
_POSITION = re.compile(r"\n+LINE \d+: .*", re.DOTALL)
_STAGE = re.compile(r"^(?:[A-Z][\w-]* )+Error: ")


def translate(error: duckdb.Error, rewritten: bool) -> errors.Error:
    """The error as one of logql's; the position is dropped where DuckDB saw a `rewritten` text."""
    text = str(error)
    if rewritten:
        text = _POSITION.sub("", text)
    message = _STAGE.sub("", text).strip()
    kind = next((ours for theirs, ours in _CLASSES if isinstance(error, theirs)), errors.DatabaseError)
    return kind(message)

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
#: What the text of an error begins with, where a reader of rows has lost its class.
_WORDS: tuple[tuple[str, type[errors.Error]], ...] = (
    ("INTERRUPT", errors.Interrupted),
    ("Conversion", errors.DataError),
    ("Out of Range", errors.DataError),
    ("Mismatch Type", errors.DataError),
    ("Constraint", errors.IntegrityError),
    ("Not implemented", errors.NotSupportedError),
    ("Invalid Input", errors.ProgrammingError),
    ("Out of Memory", errors.OperationalError),
    ("IO", errors.OperationalError),
    ("INTERNAL", errors.InternalError),
)
_POSITION = re.compile(r"\n+LINE \d+: .*", re.DOTALL)
_STAGE = re.compile(r"^(?:[A-Z][\w-]* )(?:[\w-]+ )*Error: ")


def may_be_damage(error: Exception) -> bool:
    """Whether the cause may be a file that DuckDB cannot make sense of."""
    if not isinstance(error, duckdb.Error):
        return _class_of(str(error)) in (errors.OperationalError, errors.ProgrammingError, errors.DatabaseError)
    return type(error) in (duckdb.Error, duckdb.DatabaseError) or isinstance(
        error, (duckdb.IOException, duckdb.InvalidInputException, duckdb.SerializationException, duckdb.InternalError)
    )


def translate(error: Exception, rewritten: bool) -> errors.Error:
    """An error of DuckDB's, or of a reader of its rows, as one of logql's.

    The position is dropped where DuckDB saw a `rewritten` text.
    """
    if isinstance(error, duckdb.Error):
        kind = next((ours for theirs, ours in _CLASSES if isinstance(error, theirs)), errors.DatabaseError)
    else:
        kind = _class_of(str(error))
    return kind(_message(str(error), rewritten))


def _class_of(text: str) -> type[errors.Error]:
    return next((ours for word, ours in _WORDS if text.startswith(f"{word} Error: ")), errors.DatabaseError)


def _message(text: str, rewritten: bool) -> str:
    if rewritten:
        text = _POSITION.sub("", text)
    return _STAGE.sub("", text).strip()

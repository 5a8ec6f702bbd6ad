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


def may_be_damage(error: duckdb.Error) -> bool:
    """Whether the cause may be a file that DuckDB cannot make sense of."""
    return type(error) in (duckdb.Error, duckdb.DatabaseError) or isinstance(
        error, (duckdb.IOException, duckdb.InvalidInputException, duckdb.SerializationException, duckdb.InternalError)
    )


def translate(error: duckdb.Error, rewritten: bool) -> errors.Error:
    """The error as one of logql's; the position is dropped where DuckDB saw a `rewritten` text."""
    kind = next((ours for theirs, ours in _CLASSES if isinstance(error, theirs)), errors.DatabaseError)
    return kind(_message(str(error), rewritten))


def translate_text(text: str, rewritten: bool) -> errors.Error:
    """The error of this text of DuckDB's as one of logql's."""
    kind = next((ours for word, ours in _WORDS if text.startswith(f"{word} Error: ")), errors.DatabaseError)
    return kind(_message(text, rewritten))


def _message(text: str, rewritten: bool) -> str:
    if rewritten:
        text = _POSITION.sub("", text)
    return _STAGE.sub("", text).strip()

"""Parameters written into the text: a query over missing cells is planned with their values."""

from __future__ import annotations

import datetime
import decimal
import itertools
import math
import uuid
from collections.abc import Mapping, Sequence

from logql.errors import ProgrammingError
from logql.sql.split import Token, tokens

Parameters = Sequence[object] | Mapping[str, object] | None


def with_dollars(sql: str, parameters: Parameters) -> str:
    """`sql` with the `:name` of PEP 249 as DuckDB's `$name`, for names that have a value; casts and slices stay."""
    if not isinstance(parameters, Mapping):
        return sql
    found = list(tokens(sql))
    for token, following in itertools.pairwise(found):
        before = sql[token.start - 1 : token.start]
        starts = not before or before.isspace() or before in "(,=<>+-*/%|["
        name = sql[following.start : following.end]
        if sql[token.start : token.end] == ":" and starts and following.start == token.end and name in parameters:
            sql = f"{sql[: token.start]}${sql[token.end :]}"
    return sql


def write_parameters(sql: str, parameters: Parameters) -> str:
    """`sql` with `?`, `$1` and `$name` replaced by literals. Raises ProgrammingError where a value is missing."""
    if not parameters:
        return sql
    parts, end, position = [], 0, 0
    used: set[object] = set()
    found = list(tokens(sql))
    for place, token in enumerate(found):
        text = sql[token.start : token.end]
        if token.kind != "other" or text not in ("?", "$") or token.start < end:
            continue
        stop = token.end
        if text == "$":
            following = found[place + 1] if place + 1 < len(found) else None
            if following is None or following.start != token.end:
                continue
            key, stop = sql[following.start : following.end], following.end
            value = _named(parameters, key)
            used.add(key if isinstance(parameters, Mapping) else int(key) - 1)
        else:
            value = _placed(parameters, position)
            used.add(position)
            position += 1
        parts += [sql[end : token.start], literal(value)]
        end = stop
    keys = parameters if isinstance(parameters, Mapping) else range(len(parameters))
    if len(used) < len(keys):
        raise ProgrammingError(f"{len(keys)} values are given, and {len(used)} parameters are there")
    return "".join([*parts, sql[end:]])


def first_parameter(sql: str) -> Token | None:
    """Where the first `?`, `$1` or `$name` stands."""
    found = list(tokens(sql))
    following = {token.start for token in found}
    for token in found:
        text = sql[token.start] if token.kind == "other" else ""
        if text == "?" or (text == "$" and token.end in following):
            return token
    return None


def check_parameters(parameters: object) -> None:
    """Raise ProgrammingError for what is neither a sequence of values nor a mapping of names to values."""
    if isinstance(parameters, (str, bytes, bytearray)) or not (parameters is None or hasattr(parameters, "__len__")):
        message = f"parameters are a sequence of values or a mapping, not {type(parameters).__name__}"
        raise ProgrammingError(message, hint="one value is (value,)")


def _placed(parameters: Parameters, position: int) -> object:
    if isinstance(parameters, Mapping) or parameters is None or position >= len(parameters):
        raise ProgrammingError(f"there is no value for parameter {position + 1}")
    return parameters[position]


def _named(parameters: Parameters, key: str) -> object:
    if isinstance(parameters, Mapping):
        if key not in parameters:
            raise ProgrammingError(f"there is no value for parameter ${key}", candidates=tuple(parameters))
        return parameters[key]
    if not key.isdigit():
        raise ProgrammingError(f"parameter ${key} needs a mapping of names to values")
    return _placed(parameters, int(key) - 1)


def literal(value: object) -> str:
    """`value` as SQL. Raises ProgrammingError for a type that SQL has no literal for."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, int):
        return f"({value})" if value < 0 else str(value)
    if isinstance(value, float):
        return f"({value!r}::DOUBLE)" if math.isfinite(value) else f"('{value}'::DOUBLE)"
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return _other(value)


def _other(value: object) -> str:
    if isinstance(value, decimal.Decimal):
        return f"({value})"
    if isinstance(value, datetime.datetime):
        return f"'{value.isoformat(sep=' ')}'::{'TIMESTAMPTZ' if value.tzinfo else 'TIMESTAMP'}"
    if isinstance(value, datetime.date):
        return f"'{value.isoformat()}'::DATE"
    if isinstance(value, datetime.time):
        return f"'{value.isoformat()}'::TIME"
    if isinstance(value, datetime.timedelta):
        return f"to_microseconds({value // datetime.timedelta(microseconds=1)})"
    if isinstance(value, uuid.UUID):
        return f"'{value}'::UUID"
    if isinstance(value, (bytes, bytearray, memoryview)):
        return "'" + "".join(f"\\x{byte:02X}" for byte in bytes(value)) + "'::BLOB"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(literal, value)) + "]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{literal(str(key))}: {literal(item)}" for key, item in value.items()) + "}"
    if hasattr(value, "item"):
        return literal(value.item())
    raise ProgrammingError(f"a parameter cannot be of type {type(value).__name__}")

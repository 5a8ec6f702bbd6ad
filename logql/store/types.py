"""DuckDB's names of types, as the catalog and shapes hold them, and how two become one."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache, reduce
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

#: A type of a column that only ever held None: it yields to any other.
NULL = "NULL"
_NUMBERS = ("BOOLEAN", "BIGINT", "DOUBLE")
_TIMES = ("DATE", "TIMESTAMP")


def type_text(type_: pa.DataType) -> str:
    """DuckDB's name of an Arrow type that a level table has."""
    import pyarrow as pa

    if pa.types.is_list(type_):
        return f"{type_text(type_.value_type)}[]"
    if pa.types.is_struct(type_):
        return "STRUCT(" + ", ".join(f"{_quote(field.name)} {type_text(field.type)}" for field in type_) + ")"
    if pa.types.is_timestamp(type_):
        return "TIMESTAMP"
    return _ARROW_NAMES[str(type_)]


_ARROW_NAMES = {
    "null": NULL,
    "bool": "BOOLEAN",
    "int32": "INTEGER",
    "int64": "BIGINT",
    "double": "DOUBLE",
    "date32[day]": "DATE",
    "time64[us]": "TIME",
    "string": "VARCHAR",
    "large_string": "VARCHAR",
    "binary": "BLOB",
    "large_binary": "BLOB",
}


@lru_cache(maxsize=10_000)
def is_known(text: str) -> bool:
    """Whether `text` is one of these names and nothing else: it becomes part of SQL."""
    if text.endswith("[]"):
        return is_known(text[:-2])
    if not text.startswith("STRUCT("):
        return text == "TIMESTAMP" or text in _ARROW_NAMES.values()
    try:
        found = _fields(text)
    except IndexError:
        return False
    own = ", ".join(f"{_quote(name)} {type_}" for name, type_ in found.items())
    return text == f"STRUCT({own})" and all(map(is_known, found.values()))


def unify(types: Iterable[str]) -> str:
    """One type for a column that has `types` in different files.

    bool < bigint < double and date < timestamp; lists and structs element-wise, structs with other fields become
    VARCHAR (JSON); a mix of numbers and anything else is numeric. Else the first of temporal, list, struct, other.
    """
    return reduce(_unify, types, NULL)


@lru_cache(maxsize=10_000)
def _unify(one: str, other: str) -> str:
    if one == other or other == NULL:
        return one
    if one == NULL:
        return other
    for family in (_NUMBERS, _TIMES):
        ranks = [family.index(type_) for type_ in (one, other) if type_ in family]
        if ranks:
            return family[max(ranks)]
    lists = [type_[:-2] for type_ in (one, other) if type_.endswith("[]")]
    if lists:
        return f"{unify(lists)}[]"
    structs = [_fields(type_) for type_ in (one, other) if type_.startswith("STRUCT(")]
    if len(structs) == 2:
        first, second = structs
        if first.keys() != second.keys():
            return "VARCHAR"
        return "STRUCT(" + ", ".join(f"{_quote(n)} {_unify(first[n], second[n])}" for n in first) + ")"
    return "VARCHAR" if "VARCHAR" in (one, other) else one


@lru_cache(maxsize=10_000)
def filled_in(type_: str, default: str) -> str:
    """`type_` with `default` in the place of every NULL: an empty list has no type of its own that DuckDB could name.

    >>> filled_in('STRUCT("a" NULL[], "b" BIGINT)', "DOUBLE")
    'STRUCT("a" DOUBLE[], "b" BIGINT)'
    """
    if type_.endswith("[]"):
        return f"{filled_in(type_[:-2], default)}[]"
    if type_.startswith("STRUCT("):
        return "STRUCT(" + ", ".join(f"{_quote(n)} {filled_in(t, default)}" for n, t in _fields(type_).items()) + ")"
    return default if type_ == NULL else type_


def _fields(type_: str) -> dict[str, str]:
    """Fields of `STRUCT("a" BIGINT, ...)`; names are always quoted."""
    body, found, position = type_[len("STRUCT(") : -1], {}, 0
    while position < len(body):
        name, position = _quoted(body, position)
        end = _type_end(body, position + 1)
        found[name] = body[position + 1 : end]
        position = end + 2
    return found


def _quoted(text: str, start: int) -> tuple[str, int]:
    end = start + 1
    while text[end] != '"' or text[end + 1 : end + 2] == '"':
        end += 2 if text[end] == '"' else 1
    return text[start + 1 : end].replace('""', '"'), end + 1


def _type_end(text: str, start: int) -> int:
    depth, position = 0, start
    while position < len(text) and (depth or text[position] != ","):
        if text[position] == '"':
            _, position = _quoted(text, position)
            continue
        depth += (text[position] == "(") - (text[position] == ")")
        position += 1
    return position


def _quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'

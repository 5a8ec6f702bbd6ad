"""How the types of one name in many files become the type of one column.

bool < bigint < double, date < timestamp, lists and structs element-wise; a mix of numbers and text is numeric, so that
one stray "n/a" does not turn a column into text. Types are DuckDB's names of types, as `model.Shape` has them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache, reduce

_NUMERIC = ("BOOLEAN", "BIGINT", "DOUBLE")
_TEMPORAL = ("DATE", "TIMESTAMP")
_SYNONYMS = {
    "BOOL": "BOOLEAN",
    "INT": "BIGINT",
    "INTEGER": "BIGINT",
    "SMALLINT": "BIGINT",
    "TINYINT": "BIGINT",
    "INT64": "BIGINT",
    "FLOAT": "DOUBLE",
    "REAL": "DOUBLE",
    "STRING": "VARCHAR",
    "TEXT": "VARCHAR",
    "BYTES": "BLOB",
    "TIMESTAMP WITHOUT TIME ZONE": "TIMESTAMP",
    "NULL": "NULL",
    '"NULL"': "NULL",
}


def normal(type_: str) -> str:
    """`type_` under the one name that logql uses for it."""
    upper = type_.strip().upper()
    return _SYNONYMS.get(upper, type_ if _nested(type_) else upper)


def unify(types: Iterable[str]) -> str:
    """The type that holds values of all `types`; VARCHAR where they have nothing in common."""
    found = [normal(type_) for type_ in types]
    return reduce(_pair, found, "NULL") if found else "NULL"


def python_type(value: object) -> str:
    """DuckDB's type of an arg's value."""
    for kind, name in ((bool, "BOOLEAN"), (int, "BIGINT"), (float, "DOUBLE"), (str, "VARCHAR")):
        if isinstance(value, kind):
            return name
    return "NULL" if value is None else "VARCHAR"


@cache
def _pair(left: str, right: str) -> str:
    if left == right or right == "NULL":
        return left
    if left == "NULL":
        return right
    for order in (_NUMERIC, _TEMPORAL):
        if left in order and right in order:
            return order[max(order.index(left), order.index(right))]
    numbers = [type_ for type_ in (left, right) if type_ in _NUMERIC]
    if numbers and "VARCHAR" in (left, right):
        return numbers[0]
    if left.endswith("[]") and right.endswith("[]"):
        return _pair(left[:-2], right[:-2]) + "[]"
    if left.startswith("STRUCT(") and right.startswith("STRUCT("):
        return _structs(fields(left), fields(right))
    return "VARCHAR"


def _structs(left: Mapping[str, str], right: Mapping[str, str]) -> str:
    both = {name: _pair(left.get(name, "NULL"), right.get(name, "NULL")) for name in [*left, *right]}
    return "STRUCT(" + ", ".join(f'"{name}" {type_}' for name, type_ in both.items()) + ")"


def fields(struct: str) -> dict[str, str]:
    """Fields of a STRUCT type with their types: `STRUCT(a BIGINT, "b c" DOUBLE[])`."""
    found = {}
    for part in _split(struct[len("STRUCT(") : -1]):
        match = re.match(r'\s*(?:"((?:[^"]|"")*)"|(\S+))\s+(.*)$', part, re.DOTALL)
        if match:
            quoted, bare, type_ = match.groups()
            found[quoted.replace('""', '"') if quoted is not None else bare] = normal(type_)
    return found


def _split(text: str) -> list[str]:
    parts, depth, start, quoted = [], 0, 0, False
    for position, character in enumerate(text):
        if character == '"':
            quoted = not quoted
        elif not quoted:
            depth += (character == "(") - (character == ")")
            if character == "," and depth == 0:
                parts.append(text[start:position])
                start = position + 1
    return [*parts, text[start:]]


def _nested(type_: str) -> bool:
    return "(" in type_ or type_.endswith("]")

"""MySQL's functions that DuckDB has by the same name and with another meaning, or by another name.

sqlglot translates most of MySQL's SQL; what it hands on as it is, and would be answered otherwise, is put right here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mysql_mimic.errors import ErrorCode, MysqlError
from sqlglot import exp, parse_one

_OTHER_WEEKS = "is not possible here: weeks are counted as WEEK(date) does, in mode 0"


def with_engines_functions(tree: exp.Expr) -> exp.Expr:
    """A query read as MySQL's, whose functions mean in DuckDB what they mean in MySQL."""
    return tree.transform(_put_right)


def _put_right(node: exp.Expr) -> exp.Expr:
    arguments: list[exp.Expr] = []
    text: str | None = None
    if isinstance(node, exp.Anonymous):
        arguments, text = list(node.expressions), _NAMED.get((node.name.upper(), len(node.expressions)))
        if text is None and node.name.upper() == "YEARWEEK":
            raise MysqlError(f"YEARWEEK {_OTHER_WEEKS}", ErrorCode.NOT_SUPPORTED_YET)
    elif (change := _PARSED.get(type(node))) is not None:
        arguments, text = change(node)
    if text is None:
        return node
    template = parse_one(text, dialect="duckdb")
    for place in list(template.find_all(exp.Placeholder, exp.Parameter)):
        number = int(place.name)
        place.replace(arguments[number - 1].copy())
    return template


def _one(text: str) -> Callable[[exp.Expr], tuple[list[exp.Expr], str]]:
    return lambda node: ([_bare(node.this)], text)


def _bare(node: exp.Expr) -> exp.Expr:
    """The date without the cast that sqlglot adds."""
    return node.this if isinstance(node, exp.TsOrDsToDate) else node


def _length(node: exp.Expr) -> tuple[list[exp.Expr], str]:
    """LENGTH counts bytes, CHAR_LENGTH characters."""
    return [node.this], "strlen($1)" if node.args.get("binary") else "length($1)"


def _week(node: exp.Expr) -> tuple[list[exp.Expr], str]:
    if node.args.get("mode") is not None:
        raise MysqlError(f"WEEK with a mode {_OTHER_WEEKS}", ErrorCode.NOT_SUPPORTED_YET)
    return [_bare(node.this)], "CAST(strftime(CAST($1 AS DATE), '%U') AS INTEGER)"


def _complete_units(node: exp.Expr) -> tuple[list[exp.Expr], str]:
    """TIMESTAMPDIFF counts complete units, DuckDB's date_diff the boundaries between."""
    unit = node.text("unit").lower() or "second"
    return [node.expression, node.this], f"date_sub('{unit}', CAST($1 AS TIMESTAMP), CAST($2 AS TIMESTAMP))"


#: By the class that sqlglot reads a function as: its arguments, and DuckDB's text with $1, $2 for them.
_PARSED: Mapping[type[exp.Expr], Callable[[exp.Expr], tuple[list[exp.Expr], str]]] = {
    exp.DayOfWeek: _one("(dayofweek(CAST($1 AS DATE)) + 1)"),
    exp.Length: _length,
    exp.Week: _week,
    exp.TimestampDiff: _complete_units,
}
#: By name and number of arguments, where sqlglot has no class for it.
_NAMED: Mapping[tuple[str, int], str] = {
    ("WEEKDAY", 1): "(isodow(CAST($1 AS DATE)) - 1)",
    ("MICROSECOND", 1): "(microsecond($1) % 1000000)",
    ("MAKEDATE", 2): "(make_date(CAST($1 AS BIGINT), 1, 1) + CAST($2 - 1 AS INTEGER))",
    ("UNIX_TIMESTAMP", 1): "epoch(CAST($1 AS TIMESTAMP))",
}

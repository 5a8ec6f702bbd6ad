"""PIVOT and UNPIVOT as statements with an ORDER BY or LIMIT behind them, which sqlglot does not parse."""

from __future__ import annotations

from logql.sql.split import Token, tokens

_PIVOTS = ("PIVOT", "PIVOT_WIDER", "UNPIVOT", "PIVOT_LONGER")
_BEHIND = ("ORDER", "LIMIT", "OFFSET")


def with_pivot_inside(sql: str) -> str:
    """`sql` with a pivot that is followed by ORDER BY, LIMIT or OFFSET as a subquery in front of them.

    >>> with_pivot_inside("PIVOT t ON a USING sum(b) ORDER BY a")
    'FROM (PIVOT t ON a USING sum(b) ) ORDER BY a'
    """
    found = list(tokens(sql))
    start = _top_level(sql, found, _PIVOTS, 0)
    if start is None or not (start == 0 or sql[found[0].start : found[0].end].upper() == "WITH"):
        return sql
    behind = _top_level(sql, found, _BEHIND, start)
    if behind is None:
        return sql
    first, rest = found[start].start, found[behind].start
    return f"{sql[:first]}FROM ({sql[first:rest]}) {sql[rest:]}"


def _top_level(sql: str, found: list[Token], words: tuple[str, ...], start: int) -> int | None:
    """Number of the first token at or behind `start` that is one of `words` outside of parentheses."""
    depth = 0
    for number, token in enumerate(found[start:], start):
        text = sql[token.start : token.end].upper()
        if token.kind == "other":
            depth += (text == "(") - (text == ")")
        elif token.kind == "word" and depth == 0 and text in words:
            return number
    return None

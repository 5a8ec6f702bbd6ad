"""PIVOT as a statement with an ORDER BY or LIMIT behind it, or with conditions, which sqlglot does not parse."""

from __future__ import annotations

from collections.abc import Iterator

from logql.sql.split import Token, tokens

_PIVOTS = ("PIVOT", "PIVOT_WIDER", "UNPIVOT", "PIVOT_LONGER")
_BEHIND = ("ORDER", "LIMIT", "OFFSET")
#: What ends the list of what is pivoted on.
_NEXT = ("USING", "GROUP", "INTO", *_BEHIND)
#: What makes it a condition there, of words and characters, and what is no condition all the same.
_CONDITIONS = frozenset({"=", "<", ">", "IS", "LIKE", "ILIKE", "BETWEEN", "NOT", "AND", "OR"})
_LISTS = frozenset({"IN", "AS"})
_OPENING, _CLOSING = ("(", "[", "{"), (")", "]", "}")


def with_pivot_inside(sql: str) -> str:
    """`sql` with a pivot as a subquery in front of what follows it, and with its conditions in parentheses.

    >>> with_pivot_inside("PIVOT t ON a, b > 5 USING sum(b) ORDER BY a")
    'FROM (PIVOT t ON a, (b > 5) USING sum(b) ) ORDER BY a'
    """
    found = list(tokens(sql))
    start = _top_level(sql, found, _PIVOTS, 0)
    if start is None or not (start == 0 or sql[found[0].start : found[0].end].upper() == "WITH"):
        return sql
    marks = _around_conditions(sql, found, start)
    behind = _top_level(sql, found, _BEHIND, start)
    if behind is not None:
        marks = [(found[start].start, "FROM ("), *marks, (found[behind].start, ") ")]
    parts, end = [], 0
    for place, mark in marks:
        parts += [sql[end:place], mark]
        end = place
    return "".join([*parts, sql[end:]])


def _around_conditions(sql: str, found: list[Token], start: int) -> list[tuple[int, str]]:
    """Parentheses, and where they go, for the conditions that a pivot is on."""
    on = _top_level(sql, found, ("ON",), start)
    if on is None:
        return []
    marks: list[tuple[int, str]] = []
    first, words = on + 1, set[str]()
    for number, text in [*_outside(sql, found, on + 1), (len(found), "")]:
        if text in ("", ",", *_NEXT):
            if words & _CONDITIONS and not words & _LISTS:
                marks += [(found[first].start, "("), (found[number - 1].end, ")")]
            first, words = number + 1, set()
            if text != ",":
                break
        words.add(text)
    return marks


def _top_level(sql: str, found: list[Token], words: tuple[str, ...], start: int) -> int | None:
    """Number of the first token at or behind `start` that is one of `words` outside of parentheses."""
    return next((number for number, text in _outside(sql, found, start) if text in words), None)


def _outside(sql: str, found: list[Token], start: int) -> Iterator[tuple[int, str]]:
    """The tokens from `start` on that stand in no parentheses, with their numbers, in upper case."""
    depth = 0
    for number, token in enumerate(found[start:], start):
        text = sql[token.start : token.end].upper()
        depth -= text in _CLOSING
        if depth == 0 and text not in _CLOSING:
            yield number, text
        depth += text in _OPENING

"""One statement for many sets of parameters: an INSERT of one row of parameters, as an INSERT of a table's rows."""

from __future__ import annotations

from collections.abc import Sequence

from logql.sql.split import Token, tokens

#: The table whose columns p0, p1, ... hold the parameters.
SETS = "_lq_sets"


#: Words of statements whose rows see each other's effects, or give a result each.
_ROW_BY_ROW = frozenset({"RETURNING", "CONFLICT"})
#: Words that mean something else, or nothing, in the SELECT that reads the rows.
_ONLY_IN_VALUES = frozenset({"SELECT", "DEFAULT"})


def insert_of_table(sql: str, width: int) -> str | None:
    """`INSERT ... VALUES (?, ...)` with `width` parameters, reading rows of SETS instead; None for anything else.

    >>> insert_of_table("INSERT INTO t (a, b) VALUES (?, lower(?))", 2)
    'INSERT INTO t (a, b) SELECT p0, lower(p1) FROM _lq_sets'
    """
    found = list(tokens(sql))
    words = [sql[token.start : token.end].upper() for token in found]
    if words[:2] != ["INSERT", "INTO"] or words.count("VALUES") != 1 or not _ROW_BY_ROW.isdisjoint(words):
        return None
    start = words.index("VALUES")
    end = _closing(words, start + 1)
    if end is None or not _ONLY_IN_VALUES.isdisjoint(words[start:end]) or words[end + 1 : end + 2] == [","]:
        return None
    places = [token for token, word in zip(found, words, strict=True) if word == "?" and token.kind == "other"]
    inside = all(found[start].end <= token.start < found[end].start for token in places)
    if len(places) != width or not inside or "$" in words or ":" in words:
        return None
    row = _with_columns(sql, places, found[start + 1].end, found[end].start)
    return f"{sql[: found[start].start]}SELECT {row} FROM {SETS}{sql[found[end].end :]}"


def _closing(words: Sequence[str], start: int) -> int | None:
    """Where the bracket that opens at `start` closes."""
    depth = 0
    for number in range(start, len(words)):
        depth += (words[number] == "(") - (words[number] == ")")
        if depth == 0:
            return number if number > start else None
    return None


def _with_columns(sql: str, places: Sequence[Token], start: int, end: int) -> str:
    parts = []
    for number, place in enumerate(places):
        parts += [sql[start : place.start], f"p{number}"]
        start = place.end
    return "".join([*parts, sql[start:end]])

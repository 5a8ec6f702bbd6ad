"""Names near a name that means nothing, and the errors that say so."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any

from sqlglot import exp

from logql.errors import BindError, Error, ParseError


def nearest(name: str, candidates: Iterable[str], limit: int = 5) -> tuple[str, ...]:
    """The candidates that a person who typed `name` most likely meant, the best first."""
    folded: dict[str, str] = {}
    for candidate in candidates:
        folded.setdefault(candidate.lower(), candidate)
    wanted = name.lower()
    close = difflib.get_close_matches(wanted, folded, n=limit, cutoff=0.6)
    inside = sorted(c for c in folded if len(wanted) > 2 and (wanted in c or _near_a_word(wanted, c)))
    return tuple(folded[found] for found in dict.fromkeys([*close, *inside]))[:limit]


def _near_a_word(wanted: str, candidate: str) -> bool:
    """Whether a word of a name of several is near: `acu` to `val_acc`."""
    words = re.split(r"[\W_]+", candidate)
    return len(words) > 1 and bool(difflib.get_close_matches(wanted, words, n=1, cutoff=0.6))


def unknown(sql: str, node: exp.Expr, name: str, candidates: Iterable[str], hint: str | None = None) -> BindError:
    """The error for a column that no relation in sight has."""
    start, end = span(node)
    return BindError(
        f'column "{name}" is in none of the relations here',
        sql=sql if start is not None else None,
        start=start,
        end=end,
        candidates=nearest(name.rpartition(".")[2], candidates),
        hint=hint,
    )


def unknown_source(
    sql: str, node: exp.Expr, name: str, sources: Mapping[str, str], columns: Iterable[str]
) -> BindError:
    """The error for the first of several names, which is no relation in sight (`sources`: what each stands for)."""
    start, end = span(node)
    renamed = [alias for alias, relation in sources.items() if relation.lower() == name.lower()]
    here = ", ".join(f'"{alias}"' for alias in sources)
    return BindError(
        f'"{name}" is no relation here, and no column',
        sql=sql if start is not None else None,
        start=start,
        end=end,
        candidates=() if renamed else nearest(name, [*sources, *columns]),
        hint=f'"{name}" is called "{renamed[0]}" here' if renamed else f"relations here: {here}" if here else None,
    )


def at(error: type[Error], message: str, sql: str, node: exp.Expr, hint: str | None = None) -> Error:
    """An error of class `error` that points at `node`."""
    start, end = span(node)
    return error(message, sql=sql if start is not None else None, start=start, end=end, hint=hint)


def span(node: exp.Expr) -> tuple[int | None, int | None]:
    """Where `node` stands in its text, as start and end offsets; (None, None) where no part of it is known."""
    found = [part.meta for part in node.walk() if "start" in part.meta]
    if not found:
        return None, None
    return min(int(meta["start"]) for meta in found), max(int(meta["end"]) for meta in found) + 1


#: What a statement may begin with, for those who mistype it.
_BEGINNINGS = (
    "SELECT", "FROM", "WITH", "EXPLAIN", "FILL", "UNFILL", "CREATE", "DROP", "INSERT", "UPDATE", "DELETE", "COPY",
    "SET", "RESET", "SHOW", "DESCRIBE", "SUMMARIZE", "PIVOT", "UNPIVOT", "COMMENT", "VALUES",
)  # fmt: skip


def syntax_error(sql: str, found: Mapping[str, Any]) -> ParseError:
    """The error for text that sqlglot does not understand, in words of SQL's rather than of its syntax trees."""
    near, description = str(found.get("highlight") or ""), str(found.get("description") or "")
    word = sql.split(maxsplit=1)[0] if sql.split() else ""
    if word.isalpha() and word.upper() not in _BEGINNINGS and (meant := nearest(word, _BEGINNINGS, 1)):
        start = sql.index(word)
        message = f'syntax error at or near "{word}"'
        return ParseError(message, sql=sql, start=start, end=start + len(word), candidates=meant)
    message = f'syntax error at or near "{near}"'
    if description.startswith(("Required keyword", "Expected table name")):
        message = f'syntax error: something is missing behind "{near}"'
    elif description.startswith(("Expecting ", "Expected ")):
        message = f"syntax error: {description[0].lower()}{description[1:]}"
    return parse_error(sql, int(found.get("line") or 1), int(found.get("col") or 1) - max(1, len(near)) + 1, message)


def parse_error(sql: str, line: int, column: int, message: str) -> ParseError:
    """The error for text that is no SQL, at a 1-based line and column."""
    begin = sum(len(text) + 1 for text in sql.split("\n")[: line - 1])
    start = max(0, begin + column - 1)
    return ParseError(message, sql=sql, start=start, end=start + 1)

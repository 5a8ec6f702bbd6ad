"""The one splitter of statements, for the REPL, the command line and the DB-API."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator

_TOKEN = re.compile(
    r"""
    (?P<line>--[^\n]*)
  | (?P<block>/\*)
  | (?P<escape>[eE]'(?:[^'\\]|''|\\.)*'?)
  | (?P<string>'(?:[^']|'')*'?)
  | (?P<quoted>"(?:[^"]|"")*"?)
  | (?P<dollar>\$(?P<tag>[A-Za-z_]\w*)?\$)
  | (?P<word>[^\W\d]\w*)
  | (?P<number>\d[\w.]*)
  | (?P<space>\s+)
  | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)


class Token(tuple[str, int, int]):
    """(kind, start, end) of a piece of SQL: word, number, string, quoted, other, or `open` where its end is missing."""

    __slots__ = ()

    @property
    def kind(self) -> str:
        return self[0]

    @property
    def start(self) -> int:
        return self[1]

    @property
    def end(self) -> int:
        return self[2]


def tokens(sql: str) -> Iterator[Token]:
    """The tokens of `sql` without space and comments; a string or comment that does not end is of kind `open`."""
    position = 0
    while position < len(sql):
        match = _TOKEN.match(sql, position)
        if match is None:
            return
        kind, start, position = str(match.lastgroup), match.start(), match.end()
        if kind in ("tag", "dollar"):
            close = sql.find(match.group("dollar"), position)
            kind, position = ("string", close + len(match.group("dollar"))) if close >= 0 else ("open", len(sql))
        elif kind == "block":
            kind, position = _comment(sql, position)
        elif kind in ("string", "escape", "quoted"):
            kind = _closed(match.group(), kind)
        if kind not in ("line", "space", "comment"):
            yield Token((kind, start, position))


@functools.lru_cache(maxsize=8)
def all_tokens(sql: str) -> tuple[Token, ...]:
    """The tokens of a statement, kept: several stages ask for them."""
    return tuple(tokens(sql))


def split_statements(sql: str) -> list[str]:
    """The statements of `sql` without their semicolons; empty ones are left out."""
    if ";" not in sql:
        return [sql.strip()] if next(tokens(sql), None) is not None else []
    found, start, any_token = [], 0, False
    for token in tokens(sql):
        if token.kind == "other" and sql[token.start] == ";":
            if any_token:
                found.append(sql[start : token.start].strip())
            start, any_token = token.end, False
        else:
            any_token = True
    if any_token:
        found.append(sql[start:].strip())
    return found


def is_complete(sql: str) -> bool:
    """Whether `sql` ends with a semicolon outside of strings and comments, or is empty."""
    last = None
    for token in tokens(sql):
        last = token
    return last is None or (last.kind == "other" and sql[last.start] == ";")


#: What may follow a closing bracket among CTEs that have not come to their end.
_AMONG_CTES = frozenset({"AS", "USING", "MATERIALIZED", "NOT"})


def main_word(sql: str) -> str:
    """The word that says what a statement does, in upper case: its first one, or the one behind its CTEs."""
    depth, closed, first = 0, False, ""
    for token in all_tokens(sql):
        text = sql[token.start : token.end].upper()
        if token.kind == "word":
            first = first or text
            if first != "WITH" or (depth == 0 and closed and text not in _AMONG_CTES):
                return text
        depth += (token.kind == "other") * ((text == "(") - (text == ")"))
        closed = text == ")"
    return first


def _comment(sql: str, position: int) -> tuple[str, int]:
    depth = 1
    for match in re.compile(r"/\*|\*/").finditer(sql, position):
        depth += 1 if match.group() == "/*" else -1
        if depth == 0:
            return "comment", match.end()
    return "open", len(sql)


def _closed(text: str, kind: str) -> str:
    quote = '"' if kind == "quoted" else "'"
    body = text[1:] if text[0] == quote else text[2:]
    inner = body.replace("\\\\", "").replace("\\'", "") if kind == "escape" else body
    closed = inner.replace(quote * 2, "").endswith(quote)
    return ("string" if kind == "escape" else kind) if closed else "open"

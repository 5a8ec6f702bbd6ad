"""Edits of the original text, so that DuckDB gets what the user wrote wherever logql has nothing to say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from sqlglot import exp

from logql.sql.bound import BoundQuery, LogsRef, Patch
from logql.sql.names import span
from logql.sql.sources import Reference
from logql.sql.split import Token, tokens
from logql.sql.written import quoted

#: The word that makes a query of a relation's name, right before it.
_TABLE = re.compile(r"\bTABLE\s+\Z", re.IGNORECASE)


class Patches:
    """Gathers the edits of one statement; gives up where a construct cannot be edited in place."""

    def __init__(self, sql: str) -> None:
        self._sql = sql
        self._found: list[Patch] = []
        self._of: dict[int, Patch] = {}
        self._possible = True
        self._around = ("", "")

    def give_up(self) -> None:
        """The statement must be generated from its tree."""
        self._possible = False

    @contextmanager
    def as_query(self, before: str, behind: str) -> Iterator[None]:
        """Relations named meanwhile stand where only a query can be in their stead (DESCRIBE, COPY)."""
        self._around = (before, behind)
        yield
        self._around = ("", "")

    def table(self, reference: Reference, node: exp.Table, aliased: bool, when: bool) -> None:
        """A reference in a FROM: its name, and the AT clause behind it."""
        start, end = span(_name_only(node))
        if start is None or end is None:
            self._possible = False
            return
        if when:
            end = self._parenthesis(end)
        start, before, behind = self._place(start)
        suffix = "" if aliased else f" AS {quoted(node.name)}"
        self._of[reference.id] = Patch(start, end, prefix=before, suffix=suffix + behind)

    def reference(self, reference: Reference, ref: LogsRef) -> None:
        """What the reference turned out to deliver; a star over it must not see more than its columns."""
        known = set(reference.columns or ())
        if reference.starred and (known != set(ref.columns)):
            self._possible = False
        patch = self._of.get(reference.id)
        if patch is not None:
            self._found.append(replace(patch, ref=ref))

    def view(self, node: exp.Table, bound: BoundQuery, aliased: bool) -> None:
        """A view of the store's, in place of its name."""
        start, end = span(_name_only(node))
        if start is None or end is None or isinstance(node.this, exp.Anonymous):
            self._possible = False
            return
        start, before, behind = self._place(start)
        suffix = "" if aliased else f" AS {quoted(node.name)}"
        self._found.append(Patch(start, end, view=bound, prefix=before, suffix=suffix + behind))

    def _place(self, start: int) -> tuple[int, str, str]:
        """Where the edit of a relation's name at `start` begins, and what stands around it: TABLE x is FROM x."""
        before, behind = self._around
        word = _TABLE.search(self._sql, 0, start)
        return (word.start(), before or "FROM ", behind) if word else (start, before, behind)

    def call(self, node: exp.Expr, text: str) -> None:
        """A function call that becomes `text`."""
        start = node.meta.get("start")
        if start is None:
            self._possible = False
            return
        self._found.append(Patch(int(start), self._parenthesis(int(start)), text))

    def finish(self) -> tuple[Patch, ...] | None:
        """All edits from left to right, or None."""
        return tuple(sorted(self._found, key=lambda patch: patch.start)) if self._possible else None

    def _parenthesis(self, position: int) -> int:
        """End of the first parenthesis that opens at or behind `position`."""
        depth = 0
        for token in tokens(self._sql):
            if token.start >= position and token.kind == "other":
                depth += _depth(self._sql, token)
                if depth == 0 and self._sql[token.start] == ")":
                    return token.end
        self._possible = False
        return position


def _depth(sql: str, token: Token) -> int:
    return (sql[token.start] == "(") - (sql[token.start] == ")")


def _name_only(node: exp.Table) -> exp.Table:
    parts = {key: node.args[key] for key in ("this", "db", "catalog") if node.args.get(key) is not None}
    return exp.Table(**{key: part.copy() for key, part in parts.items()})

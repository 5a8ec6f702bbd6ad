"""DuckDB's SQL as sqlglot reads and writes it, but for what it would write as something else than a person wrote.

sqlglot's parsers and generators are not derived from here: where it is compiled (`sqlglot[c]`), they cannot be.
"""

from __future__ import annotations

import re
from typing import ClassVar

import sqlglot
from sqlglot import exp
from sqlglot.dialects.dialect import DialectType
from sqlglot.dialects.duckdb import DuckDB
from sqlglot.errors import ErrorLevel
from sqlglot.tokenizer_core import Token, TokenType

#: Functions whose arguments sqlglot drops, moves or changes: it is told to leave their calls as they are.
LEFT_ALONE = frozenset({
    "APPLY", "DATE_ADD", "DECODE", "JARO_WINKLER_SIMILARITY", "LOG2", "REDUCE",
    "REGEXP_EXTRACT", "REGEXP_EXTRACT_ALL", "REGEXP_REPLACE",
})  # fmt: skip
_TOUCHY = re.compile(rf"\b(?:{'|'.join(sorted(LEFT_ALONE))})\b|\[\s*::", re.IGNORECASE)


class LogqlDuckDB(DuckDB):
    """DuckDB's SQL; `?::` is a parameter with a cast here, and `<=>` the distance of two lists."""

    class Tokenizer(DuckDB.Tokenizer):
        """DuckDB's, without words and operators of other systems."""

        KEYWORDS: ClassVar = {
            **{word: kind for word, kind in DuckDB.Tokenizer.KEYWORDS.items() if word not in ("?::", "APPLY")},
            "<=>": TokenType.LLRR_ARROW,
        }

    def tokenize(self, sql: str, dialect: DialectType = None) -> list[Token]:
        """The tokens of a text, with a mark behind each call that the parser is to leave as it is."""
        found = super().tokenize(sql, dialect)
        return _marked(found) if _TOUCHY.search(sql) else found

    def to_json_path(self, path: exp.Expr | None) -> exp.Expr | None:
        """A path as it was written: one without `$` is the name of a key, whatever characters it has."""
        return path


def read(sql: str) -> exp.Expr:
    """The syntax tree of a statement. Raises sqlglot's errors."""
    tree = sqlglot.parse_one(sql, dialect=LogqlDuckDB)
    if _TOUCHY.search(sql):
        for call in tree.find_all(exp.Anonymous):
            call.comments = [text for text in call.comments or () if text != exp.SQLGLOT_ANONYMOUS] or None
    if "<=>" in sql:
        for node in list(tree.find_all(exp.DistanceNd)):
            node.replace(exp.CosineDistance(this=node.this, expression=node.expression))
    return _without_marks(tree) if "any_value" in sql.lower() else tree


def write(tree: exp.Expr, *, copy: bool = True) -> str:
    """The text of a tree, which is of no further use without a copy; of what sqlglot is not sure, it says nothing."""
    return tree.sql(dialect=LogqlDuckDB, copy=copy, unsupported_level=ErrorLevel.IGNORE)


def _marked(found: list[Token]) -> list[Token]:
    """The tokens with the parser's own mark for calls to leave alone, and with the `::` of a slice as two colons."""
    marked: list[Token] = []
    calls: list[bool] = []
    kind: TokenType | None = None
    text = ""
    for token in found:
        before, kind = kind, token.token_type
        if kind is TokenType.L_PAREN:
            calls.append(text.upper() in LEFT_ALONE)
        elif kind is TokenType.R_PAREN and calls and calls.pop():
            token.comments.append(exp.SQLGLOT_ANONYMOUS)
        elif kind is TokenType.DCOLON and before is TokenType.L_BRACKET:
            marked.append(Token(TokenType.COLON, ":", token.line, token.col - 1, token.start, token.start))
            token = Token(TokenType.COLON, ":", token.line, token.col, token.end, token.end)
        marked.append(token)
        text = token.text
    return marked


def _without_marks(tree: exp.Expr) -> exp.Expr:
    """The tree without the IGNORE NULLS that sqlglot adds to `any_value`, and warns of when it writes it."""
    for node in list(tree.find_all(exp.AnyValue)):
        if isinstance(node.parent, exp.IgnoreNulls):
            node.parent.replace(node)
    return tree

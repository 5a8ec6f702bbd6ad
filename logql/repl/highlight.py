"""SQL as the prompt shows it: keywords, strings, numbers, comments, functions; virtual names told apart."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prompt_toolkit.document import Document
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.lexers import Lexer

from logql.repl.names import Names
from logql.sql.split import Token, tokens

_KINDS = {"string": "class:sql.string", "quoted": "class:sql.quoted", "number": "class:sql.number"}


class SqlLexer(Lexer):
    """Colours statements by logql's own tokens; lines that are commands of the prompt get one colour."""

    def __init__(self, names: Callable[[], Names]) -> None:
        self._names = names

    def lex_document(self, document: Document) -> Callable[[int], StyleAndTextTuples]:
        """Fragments of each line."""
        lines = list(split_lines(fragments(document.text, self._names())))

        def line(number: int) -> StyleAndTextTuples:
            return lines[number] if number < len(lines) else []

        return line


def fragments(text: str, names: Names) -> Iterator[tuple[str, str]]:
    """(style, text) pieces that together are `text`."""
    if text.lstrip()[:1] in (".", "\\"):
        yield "class:sql.command", text
        return
    keywords, virtual = frozenset(names.keywords), names.virtual
    end = 0
    for token in tokens(text):
        yield from _between(text[end : token.start])
        end = token.end
        yield _style(text, token, keywords, virtual), text[token.start : end]
    yield from _between(text[end:])


def split_lines(pieces: Iterator[tuple[str, str]]) -> Iterator[StyleAndTextTuples]:
    """The pieces by line."""
    line: StyleAndTextTuples = []
    for style, text in pieces:
        first, *rest = text.split("\n")
        line.append((style, first))
        for part in rest:
            yield line
            line = [(style, part)]
    yield line


def _style(text: str, token: Token, keywords: frozenset[str], virtual: frozenset[str]) -> str:
    word = text[token.start : token.end]
    if word.strip('"').lower() in virtual:
        return "class:sql.virtual"
    if token.kind == "open":
        return "class:sql.comment" if word.startswith("/*") else "class:sql.string"
    if token.kind != "word":
        return _KINDS.get(token.kind, "")
    if text[token.end : token.end + 1] == "(" and word.upper() not in ("AS", "IN", "OVER", "VALUES", "AND", "OR"):
        return "class:sql.function"
    return "class:sql.keyword" if word.upper() in keywords else ""


def _between(text: str) -> Iterator[tuple[str, str]]:
    """Space and comments between tokens."""
    if text:
        yield ("class:sql.comment" if text.strip() else ""), text

"""Colours of statements: the pieces are the text, and each kind has its style."""

from __future__ import annotations

import pytest
from prompt_toolkit.document import Document

from logql.repl.highlight import SqlLexer, fragments
from logql.repl.names import Name, Names

NAMES = Names(logged=(Name("grad_norm", "virtual"), Name("loss", "recorded")))
TEXT = "SELECT max(loss), grad_norm, 'it''s' /* why */ FROM \"a b\" WHERE x > 1.5 -- end\n AND y = 'open"


def test_pieces_are_the_text() -> None:
    assert "".join(text for _, text in fragments(TEXT, NAMES)) == TEXT


@pytest.mark.parametrize(
    ("text", "style"),
    [
        ("SELECT", "class:sql.keyword"),
        ("max", "class:sql.function"),
        ("loss", ""),
        ("grad_norm", "class:sql.virtual"),
        ("'it''s'", "class:sql.string"),
        ('"a b"', "class:sql.quoted"),
        ("1.5", "class:sql.number"),
        ("'open", "class:sql.string"),
        (" -- end\n ", "class:sql.comment"),
    ],
)
def test_styles(text: str, style: str) -> None:
    assert (style, text) in list(fragments(TEXT, NAMES))


def test_lines() -> None:
    line = SqlLexer(lambda: NAMES).lex_document(Document("SELECT\n1;"))
    assert [text for _, text, *_ in line(0)] == ["SELECT", ""]
    assert "".join(text for _, text, *_ in line(1)) == "1;"
    assert line(2) == []
    assert list(fragments(".mode csv", NAMES)) == [("class:sql.command", ".mode csv")]

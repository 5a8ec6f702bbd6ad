"""Splitting text into statements."""

from __future__ import annotations

import pytest

from logql.sql.split import is_complete, split_statements


@pytest.mark.parametrize(
    ("text", "statements"),
    [
        ("", []),
        (" ; ;", []),
        ("SELECT 1", ["SELECT 1"]),
        ("SELECT 1; SELECT 2;", ["SELECT 1", "SELECT 2"]),
        ("SELECT ';' AS \"a;b\"; SELECT 2", ["SELECT ';' AS \"a;b\"", "SELECT 2"]),
        ("SELECT 'it''s; x'; 2", ["SELECT 'it''s; x'", "2"]),
        ("SELECT 1 -- no; end\n; SELECT 2", ["SELECT 1 -- no; end", "SELECT 2"]),
        ("SELECT /* ; /* ; */ ; */ 1; SELECT 2", ["SELECT /* ; /* ; */ ; */ 1", "SELECT 2"]),
        ("SELECT $$a;b$$; SELECT $x$;$x$", ["SELECT $$a;b$$", "SELECT $x$;$x$"]),
        ("SELECT E'a\\';b'; SELECT 2", ["SELECT E'a\\';b'", "SELECT 2"]),
        ("-- nothing;", []),
    ],
)
def test_split(text: str, statements: list[str]) -> None:
    assert split_statements(text) == statements


@pytest.mark.parametrize(
    ("text", "complete"),
    [("", True), ("SELECT 1", False), ("SELECT 1;", True), ("SELECT ';", False), ("SELECT 1; -- x", True),
     ("SELECT /* ;", False), ("SELECT 1; SELECT", False)],
)  # fmt: skip
def test_complete(text: str, complete: bool) -> None:
    assert is_complete(text) is complete

"""Splitting text into statements."""

from __future__ import annotations

import pytest

from logql.sql.split import is_complete, main_word, split_statements


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


@pytest.mark.parametrize(
    ("sql", "word"),
    [
        ("", ""),
        ("-- a remark\nselect 1", "SELECT"),
        ("(SELECT 1) UNION (SELECT 2)", "SELECT"),
        ("WITH a AS (SELECT 1) INSERT INTO t FROM a", "INSERT"),
        (
            "WITH RECURSIVE a(n) USING KEY (n) AS NOT MATERIALIZED (SELECT ')'), delete AS (FROM b) update t SET a = 1",
            "UPDATE",
        ),
        ("WITH a AS (DELETE FROM t RETURNING a) FROM a", "FROM"),
        ("WITH a AS (SELECT 1) (SELECT 2)", "WITH"),
    ],
)
def test_main_word(sql: str, word: str) -> None:
    assert main_word(sql) == word

"""What is offered at the cursor: by the position in the statement, recorded and virtual names told apart."""

from __future__ import annotations

import pytest

from logql.repl.completion import Candidate, complete, find_scope, quote
from logql.repl.meta_completion import complete_command
from logql.repl.names import Name, Names

LOGS = (
    Name("run", "system", "VARCHAR"),
    Name("version", "system", "VARCHAR"),
    Name("epoch", "loop", "BIGINT"),
    Name("loss", "recorded", "DOUBLE epoch"),
    Name("train/loss", "recorded", "DOUBLE epoch.step"),
    Name("grad_norm", "virtual", "in today's source"),
)
NAMES = Names(
    relations={
        "logs": LOGS,
        "runs": (Name("status", "system"), Name("run", "system")),
        "mine": (Name("a b", "column"),),
    },
    kinds={"logs": "relation", "runs": "relation", "epoch": "loop", "mine": "table"},
    logged=LOGS[3:],
    functions=("fidelity", "origin", "reason", "round", "row_number"),
    versions=("3f2a90c1d4e5",),
)


def at(text: str) -> list[Candidate]:
    before, _, after = text.partition("|")
    return complete(before, after, NAMES)


def texts(text: str) -> list[str]:
    return [candidate.text for candidate in at(text)]


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("SELECT gr|", "grad_norm"),
        ("SELECT lo|", "loss"),
        ("SELECT max(lo| FROM logs", "loss"),
        ("SELECT l.lo| FROM logs l", "loss"),
        ("SELECT l.lo| FROM history.logs AS l", "loss"),
        ("SELECT st| FROM runs", "status"),
        ("SELECT run FROM ru|", "runs"),
        ("SELECT 1 FROM logs JOIN ru|", "runs"),
        ("SELECT 1 FROM logs, ru|", "runs"),
        ("SELECT 1 FROM history.|", "logs"),
        ("SELECT 1 FROM main.|", "mine"),
        ("WITH best AS (SELECT 1) SELECT * FROM be|", "best"),
        ("SELECT epoch FROM logs WHERE gr|", "grad_norm"),
        ("SELECT epoch FROM logs ORDER BY lo|", "loss"),
        ("SELECT 1; SELECT gr|", "grad_norm"),
        ("SEL|", "SELECT"),
        ("sel|", "select"),
        ("SELECT 1 fr|", "from"),
        ("SELECT rou|", "round("),
        ("SELECT fid|", "fidelity("),
        ("SET rep|", "replay"),
        ("SET replay = |", "'ask'"),
        ("SET replay = 'a|", "'ask'"),
        ("SHOW replay_b|", "replay_budget"),
        ("FILL gr|", "grad_norm"),
        ("FILL loss, gr|", "grad_norm"),
        ("COMMENT ON COLUMN lo|", "loss"),
        ("COMMENT ON VERSION |", "'3f2a90c1d4e5'"),
    ],
)
def test_the_likeliest_comes_first(text: str, first: str) -> None:
    assert texts(text)[:1] == [first]


def test_kinds_are_told_apart() -> None:
    found = {candidate.text: candidate.kind for candidate in at("SELECT |")}
    assert (found["loss"], found["grad_norm"], found["epoch"], found["run"]) == (
        "recorded",
        "virtual",
        "loop",
        "system",
    )


def test_names_that_need_quotes_get_them() -> None:
    assert '"train/loss"' in texts("SELECT tr|")
    assert texts('SELECT "tra|') == ['"train/loss"']
    assert texts("SELECT m.| FROM mine m") == ['"a b"']
    assert [quote(name) for name in ("loss", "Loss", "order", "a-b", 'x"y')] == [
        "loss",
        "Loss",
        '"order"',
        '"a-b"',
        '"x""y"',
    ]


def test_names_with_the_word_inside_come_after_those_that_start_with_it() -> None:
    assert texts("SELECT lo|")[:2] == ["loss", '"train/loss"']
    assert texts("SELECT norm|") == ["grad_norm"]


@pytest.mark.parametrize("text", ["SELECT 'lo|", "SELECT 1 -- lo|", "SELECT /* lo|", "SELECT 12|"])
def test_nothing_inside_strings_comments_and_numbers(text: str) -> None:
    assert at(text) == []


def test_what_is_replaced_is_the_word_before_the_cursor() -> None:
    assert {candidate.length for candidate in at("SELECT gra|")} == {3}
    assert {candidate.length for candidate in at("SELECT |")} == {0}


def test_scope_knows_aliases_and_common_table_expressions() -> None:
    scope = find_scope('WITH a AS (SELECT 1) SELECT * FROM history.logs l, runs AS "R r" LEFT JOIN epoch USING (run)')
    assert scope.sources == {"l": "logs", "r r": "runs", "epoch": "epoch"}
    assert scope.ctes == ("a",)


@pytest.mark.parametrize(
    ("text", "first"),
    [
        (".mo", ".mode"),
        ("\\ti", "\\timing"),
        (".mode mark", "markdown"),
        (".columns gr", "grad_norm"),
        ("\\d log", "logs"),
        (".patch grad_norm 3f", "3f2a90c1d4e5"),
        (".explain SELECT gr", "grad_norm"),
        (".timer ", "on"),
    ],
)
def test_commands_and_their_arguments(text: str, first: str) -> None:
    assert [candidate.text for candidate in complete_command(text, NAMES)][:1] == [first]


def test_half_a_thousand_columns_are_fast_enough_for_each_key() -> None:
    many = Names(relations={"logs": tuple(Name(f"metric_{i}", "recorded") for i in range(2000))})
    assert len(complete("SELECT metric_1", " FROM logs", many)) == 1111

"""What the prompt does with texts, on a real store and without a terminal."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import logql.session
from logql.repl.live import by_version
from logql.repl.meta import ALIASES, COMMANDS
from logql.repl.shell import Shell, steps


class Talk:
    """A shell with what it wrote, and answers to give."""

    def __init__(self, store: Path, answers: list[str] | None = None) -> None:
        self.out, self.err = io.StringIO(), io.StringIO()
        self.questions: list[str] = []
        self._answers = answers
        ask = self._ask if answers is not None else None
        self.shell = Shell(str(store), out=self.out, err=self.err, ask=ask)

    def _ask(self, question: str) -> str:
        self.questions.append(question)
        assert self._answers is not None
        return self._answers.pop(0)

    def __call__(self, text: str) -> str:
        """Run a text; what came out, results and all else together."""
        for stream in (self.out, self.err):
            stream.seek(0)
            stream.truncate()
        self.shell.run(text)
        return self.out.getvalue() + self.err.getvalue()


@pytest.fixture
def talk(history: Path) -> Iterator[Talk]:
    found = Talk(history / ".logql", [])
    found.shell.look.timer = False
    yield found
    found.shell.close()


@pytest.fixture
def talking() -> Iterator[Callable[..., Talk]]:
    made: list[Talk] = []

    def make(*arguments: object) -> Talk:
        made.append(Talk(*arguments))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for one in made:
        one.shell.close()


def test_steps() -> None:
    text = "SELECT 1;\n.mode csv\n-- why\n.timer on\nSELECT\n.5;SELECT 'a\n.mode x';\n\\d logs\n SELECT 3"
    assert list(steps(text)) == [
        "SELECT 1",
        ".mode csv",
        ".timer on",
        "-- why\nSELECT\n.5",
        "SELECT 'a\n.mode x'",
        "\\d logs",
        "SELECT 3",
    ]


def test_results_notices_and_errors(talk: Talk) -> None:
    assert "│      8 │" in talk("SELECT count(*) AS n FROM logs WHERE acc > 2 OR epoch >= 0;")
    assert "Did you mean: acc" in talk("SELECT ac FROM logs;")
    assert "^" in talk("SELECT ac FROM logs;")
    assert "Parser Error" in talk("SELEC 1;")
    assert "Traceback" not in talk("SELEC 1;")
    assert "1 row" in talk("SELECT 1;")


def test_several_statements_go_on_after_an_error(talk: Talk) -> None:
    told = talk("SELECT nothing_here; SELECT 41 + 1 AS answer;")
    assert "answer" in told
    assert "42" in told


def test_null_is_told_from_text(talk: Talk) -> None:
    told = talk("SELECT 'NULL' AS a, NULL AS b;")
    assert "'NULL'" in told
    talk(".nullvalue ∅")
    assert "∅" in talk("SELECT NULL AS b;")


def test_own_tables(talk: Talk) -> None:
    talk("CREATE TEMP TABLE mine AS SELECT 1 AS x;")
    assert "1 row changed" in talk("INSERT INTO mine VALUES (2);")
    assert "mine" in talk(".tables")
    assert "x" in talk("\\d mine")
    talk("DROP TABLE mine;")


def test_relations_columns_and_names(talk: Talk) -> None:
    tables = talk(".tables")
    for name in ("logs", "epoch", "step", "runs", "versions"):
        assert f"│ {name} " in tables
    names = talk(".columns")
    assert "virtual" in next(line for line in names.splitlines() if " half " in line)
    assert "recorded" in next(line for line in names.splitlines() if " acc " in line)
    assert "train/loss" in talk("\\d step")
    assert "train.py" in talk(".columns half")
    assert "there is no relation or logged name 'acx'" in talk(".columns acx")
    assert "Did you mean: acc" in talk(".columns acx")


def test_runs_versions_fills_and_plans(talk: Talk) -> None:
    assert talk(".runs").count("finished") == 2
    assert talk(".runs 1").count("finished") == 1
    assert "first" in talk(".versions")
    assert "fidelity" in talk(".fills")
    assert "replay" in talk(".explain SELECT half FROM logs")
    assert "'x' is no number of rows" in talk(".runs x")


def test_patch(talk: Talk) -> None:
    talk(".mode jsonlines")
    version = json.loads(talk("SELECT version FROM versions;"))["version"]
    assert '+    logql.log("half", lr / 2)' in talk(f".patch half {version[:7]}")
    assert "patch needs NAME VERSION" in talk(".patch half")


def test_modes_and_files(talk: Talk, tmp_path: Path) -> None:
    talk(".mode csv")
    assert talk("SELECT 1 AS a;") == "a\n1\n"
    assert "there is no mode" in talk(".mode excel")
    assert "mode is csv" in talk(".mode")
    target = tmp_path / "with space.csv"
    assert talk(f".once '{target}'\nSELECT 2 AS a;") == ""
    assert target.read_text() == "a\n2\n"
    assert talk("SELECT 3 AS a;") == "a\n3\n"
    assert talk(f".output {tmp_path}/all.csv\nSELECT 4 AS a; SELECT 5 AS a;\n.output\nSELECT 6 AS a;") == "a\n6\n"
    assert (tmp_path / "all.csv").read_text() == "a\n4\na\n5\n"
    talk("\\x")
    assert talk("SELECT 1 AS a;") == "a = 1\n"
    assert "Error" in talk(f".output {tmp_path}/missing/x.csv")


def test_read_stops_at_an_error(talk: Talk, tmp_path: Path) -> None:
    script = tmp_path / "some.sql"
    script.write_text(".mode csv\nSELECT 1 AS a;\nSELECT oops;\nSELECT 2 AS a;")
    told = talk(f".read {script}")
    assert told.startswith("a\n1\n")
    assert "oops" in told
    assert "a\n2" not in told
    assert "Error" in talk(".read nowhere.sql")


def test_rows_left_out(talk: Talk) -> None:
    assert "1,000 rows (40 shown)" in talk(".maxrows 40\nSELECT * FROM range(1000);")
    assert "(4 shown)" in talk(".maxrows 4\nSELECT * FROM range(1000);")
    assert "not 'some'" in talk(".maxrows some")


def test_commands_by_their_start_and_unknown_ones(talk: Talk) -> None:
    assert "timer is on" in talk(".tim on")
    assert "Run time" in talk("SELECT 1;")
    assert "Did you mean: .read, .runs" in talk(".r")
    assert "there is no command .nonsense" in talk(".nonsense")
    assert "Did you mean: .tables" in talk(".tabels")
    assert "timer is on or off" in talk(".timer maybe")


def test_help_names_every_command(talk: Talk) -> None:
    told = talk(".help")
    assert all(f".{name}" in told for name in COMMANDS)
    assert "newest N runs" in talk(".help runs")
    assert set(ALIASES.values()) <= set(COMMANDS)


def test_show(talk: Talk) -> None:
    talk("SET replay_budget = 7;")
    told = talk(".show")
    assert "replay_budget" in told
    assert "duckbox" in told


def test_plot(talk: Talk, tmp_path: Path) -> None:
    told = talk(".plot SELECT lr, run, epoch, acc FROM logs")
    assert "(acc)" in told
    assert "(epoch)" in told
    assert "Legend" in told
    talk(f".plot y=acc {tmp_path}/c.svg")
    assert (tmp_path / "c.svg").read_text().startswith("<svg")
    assert "has no column 'nothing'" in talk(".plot y=nothing")
    assert "no numeric column" in talk(".plot SELECT 'a' AS x")


def test_open(talk: Talk, fresh: Path, tmp_path: Path) -> None:
    before = talk.shell.backend.store
    assert "there is no store" in talk(f".open {tmp_path}/nowhere")
    assert talk.shell.backend.store == before
    assert talk("SELECT 1 AS still;").count("still") == 1
    talk(f".open {fresh}")
    assert talk.shell.backend.store == str(fresh / ".logql")
    assert "│      2 │" in talk("SELECT count(*) AS n FROM runs;")


@pytest.mark.parametrize("text", [".quit", ".exit", "\\q", "quit", "exit;", "SELECT 1;\n.q\nSELECT 2;"])
def test_leaving(talk: Talk, text: str) -> None:
    told = talk(text)
    assert not talk.shell.run(text)
    assert "2" not in told


def test_ask_shows_the_plan_and_takes_details(
    fresh: Path, talking: Callable[..., Talk], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logql.session, "ASK_ABOVE_S", -1.0)
    talk = talking(fresh / ".logql", ["details", "n", "y"])
    refused = talk("SELECT epoch, half FROM logs WHERE epoch = 1 ORDER BY run;")
    assert len(talk.questions) == 2
    assert talk.questions[0].startswith("Replay 2 segments, about ")
    assert "checkpoints" in refused
    assert "train.py:" in refused
    assert "stay NULL" in refused
    agreed = talk("SELECT epoch, half FROM logs WHERE epoch = 1 ORDER BY run;")
    assert "0.25" in agreed
    assert "0.125" in agreed


def test_a_script_is_never_asked(fresh: Path, talking: Callable[..., Talk], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logql.session, "ASK_ABOVE_S", -1.0)
    talk = talking(fresh / ".logql")
    assert "0.25" in talk("SELECT half FROM logs WHERE epoch = 1 AND lr = 0.5;")
    told = talk("SELECT oops;\nSELECT 1 AS never;")
    assert "never" not in told
    assert talk.shell.failed
    by = by_version(talk.shell.backend.fills())
    assert len(by) == 1
    assert by[0].endswith(" exact")
    assert "iterations done" in by[0]
    assert "watch needs a terminal" in talk(".watch 1 SELECT 1")


def test_a_result_too_large_to_keep_is_shown_and_told(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("logql.execute.engine.HELD_BYTES", 10_000)
    shown = talk(".maxrows 40\nSELECT range AS n FROM range(1000000);")
    assert "1,000,000 rows (40 shown)" in shown
    assert "│ 999999 │" in shown
    assert "too large to keep" in talk(".page")
    assert "could not convert" in talk("SELECT ('x' || range)::INT AS n FROM range(10);").lower()
    assert talk(".mode csv\nSELECT range AS n FROM range(300000);").count("\n") == 300_001

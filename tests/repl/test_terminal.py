"""The prompt in a real terminal: typed into as a person does, looked at as a person does."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.repl.conftest import NEW
from tests.repl.terminal import TOOLBAR, Terminal, Tmux

BOX = """\
logql> SELECT lr, epoch, half
   ... FROM logs WHERE epoch < 2
   ... ORDER BY run, epoch;
┌────────┬────────┬────────┐
│     lr │  epoch │   half │
│ double │ bigint │ double │
├────────┼────────┼────────┤
│    0.5 │      0 │   0.25 │
│    0.5 │      1 │   0.25 │
│   0.25 │      0 │  0.125 │
│   0.25 │      1 │  0.125 │
└────────┴────────┴────────┘
4 rows"""


@pytest.fixture
def state(tmp_path: Path) -> dict[str, str]:
    return {"XDG_STATE_HOME": str(tmp_path / "state"), "NO_COLOR": "1"}


Open = Callable[..., Terminal]


@pytest.fixture(params=["pyte", pytest.param("tmux", marks=pytest.mark.slow)])
def open_terminal(request: pytest.FixtureRequest, state: dict[str, str], tmp_path: Path) -> Open:
    """Opens a terminal in a project, with further variables of its environment."""
    if request.param == "tmux" and shutil.which("tmux") is None:
        pytest.skip("needs tmux")

    def open_in(project: Path, **variables: str) -> Terminal:
        environment = {**state, **variables}
        if request.param == "pyte":
            return Terminal(project, environment=environment)
        return Tmux(project, directory=Path(tempfile.mkdtemp(dir=tmp_path)), environment=environment)

    return open_in


@pytest.fixture
def terminal(history: Path, open_terminal: Open) -> Iterator[Terminal]:
    with open_terminal(history) as found:
        found.wait_for(TOOLBAR)
        yield found


def leave(terminal: Terminal) -> None:
    assert terminal.exit_code("\x04") == 0


def test_a_statement_over_several_lines_replays_and_answers(terminal: Terminal) -> None:
    terminal.type("SELECT lr, epoch, half\rFROM logs WHERE epoch < 2\rORDER BY run, epoch;\r")
    shown = terminal.wait_for("Run time")
    assert shown.startswith(BOX), shown
    leave(terminal)


def test_completion_tells_recorded_from_virtual(terminal: Terminal) -> None:
    terminal.wait_for("budget 300 s")
    terminal.type("SELECT count(*) FROM runs;\r")
    terminal.wait_for("Run time")
    terminal.type("SELECT ha")
    assert "virtual in today's source" in terminal.wait_for("half  ")
    terminal.type("\t")
    terminal.wait_for("SELECT half")
    terminal.type("\x03SELECT ac")
    assert "recorded DOUBLE epoch" in terminal.wait_for("acc  ")
    terminal.type("\x03")
    leave(terminal)


def test_history_is_searched(terminal: Terminal, history: Path, open_terminal: Open) -> None:
    terminal.type("SELECT 40 + 2 AS answer;\r")
    terminal.wait_for("42")
    leave(terminal)
    with open_terminal(history) as second:
        second.wait_for("logql>")
        second.type("S")  # the history is offered once it was read behind the prompt
        second.wait_for("SELECT 40 + 2 AS answer;")
        second.type("\x03\x12answ")
        second.wait_for("SELECT 40 + 2 AS answer;")
        second.type("\r\r")
        second.wait_for("42 │")
        leave(second)


def test_two_hundred_lines_pasted(terminal: Terminal) -> None:
    lines = "\n".join(f"SELECT '{'ü' if number % 2 else '日本'}' AS t, {number} AS n;" for number in range(200))
    terminal.type(".timer off\r.mode list\r")
    terminal.wait_for("timer is off")
    terminal.type(f"\x1b[200~{lines}\x1b[201~\r")
    shown = terminal.wait_for("ü|199")
    assert "日本|198" in shown
    assert "Error" not in shown
    leave(terminal)


def test_a_query_is_cancelled_and_the_session_goes_on(terminal: Terminal) -> None:
    terminal.type("SELECT 1 AS first;\r")  # the engine is there from now on
    terminal.wait_for("1 │")
    terminal.wait_for(TOOLBAR)
    terminal.type("SELECT count(*) FROM range(100000000000) a, range(100000) b;\r")
    terminal.wait_busy()
    terminal.type("\x03")
    terminal.wait_for("Interrupted")  # and nothing of the statement runs on: it would never end
    terminal.type("SELECT 40 + 2 AS answer;\r")
    terminal.wait_for("42 │")
    leave(terminal)


def test_a_replay_shows_progress_and_is_cancelled(fresh: Path, open_terminal: Open) -> None:
    (fresh / "train.py").write_text(NEW)
    with open_terminal(fresh, PAUSE="2.0", LOGQL_ENV="") as terminal:
        terminal.wait_for("logql>")
        terminal.type("SET replay_workers = 1;\rSELECT epoch, half FROM logs;\r")
        shown = terminal.wait_for("(Ctrl-C cancels)")
        assert "replaying [" in shown
        terminal.wait_for("running")
        terminal.type("\x03")
        shown = terminal.wait_for("Interrupted: the query was cancelled; what was filled is kept")
        assert "replaying [" not in shown
        assert "Traceback" not in shown
        assert children(terminal.pid) == []
        terminal.type("SET replay = 'off';\r")
        terminal.wait_for("replay off")
        leave(terminal)


def children(pid: int) -> list[str]:
    """Processes that a process has started and that still run."""
    return [child for task in os.listdir(f"/proc/{pid}/task") for child in started(pid, task)]


def started(pid: int, task: str) -> list[str]:
    """Processes that one thread has started."""
    try:
        with open(f"/proc/{pid}/task/{task}/children") as file:
            return file.read().split()
    except OSError:
        return []


def test_tables_follow_the_window(terminal: Terminal) -> None:
    terminal.type("SELECT repeat('x', 500) AS long, 1 AS n;\r")
    shown = terminal.wait_for("Run time")
    assert max(map(len, shown.splitlines())) == 100
    terminal.resize(60, 40)
    terminal.type("SELECT repeat('x', 500) AS long, 2 AS n;\r")
    shown = terminal.wait_for("2 │")
    widths = [len(line) for line in shown.splitlines() if line.startswith("│ xxx")]
    assert widths[-1] == 60
    leave(terminal)


def test_plot_watch_and_errors(terminal: Terminal) -> None:
    terminal.type(".plot SELECT lr, run, epoch, acc FROM logs\r")
    shown = terminal.wait_for("Legend")
    assert "-> (epoch)" in shown
    terminal.type("\x0cSELECT nothing FROM logs;\r")
    shown = terminal.wait_for("^^^^^^^")
    assert "Binder Error" in shown
    terminal.type(".watch 0.2 SELECT 40 + 2 AS answer\r")
    terminal.wait_for("42")
    terminal.type("\x03")
    terminal.wait_for(TOOLBAR)
    terminal.type("SELECT 'on' AS goes;\r")
    terminal.wait_for("goes ")
    leave(terminal)


def test_ten_million_rows_do_not_fill_memory(terminal: Terminal) -> None:
    terminal.type("SELECT range AS n FROM range(3000000);\r")
    terminal.wait_for("3,000,000 rows (40 shown)")
    before = memory(terminal.pid)
    for number in range(3):
        terminal.type(f"SELECT range + {number} AS n FROM range(10000000);\r")
        terminal.wait_for(f"{10_000_000 + number - 1} │")
        terminal.wait_for(TOOLBAR)
    assert memory(terminal.pid) < before + 60e6  # the rows of one result are 80e6
    leave(terminal)


def memory(pid: int) -> float:
    """Bytes of memory that a process has at hand."""
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_the_pager_shows_all_rows(history: Path, open_terminal: Open) -> None:
    with open_terminal(history, PAGER="cat") as terminal:
        terminal.wait_for("logql>")
        terminal.type(".pager on\rSELECT * FROM range(300);\r")
        shown = terminal.wait_for("300 rows")
        assert "shown" not in shown
        assert "│    298 │" in shown
        leave(terminal)


def test_no_store_is_told_at_once(tmp_path: Path, state: dict[str, str]) -> None:
    with Terminal(tmp_path, environment=state) as terminal:
        assert terminal.exit_code() == 1
        assert "there is no store" in terminal.text()
        assert "Traceback" not in terminal.text()

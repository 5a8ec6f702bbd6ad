"""What the prompt decides by itself: when Enter runs, what stands at the foot, where the history is."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest

from logql.repl.prompt import history_path, is_finished, toolbar
from logql.repl.shell import Shell
from tests.repl.conftest import ROOT


@pytest.mark.parametrize(
    ("text", "finished"),
    [
        ("SELECT 1;", True),
        ("SELECT 1; -- why", True),
        ("SELECT 1", False),
        ("SELECT ';", False),
        ("SELECT $$;", False),
        ("SELECT /* ;", False),
        ("SELECT 1; SELECT 2", False),
        (".tables", True),
        ("\\d logs", True),
        ("quit", True),
        ("", True),
    ],
)
def test_enter_runs_what_is_finished(text: str, finished: bool) -> None:
    assert is_finished(text) is finished


def test_the_foot_tells_store_replay_budget_and_live_runs(history: Path) -> None:
    shell = Shell(str(history / ".logql"), out=io.StringIO(), err=io.StringIO(), ask=lambda _: "n")
    try:
        foot = "".join(text for _, text, *_ in toolbar(shell))
        end = foot.split("  ")[0].removeprefix(" ").removeprefix("…")
        assert str(history / ".logql").endswith(end)
        assert end.endswith(".logql")
        assert len(foot) <= 80  # the columns of a terminal that nobody told of
        assert "replay ask, budget 300 s  mode duckbox" in foot
        assert "live" not in foot
        shell.run("SET replay = 'off'; SET replay_budget = 7.5;\n.mode csv")
        shell.backend.live_runs = 2
        foot = "".join(text for _, text, *_ in toolbar(shell))
        assert "replay off, budget 7.5 s  mode csv  2 live runs" in foot
    finally:
        shell.close()


def test_history_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert history_path() == str(tmp_path / "logql" / "history")
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", "/home/ada")
    assert history_path() == "/home/ada/.local/state/logql/history"


def test_the_engine_is_not_loaded_before_the_prompt_is_there() -> None:
    program = "import sys, logql.repl.shell, logql.repl.prompt; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not {"duckdb", "numpy", "pandas", "pyarrow", "pygments", "sqlglot"} & set(done.stdout.split())

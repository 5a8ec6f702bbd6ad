"""The command line as a process: results on stdout, all else on stderr, and the promised exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from logql.cli import main

SCRIPT = """
import sys
import logql

lr = logql.arg("lr", 0.5)
for epoch in logql.loop("epoch", range(logql.arg("epochs", 3))):
    logql.log("loss", lr / (epoch + 1))
print("arguments", sys.argv[1:])
"""


def logql(*arguments: str, cwd: Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "logql", *arguments]
    root = str(Path(__file__).resolve().parent.parent)
    return subprocess.run(
        command, cwd=cwd, input=stdin, capture_output=True, text=True, check=False, env=environment(root)
    )


def environment(root: str) -> dict[str, str]:
    import os

    return dict(os.environ) | {"PYTHONPATH": root}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "train.py").write_text(SCRIPT)
    done = logql("run", "train.py", "-a", "lr=1.0", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    return tmp_path


def test_run_gives_arguments_and_leaves_the_scripts_own_alone(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(SCRIPT)
    done = logql(
        "run", "-a", "lr=2", "train.py", "--verbose", "-a", "epochs=1", "--kwargs", "x=1", "--", "-a", "b", cwd=tmp_path
    )
    assert done.stdout == "arguments ['--verbose', '-a', 'b']\n"
    rows = logql("sql", "SELECT lr, epochs FROM runs", "--format", "jsonl", cwd=tmp_path)
    assert json.loads(rows.stdout) == {"lr": 2.0, "epochs": 1}


def test_run_tells_of_arguments_that_the_script_does_not_have(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(SCRIPT)
    done = logql("run", "train.py", "-a", "lrr=0.5", cwd=tmp_path)
    assert done.returncode == 0
    assert "no logql.arg of this run is called lrr" in done.stderr


def test_run_keeps_the_scripts_exit_code(tmp_path: Path) -> None:
    (tmp_path / "fail.py").write_text("import sys; sys.exit(7)")
    assert logql("run", "fail.py", cwd=tmp_path).returncode == 7


def test_run_with_a_store_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(SCRIPT)
    logql("run", "train.py", "--store", "kept", cwd=tmp_path)
    assert not (tmp_path / ".logql").exists()
    done = logql("sql", "--store", "kept", "SELECT count(*) FROM runs", "--format", "csv", cwd=tmp_path)
    assert done.stdout.splitlines()[1] == "1"


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("csv", "epoch,loss\n0,1.0\n1,0.5\n2,0.3333333333333333\n"),
        ("jsonl", '{"epoch": 0, "loss": 1.0}\n{"epoch": 1, "loss": 0.5}\n{"epoch": 2, "loss": 0.3333333333333333}\n'),
        ("table", "epoch      loss\n-----  --------\n    0         1\n    1       0.5\n    2  0.333333\n"),
    ],
)
def test_sql_prints_results(project: Path, form: str, text: str) -> None:
    done = logql("sql", "SELECT epoch, loss FROM logs ORDER BY epoch", "--format", form, cwd=project)
    assert (done.stdout, done.stderr, done.returncode) == (text, "", 0)


def test_sql_from_files_and_standard_input(project: Path) -> None:
    (project / "q.sql").write_text("SELECT 1 AS a; SELECT 'x;y' AS b;")
    assert logql("sql", "-f", "q.sql", "--format", "csv", cwd=project).stdout == "a\n1\nb\nx;y\n"
    assert logql("sql", "--format", "csv", cwd=project, stdin="SELECT 2 AS a").stdout == "a\n2\n"
    assert logql("sql", "-", "--format", "csv", cwd=project, stdin="SELECT 3 AS a").stdout == "a\n3\n"


def test_sql_parameters(project: Path) -> None:
    named = logql("sql", "SELECT loss FROM logs WHERE epoch = $e", "--param", "e=1", "--format", "csv", cwd=project)
    assert named.stdout == "loss\n0.5\n"
    placed = logql("sql", "SELECT ? AS a, ? AS b", "--param", "1", "--param", "x", "--format", "csv", cwd=project)
    assert placed.stdout == "a,b\n1,x\n"


def test_sql_to_arrow(project: Path) -> None:
    command = [sys.executable, "-m", "logql", "sql", "SELECT 1 AS a", "--format", "arrow"]
    root = str(Path(__file__).resolve().parent.parent)
    done = subprocess.run(command, cwd=project, capture_output=True, check=True, env=environment(root))
    assert pa.ipc.open_stream(done.stdout).read_all().to_pydict() == {"a": [1]}


def test_errors_are_told_without_a_traceback(project: Path) -> None:
    done = logql("sql", "SELECT loos FROM logs", cwd=project)
    assert (done.stdout, done.returncode) == ("", 1)
    assert "loss" in done.stderr
    assert "^" in done.stderr
    assert "Traceback" not in done.stderr


def test_runs_lists_the_newest(project: Path) -> None:
    logql("run", "train.py", cwd=project)
    rows = [json.loads(line) for line in logql("runs", "--format", "jsonl", cwd=project).stdout.splitlines()]
    assert [row["status"] for row in rows] == ["finished", "finished"]
    assert rows[0]["run"] < rows[1]["run"]
    newest = logql("runs", "--limit", "1", "--format", "jsonl", cwd=project)
    assert json.loads(newest.stdout)["run"] == rows[1]["run"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["sql", "SELECT 1", "--format", "xml"],
        ["run", "train.py", "-a", "no-equals-sign"],
        ["fill"],
        ["sql"],
    ],
)
def test_wrong_usage_is_two(tmp_path: Path, arguments: list[str]) -> None:
    done = logql(*arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "usage: logql" in done.stderr


@pytest.mark.parametrize(
    "command",
    ["sql", "run", "demo", "runs", "fill", "patch", "publish", "serve", "compact", "gc", "du", "doctor", "rm"],
    ids=lambda name: name,
)
def test_every_command_has_help_with_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    text = capsys.readouterr().out
    assert "--store DIR" in text
    assert f"example:\n  logql {command}" in text


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("logql 0.")


def test_fill_of_a_name_with_quotes(project: Path) -> None:
    (project / "train.py").write_text(SCRIPT.replace("(epoch + 1))", "(epoch + 1))\n    logql.log('a \"b\"', epoch)"))
    done = logql("fill", 'a "b"', "--where", "epoch = 1", cwd=project)
    assert done.returncode == 0, done.stderr
    assert "done" in done.stdout
    dropped = logql("sql", 'UNFILL "a ""b""" WHERE epoch = 1', cwd=project)
    assert dropped.returncode == 0, dropped.stderr


def test_patch_shows_where_a_statement_goes(project: Path) -> None:
    old = json.loads(logql("sql", "SELECT version FROM runs", "--format", "jsonl", cwd=project).stdout)["version"]
    (project / "train.py").write_text(SCRIPT.replace("(epoch + 1))", "(epoch + 1))\n    logql.log('rate', lr * 2)"))
    done = logql("patch", "rate", old, cwd=project)
    assert done.returncode == 0, done.stderr
    assert "+    logql.log('rate', lr * 2)" in done.stdout
    assert "# confidence " in done.stdout
    pinned = logql("patch", "rate", old[:6], "--at", "train.py:7", cwd=project)
    assert pinned.returncode == 0, pinned.stderr
    unknown = logql("patch", "nothing", old, cwd=project)
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert logql("patch", "rate", old, "--at", "train.py", cwd=project).returncode == 1


def test_du_compact_gc_and_rm(project: Path) -> None:
    logql("run", "train.py", cwd=project)
    logql("sql", "SELECT count(*) FROM runs", cwd=project)  # seals
    parts = {row["part"]: row for row in json.loads(logql("du", "--format", "json", cwd=project).stdout)}
    assert parts["code.git"]["bytes"] > 0
    assert logql("compact", cwd=project).returncode == 0
    assert "nothing to remove" in logql("gc", "--dry-run", cwd=project).stdout
    rows = [json.loads(line) for line in logql("runs", "--format", "jsonl", cwd=project).stdout.splitlines()]
    for command in (("compact",), ("rm", rows[0]["run"]), ("doctor", "--repair"), ("doctor", "--rebuild")):
        tried = logql(*command, "--dry-run", cwd=project)
        assert (tried.returncode, tried.stderr) == (0, "")
        assert "would" in tried.stdout or "nothing" in tried.stdout
    refused = logql("rm", rows[0]["run"], cwd=project)
    assert (refused.returncode, "--yes" in refused.stderr) == (1, True)
    assert logql("rm", rows[0]["run"], "--yes", cwd=project).stdout == "deleted 1 run\n"
    left = logql("sql", "SELECT run FROM runs", "--format", "csv", cwd=project)
    assert left.stdout.split() == ["run", rows[1]["run"]]


@pytest.mark.parametrize("command", ["du", "gc", "compact", "doctor"])
def test_no_store_is_an_error(tmp_path: Path, command: str) -> None:
    done = logql(command, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert "there is no store" in done.stderr


def test_sql_draws_its_last_result(project: Path) -> None:
    done = logql("sql", "SELECT epoch, loss FROM logs", "--plot", "curve.svg", "--format", "csv", cwd=project)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("epoch,loss\n")
    assert (project / "curve.svg").read_text().startswith("<svg")
    wrong = logql("sql", "SELECT 1", "--plot", "curve.pdf", cwd=project)
    assert (wrong.returncode, wrong.stdout) == (2, "")


def test_the_prompt_runs_standard_input(project: Path) -> None:
    done = logql(cwd=project, stdin=".mode csv\nSELECT count(*) AS n FROM runs;\nSELECT oops;\nSELECT 2 AS never;\n")
    assert (done.stdout, done.returncode) == ("n\n1\n", 1)
    assert "oops" in done.stderr

"""No fault of logql's stops or changes a training: exit code 0, the same result, one warning."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from pathlib import Path

import pytest

from logql.store import snapshot
from logql.store.seal import recover
from tests.record.running import read_run, read_runs, read_values, record, run_python, write_script

TRAINING = """
    import logql, sys
    {before}
    weight = 1.0
    for epoch in logql.loop("epoch", range(5)):
        for step in logql.loop("step", range(50)):
            weight = weight * 0.9 + step
            logql.log("weight", weight)
        logql.log("epoch_weight", [weight])
        {during}
    print(weight)
    """
RESULT = 398.39


def train(directory: Path, before: str = "", during: str = "", **options: object) -> str:
    """Train, check that the model is the same, and return stderr."""
    done = record(directory, TRAINING.format(before=before, during=during), **options)
    plain = TRAINING.format(before="", during="").replace("import logql, sys", "from collections import namedtuple")
    head = "class logql:\n    loop = staticmethod(lambda n, i: i)\n    log = staticmethod(lambda n, v: v)\n"
    write_script(directory, plain, "plain.py")
    text = (directory / "plain.py").read_text()
    (directory / "plain.py").write_text(head + text)
    assert done.stdout.splitlines()[-1] == run_python(directory, "plain.py").stdout.strip()
    return done.stderr


def test_nothing_goes_wrong(tmp_path: Path) -> None:
    assert train(tmp_path) == ""
    assert len(read_values(tmp_path / ".logql", "weight")) == 250


def test_the_store_is_removed_while_it_trains(tmp_path: Path) -> None:
    stderr = train(tmp_path, during="import shutil, time; shutil.rmtree('.logql', ignore_errors=True); time.sleep(0.2)")
    assert stderr.count("logql:") == 1


def test_the_store_is_on_a_path_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    stderr = train(tmp_path, env={"LOGQL_STORE": str(tmp_path / "file" / "store")})
    assert stderr.count("logql:") == 1
    assert "this run is not recorded" in stderr


def test_the_catalog_is_damaged(tmp_path: Path) -> None:
    train(tmp_path)
    (tmp_path / ".logql" / "catalog.sqlite").write_bytes(b"no database" * 100)
    stderr = train(tmp_path)
    assert stderr.count("logql:") == 1
    assert "catalog.sqlite" in stderr


@pytest.mark.slow
def test_another_process_holds_the_catalog(tmp_path: Path) -> None:
    train(tmp_path)
    holder = sqlite3.connect(tmp_path / ".logql" / "catalog.sqlite", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    stderr = train(tmp_path)
    holder.close()
    assert stderr.count("logql:") == 1
    assert "this run is not recorded" in stderr
    assert "database is locked" in stderr


def test_a_clock_that_goes_backwards(tmp_path: Path) -> None:
    before = "import time; real = time.time; start = real(); time.time = lambda: 2 * start - real()"
    assert train(tmp_path, before=before) == ""
    assert len(read_values(tmp_path / ".logql", "weight")) == 250
    recover(str(tmp_path / ".logql"))
    assert read_run(tmp_path / ".logql").status == "finished"


def test_objects_whose_pickling_raises_or_never_ends(tmp_path: Path) -> None:
    """Neither is asked to pickle itself: what Python classes hold is looked at directly."""
    before = """import time
    class Raises:
        def __reduce_ex__(self, protocol): raise RuntimeError("no")
    class Slow:
        def __getstate__(self): time.sleep(600)
        def __deepcopy__(self, memo): time.sleep(600)
    held = [Raises(), Slow()]
    """
    assert train(tmp_path, before=before, env={"LOGQL_CHECKPOINT_EVERY": "1"}) == ""


def test_git_is_broken(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    (tmp_path / ".git" / "HEAD").write_text("nonsense\n")
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "git").write_text("#!/bin/sh\nexit 128\n")
    (tools / "git").chmod(0o755)
    stderr = train(tmp_path, env={"PATH": f"{tools}:{os.environ['PATH']}"})
    assert stderr.count("logql:") <= 1
    assert read_run(tmp_path / ".logql").status == "finished"


def test_there_is_no_git(tmp_path: Path) -> None:
    train(tmp_path, env={"PATH": str(tmp_path / "nothing")})
    assert read_run(tmp_path / ".logql").version


def test_the_snapshot_fails(tmp_path: Path) -> None:
    store = tmp_path / ".logql"
    train(tmp_path)
    shutil.rmtree(store / "code.git")
    (store / "code.git").write_text("in the way")
    stderr = train(tmp_path)
    assert stderr.count("logql:") == 1
    assert "the code of this run is not kept" in stderr
    assert [run.status for run in read_runs(store)] == ["finished", "finished"]


@pytest.mark.parametrize("limit", [0, 4096, 20_000])
def test_the_disk_is_full(tmp_path: Path, limit: int) -> None:
    before = (
        "logql.log('start', 0.0); logql.flush(); import resource, signal; "
        f"signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))"
    )
    stderr = train(tmp_path, before=before, during="logql.flush()")
    assert stderr.count("logql:") == 1
    assert read_values(tmp_path / ".logql", "start") == [0.0]


def test_an_object_that_raises_whatever_is_asked_of_it(tmp_path: Path) -> None:
    done = record(
        tmp_path,
        """
        import logql
        class Bad:
            def __getattribute__(self, name): raise RuntimeError("no")
            def __repr__(self): raise RuntimeError("no")
        bad = Bad()
        assert logql.log("bad", bad) is bad
        logql.log("good", 1.0)
        for x in logql.loop("bad", [bad, bad]):
            logql.log("inside", 1.0)
        """,
    )
    assert read_values(tmp_path / ".logql", "good") == [1.0]
    assert read_values(tmp_path / ".logql", "inside") == [1.0, 1.0]
    assert "Traceback" not in done.stderr


def test_strict_mode_raises(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    options = {"LOGQL_STORE": str(tmp_path / "file" / "store"), "LOGQL_STRICT": "1"}
    done = record(tmp_path, "import logql\nlogql.log('x', 1.0)\n", env=options, expect=1)
    assert "Error" in done.stderr


def test_the_users_errors_are_the_users(tmp_path: Path) -> None:
    done = record(
        tmp_path,
        """
        import logql
        def items():
            yield 1
            raise KeyError("from the iterable")
        for x in logql.loop("epoch", items()):
            logql.log("x", x)
        """,
        expect=1,
    )
    assert "KeyError: 'from the iterable'" in done.stderr
    assert read_values(tmp_path / ".logql", "x") == [1]
    assert read_run(tmp_path / ".logql").error == "KeyError: 'from the iterable'"


def test_names_of_all_kinds(tmp_path: Path) -> None:
    done = record(
        tmp_path,
        """
        import logql
        class Bad:
            def __str__(self): raise RuntimeError("str")
            __repr__ = __str__
            def __eq__(self, other): raise RuntimeError("eq")
        for name in (5, None, [1], {}, Bad(), "", "\\ud800", "a\\0b", b"bytes", 1.5):
            assert logql.log(name, 1.0) == 1.0
            logql.log(name, {"\\ud800": "\\udfff", 1: None})
            assert logql.arg(name, 1) == 1
            assert list(logql.loop(name, [1, 2])) == [1, 2]
            for index in ("abc", -5, 2**70, 1.5, None, Bad()):
                with logql.iteration(name, index, name):
                    logql.log("inside", 1)
        for tags in (None, 5, "one", ["a", 5], Bad()):
            with logql.run(name=tags, tags=tags):
                logql.log("z", 1.0)
        logql.commit(Bad())
        logql.log("last", 1.0)
        """,
    )
    assert "Traceback" not in done.stderr
    assert read_values(tmp_path / ".logql", "last") == [1.0]
    assert len(read_values(tmp_path / ".logql", "inside")) == 60
    found = snapshot.read_snapshot(str(tmp_path / ".logql"))
    snapshot.forget()
    assert found.notices == ()
    assert {run.status for run in found.runs} == {"finished"}


def test_what_a_user_gets_wrong_is_told_by_python(tmp_path: Path) -> None:
    done = record(
        tmp_path,
        """
        import logql
        class Broken:
            def __iter__(self): raise ZeroDivisionError("mine")
        for wrong in (5, Broken()):
            for wrapped in (wrong, logql.loop("epoch", wrong)):
                try:
                    for x in wrapped: pass
                except (TypeError, ZeroDivisionError) as exc:
                    print(repr(exc))
        """,
    )
    lines = done.stdout.splitlines()
    assert (lines[0], lines[2]) == (lines[1], lines[3])
    assert done.stderr == ""


def test_a_signal_handler_may_flush(tmp_path: Path) -> None:
    record(
        tmp_path,
        """
        import logql, signal
        flushed = []
        def handle(number, frame):
            logql.log("handled", float(len(flushed)))
            logql.flush()
            flushed.append(1)
            signal.setitimer(signal.ITIMER_REAL, 0.001)
        signal.signal(signal.SIGALRM, handle)
        logql.log("x", 1.0)
        signal.setitimer(signal.ITIMER_REAL, 0.001)
        while len(flushed) < 100:
            logql.log("x", 1.0)
            logql.flush()
        signal.setitimer(signal.ITIMER_REAL, 0)
        """,
    )
    handled = read_values(tmp_path / ".logql", "handled")
    assert handled == [float(i) for i in range(len(handled))]
    assert len(handled) >= 100

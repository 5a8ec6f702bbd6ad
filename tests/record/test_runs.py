"""The life of a run: opens at the first call, ends as the script ends, survives every kind of death."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from logql.record import identity
from logql.store.seal import recover
from tests.record.running import (
    environment,
    read_entered,
    read_events,
    read_logged,
    read_run,
    read_runs,
    read_values,
    record,
    run_python,
    write_script,
)


def test_a_script_is_one_run(tmp_path: Path) -> None:
    record(tmp_path, "import logql\nlogql.log('x', 1.5)\nlogql.log('y', 'text')\n")
    run = read_run(tmp_path / ".logql")
    assert (run.status, run.script, run.argv, run.error) == ("finished", "train.py", ("train.py",), None)
    assert run.ended_at is not None
    assert run.started_at <= run.ended_at
    assert run.cwd == str(tmp_path)
    assert run.environment["executable"] == sys.executable
    assert "hypothesis" in run.environment["packages"]  # type: ignore[operator]
    assert read_logged(tmp_path / ".logql") == [((), "x", 1.5), ((), "y", "text")]
    assert (tmp_path / ".logql" / ".gitignore").read_text() == "*\n"


def test_calls_return_their_values(tmp_path: Path) -> None:
    done = record(
        tmp_path,
        """
        import logql
        print(logql.log("x", 2.0), logql.log("y", [1]), logql.arg("lr", 0.5), list(logql.loop("i", "ab")))
        with logql.iteration("epoch", 3) as epoch:
            print(epoch)
        with logql.iteration("epoch", 4, "four") as epoch:
            print(epoch)
        print(next(logql.loop("j", [5])), len(logql.loop("k", [1, 2])))
        """,
    )
    assert done.stdout.split("\n") == ["2.0 [1] 0.5 ['a', 'b']", "3", "four", "5 2", ""]


@pytest.mark.parametrize(
    ("ending", "code", "status", "error"),
    [
        ("", 0, "finished", None),
        ("raise ValueError('bad lr')", 1, "failed", "ValueError: bad lr"),
        ("import sys; sys.exit(3)", 3, "failed", "SystemExit: 3"),
        ("import sys; sys.exit(0)", 0, "finished", None),
        ("import sys; sys.exit()", 0, "finished", None),
        ("import sys\ntry:\n    sys.exit(3)\nfinally:\n    logql.log('after', 1)", 3, "failed", "SystemExit: 3"),
        ("import sys\ntry:\n    sys.exit(3)\nexcept SystemExit:\n    logql.log('after', 1)", 0, "finished", None),
        ("import sys\ndef main():\n    return sys.exit('no data')\nmain()", 1, "failed", "SystemExit: no data"),
        ("raise SystemExit(0)", 0, "finished", None),
        ("raise SystemExit", 0, "finished", None),
        ("raise SystemExit(4)", 4, "failed", "SystemExit: 4"),
        ("def main():\n    raise SystemExit('no data')\nmain()", 1, "failed", "SystemExit: 1"),
        ("raise SystemExit(len('three'))", 5, "failed", "SystemExit: 5"),
        ("exit(6)", 6, "failed", "SystemExit: 6"),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGTERM)\ninput()", -15, "killed", None),
        ("import os\nlogql.flush()\nos._exit(0)", 0, "killed", None),
        ("import argparse\nargparse.ArgumentParser().error('no lr')", 2, "failed", "SystemExit: 2"),
        ("import threading\nt = threading.Thread(target=lambda: 1 / 0)\nt.start()\nt.join()", 0, "finished", None),
        ("raise KeyboardInterrupt", -2, "failed", "KeyboardInterrupt"),
    ],
)
def test_a_run_ends_as_its_script_ends(
    tmp_path: Path, ending: str, code: int | None, status: str, error: str | None
) -> None:
    record(
        tmp_path, f"import logql\nfor i in logql.loop('i', range(2)):\n    logql.log('x', i)\n{ending}\n", expect=code
    )
    assert read_values(tmp_path / ".logql", "x") == ([0, 1] if status != "killed" or code == 0 else [])
    recover(str(tmp_path / ".logql"))
    run = read_run(tmp_path / ".logql")
    assert (run.status, run.error) == (status, error)
    assert os.listdir(tmp_path / ".logql/wal") == []


def test_what_the_script_holds_ends_as_it_would(tmp_path: Path) -> None:
    done = record(
        tmp_path,
        """
        import logql
        class Held:
            def __del__(self):
                print("bye")
        held = Held()
        for i in logql.loop("i", range(2)):
            logql.log("x", i)
        """,
    )
    assert done.stdout == "bye\n"


def test_a_caught_exit_is_no_failure(tmp_path: Path) -> None:
    record(
        tmp_path,
        """
        import logql, sys
        for i in logql.loop("i", range(2)):
            try:
                sys.exit(3)
            except SystemExit:
                pass
            logql.log("x", i)
        """,
    )
    assert read_run(tmp_path / ".logql").status == "finished"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_what_was_logged_a_second_ago_survives_a_kill(tmp_path: Path, number: signal.Signals) -> None:
    write_script(
        tmp_path,
        """
        import logql, time
        for i in logql.loop("i", range(100)):
            logql.log("x", float(i))
        print("logged", flush=True)
        time.sleep(60)
        """,
    )
    with subprocess.Popen(
        [sys.executable, "train.py"], cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "logged\n"
        time.sleep(1.0)
        process.send_signal(number)
        process.wait()
    assert read_values(tmp_path / ".logql", "x") == [float(i) for i in range(100)]
    assert len(read_entered(tmp_path / ".logql")) == 100
    assert read_run(tmp_path / ".logql").status == "running"


def test_flush_returns_when_everything_is_with_the_system(tmp_path: Path) -> None:
    record(
        tmp_path,
        """
        import logql, os, signal
        logql.log("x", 1.0)
        logql.arg("lr", 0.1)
        logql.flush()
        os.kill(os.getpid(), signal.SIGKILL)
        """,
        expect=-9,
    )
    assert read_values(tmp_path / ".logql", "x") == [1.0]
    assert read_run(tmp_path / ".logql").args == {"lr": 0.1}


def test_runs_delimited_by_hand(tmp_path: Path) -> None:
    record(
        tmp_path,
        """
        import logql
        for lr in (0.1, 0.2):
            with logql.run(name=f"lr {lr}", tags=["sweep"]) as run:
                logql.arg("lr", lr)
                for epoch in logql.loop("epoch", range(2)):
                    logql.log("x", lr * epoch)
        try:
            with logql.run():
                raise ValueError("third")
        except ValueError:
            pass
        """,
    )
    first, second, third = read_runs(tmp_path / ".logql")
    assert [run.name for run in (first, second, third)] == ["lr 0.1", "lr 0.2", None]
    assert (first.tags, first.args, second.args) == (("sweep",), {"lr": 0.1}, {"lr": 0.2})
    assert (third.status, third.error) == ("failed", "ValueError: third")
    for run in (first, second):
        events = read_events(tmp_path / ".logql", run.id)
        assert [event.seq for event in events] == [0, 1, 2, 3]
        assert events[0].path[0].entry == 0


def test_commit_closes_the_run(tmp_path: Path) -> None:
    record(tmp_path, "import logql as flor\nflor.log('x', 1)\nflor.commit()\nflor.log('x', 2)\n")
    assert [run.status for run in read_runs(tmp_path / ".logql")] == ["finished", "finished"]
    assert sorted(read_values(tmp_path / ".logql", "x")) == [1, 2]  # type: ignore[type-var]


@pytest.mark.parametrize("args", [("-c", "import logql; logql.log('x', 1.0)"), ("-i",), ("-",)])
def test_what_is_no_script_leaves_no_litter(tmp_path: Path, args: tuple[str, ...]) -> None:
    done = run_python(tmp_path, *args, stdin="import logql; logql.log('x', 1.0)\n")
    assert list(tmp_path.iterdir()) == []
    assert done.stderr.count("nothing is recorded without a script file") == 1


def test_pytest_leaves_no_litter(tmp_path: Path) -> None:
    write_script(
        tmp_path, "import logql\ndef test_it():\n    logql.log('x', 1.0)\n    logql.arg('a', 1)\n", "test_it.py"
    )
    done = run_python(tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_it.py")
    assert "nothing is recorded" not in done.stdout + done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["test_it.py"]


NOTEBOOK = """
import sys
sys.path.insert(0, {kernel!r})
import ipykernel
cells = [
    "import logql\\nlogql.arg('lr', 0.1)",
    "for epoch in logql.loop('epoch', range(2)):\\n    logql.log('loss', epoch)",
    "logql.log('after', 1)",
    "with logql.run(name='second'):\\n    logql.log('loss', 5)",
    "logql.log('after', 2)",
]
for number, cell in enumerate(cells):
    exec(compile(cell, f"<ipython-input-{{number}}>", "exec"), globals())
"""


def test_a_notebook_is_one_run_until_another_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "kernel" / "ipykernel").mkdir(parents=True)
    (tmp_path / "kernel" / "ipykernel" / "__init__.py").touch()
    (tmp_path / "work").mkdir()
    run_python(tmp_path / "work", "-c", NOTEBOOK.format(kernel=str(tmp_path / "kernel")))
    store = tmp_path / "work" / ".logql"
    runs = read_runs(store)
    assert [(run.name, run.status, dict(run.args)) for run in runs] == [
        (None, "finished", {"lr": 0.1}),
        ("second", "finished", {}),
        (None, "finished", {}),
    ]
    assert read_values(store, "loss") == [0, 1, 5]
    assert read_values(store, "after") == [1, 2]


def test_a_run_by_hand_is_recorded_wherever_it_is_asked_for(tmp_path: Path) -> None:
    run_python(tmp_path, "-c", "import logql\nwith logql.run(name='a'):\n    logql.log('x', 1.0)\nlogql.log('x', 2.0)")
    assert read_run(tmp_path / ".logql").name == "a"
    assert read_values(tmp_path / ".logql", "x") == [1.0]


def test_a_module_and_a_sub_directory(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    write_script(tmp_path, "", "pkg/__init__.py")
    write_script(tmp_path, "import logql\nlogql.log('x', 1.0)\n", "pkg/train.py")
    run_python(tmp_path, "-m", "pkg.train", "--flag")
    run_python(tmp_path / "pkg", "train.py")
    first, second = read_runs(tmp_path / ".logql")
    assert (first.script, first.environment.get("module"), first.argv[1:]) == ("pkg/train.py", "pkg.train", ("--flag",))
    assert (second.script, second.environment.get("module"), second.argv) == ("pkg/train.py", None, ("train.py",))
    assert first.version == second.version


def test_ids_sort_by_time() -> None:
    first = identity.new_run_id()
    time.sleep(0.002)
    assert len(first) == 26
    assert first < identity.new_run_id()


def test_two_runs_at_once(tmp_path: Path) -> None:
    write_script(tmp_path, "import logql\nfor i in logql.loop('i', range(50)):\n    logql.log('x', i)\n")
    processes = [
        subprocess.Popen(
            [sys.executable, "train.py"], cwd=tmp_path, env=environment(), stderr=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    assert [process.communicate()[1] for process in processes] == [""] * 4
    runs = read_runs(tmp_path / ".logql")
    assert [run.status for run in runs] == ["finished"] * 4
    assert len({run.version for run in runs}) == 1
    assert all(len(read_events(tmp_path / ".logql", run.id)) == 100 for run in runs)
    assert os.listdir(tmp_path / ".logql" / "wal")


@pytest.mark.skipif(not os.path.exists(f"/proc/self/task/{os.getpid()}/children"), reason="needs Linux")
def test_a_sweep_leaves_no_zombie_per_run(tmp_path: Path) -> None:
    done = record(
        tmp_path,
        """
        import logql, os
        from logql.record import sealing

        def children():
            return {int(pid) for pid in open(f"/proc/self/task/{os.getpid()}/children").read().split()}

        for number in range(5):
            with logql.run():
                logql.log("x", number)
            for pid in children():
                os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        print(len(children()))
        """,
        env={"LOGQL_SEAL": None},
    )
    assert done.stdout == "1\n"

"""Real queries in processes of their own: two at once, one interrupted at its terminal, one killed at any instant."""

from __future__ import annotations

import fcntl
import os
import pty
import random
import select
import signal
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path

import pytest

import logql
from logql.replay.cleaning import sweep_scratch
from tests.replay.conftest import ROOT, Project, after, values

SCRIPT = """\
import time
import logql

total = 0
for epoch in logql.loop("epoch", range(6)):
    for step in logql.loop("step", range(2)):
        total += epoch * step + 1
    time.sleep({pause})
    logql.log("loss", 1 / total)
{new}"""
NEW = '    logql.log("total", total)\n'
QUERY = "SELECT run, epoch, total FROM logs ORDER BY run, epoch"
RUNS = 3


def _history(project: Project, pause: float) -> None:
    """Runs of one version without checkpoints, of which each is one segment; the statement stands in today's source."""
    project.write("train.py", SCRIPT.format(pause=pause, new=""))
    project.commit()
    for _ in range(RUNS):
        project.run(every=None, LOGQL_OVERHEAD="0")
    project.write("train.py", SCRIPT.format(pause=pause, new=NEW))


def _ask(project: Project, query: str) -> list[tuple[object, ...]]:
    connection = logql.connect(project.store)
    try:
        cursor = connection.cursor().execute(query)
        return [tuple(row) for row in cursor.fetchall()] if cursor.description else []
    finally:
        connection.close()


def _command(project: Project, *statements: str) -> list[str]:
    return [sys.executable, "-m", "logql", "sql", "--store", project.store, "--format", "csv", *statements]


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": ROOT}


def _check_truth(project: Project) -> None:
    rows = _ask(project, QUERY)
    truth, total = [], 0
    for epoch in range(6):
        total += epoch + 2
        truth.append((epoch, total))
    assert [(epoch, value) for _, epoch, value in rows] == truth * RUNS
    done = _ask(project, "SELECT run, first_index, last_index FROM fills WHERE state = 'done'")
    cells = [(run, index) for run, first, last in done for index in range(int(str(first)), int(str(last)) + 1)]
    assert len(cells) == len(set(cells)) == 6 * RUNS
    _check_scratch(project)


def _check_scratch(project: Project) -> None:
    """What a killed query left behind is what the next replay sweeps up; a directory without a lock only later."""
    _wait_until_gone(project)
    sweep_scratch(project.store)
    left = Path(project.store, "scratch").glob("replay-*")
    assert not [directory for directory in left if (directory / "lock").exists()]


def _workers(project: Project) -> list[str]:
    """Processes that replay something of this store."""
    found = []
    for directory in Path("/proc").iterdir():
        if directory.name.isdigit():
            try:
                line = (directory / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if project.store in line and ("supervise" in line or "forkserver" in line):
                found.append(line)
    return found


def _wait_until_gone(project: Project) -> None:
    deadline = time.monotonic() + 20
    while _workers(project) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _workers(project)


def test_two_queries_at_once_replay_each_cell_once(project: Project) -> None:
    _history(project, 0.1)
    both = [
        subprocess.Popen(
            _command(project, "SET replay_workers = 1", QUERY), stdout=subprocess.PIPE, text=True, env=_environment()
        )
        for _ in range(2)
    ]
    answers = [one.communicate(timeout=120)[0] for one in both]
    assert [one.returncode for one in both] == [0, 0]
    assert answers[0] == answers[1]
    assert answers[0].count("\n") > 6 * RUNS
    _check_truth(project)


def test_a_query_takes_over_what_another_was_killed_in(project: Project) -> None:
    _history(project, 0.3)
    first = subprocess.Popen(_command(project, QUERY), stdout=subprocess.DEVNULL, env=_environment())
    deadline = time.monotonic() + 60
    while not _workers(project) and time.monotonic() < deadline:
        time.sleep(0.05)
    second = subprocess.Popen(_command(project, QUERY), stdout=subprocess.PIPE, text=True, env=_environment())
    time.sleep(1.0)
    first.kill()
    first.wait()
    answer, _ = second.communicate(timeout=120)
    assert second.returncode == 0
    assert len(answer.splitlines()) == 6 * RUNS + 1
    assert not any(line.endswith(",") for line in answer.splitlines())
    _check_truth(project)


def test_ctrl_c_at_a_terminal_keeps_what_is_filled(project: Project) -> None:
    _history(project, 0.3)
    master, slave = pty.openpty()

    def own_terminal() -> None:
        os.setsid()
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)

    command = _command(project, "SET replay_workers = 1", QUERY)
    asking = subprocess.Popen(
        command, stdin=slave, stdout=slave, stderr=slave, env=_environment(), preexec_fn=own_terminal
    )
    os.close(slave)
    try:
        shown = ""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not _filled(project):
            shown += _read(master)
        for _ in range(10):
            shown += _read(master)
        assert _workers(project)
        os.write(master, b"\x03")
        while asking.poll() is None and time.monotonic() < deadline:
            shown += _read(master)
        assert asking.wait(timeout=10) == 130
    finally:
        asking.kill()
        asking.wait()
        os.close(master)
    assert "replaying [" in shown
    assert f"/{6 * RUNS} iterations, " in shown
    assert " s left" in shown
    assert "Traceback" not in shown
    assert not _workers(project)
    assert 0 < _filled(project) < RUNS
    _check_truth(project)


@pytest.mark.parametrize("how", ["interrupt", "close"])
def test_a_connection_that_another_thread_stops_keeps_what_is_filled(project: Project, how: str) -> None:
    _history(project, 0.15)
    connection = logql.connect(project.store)
    connection.execute("SET replay_workers = 1")
    raised: list[BaseException] = []

    def ask() -> None:
        try:
            connection.execute(QUERY)
        except logql.Error as error:
            raised.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    while asking.is_alive() and not (_filled(project) and _workers(project)):
        time.sleep(0.05)
    getattr(connection, how)()
    asking.join(timeout=60)
    assert [type(error).__name__ for error in raised] == ["Interrupted"]
    assert not _workers(project)
    assert 0 < _filled(project) < RUNS
    if how == "interrupt":
        connection.close()
    _check_truth(project)


def _filled(project: Project) -> int:
    ((count,),) = _ask(project, "SELECT count(*) FROM fills WHERE state = 'done'")
    return int(str(count))


def _read(master: int) -> str:
    if not select.select([master], [], [], 0.1)[0]:
        return ""
    try:
        return os.read(master, 1 << 16).decode(errors="replace")
    except OSError:  # the other side is closed
        return ""


@pytest.mark.parametrize("times", [5, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_at_any_instant_the_same_query_goes_on(project: Project, times: int) -> None:
    _history(project, 0.02)
    draw = random.Random(times)
    began = time.monotonic()
    subprocess.run(_command(project, QUERY), env=_environment(), check=True, capture_output=True)
    whole = time.monotonic() - began
    for _ in range(times):
        _ask(project, "UNFILL total")
        asking = subprocess.Popen(
            _command(project, QUERY), env=_environment(), stdout=subprocess.DEVNULL, start_new_session=True
        )
        try:
            asking.wait(timeout=draw.uniform(0.3, 1.0) * whole)
        except subprocess.TimeoutExpired:
            asking.send_signal(signal.SIGKILL)
            asking.wait()
        _check_truth(project)
        _wait_until_gone(project)


WITH_CHILDREN = """\
import multiprocessing
import logql


def square(x):
    y = x * x
    return y


if __name__ == "__main__":
    for epoch in logql.loop("epoch", range(3)):
        with multiprocessing.get_context("fork").Pool(2) as pool:
            total = sum(pool.map(square, range(4)))
        logql.log("total", total + epoch)
"""


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_value_that_a_child_logs_is_no_value_that_was_not_logged(project: Project, method: str) -> None:
    project.write("train.py", WITH_CHILDREN.replace("fork", method))
    project.run(every=None, LOGQL_OVERHEAD="0")
    wanted = [after("y = x", 'logql.log("sq", y)'), after("total = ", 'logql.log("twice", 2 * total)')]
    inside, beside = project.replay(project.job(wanted[0], ["sq"], (0, 2)), project.job(wanted[1], ["twice"], (0, 2)))
    assert (inside.state, inside.covered, inside.placed) == ("failed", (), True)
    assert "sq is logged in a process that the script starts" in str(inside.error)
    assert (beside.state, values(beside.events, "twice")) == ("done", {(epoch,): 28 for epoch in range(3)})

"""Time limits on a crowded machine: what others take of the processors does not count, hanging code does."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tests.replay.conftest import Project, before, values

SCRIPT = """\
import os
import time
import logql

for epoch in logql.loop("epoch", range(2)):
    if epoch and "LOGQL_REPLAY" in os.environ:
        os.sched_setaffinity(0, {{{cpu}}})
        {does}
    logql.log("a", epoch)
"""
SPINS = "while True: pass"
EDIT = before('logql.log("a"', 'logql.log("b", epoch * 2.0)')
CROWD = 6


@contextmanager
def crowd(cpu: int) -> Iterator[None]:
    """Processes that leave a processor to nobody."""
    with ExitStack() as stack:
        for _ in range(CROWD):
            command = [sys.executable, "-S", "-c", f"import os; os.sched_setaffinity(0, {{{cpu}}})\n{SPINS}"]
            process = stack.enter_context(subprocess.Popen(command))
            stack.callback(process.kill)
        yield


@pytest.mark.skipif(not os.path.exists("/proc/self/schedstat"), reason="the system does not tell who waits")
@pytest.mark.parametrize("hangs", [False, True])
def test_a_crowded_machine_does_not_end_a_replay_and_no_crowd_saves_one_that_hangs(
    project: Project, hangs: bool
) -> None:
    cpu = min(os.sched_getaffinity(0))
    works = "while time.thread_time() < {}: pass"
    project.write("train.py", SCRIPT.format(cpu=cpu, does="time.sleep(600)" if hangs else works.format(1.2)))
    project.run()
    job = project.job(EDIT, ["b"], (0, 1), timeout_s=2.0)
    with crowd(cpu):
        (result,) = project.replay(job)
    if hangs:
        assert (result.state, result.error) == ("failed", "it took longer than 2 s")
    else:
        assert (result.state, result.error) == ("done", None)
        assert values(result.events, "b") == {(0,): 0.0, (1,): 2.0}

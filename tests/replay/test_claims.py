"""Two queries at once: one replays, the other waits; a dead one's claim is no claim."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
import time

import pytest

from logql.replay.claims import Claims
from logql.replay.job import Options, Progress, Result, to_fill
from logql.replay.pool import LocalPool
from logql.store.catalog import Catalog
from logql.store.fills import write_fill
from tests.replay.conftest import ROOT, Project, after

SCRIPT = """\
import time
import logql

for epoch in logql.loop("epoch", range(3)):
    time.sleep({pause})
    logql.log("x", epoch * 1.0)
"""
EDIT = after('logql.log("x"', 'logql.log("y", epoch + 0.5)')


def test_the_second_query_waits_and_is_told(project: Project) -> None:
    project.write("train.py", SCRIPT.format(pause=0.8))
    project.run(every=None, LOGQL_OVERHEAD="0")
    first, second = project.job(EDIT, ["y"], (2,)), project.job(EDIT, ["y"], (1, 2))
    pool = LocalPool(project.store, str(project.path))
    pool.submit(first)
    running = pool.results()
    assert isinstance(next(running), Progress)
    got: list[Result | Progress] = []
    later: list[Result | Progress] = []

    def ask() -> None:
        other = LocalPool(project.store, str(project.path))
        other.submit(second)
        later.extend(other.results())

    asking = threading.Thread(target=ask)
    asking.start()
    for item in running:
        if isinstance(item, Result):
            write_fill(project.store, to_fill(first, item), item.events)
            got.append(item)
    asking.join(timeout=60)
    got += later
    assert [item.state for item in got if isinstance(item, Result)] == ["done", "elsewhere"]
    states = {fill.id: fill.state for fill in Catalog.open(project.store).fills()}
    assert states == {first.id: "done", second.id: "cancelled"}


def test_cells_of_others_do_not_wait(project: Project) -> None:
    project.write("train.py", SCRIPT.format(pause=0))
    project.run()
    claims = Claims(project.store)
    assert claims.take(project.job(EDIT, ["y"], (0,)))
    (result,) = project.replay(project.job(EDIT, ["y"], (1,)))
    assert result.state == "done"
    claims.close()


def _namespaces() -> list[str]:
    """A command that starts another in a PID namespace of its own, as a container does; none where that is refused."""
    command = ["unshare", "--user", "--map-root-user", "--pid", "--fork"]
    allowed = shutil.which("unshare") and subprocess.run([*command, "true"], check=False, capture_output=True)
    return command if allowed and allowed.returncode == 0 else []


@pytest.mark.parametrize("apart", [False, True])
def test_a_dead_process_holds_no_claim(project: Project, apart: bool) -> None:
    """... and a live one does, also where its number means nothing here."""
    command = _namespaces() if apart else []
    if apart and not command:
        pytest.skip("no PID namespaces here")
    project.write("train.py", SCRIPT.format(pause=0))
    project.run()
    text = (
        f"import sys; sys.path.insert(0, {ROOT!r})\n"
        "from pathlib import Path\nfrom tests.replay.conftest import Project, after\n"
        "from logql.replay.claims import Claims\n"
        f"project = Project(Path({str(project.path)!r}))\n"
        "edit = after('logql.log(\"x\"', 'logql.log(\"y\", epoch + 0.5)')\n"
        "print(Claims(project.store).take(project.job(edit, ['y'], (1,))), flush=True)\n"
        "import os; input(); os._exit(9)\n"
    )
    process = subprocess.Popen(
        [*command, sys.executable, "-c", text], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "True"
    claims = Claims(project.store)
    job = project.job(EDIT, ["y"], (1,))
    assert not claims.take(job)
    process.communicate("\n")
    assert claims.take(job)
    claims.close()


def test_a_result_that_is_not_kept_gives_its_claim_back(project: Project) -> None:
    project.write("train.py", SCRIPT.format(pause=0))
    project.run()
    (result,) = project.replay(project.job(EDIT, ["y"], (1,)))
    assert result.state == "done"
    began = time.monotonic()
    (again,) = project.replay(project.job(EDIT, ["y"], (1,)), options=Options(workers=1))
    assert again.state == "done"
    assert time.monotonic() - began < 20


def test_two_jobs_of_one_pool_do_not_wait_for_each_other(project: Project) -> None:
    project.write("train.py", SCRIPT.format(pause=0))
    project.run()
    jobs = [project.job(EDIT, ["y"], wanted) for wanted in ((1, 2), (0, 1))]
    for workers in (1, 2):
        results = project.replay(*jobs, options=Options(workers=workers))
        assert sorted(result.state for result in results) == ["done", "elsewhere"]

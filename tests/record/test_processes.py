"""Children, ranks, threads and tasks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from logql.store import snapshot, wal
from logql.store.catalog import Catalog
from tests.record.running import (
    environment,
    read_events,
    read_logged,
    read_run,
    read_values,
    record,
    run_python,
    write_script,
)


def by_path(store: Path) -> list[tuple[tuple[tuple[str, int], ...], str, object]]:
    return [(tuple((loop, index) for loop, _, index in path), name, value) for path, name, value in read_logged(store)]


def test_threads_have_contexts_of_their_own(tmp_path: Path) -> None:
    record(
        tmp_path,
        """
        import logql, threading
        def work(n):
            logql.log("alone", n)
            for i in logql.loop("work", range(100)):
                logql.log("x", i)
        for epoch in logql.loop("epoch", range(1)):
            threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
            [t.start() for t in threads]
            [t.join() for t in threads]
            logql.log("done", epoch)
        """,
    )
    found = by_path(tmp_path / ".logql")
    assert sorted(value for path, name, value in found if name == "alone" and path == ()) == [0, 1, 2, 3]  # type: ignore[type-var]
    inner = [(path, value) for path, name, value in found if name == "x"]
    assert len(inner) == 400
    assert all(path == (("work", value),) for path, value in inner)
    assert [path for path, name, _ in found if name == "done"] == [(("epoch", 0),)]
    entries = {path[0][1] for path, name, _ in read_logged(tmp_path / ".logql") if name == "x"}
    assert entries == {0, 1, 2, 3}


def test_tasks_inherit_and_do_not_disturb(tmp_path: Path) -> None:
    record(
        tmp_path,
        """
        import asyncio, logql
        async def work(n):
            for i in logql.loop("step", range(3)):
                await asyncio.sleep(0)
                logql.log("x", n * 10 + i)
        async def main():
            for epoch in logql.loop("epoch", range(2)):
                await asyncio.gather(*(work(n) for n in range(3)))
                logql.log("done", epoch)
        asyncio.run(main())
        """,
    )
    found = by_path(tmp_path / ".logql")
    for path, name, value in found:
        if name == "x":
            assert [loop for loop, _ in path] == ["epoch", "step"]
            assert path[1][1] == value % 10  # type: ignore[operator]
    assert [path for path, name, _ in found if name == "done"] == [(("epoch", 0),), (("epoch", 1),)]
    assert len(found) == 20


CHILDREN = """
    import logql, multiprocessing, os, sys
    def work(n):
        for i in logql.loop("work", range(3)):
            logql.log("x", 10 * n + i)
        logql.log("pid", n)
    if __name__ == "__main__":
        multiprocessing.set_start_method(sys.argv[1])
        for epoch in logql.loop("epoch", range(2)):
            logql.log("before", epoch)
            children = [multiprocessing.Process(target=work, args=(n,)) for n in range(3)]
            [child.start() for child in children]
            [child.join() for child in children]
            assert [child.exitcode for child in children] == [0, 0, 0]
            logql.log("after", epoch)
    """


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_children_belong_to_the_run_and_write_nothing_twice(tmp_path: Path, method: str) -> None:
    write_script(tmp_path, CHILDREN)
    subprocess.run([sys.executable, "train.py", method], cwd=tmp_path, env=environment(), check=True, timeout=120)
    store = tmp_path / ".logql"
    run = read_run(store)
    assert run.status == "finished"
    assert read_values(store, "before") == [0, 1]
    assert read_values(store, "after") == [0, 1]
    assert sorted(read_values(store, "x")) == sorted([0, 1, 2, 10, 11, 12, 20, 21, 22] * 2)  # type: ignore[type-var]
    outer = {path for path, name, _ in by_path(store) if name == "pid"}
    assert outer == ({(("epoch", 0),), (("epoch", 1),)} if method == "fork" else {()})
    numbers = [event.seq for event in read_events(store)]
    assert len(set(numbers)) == len(numbers)
    assert len({chunk.writer for chunk in wal.list_chunks(str(store))}) == 7


def test_a_killed_training_is_killed_though_a_child_lives(tmp_path: Path) -> None:
    write_script(
        tmp_path,
        """
        import logql, os, signal, time
        logql.log("x", 1.0)
        logql.flush()
        if os.fork() == 0:
            logql.log("child", 1.0)
            logql.flush()
            print(os.getpid(), flush=True)
            time.sleep(60)
            os._exit(0)
        for i in logql.loop("i", range(600)):
            time.sleep(0.1)
        """,
    )
    store = str(tmp_path / ".logql")
    with subprocess.Popen(
        [sys.executable, "train.py"], cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        try:
            assert [run.status for run in snapshot.read_snapshot(store).runs] == ["running"]
            process.kill()
            process.wait()
            assert [run.status for run in snapshot.read_snapshot(store).runs] == ["killed"]
        finally:
            os.kill(child, signal.SIGKILL)
    deadline = time.monotonic() + 20
    while wal.list_chunks(store) and time.monotonic() < deadline:
        snapshot.read_snapshot(store)
        time.sleep(0.05)
    found = snapshot.read_snapshot(store)
    snapshot.forget()
    assert [run.status for run in found.runs] == ["killed"]
    assert sum(piece.rows for piece in found.levels["run"]) == 1
    assert os.listdir(os.path.join(store, "wal")) == []


def test_a_child_that_forks_plainly(tmp_path: Path) -> None:
    record(
        tmp_path,
        """
        import logql, os, sys
        logql.log("x", 1)
        pid = os.fork()
        if pid == 0:
            logql.log("x", 2)
            sys.exit(0)
        os.waitpid(pid, 0)
        logql.log("x", 3)
        """,
    )
    assert sorted(read_values(tmp_path / ".logql", "x")) == [1, 2, 3]  # type: ignore[type-var]
    assert read_run(tmp_path / ".logql").status == "finished"


@pytest.mark.parametrize(
    "loop", ["for i in logql.loop('i', range(9)):", "for i in range(9):\n    with logql.iteration('i', i):"]
)
def test_a_child_that_goes_on_in_its_parents_loop_takes_no_checkpoints(tmp_path: Path, loop: str) -> None:
    script = f"""
import logql, os
{loop}
        logql.log("x", i)
        if i == 2:
            pid = os.fork()
if pid:
    assert os.waitpid(pid, 0)[1] == 0
"""
    write_script(tmp_path, script)
    run_python(tmp_path, "train.py", env={"LOGQL_CHECKPOINT_EVERY": "1"})
    assert sorted(read_values(tmp_path / ".logql", "x")) == sorted([*range(9), *range(3, 9)])  # type: ignore[type-var]
    with Catalog.open(str(tmp_path / ".logql")) as catalog:
        assert [(one.index, one.reason) for one in catalog.checkpoints() if one.index is not None] == [
            (index, None) for index in range(1, 9)
        ]


@pytest.mark.torch
def test_workers_of_a_data_loader(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    record(
        tmp_path,
        """
        import logql, torch
        class Data(torch.utils.data.Dataset):
            def __len__(self): return 8
            def __getitem__(self, i):
                logql.log("read", i)
                return torch.tensor(float(i))
        loader = torch.utils.data.DataLoader(Data(), batch_size=2, num_workers=2)
        for epoch in logql.loop("epoch", range(2)):
            for x in logql.loop("step", loader):
                logql.log("mean", x.mean())
        """,
    )
    store = tmp_path / ".logql"
    assert read_values(store, "mean") == [0.5, 2.5, 4.5, 6.5] * 2
    assert sorted(read_values(store, "read")) == sorted([*range(8)] * 2)  # type: ignore[type-var]


def test_ranks_of_one_training_are_one_run(tmp_path: Path) -> None:
    script = write_script(
        tmp_path,
        """
        import logql, os, time
        for epoch in logql.loop("epoch", range(2)):
            logql.log("x", 10 * int(os.environ["RANK"]) + epoch)
        time.sleep(1.5)
        """,
    )
    for port in ("29500", "29501"):
        shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": port}
        processes = [
            subprocess.Popen(
                [sys.executable, str(script)], cwd=tmp_path, env=environment({**shared, "RANK": str(rank)})
            )
            for rank in range(2)
        ]
        assert [process.wait(timeout=60) for process in processes] == [0, 0]
    runs = {chunk.run for chunk in wal.list_chunks(str(tmp_path / ".logql"))}
    assert len(runs) == 2
    for run in runs:
        chunks = wal.list_chunks(str(tmp_path / ".logql"), run)
        assert [chunk.rank for chunk in chunks] == [0, 1]
        values = [[event.value for event in wal.read(chunk.path) if hasattr(event, "value")] for chunk in chunks]
        assert values == [[0, 1], [10, 11]]

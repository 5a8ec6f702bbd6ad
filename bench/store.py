"""The store at scale: files, bytes per value, opening, and queries beside hand-written SQL over one file per level.

    python bench/store.py [--runs 100 1000 10000] [--epochs 100] [--steps 10] [--live 8] [--ended 100]
                          [--peers-python PATH]

Queries are asked in turns (medians of `--times`); the bound is 1.2 times the SQL by hand plus 10 ms. Opening and
planning (bound 100 ms) is what a process that knows nothing of the store does before its first query runs, imports
apart. The last part asks again while `--live` runs are going on and `--ended` have just ended: 0.2 ms more for each of
these, whose rows are in no compacted file. With an interpreter that has MLflow and FlorDB the same
is asked of these, at the smallest number of runs. 10,000 runs of 100 epochs of 100 steps are 100 million rows.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from array import array
from collections.abc import Callable
from dataclasses import replace

import duckdb

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from bench.histories import a_run, make_store, run_id, version_id
from bench.query import compare, milliseconds, written_out
from logql import dbapi
from logql.model import RunStatus
from logql.store import liveness, snapshot, wal
from logql.store.catalog import Catalog
from logql.store.liveness import Lock

#: Title, what logql is asked, and the same by hand; {run}, {epoch} and {epoch.step} are the files of a level.
QUERIES = (
    (
        "last value per run",
        "SELECT run, arg_max(val_loss, epoch) AS last FROM logs GROUP BY run",
        "SELECT run, arg_max(val_loss, epoch) AS last FROM {epoch} GROUP BY run",
    ),
    (
        "curve of one run",
        "SELECT epoch, acc FROM logs WHERE run = '{RUN}' ORDER BY epoch",
        "SELECT epoch, acc FROM {epoch} WHERE run = '{RUN}' ORDER BY epoch",
    ),
    ("one metric, all runs", "SELECT run, epoch, acc FROM logs", "SELECT run, epoch, acc FROM {epoch}"),
    (
        "average by version",
        "SELECT version, avg(acc) FROM logs GROUP BY version",
        "SELECT version, avg(acc) FROM {epoch} GROUP BY version",
    ),
    (
        "filter and top 10",
        "SELECT run, epoch, step, loss FROM logs WHERE epoch = 42 ORDER BY loss, run, step LIMIT 10",
        "SELECT run, epoch, step, loss FROM {epoch.step} WHERE epoch = 42 ORDER BY loss, run, step LIMIT 10",
    ),
    ("count steps", "SELECT count(*) FROM step", "SELECT count(*) FROM {epoch.step}"),
)
ENDED_EPOCHS, LIVE_EPOCHS = 100, 2_000
OPEN_AND_PLAN_MS, PER_STREAM_MS = 100.0, 0.2


def bench_opening(store: str, times: int) -> None:
    """Opening cold, planning the first query, after one change, and with no change."""
    kept: list[snapshot.Snapshot] = []

    def read() -> None:
        kept[:] = [snapshot.read_snapshot(store)]

    def cold() -> None:
        kept.clear()
        snapshot.forget()
        read()

    def changed() -> None:
        with Catalog.open(store) as catalog:
            catalog.update_run(run_id(0), name="x")
        read()

    print(f"  open: cold {_median(cold, times):.1f} ms, after a change {_median(changed, times):.2f} ms, "
          f"unchanged {_median(read, times):.3f} ms ({len(kept[0].runs)} runs)")  # fmt: skip
    kept.clear()
    found = statistics.median(_open_and_plan(store) for _ in range(times))
    verdict = "" if found <= OPEN_AND_PLAN_MS else " over the bound"
    print(f"  open and plan the first query: {found:.1f} ms{verdict}")


def _open_and_plan(store: str) -> float:
    """From knowing nothing of the store to what DuckDB would run."""
    snapshot.forget()
    with dbapi.connect(store) as connection:
        return milliseconds(lambda: connection.execute(f"EXPLAIN {QUERIES[3][1]}").fetchall())


def _median(action: Callable[[], object], times: int) -> float:
    return statistics.median(milliseconds(action) for _ in range(times))


def bench_queries(store: str, plain: str, runs: int, times: int, allowed: float = 0.0) -> None:
    """Each query through logql and by hand; `allowed` are milliseconds on top of the bound."""
    run = run_id(runs // 2)
    with dbapi.connect(store) as connection, duckdb.connect() as db:
        for title, asked, by_hand in QUERIES:
            compare(connection, db, title, asked.replace("{RUN}", run), written_out(by_hand, plain, run), times,
                    allowed)  # fmt: skip


def add_streams(store: str, count: int, total: int, steps: int, *, live: bool) -> list[Lock]:
    """Runs that are not sealed: of `steps` iterations each, under way or just ended. Gives the locks of the former."""
    locks = []
    with Catalog.open(store) as catalog:
        for number in range(count):
            run = replace(a_run(total + number, total + count, {}), version=version_id(1), key=0)
            if live:
                locks += [liveness.hold_run(store, run.id), liveness.hold_main(store, run.id)]
            status: RunStatus = "running" if live else "finished"
            catalog.add_run(replace(run, status=status, pid=os.getpid(), ended_at=None if live else time.time()))
            _write_stream(store, run.id, steps)
    return [lock for lock in locks if lock is not None]


def _write_stream(store: str, run: str, steps: int) -> None:
    writer = wal.Writer(store, run, 0)
    for start in range(0, steps, 1000):
        count = min(1000, steps - start)
        contexts = array("q", [1 << wal.INDEX_BITS | start + at // 3 for at in range(3 * count)])
        kinds = array("H", [wal.ENTER, wal.FIRST_NAME, wal.FIRST_NAME + 1] * count)
        values = array("d", [at / 1024 for at in range(3 * count)])
        times = array("d", [1.0e9 + start + at for at in range(3 * count)])
        entries = [wal.Entry(1, "epoch", 0, 0)]
        names = ["acc", "val_loss"]
        writer.append(wal.Batch(3 * start, contexts, kinds, values, times, names, entries, items_are_indices=True))
    writer.close()


def bench_live(store: str, plain: str, runs: int, arguments: argparse.Namespace) -> None:
    """The same while runs go on and others have just ended; by hand there is nothing of these."""
    locks = add_streams(store, arguments.ended, runs, ENDED_EPOCHS, live=False)
    locks += add_streams(store, arguments.live, runs + arguments.ended, LIVE_EPOCHS, live=True)
    snapshot.forget()
    start = time.perf_counter()
    kept = snapshot.read_snapshot(store)
    first = (time.perf_counter() - start) * 1000
    print(f"  with {arguments.live} live runs of {LIVE_EPOCHS} epochs and {arguments.ended} that just ended: open "
          f"{first:.1f} ms, again {milliseconds(lambda: snapshot.read_snapshot(store)):.1f} ms")  # fmt: skip
    del kept
    bench_queries(store, plain, runs, arguments.times, PER_STREAM_MS * (arguments.live + arguments.ended))
    for lock in locks:
        lock.release()


def bench_one(runs: int, arguments: argparse.Namespace) -> None:
    """All of it at one number of runs."""
    directory = tempfile.mkdtemp(prefix="logql-bench-")
    try:
        store = os.path.join(directory, ".logql")
        values = make_store(store, directory, runs, arguments.epochs, arguments.steps)
        found = [os.path.join(base, name) for base, _, names in os.walk(f"{store}/logs") for name in names]
        own = sum(map(os.path.getsize, found))
        plain = sum(os.path.getsize(f"{directory}/{level}.parquet") for level in ("run", "epoch", "epoch.step"))
        print(f"{runs} runs, {values:,} values: {len(found)} files, {own / values:.1f} bytes per value "
              f"(raw Parquet {plain / values:.1f})")  # fmt: skip
        bench_opening(store, arguments.times)
        bench_queries(store, directory, runs, arguments.times)
        bench_live(store, directory, runs, arguments)
    finally:
        snapshot.forget()
        shutil.rmtree(directory)


def main() -> None:
    """Run the benchmark for each number of runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, nargs="*", default=[100, 1000, 10_000])
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--live", type=int, default=8)
    parser.add_argument("--ended", type=int, default=100)
    parser.add_argument("--times", type=int, default=11)
    parser.add_argument("--peers-python", metavar="PATH", help="an interpreter that has MLflow or FlorDB")
    arguments = parser.parse_args()
    for runs in arguments.runs:
        bench_one(runs, arguments)
    if arguments.peers_python:
        script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "store_peers.py")
        command = [arguments.peers_python, script, str(min(arguments.runs)), str(arguments.epochs)]
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main()

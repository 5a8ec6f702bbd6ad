"""Queries that need no replay, through logql and as hand-written SQL over one Parquet file per level.

    python bench/query.py [--runs 10 1000 10000] [--epochs 20] [--steps 5] [--times 21]

Each line is a ratio of medians, taken in turns on warm connections with results as Arrow; the bound is 1.2 times plus
10 ms. The first query of a connection is told apart. The histories are those of
`bench/histories.py`. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable

import duckdb

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from bench.histories import make_store, run_id
from logql import dbapi

#: Title, what logql is asked, and the same by hand; {run}, {epoch} and {epoch.step} are the files of a level.
QUERIES = (
    ("count runs", "SELECT count(*) FROM logs", "SELECT count(*) FROM {run}"),
    ("count epochs", "SELECT count(*) FROM epoch", "SELECT count(*) FROM {epoch}"),
    (
        "one run's curve",
        "SELECT epoch, acc FROM logs WHERE run = '{RUN}' ORDER BY epoch",
        "SELECT epoch, acc FROM {epoch} WHERE run = '{RUN}' ORDER BY epoch",
    ),
    (
        "average by version",
        "SELECT version, avg(acc) FROM logs GROUP BY version",
        "SELECT version, avg(acc) FROM {epoch} GROUP BY version",
    ),
    (
        "last value of each run",
        "SELECT run, arg_max(val_loss, epoch) AS last FROM logs GROUP BY run",
        "SELECT run, arg_max(val_loss, epoch) AS last FROM {epoch} GROUP BY run",
    ),
    (
        "top 10 steps",
        "SELECT run, epoch, step, loss FROM logs WHERE epoch = 7 ORDER BY loss, run, step LIMIT 10",
        "SELECT run, epoch, step, loss FROM {epoch.step} WHERE epoch = 7 ORDER BY loss, run, step LIMIT 10",
    ),
    (
        "steps beside epochs",
        "SELECT version, sum(loss), max(acc) FROM logs WHERE epoch > 10 GROUP BY version",
        (
            "SELECT version, sum(loss), max(acc) FROM {epoch.step} "
            "LEFT JOIN (SELECT run, epoch_index, epoch_entry, acc FROM {epoch}) USING (run, epoch_index, epoch_entry) "
            "WHERE epoch > 10 GROUP BY version"
        ),
    ),
    (
        "by an arg",
        "SELECT lr, max(acc) FROM logs GROUP BY lr ORDER BY lr",
        "SELECT lr, max(acc) FROM {epoch} JOIN args USING (run) GROUP BY lr ORDER BY lr",
    ),
)


def milliseconds(action: Callable[[], object]) -> float:
    """How long `action` takes."""
    start = time.perf_counter()
    action()
    return (time.perf_counter() - start) * 1000


def written_out(sql: str, plain: str, run: str) -> str:
    """SQL by hand with its files in place."""
    for level in ("run", "epoch", "epoch.step"):
        sql = sql.replace("{" + level + "}", f"read_parquet('{plain}/{level}.parquet')")
    return sql.replace("{RUN}", run)


def bench(runs: int, epochs: int, steps: int, times: int) -> None:
    """Every query at one number of runs."""
    with tempfile.TemporaryDirectory() as folder:
        store, plain = f"{folder}/.logql", f"{folder}/plain"
        os.makedirs(plain)
        make_store(store, plain, runs, epochs, steps)
        start = time.perf_counter()
        with dbapi.connect(store) as connection, duckdb.connect() as db:
            connection.execute(QUERIES[0][1]).arrow()
            print(f"{runs} runs: connect and first query {(time.perf_counter() - start) * 1000:.0f} ms")
            db.register("_args", connection.execute("SELECT run, lr FROM runs").arrow())
            db.execute("CREATE TABLE args AS FROM _args")
            for title, asked, by_hand in QUERIES:
                compare(connection, db, title, asked.replace("{RUN}", run_id(runs // 2)),
                        written_out(by_hand, plain, run_id(runs // 2)), times)  # fmt: skip


def compare(
    connection: dbapi.Connection, db: duckdb.DuckDBPyConnection, title: str, asked: str, by_hand: str, times: int,
    allowed: float = 0.0,
) -> None:  # fmt: skip
    """One query in turns; `allowed` are milliseconds on top of the bound."""
    first = milliseconds(lambda: connection.execute(asked).arrow())
    pairs = [
        (
            milliseconds(lambda: connection.execute(asked).arrow()),
            milliseconds(lambda: db.sql(by_hand).to_arrow_table()),
        )
        for _ in range(times)
    ]
    ours, plain = (statistics.median(column) for column in zip(*pairs, strict=True))
    verdict = "" if ours <= 1.2 * plain + 10 + allowed else " over the bound"
    print(
        f"  {title:24} {ours:7.1f} ms  by hand {plain:7.1f} ms  ratio {ours / plain:5.2f}  first {first:6.1f}{verdict}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, nargs="+", default=[10, 1000, 10000])
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--times", type=int, default=21)
    options = parser.parse_args()
    for runs in options.runs:
        bench(runs, options.epochs, options.steps, options.times)


if __name__ == "__main__":
    main()

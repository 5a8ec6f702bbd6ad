"""The time that planning takes: parse, bind, plan and cost through the real engine, by versions and length of query.

    python -m bench.plan [--versions 10 100 1000 10000] [--times 7] [--cpu]

Every version has a run of ten epochs; nine of ten lack `gn`, which today's source logs. The bound with 1,000 versions
is 100 ms, 200 ms for 20 kB, and growth no worse than linear. The second table: what a query without virtual columns
costs above DuckDB itself, where the bound is 10 ms under 2 kB. `--cpu` counts CPU time instead of the wall clock's, for
a machine that does other things as well. Medians; nothing is asserted. Needs the test suite's stand-ins: run it from a
checkout. How little is replayed is what `bench/minimality.py` tells.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import duckdb

from bench import histories
from logql import dbapi
from logql.catalog.history import History
from logql.catalog.schema import Column
from logql.catalog.status import OWN, NoSources, Status
from logql.execute.engine import Database, Engine
from logql.filling import place_demands
from logql.plan.demand import demand
from logql.plan.segments import plan_fill
from logql.sql.binder import bind_query
from logql.sql.macros import forget_texts
from logql.store.snapshot import forget, read_snapshot
from tests.execute.worlds import TestWorld

EPOCHS, STEPS = 10, 2
SHORT = {
    "filter": "SELECT run, epoch, gn FROM logs WHERE acc < 0.05",
    "aggregate": "SELECT max(gn) FROM logs WHERE acc > 0.9",
    "group": "SELECT version, avg(gn) FROM logs WHERE acc < 0.1 GROUP BY version HAVING count(*) > 1",
    "self-join": "SELECT a.run, b.gn FROM logs a JOIN logs b ON a.run = b.run AND b.epoch = a.epoch + 1 "
    "WHERE a.acc < 0.05",
    "correlated": "SELECT run, gn FROM logs a WHERE acc = (SELECT max(b.acc) FROM logs b WHERE b.run = a.run)",
    "limit": "SELECT run FROM logs WHERE gn > 10 LIMIT 1",
}
SIZES = {"2 kB": (2_000, 100), "20 kB": (20_000, 200)}
Clock = Callable[[], float]


def written(shape: str, size: int) -> str:
    """A query of about `size` bytes: a filter of many terms, a list of values, or many columns."""
    head, joint, item = {
        "terms": ("SELECT run, epoch, gn FROM logs WHERE ", " OR ", "(gn > {n} AND epoch = {d} AND acc < 0.{d}1)"),
        "list": ("SELECT run, epoch, gn FROM logs WHERE acc < 0.05 AND gn NOT IN (0, ", ", ", "{n}"),
        "columns": ("SELECT run, epoch, ", ", ", "gn * {n} + acc AS x{n}"),
    }[shape]
    tail = {"terms": "", "list": ")", "columns": " FROM logs WHERE acc < 0.05"}[shape]
    parts: list[str] = []
    while sum(map(len, parts)) + len(joint) * len(parts) < size - len(head) - len(tail):
        parts.append(item.format(n=len(parts), d=len(parts) % 10))
    return head + joint.join(parts) + tail


PLACED = Status("placed", levels=(("epoch",),), fingerprint="f", once=True)


class Lacking(NoSources):
    """Today's source logs `gn` at each epoch; one version of ten has it already."""

    def names(self) -> dict[str, Column]:
        return {"gn": Column("gn", "DOUBLE", frozenset(), True)}

    def status(self, name: str, version: str, script: str) -> Status:  # noqa: ARG002
        if name != "gn" or int(version, 16) % 10 == 0:
            return OWN
        return PLACED


@contextmanager
def versions_store(count: int) -> Iterator[tuple[str, str]]:
    """A store with a run of each of `count` versions, and the folder with the same as one file per level."""
    before, histories.VERSIONS = histories.VERSIONS, count
    try:
        with tempfile.TemporaryDirectory() as folder:
            store, plain = f"{folder}/.logql", f"{folder}/plain"
            os.makedirs(plain)
            histories.make_store(store, plain, count, EPOCHS, STEPS)
            yield store, plain
            forget(store)
    finally:
        histories.VERSIONS = before


def median_ms(action: Callable[[], object], times: int, clock: Clock) -> float:
    """The median time of an action, after a first one."""
    action()
    taken = []
    for _ in range(times):
        start = clock()
        action()
        taken.append(clock() - start)
    return statistics.median(taken) * 1000


def planning(counts: Sequence[int], times: int, clock: Clock) -> None:
    """Planning times of all queries, a column for each number of versions."""
    queries = {**{f"short {name}": (sql, 100) for name, sql in SHORT.items()}}
    queries |= {f"{label} {shape}": (written(shape, size), bound) for label, (size, bound) in SIZES.items()
                for shape in ("terms", "list", "columns")}  # fmt: skip
    found: dict[str, list[float]] = {title: [] for title in queries}
    for count in counts:
        with versions_store(count) as (store, _):
            database = Database(store)
            engine = Engine(database)
            history = History(read_snapshot(store), Lacking())
            engine.use(history, {"run": {}, "version": {}, "column": {}})
            world = TestWorld(history, engine)
            for title, (sql, _bound) in queries.items():
                found[title].append(median_ms(lambda: plan(sql, world, engine, history), times, clock))  # noqa: B023
            engine.close()
            database.close()
    print(f"{'query':16} {'bytes':>6}" + "".join(f"{count:>9}" for count in counts) + "   versions: ms")
    for title, (sql, bound) in queries.items():
        verdict = _verdict(dict(zip(counts, found[title], strict=True)), bound)
        print(f"{title:16} {len(sql):6}" + "".join(f"{ms:9.1f}" for ms in found[title]) + f"   {verdict}", flush=True)


def plan(sql: str, world: TestWorld, engine: Engine, history: History) -> None:
    """What happens to a query before anything is replayed, where its text was never seen before."""
    forget_texts()
    first = demand(bind_query(sql, world), engine)
    plan_fill(place_demands(first.demands, history), history, 2)


def _verdict(times: dict[int, float], bound: int) -> str:
    over = [f"over {bound} ms" for count, ms in times.items() if count == 1000 and ms > bound]
    pairs = zip(list(times.items()), list(times.items())[1:], strict=False)
    steep = [f"{b}: steeper than linear" for (a, first), (b, second) in pairs if second / first > b / a]
    return ", ".join(over + steep) or "ok"


def above_duckdb(runs: int, times: int, clock: Clock) -> None:
    """Queries without virtual columns through logql and through DuckDB, in turns."""
    terms = " OR ".join(f"(epoch = {n % 10} AND acc < 0.{n % 9}1 AND val_loss > 0.{n % 7}2)" for n in range(38))
    queries = {
        "0.1 kB": "SELECT version, avg(acc) AS a FROM epoch WHERE epoch > 3 GROUP BY version",
        "2 kB": f"SELECT run, epoch, acc FROM epoch WHERE {terms}",
    }
    with versions_store(runs) as (store, plain), dbapi.connect(store) as ours, duckdb.connect() as db:
        db.execute(f"CREATE VIEW epoch AS FROM read_parquet('{plain}/epoch.parquet')")
        for title, sql in queries.items():
            again = median_ms(lambda: ours.execute(sql).arrow(), times, clock)  # noqa: B023
            first = median_ms(lambda: first_time(ours, sql), times, clock)  # noqa: B023
            raw = median_ms(lambda: db.sql(sql).to_arrow_table(), times, clock)  # noqa: B023
            verdict = "ok" if first - raw <= 10 else "over 10 ms"
            print(
                f"{title:7} {len(sql):5} bytes, {runs} runs: {first:7.1f} ms, asked again {again:7.1f} ms, "
                f"DuckDB {raw:7.1f} ms   {verdict}"
            )


def first_time(connection: dbapi.Connection, sql: str) -> None:
    """Ask what was never asked before."""
    forget_texts()
    connection.execute(sql).arrow()


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--versions", type=int, nargs="+", default=[10, 100, 1000, 10000])
    parser.add_argument("--times", type=int, default=7)
    parser.add_argument("--cpu", action="store_true")
    options = parser.parse_args()
    clock = time.process_time if options.cpu else time.perf_counter
    planning(options.versions, options.times, clock)
    above_duckdb(1000, options.times, clock)


if __name__ == "__main__":
    main()

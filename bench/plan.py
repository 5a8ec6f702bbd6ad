"""How good the planner is: epochs demanded against epochs needed, and the time that planning takes.

    python -m bench.plan --queries 200 --runs 10 100 1000 10000

Needed is found by brute force: on a history with at most three missing cells every completion over a few values is
answered, and an epoch is needed if two completions that differ in its cell alone give different answers. Needs the
test suite's stand-in engine, so run it from a checkout.
"""

from __future__ import annotations

import argparse
import itertools
import random
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator

import sqlglot

from logql.plan.demand import demand
from tests.plan.generate import Queries, history
from tests.plan.oracle import ask, bag
from tests.plan.stand_in import Cell, History, StandIn, Unit, bind

VALUES = (None, 0.0, 1.0, 2.0, 3.0, 4.0, float("nan"))
PLANNING = {
    "filter": "SELECT run, epoch, gn FROM logs WHERE val_acc < 0.05",
    "aggregate": "SELECT max(gn) FROM logs WHERE val_acc > 0.9",
    "group": "SELECT version, avg(gn) FROM logs WHERE val_acc < 0.1 GROUP BY version HAVING count(*) > 1",
    "self-join": "SELECT a.run, b.gn FROM logs a JOIN logs b ON a.run = b.run AND b.epoch = a.epoch + 1 "
    "WHERE a.val_acc < 0.05",
    "correlated": "SELECT run, gn FROM logs a WHERE val_acc = (SELECT max(b.val_acc) FROM logs b WHERE b.run = a.run)",
    "limit": "SELECT run FROM logs WHERE gn > 10 LIMIT 1",
}


def kind_of(sql: str) -> str:
    """The class of a query, by its most demanding construct."""
    if "LIMIT" in sql or "EXISTS" in sql:
        return "early stop"
    for kind, marks in (
        ("set operation", ("UNION", "INTERSECT", "EXCEPT")),
        ("subquery", ("(SELECT",)),
        ("window", (" OVER ",)),
        ("aggregate", ("max(", "min(", "sum(", "count(", "DISTINCT ")),
        ("outer join", ("LEFT JOIN", "RIGHT JOIN", "FULL JOIN")),
        ("join", ("JOIN",)),
        ("logic", (" OR ", "NOT ", "CASE", "coalesce")),
    ):
        if any(mark in sql for mark in marks):
            return kind
    return "conjunctive"


def small_history(rng: random.Random, most: int) -> History:
    """A history of epochs that log each name once, a few cells of which are missing."""
    past = history(rng)
    units = [
        Unit(u.run, u.epoch, u.version, tuple((n, rng.choice(VALUES[:6])) for n in ("val_acc", "gn", "hn")))
        for u in past.units
    ]
    cells: list[Cell] = [(u.run, u.epoch, name) for u in units for name in ("gn", "hn")]
    return History(units, set(rng.sample(cells, min(most, len(cells)))))


def needed_epochs(sql: str, past: History) -> set[tuple[str, int]]:
    """Epochs of which a missing cell can change the answer."""
    cells = sorted(past.missing)
    tree, answers = bind(sql).tree, {}
    for values in itertools.product(VALUES, repeat=len(cells)):
        with StandIn(History(list(_completed(past, dict(zip(cells, values, strict=True)))))) as engine:
            answers[tuple(map(repr, values))] = bag(engine.run(tree))
    found = set()
    for values, answer in answers.items():
        for position, cell in enumerate(cells):
            others = ((*values[:position], repr(value), *values[position + 1 :]) for value in VALUES)
            if any(answers[other] != answer for other in others):
                found.add(cell[:2])
    return found


def _completed(past: History, cells: dict[Cell, float | None]) -> Iterator[Unit]:
    for unit in past.units:
        events = tuple((name, cells.get((unit.run, unit.epoch, name), value)) for name, value in unit.events)
        yield Unit(unit.run, unit.epoch, unit.version, events)


def minimality(queries: int, most: int, seed: int) -> None:
    """Print the ratio of demanded to needed epochs by class of query."""
    ratios: dict[str, list[float]] = defaultdict(list)
    idle: dict[str, list[int]] = defaultdict(list)
    for number in range(queries):
        rng = random.Random(f"{seed}-{number}")
        past, sql = small_history(rng, most), Queries(rng).query()
        needed, filled = needed_epochs(sql, past), ask(sql, past).filled
        if needed:
            ratios[kind_of(sql)].append(len(filled) / len(needed))
        else:
            idle[kind_of(sql)].append(len(filled))
    print(f"{'class':14} {'queries':>7} {'median':>7} {'mean':>6}   where none is needed: queries, epochs demanded")
    for kind in sorted({*ratios, *idle}):
        found = ratios[kind] or [0.0]
        print(
            f"{kind:14} {len(ratios[kind]):7} {statistics.median(found):7.2f} {statistics.mean(found):6.2f}   "
            f"{len(idle[kind])}, {sum(idle[kind])}"
        )


def planning_time(runs: list[int]) -> None:
    """Print the median time of a round, by number of versions (ten epochs each, nine of ten versions lack the name)."""
    print(f"{'query':12}" + "".join(f"{count:>10}" for count in runs) + "   versions, ms")
    engines = [StandIn(_versions(count)) for count in runs]
    for name, sql in PLANNING.items():
        times = [_median_ms(sql, engine) for engine in engines]
        print(f"{name:12}" + "".join(f"{ms:10.0f}" for ms in times))
    for engine in engines:
        engine.connection.close()


def long_queries(runs: list[int]) -> None:
    """Print the CPU time of a round for long filters, beside that of answering and of parsing the same query."""
    print(f"{'bytes':>8} {'versions':>8} {'plan, ms':>9} {'answer':>7} {'parse':>6} {'plan / (answer + parse)':>24}")
    for parts in (3, 45, 430):
        terms = (f"(gn > {i} AND epoch = {i % 10} AND val_acc < 0.{i % 9 + 1})" for i in range(parts))
        sql = "SELECT run, epoch, gn FROM logs WHERE " + " OR ".join(terms)
        query = bind(sql)
        for count in runs:
            with StandIn(_versions(count)) as engine:
                plan = _cpu_ms(lambda: demand(query, engine))  # noqa: B023
                answer = _cpu_ms(lambda: engine.run(query.tree))  # noqa: B023
                parse = _cpu_ms(lambda: sqlglot.parse_one(sql, read="duckdb"))  # noqa: B023
            ratio = plan / (answer + parse)
            print(f"{len(sql):8} {count:8} {plan:9.0f} {answer:7.0f} {parse:6.0f} {ratio:24.1f}")


def _cpu_ms(act: Callable[[], object], repeats: int = 3) -> float:
    times = []
    for _ in range(repeats + 1):
        start = time.process_time()
        act()
        times.append(time.process_time() - start)
    return statistics.median(times[1:]) * 1000


def _versions(count: int) -> History:
    units = [
        Unit(f"R{n:05}", epoch, n, (("val_acc", (n * 7 + epoch) % 100 / 100), ("gn", 1.0)))
        for n in range(count)
        for epoch in range(10)
    ]
    return History(units, {(u.run, u.epoch, "gn") for u in units if u.version < 0.9 * count})


def _median_ms(sql: str, engine: StandIn, repeats: int = 5) -> float:
    query, times = bind(sql), []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        demand(query, engine)
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:]) * 1000


def main() -> None:
    """Run both parts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--cells", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", type=int, nargs="*", default=[10, 100, 1000])
    options = parser.parse_args()
    minimality(options.queries, options.cells, options.seed)
    planning_time(options.runs)
    long_queries(options.runs)


if __name__ == "__main__":
    main()

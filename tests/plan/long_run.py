"""The oracle at length: lazily filled == logged from the start, over as many generated pairs as one likes.

    python -m tests.plan.long_run [--pairs 20000] [--first 0] [--way planner|engine|typed|varied|limit|ties ...]

`planner`: the planner alone over the stand-in engine. `engine`: the real binder and engine over histories of whole runs
(levels, entries, repeats, ranks). `typed`: the same over virtual columns of all types, in more kinds of SQL. `varied`:
both, with values and conditions said through queries, structs and lists, and subqueries without a name. `limit`:
LIMIT without ORDER BY, which may give any part of the right size. `ties`: ORDER BY with LIMIT where keys are equal.
Of a hundred pairs 50 are of the first way, 20 varied, 10 engine and typed each, 5 of the others, if none is named. Each
failure is printed with its seed; the exit code is 1 if there is any.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from logql.errors import BindError, DataError, Error
from logql.execute.engine import Database, Engine
from tests.plan import oracle, whole_way
from tests.plan.generate import Queries, history
from tests.plan.histories import Past, make_past, make_typed_past
from tests.plan.rich import RichQueries
from tests.plan.typed import TypedQueries
from tests.plan.variants import vary

WAYS = ("planner",) * 10 + ("engine",) * 2 + ("typed",) * 2 + ("varied",) * 4 + ("limit", "ties")


@contextmanager
def real_engine() -> Iterator[Engine]:
    """The engine over no store: histories are handed to it."""
    database = Database("/nowhere-whole-way")
    engine = Engine(database)
    try:
        yield engine
    finally:
        engine.close()
        database.close()


def _planner(seed: int, engine: Engine) -> str | None:  # noqa: ARG001
    rng = random.Random(seed)
    past, sql = history(rng), Queries(rng).query()
    return None if oracle.ask(sql, past).rows == oracle.truth(sql, past) else sql


Make = Callable[[random.Random], tuple[Past, RichQueries]]


def rich(rng: random.Random) -> tuple[Past, RichQueries]:
    """A history of numbers and words, and what writes queries over it."""
    return make_past(rng), RichQueries(rng)


def typed(rng: random.Random) -> tuple[Past, RichQueries]:
    """A history of values of all types, and what writes queries over it."""
    past = make_typed_past(rng)
    return past, TypedQueries(rng, past.sources.levels)


def answerable(
    seed: int, engine: Engine, make: Make, write: Callable[[RichQueries], str]
) -> tuple[Past, RichQueries, str, list[str]]:
    """A history, a query and its true answer; queries that the full history itself refuses are passed over."""
    for attempt in range(20):
        past, queries = make(random.Random(f"{seed}-{attempt}" if attempt else seed))
        sql = write(queries)
        try:
            return past, queries, sql, whole_way.truth(sql, engine, past)
        except (BindError, DataError):  # a name of another level; a value that does not convert
            continue
    raise AssertionError("no answerable query")


def _whole(seed: int, engine: Engine, make: Make) -> str | None:
    past, _, sql, expected = answerable(seed, engine, make, lambda queries: queries.query())
    try:
        return None if whole_way.ask(sql, engine, past).rows == expected else sql
    except DataError:  # of rows or constants that the engine looks at in one order and not in the other
        return None


def _engine(seed: int, engine: Engine) -> str | None:
    return _whole(seed, engine, rich)


def _typed(seed: int, engine: Engine) -> str | None:
    return _whole(seed, engine, typed)


def _varied(seed: int, engine: Engine) -> str | None:
    """Queries of both kinds, parts of which are said otherwise; of those that DuckDB refuses, none."""
    rng = random.Random(f"varied-{seed}")
    for _ in range(20):
        past, queries = (typed if seed % 2 else rich)(rng)
        sql = vary(queries.query(), rng)
        try:
            expected = whole_way.truth(sql, engine, past)
        except Error:
            continue
        return None if whole_way.ask(sql, engine, past).rows == expected else sql
    return None


def _block(queries: RichQueries) -> str:
    return queries.block(queries.columns(), 1)


def _limit(seed: int, engine: Engine) -> str | None:
    past, queries, whole, everything = answerable(seed, engine, typed if seed % 2 else rich, _block)
    count, passed = queries.rng.randint(1, 4), queries.rng.choice((0, 0, 1, 2))
    limited = f"{whole} LIMIT {count} OFFSET {passed}" if passed else f"{whole} LIMIT {count}"
    found, full = Counter(whole_way.ask(limited, engine, past).rows), Counter(everything)
    enough = found.total() == min(count, max(0, full.total() - passed))
    return None if found <= full and enough else limited


def _ties(seed: int, engine: Engine) -> str | None:
    """Which of the rows with equal keys come is open: the rows are some of all, and their keys those of the truth."""
    past, queries, whole, everything = answerable(seed, engine, typed if seed % 2 else rich, _block)
    key = queries.rng.randint(2, 3)
    order = f"ORDER BY {key}{queries.rng.choice((' DESC', '', ' NULLS FIRST', ' DESC NULLS LAST'))}"
    limited = f"{whole} {order} LIMIT {queries.rng.randint(1, 4)}"
    found, truth = whole_way.ask(limited, engine, past).rows, whole_way.truth(limited, engine, past)
    keys = [
        Counter(row.removeprefix("[").removesuffix("]").split(", ")[key - 1] for row in rows) for rows in (found, truth)
    ]
    return None if Counter(found) <= Counter(everything) and keys[0] == keys[1] else limited


CHECKS: dict[str, Callable[[int, Engine], str | None]] = {
    "planner": _planner, "engine": _engine, "typed": _typed, "varied": _varied, "limit": _limit,
    "ties": _ties,
}  # fmt: skip


def check(way: str, seed: int, engine: Engine) -> str | None:
    """What is wrong with a pair, or None: the query whose answer differs, or the error."""
    try:
        wrong = CHECKS[way](seed, engine)
    except Exception:
        return traceback.format_exc()
    return None if wrong is None else f"another answer: {wrong}"


def run(seeds: Iterable[int], ways: tuple[str, ...]) -> int:
    """Check all pairs and tell; returns the number of failures."""
    counts: Counter[str] = Counter()
    failures, start = 0, time.process_time()
    with real_engine() as engine:
        for seed in seeds:
            way = ways[seed % len(ways)]
            counts[way] += 1
            wrong = check(way, seed, engine)
            if wrong is not None:
                failures += 1
                print(f"--- {way} {seed}\n{wrong}", flush=True)
            if counts.total() % 1000 == 0:
                spent = time.process_time() - start
                print(f"{counts.total()} pairs, {failures} failures, {spent:.0f} s of CPU", flush=True)
    shown = ", ".join(f"{count} {way}" for way, count in sorted(counts.items()))
    print(f"{counts.total()} query-history pairs ({shown}): {failures} failures")
    return failures


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=20_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--way", choices=sorted(CHECKS), action="append")
    options = parser.parse_args()
    ways = tuple(options.way or WAYS)
    sys.exit(1 if run(range(options.first, options.first + options.pairs), ways) else 0)


if __name__ == "__main__":
    main()

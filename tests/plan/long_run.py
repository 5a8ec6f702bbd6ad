"""The oracle at length: lazily filled == logged from the start, over as many generated pairs as one likes.

    python -m tests.plan.long_run [--pairs 20000] [--first 0] [--way planner|engine|limit ...]

`planner`: the planner alone over the stand-in engine. `engine`: the real binder and engine over histories of whole runs
(levels, entries, repeats, ranks, types). `limit`: LIMIT without ORDER BY, which may give any part of the right size.
Of a hundred pairs 75 are of the first way, 20 of the second and 5 of the third, if none is named. Each failure is
printed with its seed; the exit code is 1 if there is any.
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

from logql.errors import BindError, DataError
from logql.execute.engine import Database, Engine
from tests.plan import oracle, whole_way
from tests.plan.generate import Queries, history
from tests.plan.histories import Past, make_past
from tests.plan.rich import RichQueries

WAYS = ("planner",) * 15 + ("engine",) * 4 + ("limit",)


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


def answerable(
    seed: int, engine: Engine, write: Callable[[RichQueries], str]
) -> tuple[Past, RichQueries, str, list[str]]:
    """A history, a query and its true answer; queries that the full history itself refuses are passed over."""
    for attempt in range(20):
        rng = random.Random(f"{seed}-{attempt}" if attempt else seed)
        past, queries = make_past(rng), RichQueries(rng)
        sql = write(queries)
        try:
            return past, queries, sql, whole_way.truth(sql, engine, past)
        except (BindError, DataError):  # a name of another level; a value that does not convert
            continue
    raise AssertionError("no answerable query")


def _engine(seed: int, engine: Engine) -> str | None:
    past, _, sql, expected = answerable(seed, engine, lambda queries: queries.query())
    return None if whole_way.ask(sql, engine, past).rows == expected else sql


def _limit(seed: int, engine: Engine) -> str | None:
    past, queries, whole, everything = answerable(seed, engine, lambda queries: queries.block(queries.columns(), 1))
    count = queries.rng.randint(1, 4)
    found, full = Counter(whole_way.ask(f"{whole} LIMIT {count}", engine, past).rows), Counter(everything)
    enough = found.total() == min(count, full.total())
    return None if found <= full and enough else f"{whole} LIMIT {count}"


CHECKS: dict[str, Callable[[int, Engine], str | None]] = {"planner": _planner, "engine": _engine, "limit": _limit}


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

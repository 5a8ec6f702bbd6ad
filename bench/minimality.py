"""How little is replayed: epochs demanded against epochs needed, by class of query, and without each rule in turn.

    python -m bench.minimality [--queries 2000] [--cells 4] [--ablation 200] [--seed 0]

Needed is found by brute force on small histories of at most `cells` missing cells: every completion over a few values
(the constants of the generated queries, each with its neighbours, NULL, NaN) is answered, and an epoch is needed if two
completions that differ in its cell alone give different answers. From six cells on the completions are a sample, which
finds no epoch that is not needed, and may miss one that is. Classes that may stop early are apart: what they need
depends on which rows they give. Needs the test suite's stand-in engine, so run it from a checkout.
"""

from __future__ import annotations

import argparse
import random
import statistics
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb

import tests.plan
from logql.plan.demand import RULES, demand
from tests.plan.completions import Completions, small_history
from tests.plan.generate import Queries
from tests.plan.oracle import ask, truth
from tests.plan.show import example
from tests.plan.stand_in import History, StandIn, bind

#: Classes by their most demanding construct, in the order of precedence.
CLASSES = (
    ("early stop", ("LIMIT", "EXISTS")),
    ("set operation", ("UNION", "INTERSECT", "EXCEPT")),
    ("subquery", ("(SELECT",)),
    ("window", (" OVER ",)),
    ("aggregate", ("max(", "min(", "sum(", "count(", "DISTINCT ")),
    ("outer join", ("LEFT JOIN", "RIGHT JOIN", "FULL JOIN", "ANTI JOIN")),
    ("join", ("JOIN",)),
    ("logic", (" OR ", "NOT ", "CASE", "coalesce")),
)
#: Read and looked at in stages: the column that filters before the one that is shown.
STAGED = "staged"


@dataclass(frozen=True)
class Measured:
    """One query over one history: the epochs that it needs, and those that were demanded in how many rounds."""

    kind: str
    sql: str
    needed: int
    demanded: int
    missed: int
    rounds: int


def kind_of(sql: str) -> str:
    """The class of a query."""
    return next((kind for kind, marks in CLASSES if any(mark in sql for mark in marks)), "conjunctive")


def pairs(queries: int, most: int, seed: int) -> Iterator[tuple[History, str]]:
    """Small histories with a query each."""
    for number in range(queries):
        rng = random.Random(f"{seed}-{number}")
        yield small_history(rng, most), Queries(rng).query()


def measure(found: Iterable[tuple[History, str]], disabled: frozenset[str] = frozenset()) -> Iterator[Measured]:
    """What each query needs and demands; those that DuckDB cannot put beside their completions are left out."""
    with duckdb.connect(config={"threads": 1}) as connection:
        completions = Completions(connection)
        for past, sql in found:
            try:
                needed = completions.needed(sql, past)
            except duckdb.NotImplementedException:  # IN over several columns, which it does not correlate
                continue
            outcome = ask(sql, past, disabled)
            missed = len(needed - outcome.filled)
            yield Measured(kind_of(sql), sql, len(needed), len(outcome.filled), missed, outcome.rounds)


def by_class(found: Iterable[Measured]) -> None:
    """Print the ratio of demanded to needed epochs by class of query; queries that took several stages are apart."""
    held: dict[str, list[Measured]] = {}
    for one in found:
        kind = one.kind if one.rounds <= 1 or one.kind == "early stop" else f"{one.kind}, {STAGED}"
        held.setdefault(kind, []).append(one)
    print(f"{'class':22} {'queries':>7} {'median':>7} {'mean':>6}   none needed: queries, epochs demanded")
    for kind in ["conjunctive", *(kind for kind, _ in reversed(CLASSES))]:
        for name in (kind, f"{kind}, {STAGED}"):
            _line(name, held.get(name, []))


def _line(name: str, found: list[Measured]) -> None:
    ratios = [one.demanded / one.needed for one in found if one.needed]
    idle = [one.demanded for one in found if not one.needed]
    if ratios or idle:
        shares = f"{statistics.median(ratios):7.2f} {statistics.mean(ratios):6.2f}" if ratios else f"{'':14}"
        print(f"{name:22} {len(ratios):7} {shares}   {len(idle)}, {sum(idle)}", flush=True)


def without_each_rule(queries: int, seed: int) -> None:
    """Print what is demanded without each rule, of generated queries and of its own fixtures, and wrong answers."""
    found = list(pairs(queries, 6, seed))
    truths = [truth(sql, past) for past, sql in found]
    print(f"{'without':18} {'epochs demanded':>15} {'wrong answers':>14}   of its fixtures: with, without")
    for rule in ("", *(rule.__name__ for rule in RULES)):
        outcomes = [ask(sql, past, frozenset({rule} - {""})) for past, sql in found]
        wrong = sum(one.rows != right for one, right in zip(outcomes, truths, strict=True))
        own = f"{_of_fixtures(rule, frozenset())}, {_of_fixtures(rule, frozenset({rule}))}" if rule else ""
        print(
            f"{rule or '(all rules)':18} {sum(len(one.filled) for one in outcomes):15} {wrong:14}   {own}", flush=True
        )


def _of_fixtures(rule: str, disabled: frozenset[str]) -> int:
    """Cells that the first round demands of a rule's fixtures."""
    text = (Path(tests.plan.__file__).parent / "fixtures" / f"{rule}.sql").read_text()
    plain = "\n".join(line for line in text.splitlines() if not line.startswith("--"))
    queries = [part.strip() for part in plain.split(";") if part.strip()][::2]
    found = 0
    for sql in queries:
        with StandIn(example(sql)) as engine:
            found += sum(len(list(item.cells())) for item in demand(bind(sql), engine, disabled).demands)
    return found


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=int, default=2000)
    parser.add_argument("--cells", type=int, default=4)
    parser.add_argument("--ablation", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--show", type=float, help="print single-stage queries that demand so many times what they need"
    )
    options = parser.parse_args()
    found = list(measure(pairs(options.queries, options.cells, options.seed)))
    for one in found if options.show else ():
        if one.demanded > one.needed * options.show and one.kind != "early stop":
            print(f"{one.demanded} of {one.needed} ({one.kind}, {one.rounds} rounds): {one.sql}")
    by_class(found)
    without_each_rule(options.ablation, options.seed)


if __name__ == "__main__":
    main()

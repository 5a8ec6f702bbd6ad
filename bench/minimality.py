"""How little is replayed: epochs demanded against epochs needed, by class of query, and without each rule in turn.

    python -m bench.minimality [--queries 300] [--cells 3] [--ablation 60] [--seed 0]

Needed is found by brute force on small histories: of a few missing cells every completion over a few values (the
constants of the generated queries, each with its neighbours, NULL, NaN) is answered, and an epoch is needed if two
completions that differ in its cell alone give different answers. Classes that may stop early are apart: what they need
depends on which rows they give. Needs the test suite's stand-in engine, so run it from a checkout.
"""

from __future__ import annotations

import argparse
import itertools
import random
import statistics
from collections import defaultdict
from collections.abc import Iterator

from logql.plan.demand import RULES
from tests.plan.generate import Queries, history
from tests.plan.oracle import ask, bag, truth
from tests.plan.stand_in import Cell, History, StandIn, Unit, bind

VALUES = (None, 0.0, 1.0, 2.0, 3.0, 4.0, -1.0, float("nan"))
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


def kind_of(sql: str) -> str:
    """The class of a query."""
    return next((kind for kind, marks in CLASSES if any(mark in sql for mark in marks)), "conjunctive")


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


def _pairs(queries: int, most: int, seed: int) -> Iterator[tuple[History, str]]:
    for number in range(queries):
        rng = random.Random(f"{seed}-{number}")
        yield small_history(rng, most), Queries(rng).query()


def by_class(queries: int, most: int, seed: int) -> None:
    """Print the ratio of demanded to needed epochs by class of query."""
    ratios: dict[str, list[float]] = defaultdict(list)
    idle: dict[str, list[int]] = defaultdict(list)
    for past, sql in _pairs(queries, most, seed):
        needed, filled = needed_epochs(sql, past), ask(sql, past).filled
        if needed:
            ratios[kind_of(sql)].append(len(filled) / len(needed))
        else:
            idle[kind_of(sql)].append(len(filled))
    print(f"{'class':14} {'queries':>7} {'median':>7} {'mean':>6}   where none is needed: queries, epochs demanded")
    for kind in ["conjunctive", *(kind for kind, _ in reversed(CLASSES))]:
        found = ratios[kind] or [float("nan")]
        shares = f"{statistics.median(found):7.2f} {statistics.mean(found):6.2f}"
        print(f"{kind:14} {len(ratios[kind]):7} {shares}   {len(idle[kind])}, {sum(idle[kind])}", flush=True)


def without_each_rule(queries: int, seed: int) -> None:
    """Print how many epochs are demanded without each rule, and whether the answers stay right."""
    pairs = list(_pairs(queries, 6, seed))
    truths = [truth(sql, past) for past, sql in pairs]
    print(f"{'without':18} {'epochs demanded':>15} {'wrong answers':>14}")
    for rule in ("", *(rule.__name__ for rule in RULES)):
        found = [ask(sql, past, frozenset({rule} - {""})) for past, sql in pairs]
        wrong = sum(one.rows != right for one, right in zip(found, truths, strict=True))
        print(f"{rule or '(all rules)':18} {sum(len(one.filled) for one in found):15} {wrong:14}", flush=True)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--cells", type=int, default=3)
    parser.add_argument("--ablation", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    by_class(options.queries, options.cells, options.seed)
    without_each_rule(options.ablation, options.seed)


if __name__ == "__main__":
    main()

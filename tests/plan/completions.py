"""Which epochs a query needs, by brute force: every completion of a small history's missing cells is answered.

One DuckDB query answers all completions: the rows of the query, as a correlated subquery over a table of them.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import duckdb
from sqlglot import exp, parse_one

from logql.sql.bound import ref_of
from tests.plan.generate import history
from tests.plan.stand_in import NAMES, VIRTUAL, Cell, History, Unit, bind

#: What a missing cell may turn out to be: the constants of the generated queries and their neighbours, NULL, NaN, and
#: (as a number that no query uses) that its statement did not run, so that the name makes no row.
VALUES = (None, 0.0, 1.0, 2.0, 3.0, 4.0, -1.0, float("nan"))
NOT_LOGGED = -99.0
CHOICES = (*VALUES, NOT_LOGGED)
#: Up to so many completions all are answered; of more, some and all that differ from these in one cell.
MOST = 40_000
#: How many these are.
SAMPLED = 400


def small_history(rng: random.Random, most: int) -> History:
    """A history of epochs that log each name once, a few cells of which are missing."""
    past = history(rng)
    units = [
        Unit(u.run, u.epoch, u.version, tuple((n, rng.choice(VALUES[:6])) for n in ("val_acc", "gn", "hn")))
        for u in past.units
    ]
    cells: list[Cell] = [(u.run, u.epoch, name) for u in units for name in ("gn", "hn")]
    return History(units, set(rng.sample(cells, min(most, len(cells)))))


@dataclass
class Completions:
    """A database that holds a history with holes, and fills them in as many ways as it likes."""

    connection: duckdb.DuckDBPyConnection

    def needed(self, sql: str, past: History) -> set[tuple[str, int]]:
        """Epochs of which a missing cell can change the answer: two completions that differ in it alone answer apart.

        Where there are more than MOST completions, epochs that the sample shows to be needed.
        """
        cells = sorted(past.missing)
        self._write(past, len(cells))
        answers = f"SELECT c.*, (SELECT list_sort(list(r::VARCHAR)) FROM ({_over(sql, past, cells)}) r) AS a FROM c"
        self.connection.execute(f"CREATE OR REPLACE TEMP TABLE answers AS {answers}")
        return {cell[:2] for number, cell in enumerate(cells) if self._matters(number, len(cells))}

    def _write(self, past: History, cells: int) -> None:
        rows = [
            (n, u.run, u.version, u.epoch, *(dict(u.events)[name] for name in NAMES)) for n, u in enumerate(past.units)
        ]
        self.connection.execute(
            "CREATE OR REPLACE TEMP TABLE u (id INT, run VARCHAR, version INT, epoch INT, val_acc DOUBLE, gn DOUBLE, "
            "hn DOUBLE)"
        )
        self.connection.executemany(f"INSERT INTO u VALUES ({', '.join('?' * 7)})", rows)
        self.connection.execute("CREATE OR REPLACE TEMP TABLE vals AS SELECT unnest(?::DOUBLE[]) AS v", [list(CHOICES)])
        names = [f"v{number}" for number in range(cells)]
        if len(CHOICES) ** cells <= MOST:
            shown = ", ".join(f"x{name}.v AS {name}" for name in names) or "1 AS one"
            sources = ", ".join(f"vals AS x{name}" for name in names) or "range(1)"
            self.connection.execute(f"CREATE OR REPLACE TEMP TABLE c AS SELECT {shown} FROM {sources}")
            return
        rng = random.Random(cells)
        some = [[rng.choice(CHOICES) for _ in names] for _ in range(SAMPLED)]
        drawn = ", ".join(f"unnest(?::DOUBLE[]) AS {name}" for name in names)
        self.connection.execute(
            f"CREATE OR REPLACE TEMP TABLE drawn AS SELECT {drawn}",
            [list(column) for column in zip(*some, strict=True)],
        )
        near = " UNION ".join(f"SELECT drawn.* REPLACE (vals.v AS {name}) FROM drawn, vals" for name in names)
        self.connection.execute(f"CREATE OR REPLACE TEMP TABLE c AS {near}")

    def _matters(self, number: int, cells: int) -> bool:
        others = [f"v{other}" for other in range(cells) if other != number]
        group = f"GROUP BY {', '.join(others)}" if others else ""
        apart = f"SELECT 1 FROM answers {group} HAVING count(DISTINCT coalesce(a, [])) > 1 LIMIT 1"
        return self.connection.execute(apart).fetchone() is not None


def _over(sql: str, past: History, cells: list[Cell]) -> str:
    """The query over the rows of `u` with the cells of the completion `c` at hand."""
    tree = bind(sql).tree.copy()
    columns = ", ".join(["u.run", "u.version", "u.epoch", "u.val_acc", *(_cell(name, past, cells) for name in VIRTUAL)])
    for table in list(tree.find_all(exp.Table)):
        ref = ref_of(table)
        if ref is not None:
            rows = parse_one(f"SELECT {columns} FROM u WHERE {_is_row(ref.names, past, cells)}", read="duckdb")
            table.replace(exp.Subquery(this=rows, alias=table.args.get("alias")))
    return tree.sql("duckdb")


def _cell(name: str, past: History, cells: list[Cell]) -> str:
    places = {(unit.run, unit.epoch): number for number, unit in enumerate(past.units)}
    cases = [
        f"WHEN {places[cell[:2]]} THEN nullif(c.v{number}, {NOT_LOGGED})"
        for number, cell in enumerate(cells)
        if cell[2] == name
    ]
    return f"CASE u.id {' '.join(cases)} ELSE u.{name} END AS {name}" if cases else f"u.{name}"


def _is_row(names: frozenset[str], past: History, cells: list[Cell]) -> str:
    """Whether an epoch logged any of some names."""
    cases = []
    for number, unit in enumerate(past.units):
        missing = [f"c.v{n} IS DISTINCT FROM {NOT_LOGGED}" for n, cell in enumerate(cells)
                   if cell[:2] == (unit.run, unit.epoch) and cell[2] in names]  # fmt: skip
        if names and len(missing) == len(names):
            cases.append(f"WHEN {number} THEN {' OR '.join(missing)}")
    return f"CASE u.id {' '.join(cases)} ELSE TRUE END" if cases else "TRUE"

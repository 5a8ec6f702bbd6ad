"""What the rules' examples show: the cells that a query demands of one small history, or a condition as SQL."""

from __future__ import annotations

from sqlglot import exp, parse_one

from logql.plan.conditions import sql_of
from logql.plan.demand import demand
from logql.plan.filters import filter_value
from logql.plan.values import Truth, Value
from tests.plan.stand_in import VIRTUAL, History, StandIn, Unit, bind

#: Runs A and B, two epochs each; `gn` was never logged.
UNITS = tuple(
    Unit(run, epoch, version, (("val_acc", acc), ("gn", 8.0)))
    for run, epoch, version, acc in [("A", 0, 1, 0.25), ("A", 1, 1, 0.75), ("B", 0, 2, 0.5), ("B", 1, 2, 0.125)]
)


def example(sql: str = "") -> History:
    """The history of the examples: it lacks `gn`, and `hn` where a query reads that."""
    return History(UNITS, {(unit.run, unit.epoch, name) for unit in UNITS for name in VIRTUAL if name in f"gn {sql}"})


def show_units(sql: str, *disabled: str) -> list[str]:
    """The epochs that the first round demands, as run/epoch."""
    with StandIn(example()) as engine:
        demands = demand(bind(sql), engine, frozenset(disabled)).demands
    return sorted({f"{item.run}/{index}" for item in demands for index, _ in item.cells()})


def show_cells(sql: str, *disabled: str) -> list[str]:
    """The cells that the first round demands, as run/epoch/name."""
    with StandIn(example(sql)) as engine:
        demands = demand(bind(sql), engine, frozenset(disabled)).demands
    return sorted({f"{item.run}/{index}/{name}" for item in demands for index, name in item.cells()})


class _Flags:
    """Reads the virtual names as ones with missing cells."""

    precise = True
    together = True

    def column(self, node: exp.Column) -> Value | None:
        missing = exp.column(f"{node.name}$missing", quoted=True) if node.name in VIRTUAL else False
        return Value(node.copy(), missing, blank=True)

    def computed(self, _: exp.Expr) -> Value | None:
        return None

    def is_settled(self, node: exp.Expr) -> bool:
        return not any(c.name in VIRTUAL for c in node.find_all(exp.Column))

    def as_is(self, node: exp.Expr) -> exp.Expr:
        return node.copy()

    def subquery_truth(self, node: exp.Expr) -> Truth:
        raise NotImplementedError(node)

    def subquery_value(self, node: exp.Expr) -> Value:
        raise NotImplementedError(node)


def show_possible(sql: str) -> str:
    """The value of a filter: true where a row passes, NULL where it may."""
    return sql_of(filter_value([parse_one(sql, read="duckdb")], _Flags())).sql("duckdb")

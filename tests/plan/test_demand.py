"""What a round demands, when it is final, and what is refused."""

from __future__ import annotations

import pytest

from logql.errors import NotSupportedError
from logql.plan.demand import demand
from tests.plan.oracle import ask, truth
from tests.plan.show import example
from tests.plan.stand_in import History, StandIn, Unit, bind


def test_a_query_without_missing_cells_is_final_without_planning() -> None:
    with StandIn(example()) as engine:
        step = demand(bind("SELECT run, val_acc FROM logs"), engine)
        assert step.final
        assert not step.demands
        assert engine.queries == 0


def test_a_round_takes_one_probe_and_one_planning_query() -> None:
    with StandIn(example()) as engine:
        demand(bind("SELECT a.gn, b.gn FROM logs a JOIN logs b ON a.run = b.run"), engine)
        assert engine.queries == 2


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT run, gn FROM logs WHERE random() < 0.5",
        "SELECT run, gn FROM logs TABLESAMPLE 50%",
        "SELECT gen_random_uuid() AS id, gn FROM logs",
    ],
)
def test_what_does_not_repeat_itself_is_refused_over_missing_cells(sql: str) -> None:
    with StandIn(example()) as engine, pytest.raises(NotSupportedError) as caught:
        demand(bind(sql), engine)
    assert "CREATE TABLE" in str(caught.value)


def test_volatile_functions_are_fine_where_nothing_is_missing() -> None:
    with StandIn(example().full()) as engine:
        assert demand(bind("SELECT run, gn FROM logs WHERE random() < 2"), engine).final


def test_an_unused_cte_is_not_demanded() -> None:
    outcome = ask("WITH a AS (SELECT gn FROM logs), b AS (SELECT run FROM logs) SELECT b.run FROM b", example())
    assert outcome.filled == set()


def test_count_of_a_name_demands_whether_its_statement_ran() -> None:
    outcome = ask("SELECT count(*) FROM logs WHERE gn IS NULL OR TRUE", example())
    assert len(outcome.filled) == 4


def test_a_filter_over_many_runs_stops_after_the_first_hit() -> None:
    units = tuple(Unit(f"R{n:04}", 0, n, (("val_acc", 0.5), ("gn", 20.0))) for n in range(1000))
    past = History(units, {(unit.run, 0, "gn") for unit in units})
    outcome = ask("SELECT run FROM logs WHERE gn > 10 LIMIT 1", past)
    assert len(outcome.filled) == 1
    assert len(outcome.rows) == 1


def test_top_k_by_a_missing_key_fills_the_other_columns_of_the_k_only() -> None:
    units = tuple(Unit("A", n, 1, (("val_acc", 0.5), ("gn", float(n)), ("hn", 1.0))) for n in range(10))
    past = History(units, {(u.run, u.epoch, name) for u in units for name in ("gn", "hn")})
    query, demands = bind("SELECT epoch, hn FROM logs ORDER BY gn DESC LIMIT 2"), []
    with StandIn(past) as engine:
        while not (step := demand(query, engine)).final:
            demands.append(step.demands)
            past.fill(step.demands)
    cells = [{cell for item in found for cell in item.cells()} for found in demands]
    assert cells == [{(n, "gn") for n in range(10)}, {(9, "hn"), (8, "hn")}]


def test_recursive_ctes_demand_whole_and_answer_right() -> None:
    sql = (
        "WITH RECURSIVE w AS (SELECT 0 AS n, (SELECT max(b.gn) FROM logs b) AS m "
        "UNION ALL SELECT w.n + 1, w.m FROM w WHERE w.n < 2) SELECT w.n, w.m FROM w"
    )
    outcome = ask(sql, example())
    assert len(outcome.filled) == 4
    assert len(outcome.rows) == 3


def test_a_limit_fills_no_more_rows_than_it_shows() -> None:
    units = tuple(Unit("A", n, 1, (("val_acc", 0.5), ("gn", float(n)))) for n in range(100))
    outcome = ask("SELECT gn FROM logs LIMIT 5", History(units, {(u.run, u.epoch, "gn") for u in units}))
    assert len(outcome.filled) == len(outcome.rows) == 5


def test_a_limit_over_enough_known_rows_fills_nothing() -> None:
    units = tuple(Unit("A", n, 1, (("val_acc", 0.5), ("gn", float(n)))) for n in range(10))
    outcome = ask("SELECT gn FROM logs LIMIT 3", History(units, {("A", n, "gn") for n in range(7)}))
    assert outcome.filled == set()
    assert sorted(outcome.rows) == ["[7.0]", "[8.0]", "[9.0]"]


def test_named_windows_demand_the_partitions_of_the_rows_that_matter() -> None:
    sql = "SELECT t.m FROM (SELECT run, max(gn) OVER w AS m FROM logs WINDOW w AS (PARTITION BY run)) t"
    outcome = ask(f"{sql} WHERE t.run = 'A'", example())
    assert outcome.whole is None
    assert outcome.filled == {("A", 0), ("A", 1)}


@pytest.mark.parametrize(
    "predicate",
    [
        "gn NOT BETWEEN 1 AND val_acc",
        "NOT (gn BETWEEN val_acc AND -1)",
        "gn IN (0, val_acc)",
        "gn = 0 AND hn NOT BETWEEN 1 AND val_acc",
        "gn = 0 AND hn IN (0, val_acc)",
        "gn = 0 OR gn = val_acc",
        "NOT (gn > 1 AND gn = val_acc)",
    ],
)
def test_a_null_that_decides_nothing_hides_no_missing_cell(predicate: str) -> None:
    unit = Unit("A", 0, 1, (("val_acc", None), ("gn", 0.0), ("hn", 0.0)))
    past = History((unit,), {("A", 0, "gn")})
    sql = f"SELECT run FROM logs WHERE {predicate}"
    outcome = ask(sql, past)
    assert outcome.rows == truth(sql, past)
    assert outcome.rows, "the missing cell lets the row in"


def test_a_cte_is_planned_again_behind_a_block_that_no_rule_understands() -> None:
    sql = (
        "WITH c AS (SELECT run, epoch, gn FROM logs WHERE gn > 1) SELECT count(*) AS n FROM c a POSITIONAL JOIN c b "
        "UNION ALL SELECT count(*) AS n FROM c WHERE c.gn < 9"
    )
    outcome = ask(sql, example())
    assert outcome.rows == truth(sql, example())
    assert outcome.whole == "POSITIONAL join"


def test_a_null_among_what_it_is_not_in_leaves_a_row_no_place_of_a_limit() -> None:
    """Rows of R1 pass no NOT IN over a set with a NULL: held for possible, one took the place of R0's."""
    units = [
        Unit("R0", 0, 1, (("gn", 1.0), ("val_acc", 0.0))),
        Unit("R0", 1, 1, (("gn", 2.0), ("val_acc", 2.0), ("val_acc", 4.0))),
        Unit("R1", 0, 1, (("gn", 4.0), ("val_acc", 5.0))),
        Unit("R1", 1, 1, (("val_acc", 1.0), ("gn", 0.0))),
        Unit("R1", 2, 1, (("val_acc", 3.0),)),
    ]
    past = History(units, {(unit.run, unit.epoch, "gn") for unit in units})
    sql = (
        "SELECT t1.run, t1.epoch FROM logs t1 JOIN logs t2 ON t1.run = t2.run AND t1.epoch = t2.epoch "
        "WHERE t1.val_acc <> t1.gn AND t1.gn NOT IN "
        "(SELECT t3.gn FROM epoch t3 WHERE t3.val_acc > 2 AND t3.run = t1.run) "
        "ORDER BY t1.epoch DESC LIMIT 1"
    )
    assert ask(sql, past).rows == truth(sql, past) == ["['R0', 0]"]

"""Random queries over virtual columns of every type, and the kinds of SQL that RichQueries leaves out."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

from logql.sql.parser import parse_statement
from logql.sql.statements import CreateKept
from tests.plan.generate import CONSTANTS
from tests.plan.histories import PLACES
from tests.plan.rich import LOGS, NUMBERS, RichQueries

#: What makes a number of a value of another type.
AS_NUMBER = {
    "size": ("{}", "{} % 3", "{} // 2", "{} & 3", "abs({})"),
    "ok": ("{}::INT", "CASE WHEN {} THEN 2 ELSE 1 END", "if({}, 3, 0)"),
    "day": ("{} - DATE '2024-01-02'", "extract(day FROM {})", "datediff('day', DATE '2023-12-31', {})"),
    "seen": ("hour({})", "day({} + INTERVAL 6 HOUR)", "epoch({}) // 86400 - 19722"),
    "vec": ("len({})", "{}[1]", "list_sum({})", "list_max(list_filter({}, lambda v: v > 0))", "{}[-1]"),
    "info": ("{}.x", "{}['x']", "struct_extract({}, 'x') + 1"),
    "note": ("length({})", "ascii({})", "CASE {} WHEN 'x' THEN 1 WHEN 'y' THEN 2 END", "strpos({}, 'y')"),
}
#: What is true or false of one.
TESTS = {
    "size": ("{} > 2", "{} IN (1, 2, NULL)", "{} BETWEEN 1 AND 3", "{} <> 0", "{} = 2.0"),
    "ok": ("{}", "NOT {}", "{} IS TRUE", "{} IS NOT FALSE", "{} = true", "{} IS NOT DISTINCT FROM NULL"),
    "day": ("{} > DATE '2024-01-02'", "{} = '2024-01-03'", "{} BETWEEN '2024-01-02' AND '2024-01-04'",
            "date_trunc('month', {}) < '2024-02-01'"),
    "seen": ("{} < TIMESTAMP '2024-01-02 12:00:00'", "{}::DATE = DATE '2024-01-02'", "{} > '2024-01-01'",
             "dayname({}) = 'Monday'"),
    "vec": ("{}[1] > 0", "list_contains({}, 1)", "len({}) = 2", "{} IS NULL", "{} = [1.0]", "1 = ANY ({})",
            "{} > [1.0]", "list_has_any({}, [0, 2])"),
    "info": ("{}.x > 1", "{}.s = 'x'", "{}.s IN ('x', 'y')", "{} IS NOT NULL", "{}.x IS NULL"),
    "note": ("{} LIKE 'x%'", "{} NOT LIKE '_'", "{} ILIKE 'X%'", "{} IN ('x', 'xy')", "{} NOT IN ('y', NULL)",
             "{} SIMILAR TO '[xy]+'", "regexp_matches({}, 'y$')", "starts_with({}, 'x')", "{} || 'a' = 'xa'",
             "{} BETWEEN 'x' AND 'y'", "upper({}) = 'Z'", "coalesce({}, 'x') = 'x'", "{} GLOB 'x*'"),
}  # fmt: skip
#: Kept by the store of these tests: a view over missing cells, one over that, and macros of both kinds.
KEPT = (
    "CREATE VIEW high AS SELECT run, epoch, gn, val_acc FROM logs WHERE val_acc > 1",
    (
        "CREATE VIEW best_high AS SELECT run, max(gn) AS gn, max(val_acc) AS val_acc, max(epoch) AS epoch FROM high "
        "GROUP BY run"
    ),
    "CREATE MACRO near(a, b) AS abs(a - b) < 1",
    "CREATE MACRO first_of(a, b := 1) AS coalesce(a, b)",
    "CREATE MACRO above(low) AS TABLE SELECT run, epoch, hn, val_acc FROM logs WHERE hn > low",
)


def kept() -> dict[tuple[str, str], CreateKept]:
    """The views and macros, as a world keeps them."""
    found = [parse_statement(text) for text in KEPT]
    return {(one.kind, one.name): one for one in found if isinstance(one, CreateKept)}


HIGH = ("run", "epoch", "gn", "val_acc")
SOURCES = (("high", HIGH), ("best_high", HIGH), ("above(1)", ("run", "epoch", "hn", "val_acc")))
#: Whole queries: `a`, `b` aliases, `x`, `y` numbers of `a`, `where` and `test` predicates over `a`, `name` any column.
OVER_KEPT = (
    (
        "SELECT {a}.run, {a}.epoch, {b}.{other} FROM {source} {a} JOIN logs {b} "
        "ON {a}.run = {b}.run AND {a}.epoch = {b}.epoch WHERE {where}"
    ),
    "SELECT count(*) FROM {source} {a} WHERE {where}",
    "SELECT {a}.run, max({x}) FROM {source} {a} WHERE {where} GROUP BY {a}.run",
    "SELECT {a}.run, {x} FROM {source} {a} WHERE near({x}, {y}) OR {where}",
)
FACTS = (
    "SELECT {b}.status, max({x}) FROM logs {a} JOIN runs {b} USING (run) WHERE {where} GROUP BY 1",
    "SELECT {a}.run, {x} FROM logs {a} WHERE {where} AND {a}.run IN (SELECT run FROM runs WHERE status = 'finished')",
    (
        "SELECT {b}.run, {b}.best, count({x}) FROM runs {b} LEFT JOIN logs {a} ON {a}.run = {b}.run AND {where} "
        "GROUP BY ALL"
    ),
    (
        "SELECT {a}.run, {x} FROM logs {a} WHERE {where} AND {a}.version IN "
        "(SELECT version FROM columns WHERE name = 'val_acc')"
    ),
    (
        "SELECT {a}.run, {a}.epoch, {x} FROM logs {a} JOIN epoch {b} ON {a}.run = {b}.run AND {a}.epoch = {b}.epoch "
        "WHERE {where}"
    ),
    (
        "SELECT {b}.run, {b}.epoch, {b}.step, {b}.loss FROM step {b} WHERE {b}.run IN "
        "(SELECT {a}.run FROM logs {a} WHERE {where})"
    ),
    "SELECT {a}.run, {a}.{name}, origin({a}.{name}) IN ('recorded', 'hindsight') FROM logs {a} WHERE {where}",
    (
        "SELECT {a}.run, {x} FROM logs {a} LEFT JOIN fills {b} ON {b}.run = 'none' AND {b}.run = {a}.run "
        "WHERE {where} AND {b}.query IS NULL"
    ),
    (
        "SELECT {b}.n, max({x}) FROM logs {a} JOIN (SELECT version, 1 AS n FROM versions) {b} USING (version) "
        "WHERE {where} GROUP BY 1"
    ),
)
GROUPS = (
    "SELECT {a}.{name}, count(*), max({x}) FROM logs {a} WHERE {where} GROUP BY {a}.{name}",
    "SELECT DISTINCT {a}.{name}, {a}.epoch FROM logs {a} WHERE {where}",
    "SELECT {a}.run, {a}.{name} FROM logs {a} WHERE {where} ORDER BY ALL LIMIT 3",
    "SELECT {a}.run, min({a}.{name}), max({a}.{name}), count({a}.{name}) FROM logs {a} WHERE {where} GROUP BY ALL",
    "SELECT {a}.run, string_agg({a}.{name}::VARCHAR, ',' ORDER BY {a}.{name}) FROM logs {a} GROUP BY 1",
    "SELECT {a}.run, bool_and({test}), bool_or({test}), count_if({test}) FROM logs {a} WHERE {where} GROUP BY 1",
    "SELECT {a}.run, mad({x}), product({y} / 8) FILTER ({test}) FROM logs {a} WHERE {where} GROUP BY 1",
    "SELECT {a}.run, count(*) FROM logs {a} WHERE {where} GROUP BY {a}.run, {test}",
    "SELECT {a}.run, {x} AS v, coalesce(v, 0) + 1 AS w FROM logs {a} WHERE {where} AND w > 1",
    "SELECT {a}.run, {aggregate} FROM logs {a} GROUP BY 1 HAVING {aggregate} IS NOT DISTINCT FROM max({y})",
    "SELECT {a}.run, {a}.epoch FROM logs {a} GROUP BY ALL HAVING {aggregate} > max({x}) OR {a}.run = 'R1'",
    "SELECT {a}.run, {aggregate} FROM logs {a} GROUP BY 1 HAVING coalesce(min({x}), 0) BETWEEN 0 AND 2",
    "SELECT {a}.run FROM logs {a} GROUP BY 1 HAVING max({x}) >= (SELECT avg({b}.{other}) FROM logs {b})",
    "SELECT {a}.run, {aggregate} FROM logs {a} WHERE {where} GROUP BY 1 HAVING NOT {aggregate} > 1",
)
#: Over `inner`, a block with the columns run, epoch, x and y.
PIVOTS = (
    "PIVOT ({inner}) ON epoch IN (0, 1) USING {function}(x) GROUP BY run",
    "PIVOT ({inner}) ON epoch USING {function}(x) GROUP BY run ORDER BY run",
    "SELECT * FROM ({inner}) PIVOT ({function}(x) AS a, count(y) AS b FOR epoch IN (0, 1) GROUP BY run)",
    "UNPIVOT (SELECT run, x::DOUBLE AS x, y::DOUBLE AS y FROM ({inner})) ON x, y INTO NAME n VALUE v",
    (
        "SELECT u.run, u.n, max(u.v) FROM (SELECT run, x::DOUBLE AS x, y::DOUBLE AS y FROM ({inner})) "
        "UNPIVOT INCLUDE NULLS (v FOR n IN (x, y)) u WHERE u.n = 'x' GROUP BY ALL"
    ),
    'WITH p AS (PIVOT ({inner}) ON epoch IN (0, 1) USING {function}(x) GROUP BY run) SELECT run, "1" FROM p',
)
LISTS = (
    "SELECT {a}.run, unnest({a}.vec) AS v FROM logs {a} WHERE {where}",
    "SELECT count(*), sum(u) FROM (SELECT {a}.run, unnest({a}.vec) AS u FROM logs {a} WHERE {where}) WHERE run < 'R2'",
    "SELECT {a}.run, unnest({a}.vec) AS u FROM logs {a} WHERE {where} ORDER BY ALL LIMIT 2",
    "SELECT DISTINCT unnest({a}.vec) AS u FROM logs {a} WHERE {where}",
    "SELECT {b}.run, {b}.run IN (SELECT 'R' || unnest({a}.vec)::INT FROM logs {a} WHERE {where}) FROM runs {b}",
    "SELECT {b}.run, EXISTS (SELECT unnest({a}.vec) FROM logs {a} WHERE {where} AND {a}.run = {b}.run) FROM runs {b}",
    "SELECT {a}.run, u.v FROM logs {a}, unnest({a}.vec) u(v) WHERE {where} AND u.v > 0",
    "SELECT {a}.run, list({a}.vec ORDER BY {a}.vec, {a}.epoch) FROM logs {a} WHERE {where} GROUP BY 1",
    "SELECT {a}.run, [v + 1 FOR v IN {a}.vec IF v > 0] AS s FROM logs {a} WHERE {where}",
    "SELECT {a}.run FROM logs {a} WHERE EXISTS (SELECT 1 FROM unnest({a}.vec) u(v) WHERE u.v = 1)",
)
UNNESTED = ("SELECT {a}.run, unnest([{x}, {a}.epoch]) AS v FROM logs {a} WHERE {where}",)
#: Uses of a CTE `o` of run, epoch and `value`.
USES = (
    "SELECT {a}.run, {a}.{value} FROM o {a} WHERE {where}",
    "SELECT {a}.run, {b}.{value} FROM o {a} JOIN o {b} ON {a}.run = {b}.run AND {a}.epoch < {b}.epoch",
    "SELECT {a}.run, max({a}.{value}) FROM o {a} WHERE {a}.{value} >= (SELECT avg({b}.epoch) FROM o {b}) GROUP BY 1",
    "SELECT run FROM o {a} WHERE {value} > 1 UNION ALL SELECT run FROM o {b} WHERE epoch = 0",
)
#: Predicates that treat NULL in ways of their own.
THREE_VALUED = (
    "{x} IS DISTINCT FROM {y}",
    "{x} IS NOT DISTINCT FROM {y}",
    "{x} NOT BETWEEN {y} AND {constant}",
    "({x} > {y}) IS NULL",
    "({x} > {y}) IS NOT NULL",
    "coalesce({x}, {y}, 1) > {constant}",
    "nullif({x}, {constant}) IS NULL",
    "{x} IN ({y}, {constant})",
    "{x} NOT IN ({y}, NULL)",
    "isnan(({x})::DOUBLE)",
    "({x} > 1 OR {y} IS NULL) IS NOT FALSE",
    "greatest({x}, {y}) > 1",
    "CASE WHEN {x} > 1 THEN {y} > 1 WHEN {y} IS NULL THEN true END",
    "[z FOR z IN [0, 1, 2] IF z > {x}] = [2]",
    "len(list_filter([0, 1, 2], lambda v: v > {x})) > {constant}",
    "({x} > 1) IN ({y} > 1, false)",
    "{x} > ALL ([0, {y}])",
    "{x} <> ANY ([1, {constant}])",
    "near({x}, {y})",
    "first_of({x}) > 1",
)


class TypedQueries(RichQueries):
    """Queries over the given virtual names, of whatever type."""

    def __init__(self, rng: random.Random, virtual: Iterable[str]) -> None:
        super().__init__(rng)
        self.typed = tuple(sorted(name for name in virtual if name in AS_NUMBER))
        self.numbers = tuple(name for name in NUMBERS if name in virtual or name not in PLACES)

    def body(self, depth: int) -> str:
        kinds = (self.shown, self.pivots, self.by_name, self.over_kept, self.facts, self.held, self.unnested)
        find = self.rng.choice((super().body,) * 5 + kinds + (self.groups,) * 2)
        return find(depth)

    def written(self, templates: Sequence[str], depth: int, has: tuple[str, ...] = LOGS, **known: str) -> str:
        """One of some templates with its holes filled."""
        rng, a, b = self.rng, self.alias(), self.alias()
        scope = {a: has}
        return rng.choice(templates).format(
            a=a, b=b, x=self.number(scope), y=self.number(scope), test=self.comparison(scope),
            where=self.predicate(scope, depth), aggregate=self.aggregate(scope), other=rng.choice(NUMBERS),
            name=rng.choice([*self.typed, rng.choice(self.numbers)]), **known,
        )  # fmt: skip

    def number(self, scope: dict[str, tuple[str, ...]]) -> str:
        options = [
            self.rng.choice(AS_NUMBER[name]).format(f"{alias}.{name}")
            for alias, names in scope.items()
            for name in self.typed
            if name in names or names is LOGS
        ]
        if options and self.rng.random() < 0.4:
            return f"({self.rng.choice(options)})"
        return super().number(scope)

    def comparison(self, scope: dict[str, tuple[str, ...]]) -> str:
        rng = self.rng
        alias, has = rng.choice(list(scope.items()))
        typed = [name for name in self.typed if name in has or has is LOGS]
        roll = rng.random()
        if typed and roll < 0.4:
            name = rng.choice(typed)
            return f"({rng.choice(TESTS[name]).format(f'{alias}.{name}')})"
        if roll < 0.5:
            constant = rng.choice(CONSTANTS)
            return rng.choice(THREE_VALUED).format(x=self.number(scope), y=self.number(scope), constant=constant)
        return super().comparison(scope)

    def subquery(self, scope: dict[str, tuple[str, ...]], depth: int) -> str:
        rng = self.rng
        if rng.random() < 0.6:
            return super().subquery(scope, depth)
        source, alias, has = self.source(depth)
        inner = {alias: has}
        tied = f" AND {alias}.run = {next(iter(scope))}.run" if rng.random() < 0.4 else ""
        operator = f"{rng.choice(('=', '<>', '<', '<=', '>', '>='))} {rng.choice(('ANY', 'ALL', 'SOME', 'ANY'))}"
        query = f"SELECT {self.number(inner)} FROM {source} WHERE {self.predicate(inner, 0)}{tied}"
        found = f"{self.number(scope)} {operator} ({query})"
        return found if rng.random() < 0.8 else f"NOT ({found})"

    def shown(self, depth: int) -> str:
        """Typed values as they are."""
        names = ", ".join(f"{{a}}.{name}" for name in (*self.typed, self.rng.choice(self.numbers)))
        return self.written((f"SELECT {{a}}.run, {names} FROM logs {{a}} WHERE {{where}}",), depth)

    def groups(self, depth: int) -> str:
        """Typed values as keys and in aggregates of their own; HAVING over missing cells."""
        return self.written(GROUPS, depth)

    def pivots(self, depth: int) -> str:
        """PIVOT and UNPIVOT in both spellings, over blocks with missing cells."""
        inner = self.written(("SELECT {a}.run, {a}.epoch, {x} AS x, {y} AS y FROM logs {a} WHERE {where}",), depth)
        function = self.rng.choice(("max", "sum", "count"))
        return self.inside(self.rng.choice(PIVOTS).format(inner=inner, function=function))

    def by_name(self, depth: int) -> str:
        """Set operations whose sides have other names, in another order."""
        rng = self.rng
        first, second = rng.sample(("v", "w", "z"), 2)
        a, b = self.columns()[:3], self.columns()[:3]
        if rng.random() < 0.3:
            plain = f"SELECT run AS r, epoch AS e, {a[2]} FROM ({self.block(a, depth)})"
            return f"{plain} {rng.choice(('UNION', 'EXCEPT ALL', 'INTERSECT ALL', 'EXCEPT'))} {self.block(b, depth)}"
        left = f"SELECT run, epoch, {a[2]} AS {first} FROM ({self.block(a, depth)})"
        right = f"SELECT {b[2]} AS {second}, epoch, run FROM ({self.block(b, depth)})"
        text = f"{left} {rng.choice(('UNION', 'UNION ALL'))} BY NAME {right}"
        if rng.random() < 0.4:
            return f"SELECT u.run, u.{first} FROM ({text}) u WHERE u.epoch < 2 AND u.{second} IS NULL"
        return text

    def over_kept(self, depth: int) -> str:
        """Views and macros over missing cells."""
        source, has = self.rng.choice(SOURCES)
        return self.written(OVER_KEPT, depth, has, source=source)

    def facts(self, depth: int) -> str:
        """Joins with relations that say something of runs, names and versions, and the origin of cells."""
        return self.written(FACTS, depth)

    def held(self, depth: int) -> str:
        """CTEs within CTEs, materialised or not, used once or twice."""
        rng, columns = self.rng, self.columns()
        value, how = columns[2], rng.choice(("MATERIALIZED", "NOT MATERIALIZED", ""))
        inner = f"WITH i AS {how} ({self.block(columns, depth - 1)}) SELECT run, epoch, {value} FROM i WHERE epoch < 2"
        uses = self.written(USES, 0, ("run", "epoch", value), value=value)
        return self.inside(f"WITH o AS {rng.choice(('MATERIALIZED', ''))} ({inner}) {uses}")

    def unnested(self, depth: int) -> str:
        """Lists taken apart, in the projection and as sources."""
        return self.written(LISTS if "vec" in self.typed else UNNESTED, depth)

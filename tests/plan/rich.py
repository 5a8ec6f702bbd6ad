"""Random queries in more of SQL than the small stand-in's binder knows: for the real binder and engine."""

from __future__ import annotations

from tests.plan.generate import TEXTS, Queries

NUMBERS = ("val_acc", "loss", "best", "gn", "hn")
LOGS = ("run", "epoch", "step", "version", "rank", *NUMBERS, *sorted(TEXTS))
GRAINS = {
    "epoch": ("run", "epoch", "val_acc", "gn", "hn", "note"),
    "step": ("run", "epoch", "step", "loss", "val_acc", "gn", "hn"),
}


class RichQueries(Queries):
    """Queries over `logs` and the loops' relations, with text, set operations, USING, DISTINCT ON, QUALIFY."""

    names = NUMBERS

    def body(self, depth: int) -> str:
        rng, columns = self.rng, self.columns()
        kind = rng.choice(("plain",) * 5 + ("sets", "first", "named", "top", "texts", "sets", "running", "rare"))
        if kind == "sets":
            return self.sets(columns, depth)
        if kind == "first":
            keys = rng.choice(("1", "1, 2", "3"))
            rest = ", ".join(f"{n}{rng.choice((' DESC', ''))}" for n in range(1, len(columns) + 1))
            text = self.block(columns, depth).removeprefix("SELECT ")
            named = {"1": "run", "1, 2": "run, epoch", "3": columns[2]}[keys]
            return f"SELECT DISTINCT ON ({named}) * FROM (SELECT {text}) ORDER BY {keys}, {rest}"
        if kind == "named":
            return self.joined(columns, depth)
        if kind == "top":
            return self.top(columns, depth)
        if kind == "texts":
            return self.texts(depth)
        if kind == "running":
            return self.running(columns, depth)
        if kind == "rare":
            return rng.choice((self.grouping, self.grouping, self.lists, self.lateral, self.nearest, self.pivot))(depth)
        return super().body(depth)

    def source(self, depth: int) -> tuple[str, str, tuple[str, ...]]:
        found = super().source(depth)
        if not found[0].startswith("logs "):
            return found
        if self.rng.random() < 0.15:
            grain = self.rng.choice(list(GRAINS))
            return f"{grain} {found[1]}", found[1], GRAINS[grain]
        return found[0], found[1], LOGS

    def sets(self, columns: tuple[str, ...], depth: int) -> str:
        """Set operations of set operations."""
        parts = [self.block(columns, depth) for _ in range(self.rng.randint(2, 3))]
        operators = ("UNION ALL", "UNION", "INTERSECT", "EXCEPT")
        text = f"({parts[0]})"
        for part in parts[1:]:
            text = f"({text} {self.rng.choice(operators)} ({part}))"
        return text if self.rng.random() < 0.6 else f"SELECT u.run, count(*) FROM {text} u WHERE u.epoch < 2 GROUP BY 1"

    def joined(self, columns: tuple[str, ...], depth: int) -> str:
        """USING and NATURAL joins of logs with itself or with a derived table."""
        rng, a, b = self.rng, self.alias(), self.alias()
        side = rng.choice(("JOIN", "LEFT JOIN", "JOIN"))
        value = columns[2]
        where = f"WHERE {self.predicate({a: LOGS}, depth)}" if rng.random() < 0.7 else ""
        if rng.random() < 0.3:
            inner = f"(SELECT run, epoch, {rng.choice(NUMBERS)} AS other FROM logs)"
            return f"SELECT run, epoch, {a}.{value}, other FROM logs {a} NATURAL {side} {inner} {b} {where}"
        keys = rng.choice(("run", "run, epoch", "run, epoch, step"))
        return (
            f"SELECT run, {a}.{value}, {b}.{rng.choice(NUMBERS)} FROM logs {a} {side} logs {b} USING ({keys}) {where}"
        )

    def top(self, columns: tuple[str, ...], depth: int) -> str:
        """The first rows by a total order whose leading keys may be known."""
        count = len(columns)
        first = self.shuffled(2) if self.rng.random() < 0.6 else []
        rest = [n for n in self.shuffled(count) if n not in first]
        order = ", ".join(f"{n + 1}{self.rng.choice((' DESC', '', ' NULLS FIRST'))}" for n in [*first, *rest])
        order = self.rng.choice(("ALL", "ALL DESC", *[order] * 14))
        offset = f" OFFSET {self.rng.randint(1, 2)}" if self.rng.random() < 0.2 else ""
        limit = f"(SELECT count({self.rng.choice(NUMBERS)}) // 4 FROM logs)" if self.rng.random() < 0.1 else ""
        text = f"{self.block(columns, depth)} ORDER BY {order} LIMIT {limit or self.rng.randint(1, 4)}{offset}"
        return text if self.rng.random() < 0.6 else f"SELECT w.run, max(w.{columns[2]}) FROM ({text}) w GROUP BY w.run"

    def texts(self, depth: int) -> str:
        alias = self.alias()
        where = self.predicate({alias: LOGS}, depth)
        if self.rng.random() < 0.5:
            return f"SELECT {alias}.run, {alias}.tag, {alias}.note FROM logs {alias} WHERE {where}"
        return f"SELECT {alias}.note, count(*), max({alias}.tag) FROM logs {alias} WHERE {where} GROUP BY {alias}.note"

    def running(self, columns: tuple[str, ...], depth: int) -> str:
        """Windows with frames and named windows over a source, filtered by QUALIFY."""
        rng = self.rng
        source, alias, has = self.source(depth)
        order = ", ".join(f"{alias}.{name}" for name in has)
        frame = rng.choice(("", " ROWS BETWEEN 1 PRECEDING AND CURRENT ROW", " ROWS UNBOUNDED PRECEDING"))
        function = rng.choice(("lag", "sum", "max", "lead", "count"))
        value = self.number({alias: has})
        over = f"(PARTITION BY {alias}.run ORDER BY {order}{frame if function not in ('lag', 'lead') else ''})"
        named = rng.random() < 0.4
        where = f" WHERE {self.predicate({alias: has}, depth)}" if rng.random() < 0.5 else ""
        tail = f" WINDOW w AS {over}" if named else ""
        quality = ""
        if rng.random() < 0.4:
            quality = (
                f" QUALIFY {rng.choice(('row_number', 'rank'))}() OVER {'w' if named and not frame else over} <= 2"
            )
        return (
            f"SELECT {alias}.run, {alias}.epoch, {function}({value}) OVER {'w' if named else over} AS {columns[2]} "
            f"FROM {source}{where}{tail}{quality}"
        )

    def comparison(self, scope: dict[str, tuple[str, ...]]) -> str:
        rng = self.rng
        alias = rng.choice(list(scope))
        special = [name for name in scope[alias] if name in (*TEXTS, "step", "rank", "version")]
        if not special or rng.random() < 0.75:
            return super().comparison(scope)
        name = rng.choice(special)
        if name in TEXTS:
            return f"{alias}.{name} {rng.choice(('=', '<>', '>', 'LIKE'))} '{rng.choice('xyz')}'"
        if name == "version":
            return f"{alias}.version {rng.choice(('=', '<>'))} '{rng.choice(('old', 'new'))}'"
        return f"{alias}.{name} {rng.choice(('=', '<', '>='))} {rng.randint(0, 2)}"

    def grouping(self, depth: int) -> str:
        """ROLLUP, CUBE and GROUPING SETS over known and missing keys."""
        rng = self.rng
        source, alias, has = self.source(depth)
        scope, value = {alias: has}, self.number({alias: has})
        where = f" WHERE {self.predicate(scope, depth)}" if rng.random() < 0.6 else ""
        sets = rng.choice(
            (
                f"ROLLUP ({alias}.run, {alias}.epoch)",
                f"CUBE ({alias}.run, {value})",
                f"GROUPING SETS (({alias}.run, {alias}.epoch), ({value}), ())",
                f"{alias}.run, ROLLUP ({alias}.epoch, {value})",
            )
        )
        having = rng.choice(("", f" HAVING grouping({alias}.run) = 0", f" HAVING {self.aggregate(scope)} > 1"))
        shown = f"{alias}.run, grouping({alias}.run), {self.aggregate(scope)}"
        return f"SELECT {shown} FROM {source}{where} GROUP BY {sets}{having}"

    def lists(self, depth: int) -> str:
        """Lists of values with lambdas over them."""
        source, alias, has = self.source(depth)
        scope = {alias: has}
        values = f"[{self.number(scope)}, {self.number(scope)}]"
        kept = f"list_filter({values}, lambda v: v > {self.rng.randint(0, 2)})"
        where = f" WHERE len({kept}) > {self.rng.randint(0, 1)}" if self.rng.random() < 0.6 else ""
        return f"SELECT {alias}.run, list_sum(list_transform({kept}, lambda v: v + 1)) AS s FROM {source}{where}"

    def lateral(self, depth: int) -> str:
        """A derived table that reads the one before it."""
        a, b, c = self.alias(), self.alias(), self.alias()
        inner = f"SELECT max({self.number({b: LOGS})}) AS m FROM logs {b} WHERE {b}.run = {a}.run"
        where = f" WHERE {self.predicate({a: LOGS}, depth)}" if self.rng.random() < 0.7 else ""
        return f"SELECT {a}.run, {a}.epoch, {c}.m FROM logs {a}, LATERAL ({inner}) {c}{where}"

    def nearest(self, depth: int) -> str:
        """An ASOF join with the last of what came before, or with the next lower value."""
        rng, a, b, c = self.rng, self.alias(), self.alias(), self.alias()
        known = f" WHERE {self.predicate({c: LOGS}, depth)}" if rng.random() < 0.4 else ""
        inner = (
            f"(SELECT {c}.run, {c}.epoch, max({c}.{rng.choice(NUMBERS)}) AS other FROM logs {c}{known} GROUP BY ALL)"
        )
        where = f" WHERE {self.predicate({a: LOGS}, depth)}" if rng.random() < 0.7 else ""
        near = rng.choice((f"{a}.epoch >= {b}.epoch", f"{a}.{rng.choice(NUMBERS)} > {b}.other"))
        side = rng.choice(("", "LEFT "))
        return (
            f"SELECT {a}.run, {a}.epoch, {a}.{rng.choice(NUMBERS)}, {b}.other FROM logs {a} "
            f"ASOF {side}JOIN {inner} {b} ON {a}.run = {b}.run AND {near}{where}"
        )

    def inside(self, text: str) -> str:
        """A query that may begin with WITH, which cannot follow another."""
        return f"SELECT * FROM ({text})" if self.ctes and text.startswith("WITH") else text

    def pivot(self, depth: int) -> str:
        """Epochs as columns, or columns as rows."""
        return self.inside(self._pivot(depth))

    def _pivot(self, depth: int) -> str:
        rng, a, function = self.rng, self.alias(), self.rng.choice(("max", "count"))
        where = f" WHERE {self.predicate({a: LOGS}, depth)}" if rng.random() < 0.7 else ""
        inner = f"SELECT {a}.run, {a}.epoch, {self.number({a: LOGS})} AS x FROM logs {a}{where}"
        clause, source = ("WITH w AS (" + inner + ") ", "w") if rng.random() < 0.4 else ("", f"({inner})")
        listed = rng.choice(("(0, 1)", "(1)"))
        kind = rng.choice(("PIVOT", "PIVOT", "dynamic", "clause", "UNPIVOT"))
        if kind == "UNPIVOT":
            return f"{clause}SELECT * FROM (UNPIVOT {source} ON x INTO NAME n VALUE v)"
        if kind == "dynamic" and not depth:
            return f"{clause}PIVOT {source} ON epoch USING {function}(x)"
        if kind == "clause":
            return f"{clause}SELECT * FROM {source} PIVOT ({function}(x) FOR epoch IN {listed} GROUP BY run) p"
        above = rng.choice(("", " WHERE run > 'R0'", f" WHERE run = 'R{rng.randint(0, 2)}'"))
        return f"{clause}SELECT * FROM (PIVOT {source} ON epoch IN {listed} USING {function}(x) GROUP BY run){above}"

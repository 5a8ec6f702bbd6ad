"""Random histories with missing cells, and random queries over them."""

from __future__ import annotations

import random

from tests.plan.stand_in import NAMES, VIRTUAL, Cell, History, Unit

VALUES = (None, 0.0, 1.0, 2.0, 3.0, 5.0, float("nan"))
CONSTANTS = ("0", "1", "2", "3")
#: Columns that say where a row is, and columns of text: no numbers to compute with.
PLACES = frozenset({"run", "version", "epoch", "step", "rank"})
TEXTS = frozenset({"tag", "note"})


def history(rng: random.Random, most_missing: int = 40) -> History:
    """A few runs of a few epochs; some epochs log a name twice or not at all."""
    units = [
        _unit(rng, f"R{run}", epoch, 1 + run // 2)
        for run in range(rng.randint(1, 3))
        for epoch in range(rng.randint(1, 3))
    ]
    share = rng.choice((0.3, 0.7, 1.0))
    cells: list[Cell] = [(u.run, u.epoch, name) for u in units for name in VIRTUAL if rng.random() < share]
    return History(units, set(cells[:most_missing]))


def _unit(rng: random.Random, run: str, epoch: int, version: int) -> Unit:
    once = rng.random() < 0.7
    events: list[tuple[str, float | None]] = []
    for name in NAMES:
        often = rng.choice((0, 1, 1, 1, 1)) if once else rng.choice((0, 1, 2))
        events += [(name, _value(rng)) for _ in range(often)]
    rng.shuffle(events)
    return Unit(run, epoch, version, tuple(events), once)


def _value(rng: random.Random) -> float | None:
    return rng.choice(VALUES) if rng.random() < 0.3 else float(rng.randint(0, 4))


class Queries:
    """Writes random queries; every source offers the columns run, epoch (text and number) and some values."""

    names: tuple[str, ...] = NAMES

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.count = 0
        self.ctes: list[tuple[str, str, tuple[str, ...]]] = []

    def query(self) -> str:
        """A statement, perhaps with CTEs."""
        rng = self.rng
        for _ in range(rng.choice((0, 0, 0, 1, 2))):
            columns = self.columns()
            self.ctes.append((f"c{len(self.ctes)}", self.block(columns, 1), columns))
        body = self.body(2)
        heads = [f"{name} AS ({sql})" for name, sql, _ in self.ctes]
        return f"WITH {', '.join(heads)} {body}" if heads else body

    def columns(self) -> tuple[str, ...]:
        """Output names of a derived table."""
        values = self.rng.sample(self.names, self.rng.randint(1, 2))
        return ("run", "epoch", *values)

    def alias(self) -> str:
        self.count += 1
        return f"t{self.count}"

    def body(self, depth: int) -> str:
        """The outermost query: a block, a set operation, or a block in order with a limit."""
        rng, columns = self.rng, self.columns()
        kind = rng.choice(("block",) * 5 + ("set", "limit", "group", "group", "window"))
        if kind == "set":
            operator = rng.choice(("UNION ALL", "UNION", "INTERSECT", "EXCEPT"))
            return f"{self.block(columns, depth)} {operator} {self.block(columns, depth)}"
        if kind == "limit":
            order = ", ".join(
                f"{n + 1}{rng.choice((' DESC', '', ' NULLS FIRST'))}" for n in self.shuffled(len(columns))
            )
            return f"{self.block(columns, depth)} ORDER BY {order} LIMIT {rng.randint(1, 4)}"
        if kind == "group":
            return self.grouped(depth)
        if kind == "window":
            return self.window(columns, depth)
        return self.block(columns, depth)

    def shuffled(self, count: int) -> list[int]:
        return self.rng.sample(range(count), count)

    def source(self, depth: int) -> tuple[str, str, tuple[str, ...]]:
        """FROM item, alias and columns."""
        rng, alias = self.rng, self.alias()
        roll = rng.random()
        if depth > 0 and roll < 0.3:
            columns = self.columns()
            inner = rng.choice((self.block, self.block, self.window, self.distinct, self.grouped_as))(
                columns, depth - 1
            )
            return f"({inner}) {alias}", alias, columns
        if self.ctes and roll < 0.55:
            name, _, columns = rng.choice(self.ctes)
            return f"{name} {alias}", alias, columns
        relation = "epoch" if rng.random() < 0.15 else "logs"
        return f"{relation} {alias}", alias, ("run", "epoch", *self.names)

    def block(self, columns: tuple[str, ...], depth: int) -> str:
        """SELECT columns FROM one or two sources WHERE ..."""
        rng = self.rng
        source, alias, has = self.source(depth)
        scope = {alias: has}
        text = f"FROM {source}"
        if rng.random() < 0.35:
            text += self.join(scope, depth)
        if rng.random() < 0.75:
            text += f" WHERE {self.predicate(scope, depth)}"
        return f"SELECT {self.outputs(columns, scope, depth)} {text}"

    def join(self, scope: dict[str, tuple[str, ...]], depth: int) -> str:
        rng = self.rng
        other, alias, has = self.source(depth - 1)
        left = next(iter(scope))
        side = rng.choice(("JOIN", "JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN", "SEMI JOIN", "ANTI JOIN"))
        keys = [f"{left}.run = {alias}.run"]
        if rng.random() < 0.6:
            keys.append(f"{left}.epoch = {alias}.epoch")
        both = {left: scope[left], alias: has}
        if rng.random() < 0.4 and side not in ("SEMI JOIN", "ANTI JOIN", "FULL JOIN"):
            keys.append(self.comparison(both))
        if side not in ("SEMI JOIN", "ANTI JOIN"):
            scope[alias] = has
        return f" {side} {other} ON {' AND '.join(keys)}"

    def outputs(self, columns: tuple[str, ...], scope: dict[str, tuple[str, ...]], depth: int) -> str:
        items = []
        for name in columns:
            if name in ("run", "epoch"):
                items.append(f"{self.rng.choice(list(scope))}.{name} AS {name}")
            else:
                items.append(f"{self.value(scope, depth)} AS {name}")
        return ", ".join(items)

    def value(self, scope: dict[str, tuple[str, ...]], depth: int) -> str:
        rng = self.rng
        roll = rng.random()
        if roll < 0.65:
            return self.number(scope)
        if roll < 0.75:
            return f"{self.number(scope)} + {self.number(scope)}"
        if roll < 0.85:
            return f"CASE WHEN {self.predicate(scope, 0)} THEN {self.number(scope)} ELSE {self.number(scope)} END"
        if roll < 0.93:
            return f"coalesce({self.number(scope)}, {self.number(scope)})"
        if depth > 0:
            return self.scalar(scope, depth - 1)
        return rng.choice(CONSTANTS) + "::DOUBLE"

    def number(self, scope: dict[str, tuple[str, ...]]) -> str:
        """A numeric column."""
        options = [f"{alias}.{name}" for alias, names in scope.items() for name in names if name not in PLACES | TEXTS]
        return self.rng.choice(options)

    def scalar(self, scope: dict[str, tuple[str, ...]], depth: int) -> str:
        rng = self.rng
        source, alias, has = self.source(depth)
        inner = {alias: has}
        conditions = [self.predicate(inner, 0)]
        if rng.random() < 0.6:
            outer = next(iter(scope))
            conditions.append(f"{alias}.run = {outer}.run")
            if rng.random() < 0.3:
                conditions.append(f"{alias}.epoch <= {outer}.epoch")
        function = rng.choice(("max", "min", "sum", "count"))
        return f"(SELECT {function}({self.number(inner)}) FROM {source} WHERE {' AND '.join(conditions)})::DOUBLE"

    def predicate(self, scope: dict[str, tuple[str, ...]], depth: int) -> str:
        rng = self.rng
        roll = rng.random()
        if roll < 0.5:
            return self.comparison(scope)
        if roll < 0.65:
            return f"({self.predicate(scope, depth)} AND {self.predicate(scope, 0)})"
        if roll < 0.8:
            return f"({self.predicate(scope, depth)} OR {self.predicate(scope, 0)})"
        if roll < 0.87:
            return f"NOT ({self.predicate(scope, 0)})"
        if depth > 0:
            return self.subquery(scope, depth - 1)
        return self.comparison(scope)

    def comparison(self, scope: dict[str, tuple[str, ...]]) -> str:
        rng = self.rng
        alias = rng.choice(list(scope))
        kind = rng.choice(("value", "value", "value", "run", "epoch", "null", "in", "between", "same", "is", "row"))
        if kind == "row":
            rows = [f"({rng.choice(('0', '1', 'NULL'))}, {rng.choice((*CONSTANTS, 'NULL'))})" for _ in range(2)]
            operator = rng.choice((f"= {rows[0]}", f"<> {rows[0]}", f"IN ({', '.join(rows)})", f"< {rows[0]}"))
            return f"({alias}.epoch, {self.number(scope)}) {operator}"
        if kind == "run":
            return f"{alias}.run = 'R{rng.randint(0, 2)}'"
        if kind == "epoch":
            return f"{alias}.epoch {rng.choice(('=', '<', '>='))} {rng.randint(0, 2)}"
        if kind == "null":
            return f"{self.number(scope)} IS {rng.choice(('', 'NOT '))}NULL"
        if kind == "in":
            return f"{self.number(scope)} {rng.choice(('', 'NOT '))}IN (1, 3{rng.choice(('', ', NULL'))})"
        if kind == "between":
            return f"{self.number(scope)} BETWEEN {rng.choice(CONSTANTS)} AND {self.number(scope)}"
        if kind == "same":
            return f"{self.number(scope)} IS {rng.choice(('', 'NOT '))}DISTINCT FROM {rng.choice(CONSTANTS)}"
        if kind == "is":
            return f"({self.number(scope)} > {rng.choice(CONSTANTS)}) IS {rng.choice(('', 'NOT '))}TRUE"
        other = rng.choice((rng.choice(CONSTANTS), self.number(scope)))
        return f"{self.number(scope)} {rng.choice(('=', '<', '>', '<>', '<=', '>='))} {other}"

    def subquery(self, scope: dict[str, tuple[str, ...]], depth: int) -> str:
        rng = self.rng
        source, alias, has = self.source(depth)
        inner = {alias: has}
        outer = rng.choice(list(scope))
        conditions = [self.predicate(inner, 0)]
        if rng.random() < 0.6:
            conditions.append(f"{alias}.run = {outer}.run")
        if rng.random() < 0.2:
            conditions.append(f"{alias}.epoch < {outer}.epoch")
        where = " AND ".join(conditions)
        kind = rng.choice(("exists", "in", "in", "not exists", "not in", "scalar", "all", "run", "row"))
        if kind == "row":
            inside = f"SELECT {alias}.run, {self.number(inner)} FROM {source} WHERE {conditions[0]}"
            return f"({outer}.run, {self.number(scope)}) {rng.choice(('IN', 'NOT IN'))} ({inside})"
        if "exists" in kind:
            return f"{kind.upper()} (SELECT 1 FROM {source} WHERE {where})"
        if kind == "run":
            return f"{outer}.run IN (SELECT {alias}.run FROM {source} WHERE {where})"
        if "in" in kind:
            return f"{self.number(scope)} {kind.upper()} (SELECT {self.number(inner)} FROM {source} WHERE {where})"
        if kind == "all":
            where = self.predicate(inner, 0)
            return f"{self.number(scope)} >= ALL (SELECT {self.number(inner)} FROM {source} WHERE {where})"
        return f"{self.number(scope)} > {self.scalar(scope, depth)}"

    def distinct(self, columns: tuple[str, ...], depth: int) -> str:
        return "SELECT DISTINCT " + self.block(columns, depth).removeprefix("SELECT ")

    def grouped(self, depth: int) -> str:
        return self.grouped_as(self.columns(), depth)

    def grouped_as(self, columns: tuple[str, ...], depth: int) -> str:
        """Aggregates by run (and epoch), or of everything, under the given names."""
        rng = self.rng
        source, alias, has = self.source(depth)
        scope = {alias: has}
        text = f" FROM {source}"
        if rng.random() < 0.5:
            text += f" WHERE {self.predicate(scope, depth)}"
        keys = rng.choice((["run"], ["run", "epoch"], ["run", "epoch"], ["value"], []))
        value = self.number(scope)
        items = []
        for name in columns:
            if name in keys:
                items.append(f"{alias}.{name} AS {name}")
            elif name in ("run", "epoch"):
                items.append(f"max({alias}.{name}) AS {name}")
            elif "value" in keys and rng.random() < 0.5:
                items.append(f"{value} AS {name}")
            else:
                items.append(f"{self.aggregate(scope)}::DOUBLE AS {name}")
        group = [f"{alias}.{k}" if k != "value" else value for k in keys]
        text += f" GROUP BY {', '.join(group)}" if group else ""
        if rng.random() < 0.4:
            text += f" HAVING {self.aggregate(scope)} {rng.choice(('>', '<'))} {rng.choice(CONSTANTS)}"
        return f"SELECT {', '.join(items)}{text}"

    def aggregate(self, scope: dict[str, tuple[str, ...]]) -> str:
        rng = self.rng
        function = rng.choice(("max", "min", "sum", "count", "count(*)", "count(DISTINCT", "list_agg"))
        depth = 1 if rng.random() < 0.2 else 0
        tail = f" FILTER (WHERE {self.predicate(scope, depth)})" if rng.random() < 0.3 else ""
        if function == "count(*)":
            return f"count(*){tail}"
        value = self.scalar(scope, 0) if rng.random() < 0.1 else self.number(scope)
        if function == "count(DISTINCT":
            return f"count(DISTINCT {value}){tail}"
        return f"{function if function != 'list_agg' else 'max'}({value}){tail}"

    def window(self, columns: tuple[str, ...], depth: int) -> str:
        rng = self.rng
        source, alias, has = self.source(depth)
        scope = {alias: has}
        order = ", ".join(f"{alias}.{name}" for name in has)
        items = []
        for name in columns:
            if name in ("run", "epoch"):
                items.append(f"{alias}.{name} AS {name}")
            else:
                partition = rng.choice(("", f"PARTITION BY {alias}.run", f"PARTITION BY {alias}.run, {alias}.epoch"))
                over = f"({partition}{rng.choice(('', f' ORDER BY {order}'))})"
                function = rng.choice(("max", "count", "sum"))
                value = self.scalar(scope, 0) if rng.random() < 0.1 else self.number(scope)
                items.append(f"({function}({value}) OVER {over})::DOUBLE AS {name}")
        text = f"SELECT {', '.join(items)} FROM {source}"
        if rng.random() < 0.6:
            text += f" WHERE {self.predicate(scope, depth)}"
        if rng.random() < 0.4:
            text += f" QUALIFY {self.predicate(scope, 0)}"
            if rng.random() < 0.6:
                text += f" AND rank() OVER (PARTITION BY {alias}.run ORDER BY {self.number(scope)}) <= 2"
        return text

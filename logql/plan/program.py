"""The planning query while it is written: its CTEs, what must be known first, and which parts of the query are open."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from sqlglot import exp

from logql.plan.conditions import Cond, any_of, sql_of
from logql.plan.engine import ENTRY, INDEX, LOOP, RUN, SURE, missing_flag
from logql.plan.relation import Barrier, Base, Blocker, Relation, Writer, column
from logql.plan.values import Value
from logql.sql.bound import LOGS, LogsRef, ref_of
from logql.sql.walk import find


class Program:
    """Everything that the blocks of one query share while they are planned.

    `missing` holds the names of each reference (by id) that have missing cells at all; a part of the query without any
    is settled and is used as it stands. `round_number` counts the fills before this one. `from_settled`: the answer
    will be taken from rows without missing cells alone. `result` is the query whose rows nothing above reads. `kept`:
    CTEs whose rows DuckDB is to keep, so that a long condition is worked out once, and over plain vectors. `seen`: the
    references that some planning relation reads.
    """

    def __init__(
        self,
        missing: Mapping[int, frozenset[str]],
        disabled: frozenset[str],
        round_number: int,
        from_settled: bool = False,
    ) -> None:
        self.missing = missing
        self.disabled = disabled
        self.round_number = round_number
        self.from_settled = from_settled
        self.ctes: list[tuple[str, exp.Expr]] = []
        self.definitions: dict[str, exp.CTE] = {}
        self.recursive: set[str] = set()
        self.planned: dict[str, Relation] = {}
        self.barriers: list[Barrier] = []
        self.blockers: list[Blocker] = []
        self.reasons: list[str] = []
        self.result: exp.Expr | None = None
        self.kept: set[str] = set()
        self.seen: set[int] = set()
        self._count = 0
        self._open: dict[int, tuple[exp.Expr, dict[int, tuple[LogsRef, exp.Table]]]] = {}

    def batch(self) -> int:
        """How many rows to try at once where one may be enough."""
        return 1 << min(self.round_number, 20)

    def on(self, rule: str) -> bool:
        """Whether a rule acts."""
        return rule not in self.disabled

    def fresh(self, prefix: str) -> str:
        """A name that nothing else has."""
        self._count += 1
        return f"_{prefix}{self._count}"

    def write(self, prefix: str, writer: Writer, body: exp.Select, *, distinct: bool = False) -> Relation:
        """Add a CTE: `body` (FROM, WHERE, ...) with the outputs that the writer collected."""
        name = self.fresh(prefix)
        relation = writer.finish(name)
        body.set("expressions", writer.projections or [exp.Literal.number(1)])
        if distinct:
            body.set("distinct", exp.Distinct())
        self.ctes.append((name, body))
        return relation

    def add(self, prefix: str, query: exp.Expr) -> str:
        """Add a CTE that is no relation with flags."""
        name = self.fresh(prefix)
        self.ctes.append((name, query))
        return name

    def is_open(self, node: exp.Expr) -> bool:
        """Whether a part of the query can meet missing cells."""
        return bool(self.open_refs(node))

    def open_refs(self, node: exp.Expr) -> dict[int, tuple[LogsRef, exp.Table]]:
        """The marked references with missing cells in a part of the query, through the CTEs that it uses."""
        known = self._open.get(id(node))
        if known is None or known[0] is not node:
            known = self._open[id(node)] = (node, self._open_refs(node))
        return known[1]

    def _open_refs(self, node: exp.Expr) -> dict[int, tuple[LogsRef, exp.Table]]:
        found: dict[int, tuple[LogsRef, exp.Table]] = {}
        seen: set[str] = set()
        stack = [node]
        while stack:
            for table in _used_tables(stack.pop()):
                ref = ref_of(table)
                if ref is not None:
                    if self.missing.get(ref.id):
                        found[ref.id] = (ref, table)
                elif table.name in self.definitions and table.name not in seen:
                    seen.add(table.name)
                    stack.append(self.definitions[table.name].this)
        return found

    def base(self, table: exp.Table, ref: LogsRef, used: Iterable[str], *, whole: bool = False) -> Relation:
        """A marked reference as a planning relation with the columns `used` of it.

        Every name counts for the rows of `logs`; in another relation those count that are used, or all in the `whole`.
        """
        read = {bare for name in used for bare in (name, name.rpartition("$")[0])}
        every = whole or ref.relation == LOGS
        names = tuple(sorted(name for name in self.missing[ref.id] if every or name in read))
        self.seen.add(ref.id)
        alias, token = table.alias, self.fresh("k")
        missing: dict[str, exp.Expr] = {name: column(alias, missing_flag(name)) for name in names}
        any_missing = any_of(*missing.values())
        unsure: Cond = False
        if names:
            unsure = exp.And(this=exp.Paren(this=sql_of(any_missing)), expression=exp.Not(this=column(alias, SURE)))
        writer = Writer(unsure)
        # What stands beside a missing value may be NULL instead: a row of an enclosing level, or a repeat of the name.
        shaky = ref.names | ref.loops
        for used_name in dict.fromkeys(used):
            sql = column(alias, used_name)
            if used_name in missing:
                writer.add(used_name, Value(sql, missing[used_name], False, frozenset({(token, used_name)}), True))
            elif names and not shaky.isdisjoint((used_name, used_name.rpartition("$")[0])):
                writer.add(used_name, Value(sql, False, unsure, frozenset({(token, "*")}), with_row=True))
            else:
                writer.add(used_name, Value(sql))
        if names:
            writer.carry(token, _token(alias, missing), Base(ref, names))
        return self.write("r", writer, exp.Select(from_=exp.From(this=table.copy())))

    def whole(self, node: exp.Expr) -> None:
        """Demand every missing cell below `node` before anything above it is planned."""
        for ref, table in self.open_refs(node).values():
            relation = self.base(table, ref, (), whole=True)
            self.blockers.append(Blocker(relation, True))

    def rest(self, node: exp.Expr) -> None:
        """Demand every missing cell of the references below `node` that no planning relation reads.

        What planning passes over must not count as known.
        """
        for ref, table in self.open_refs(node).values():
            if ref.id not in self.seen:
                self.blockers.append(Blocker(self.base(table, ref, (), whole=True), True))

    def block(self, relation: Relation, condition: Cond = True) -> None:
        """Demand what the live rows of a relation lack before anything above it is planned."""
        self.blockers.append(Blocker(relation, condition))


def carry_tokens(program: Program, writer: Writer, relation: Relation, alias: str) -> dict[str, str]:
    """Carry a source's tokens on under fresh names; tells old names with their new ones."""
    renamed = {}
    for old, target in relation.tokens.items():
        new = program.fresh("k")
        writer.carry(new, column(alias, old), target)
        renamed[old] = new
    return renamed


def rename_depends(value: Value, renamed: Mapping[str, str]) -> Value:
    """A value read from a source whose tokens have new names."""
    depends = frozenset((renamed.get(token, token), name) for token, name in value.depends)
    return replace(value, depends=depends)


def _token(alias: str, missing: Mapping[str, exp.Expr]) -> exp.Expr:
    fields: dict[str, exp.Expr] = {"r": column(alias, RUN), "l": column(alias, LOOP)}
    fields |= {"e": column(alias, ENTRY), "i": column(alias, INDEX)}
    fields |= {f"m{number}": flag for number, flag in enumerate(missing.values())}
    packed = struct(fields)
    return exp.Case(ifs=[exp.If(this=sql_of(any_of(*missing.values())), true=packed)])


def struct(fields: Mapping[str, exp.Expr]) -> exp.Expr:
    """`{'name': value, ...}`."""
    return exp.Struct(
        expressions=[
            exp.PropertyEQ(this=exp.Identifier(this=name, quoted=True), expression=value)
            for name, value in fields.items()
        ]
    )


def _used_tables(node: exp.Expr) -> list[exp.Table]:
    """Tables of a query, those in its WITH left out: an unused CTE is not part of it."""
    found = list(find(node, exp.Table, exp.With))
    inside = {id(table) for clause in found if isinstance(clause, exp.With) for table in find(clause, exp.Table)}
    return [table for table in found if isinstance(table, exp.Table) and id(table) not in inside]

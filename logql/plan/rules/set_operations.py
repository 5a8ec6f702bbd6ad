"""UNION, INTERSECT and EXCEPT: predicates above pass into each side, and one side restricts the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sqlglot import exp

from logql.plan.conditions import Cond, all_of, any_of, negate, same, sql_of
from logql.plan.program import Program, struct
from logql.plan.relation import Barrier, Base, Relation, Target, Writer, column, copy_columns, exists, read
from logql.plan.rules.early_stop import counts_first
from logql.plan.rules.group_keys import deduplicate
from logql.plan.scopes import Later, Opaque
from logql.plan.values import Value

#: A union's columns, each with what it is called on every side.
Columns = Mapping[str, list[str | None]]
PlanQuery = Callable[[exp.Expr, Program], Relation]


def set_operations(query: exp.SetOperation, program: Program, plan: PlanQuery) -> Relation:
    """UNION ALL keeps both sides' rows; INTERSECT and EXCEPT look for equal rows on the other side.

    >>> from tests.plan.show import show_units
    >>> show_units("SELECT run, gn FROM logs WHERE epoch = 0 EXCEPT SELECT run, gn FROM logs WHERE run = 'A'")
    ['A/0', 'A/1', 'B/0']
    """
    if not program.on("set_operations"):
        raise Opaque("set operation")
    by_name = bool(query.args.get("by_name"))
    sides = [plan(side, program) for side in ([query.left, query.right] if by_name else _sides(query))]
    if not by_name and len({len(side.columns) for side in sides}) > 1:
        raise Opaque("columns under a star")
    relation = _combine(query, sides, program)
    counts_first(query, program, plan)
    if any(query.args.get(key) for key in ("limit", "offset")):
        program.block(relation, relation.live())
        raise Later
    return relation


def _sides(query: exp.SetOperation) -> list[exp.Expr]:
    """The operands; those of a UNION ALL inside of a UNION are its own, however many there are."""
    found: list[exp.Expr] = []
    stack: list[exp.Expr] = [query.right, query.left]
    while stack:
        side = stack.pop()
        inner = side.unnest() if isinstance(side, exp.Subquery) and _is_bare(side) else side
        if isinstance(query, exp.Union) and _is_union_all(inner):
            stack += [inner.args["expression"], inner.this]
        else:
            found.append(side)
    return found


def _is_union_all(query: exp.Expr) -> bool:
    return isinstance(query, exp.Union) and query.args.get("distinct") is False and _is_bare(query)


def _is_bare(query: exp.Expr) -> bool:
    return not any(query.args.get(key) for key in ("order", "limit", "offset", "by_name", "joins", "pivots", "sample"))


def _combine(query: exp.SetOperation, sides: list[Relation], program: Program) -> Relation:
    distinct = query.args.get("distinct") is not False
    if isinstance(query, exp.Union):
        relation = _union(_by_name(sides) if query.args.get("by_name") else _in_order(sides), sides, program)
        return deduplicate(program, relation) if distinct else relation
    if not distinct:
        for side in sides:
            program.block(side, side.live())
        raise Later
    left, right = sides
    relation = deduplicate(program, left) if left.tokens else left
    return _keep_matches(relation, right, program, wanted=isinstance(query, exp.Intersect))


def _in_order(sides: list[Relation]) -> Columns:
    """Columns of the same place, under the first side's names."""
    return {name: list(held) for name, *held in zip(sides[0].columns, *(side.columns for side in sides), strict=True)}


def _by_name(sides: list[Relation]) -> Columns:
    """Columns of the same name; None on a side that lacks it."""
    found: dict[str, tuple[str, list[str | None]]] = {}
    for number, side in enumerate(sides):
        for name in side.columns:
            if name == "*" or found.get(name.lower(), (name, [None] * len(sides)))[1][number] is not None:
                raise Opaque("columns that have no names of their own")
            found.setdefault(name.lower(), (name, [None] * len(sides)))[1][number] = name
    return dict(found.values())


def _union(columns: Columns, sides: list[Relation], program: Program) -> Relation:
    """All sides' columns, each with the companions of any; base rows share their tokens' columns."""
    unsure = any(side.unsure for side in sides)
    writers = [Writer(sql_of(side.unsure_in()) if unsure else False, sharing=False) for side in sides]
    slots = _slots(sides, program)
    renamed = [{held[n]: slot for slot, (_, held) in slots.items() if n in held} for n in range(len(sides))]
    for name, places in columns.items():
        values = [
            side.value(place) if place is not None else Value(exp.Null())
            for side, place in zip(sides, places, strict=True)
        ]
        unknown = any(value.unknown is not False for value in values)
        nullable = any(value.nullable is not False for value in values)
        depends = frozenset(
            (renamed[n].get(token, token), cell) for n, value in enumerate(values) for token, cell in value.depends
        )
        for writer, value in zip(writers, values, strict=True):
            shown = Value(
                value.sql,
                sql_of(value.unknown) if unknown else False,
                sql_of(value.nullable) if nullable else False,
                depends,
            )
            writer.add(name, shown)
    for slot, (target, held) in slots.items():
        for number, (side, writer) in enumerate(zip(sides, writers, strict=True)):
            token = held.get(number)
            writer.carry(slot, exp.Null() if token is None else column(side.name, token), target)
    return _stacked(sides, writers, program)


def _slots(sides: list[Relation], program: Program) -> dict[str, tuple[Target, dict[int, str]]]:
    """Columns for the sides' tokens: name, target, and which token of each side is in it."""
    found: dict[str, tuple[Target, dict[int, str]]] = {}
    for number, side in enumerate(sides):
        for token, target in side.tokens.items():
            free = next((held for other, held in found.values() if _alike(other, target) and number not in held), None)
            if free is None:
                free = {}
                found[program.fresh("k")] = (target, free)
            free[number] = token
    return found


def _alike(one: Target, other: Target) -> bool:
    return one is other or (isinstance(one, Base) and isinstance(other, Base) and one.names == other.names)


def _stacked(sides: list[Relation], writers: list[Writer], program: Program) -> Relation:
    """The sides' rows one after the other."""
    relations = [writer.finish("") for writer in writers]
    body: exp.Expr = read(sides[0].name, *writers[0].projections)
    for side, writer in zip(sides[1:], writers[1:], strict=True):
        body = exp.Union(this=body, expression=read(side.name, *writer.projections), distinct=False)
    return Relation(program.add("u", body), relations[0].columns, relations[0].tokens, relations[0].unsure)


def _keep_matches(left: Relation, right: Relation, program: Program, *, wanted: bool) -> Relation:
    """Rows of `left` that have (INTERSECT) or lack (EXCEPT) an equal row in `right`."""
    pairs = [(left.value(a), right.value(b)) for a, b in zip(left.columns, right.columns, strict=True)]
    may = [any_of(same(a.sql, b.sql), a.open, b.open) for a, b in pairs]
    sure = [all_of(same(a.sql, b.sql), negate(a.open), negate(b.open)) for a, b in pairs]
    possible = exists(right.name, all_of(*may))
    certain = exists(right.name, all_of(negate(right.unsure_in()), *sure))
    undecided = all_of(possible, negate(certain))
    writer = Writer(any_of(left.unsure_in(), undecided))
    copy_columns(left, writer)
    if right.tokens:
        _add_barrier(left, right, undecided, writer, program)
    body = read(left.name)
    body = body.where(sql_of(possible if wanted else negate(certain)), copy=False)
    return program.write("m", writer, body)


def _add_barrier(left: Relation, right: Relation, undecided: Cond, writer: Writer, program: Program) -> None:
    fields: dict[str, exp.Expr] = {}
    for number, name in enumerate(left.columns):
        fields[f"k{number}"] = left.value(name).sql
        fields[f"o{number}"] = sql_of(left.value(name).open)

    def matches(tokens: str) -> Cond:
        def held(name: str) -> exp.Expr:
            return exp.Dot(this=column(tokens, "k"), expression=exp.Identifier(this=name, quoted=True))

        pairs = []
        for number, (mine, other) in enumerate(zip(left.columns, right.columns, strict=True)):
            value, loose = right.value(other), left.value(mine).open is not False
            pairs.append(
                any_of(same(value.sql, held(f"k{number}")), value.open, held(f"o{number}") if loose else False)
            )
        return exists(tokens, all_of(*pairs))

    barrier = Barrier(right, matches, right.live())
    program.barriers.append(barrier)
    token = exp.Case(ifs=[exp.If(this=sql_of(undecided), true=struct(fields))])
    writer.carry(program.fresh("k"), token, barrier)

"""UNION, INTERSECT and EXCEPT: predicates above pass into each side, and one side restricts the other."""

from __future__ import annotations

from collections.abc import Callable

from sqlglot import exp

from logql.plan.conditions import Cond, all_of, any_of, negate, same, sql_of
from logql.plan.program import Program, struct
from logql.plan.relation import Barrier, Relation, Writer, column, copy_columns, exists
from logql.plan.rules.group_keys import deduplicate
from logql.plan.scopes import Later, Opaque
from logql.plan.values import Value

PlanQuery = Callable[[exp.Expr, Program], Relation]


def set_operations(query: exp.SetOperation, program: Program, plan: PlanQuery) -> Relation:
    """UNION ALL keeps both sides' rows; INTERSECT and EXCEPT look for equal rows on the other side.

    >>> from tests.plan.show import show_units
    >>> show_units("SELECT run, gn FROM logs WHERE epoch = 0 EXCEPT SELECT run, gn FROM logs WHERE run = 'A'")
    ['A/0', 'A/1', 'B/0']
    """
    if not program.on("set_operations") or query.args.get("by_name"):
        raise Opaque("set operation")
    left, right = plan(query.left, program), plan(query.right, program)
    if len(left.columns) != len(right.columns):
        raise Opaque("columns under a star")
    relation = _combine(query, left, right, program)
    if any(query.args.get(key) for key in ("limit", "offset")):
        program.block(relation, relation.live())
        raise Later
    return relation


def _combine(query: exp.SetOperation, left: Relation, right: Relation, program: Program) -> Relation:
    distinct = query.args.get("distinct") is not False
    if isinstance(query, exp.Union):
        relation = _union(left, right, program)
        return deduplicate(program, relation) if distinct else relation
    if not distinct:
        for side in (left, right):
            program.block(side, side.live())
        raise Later
    relation = deduplicate(program, left) if left.tokens else left
    return _keep_matches(relation, right, program, wanted=isinstance(query, exp.Intersect))


def _union(left: Relation, right: Relation, program: Program) -> Relation:
    """Both sides under the left one's names, each with the companions and tokens of either."""
    names = list(left.columns)
    sides = [(left, list(left.columns)), (right, list(right.columns))]
    unsure = left.unsure or right.unsure
    writers = [Writer(sql_of(side.unsure_in()) if unsure else False, sharing=False) for side in (left, right)]
    for position, name in enumerate(names):
        values = [side.value(columns[position]) for side, columns in sides]
        unknown = any(value.unknown is not False for value in values)
        nullable = any(value.nullable is not False for value in values)
        depends = values[0].depends | values[1].depends
        for writer, value in zip(writers, values, strict=True):
            shown = Value(
                value.sql,
                sql_of(value.unknown) if unknown else False,
                sql_of(value.nullable) if nullable else False,
                depends,
            )
            writer.add(name, shown)
    for index, (side, _) in enumerate(sides):
        for token, target in side.tokens.items():
            for number, writer in enumerate(writers):
                writer.carry(token, column(side.name, token) if number == index else exp.Null(), target)
    selects = []
    for writer, (side, _) in zip(writers, sides, strict=True):
        relation = writer.finish("")
        selects.append(exp.select(*writer.projections).from_(exp.to_table(side.name)))
    name = program.add("u", exp.Union(this=selects[0], expression=selects[1], distinct=False))
    return Relation(name, relation.columns, relation.tokens, relation.unsure)


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
    body = exp.select("1").from_(exp.to_table(left.name))
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

"""Back from the rows that matter to the cells that they lack: the end of every planning query."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sqlglot import exp

from logql.plan.conditions import Cond, all_of, any_of, not_null, sql_of
from logql.plan.program import Program
from logql.plan.relation import Barrier, Base, Relation, aliased, column, read
from logql.plan.values import Dependence


@dataclass(frozen=True)
class Root:
    """Rows whose cells are demanded: those of `relation` for which `condition` holds."""

    relation: Relation
    condition: Cond
    depends: frozenset[Dependence] | None = None


def trace(program: Program, root: Root, stage: int) -> list[exp.Expr]:
    """SELECTs of (stage, ref, run, loop, entry, index, one flag per name) for all that `root` demands."""
    if not root.relation.tokens or root.condition is False:
        return []
    live = [_live_rows(program, root)]
    found = list(_demanded(live[0], stage, root.depends))
    for barrier in reversed(program.barriers):
        tokens = [select for relation in live for select in _tokens_to(relation, barrier, root.depends)]
        if not tokens:
            continue
        relation = _behind(program, barrier, tokens)
        live.append(relation)
        found += _demanded(relation, stage, None)
    return found


def _live_rows(program: Program, root: Root) -> Relation:
    relation = root.relation
    body = read(relation.name, *(column(relation.name, token) for token in relation.tokens)).distinct(copy=False)
    if root.condition is not True:
        body = body.where(sql_of(root.condition), copy=False)
    return Relation(program.add("l", body), {}, relation.tokens)


def _tokens_to(relation: Relation, barrier: Barrier, depends: frozenset[Dependence] | None) -> Iterator[exp.Expr]:
    wanted = None if depends is None else {token for token, _ in depends}
    for token, target in relation.tokens.items():
        if target is barrier and (wanted is None or token in wanted):
            held = column(relation.name, token)
            select = read(relation.name, aliased(held, "k"))
            yield select.where(not_null(held), copy=False)


def _behind(program: Program, barrier: Barrier, tokens: list[exp.Expr]) -> Relation:
    """The open rows of a barrier that live tokens lead to."""
    union = tokens[0]
    for other in tokens[1:]:
        union = exp.Union(this=union, expression=other, distinct=False)
    name = program.add("n", exp.select("k").distinct().from_(exp.Subquery(this=union, alias=_alias("x"))))
    relation = barrier.relation
    body = read(relation.name, *(column(relation.name, token) for token in relation.tokens))
    body = body if barrier.one_of is not None else body.distinct(copy=False)
    condition = all_of(barrier.relevant, barrier.matches(name))
    if condition is not True:
        body = body.where(sql_of(condition), copy=False)
    if barrier.one_of is not None:
        body.set("qualify", exp.Qualify(this=_few(program, relation, barrier.one_of)))
    return Relation(program.add("v", body), {}, relation.tokens)


def _few(program: Program, relation: Relation, keys: tuple[str, ...]) -> exp.Expr:
    """The first open rows of each key; twice as many after each round that settled nothing."""
    number = exp.Window(
        this=exp.RowNumber(),
        partition_by=[relation.value(key).sql for key in keys],
        order=exp.Order(expressions=[exp.Ordered(this=column(relation.name, token)) for token in relation.tokens]),
        over="OVER",
    )
    return exp.LTE(this=number, expression=exp.Literal.number(program.batch()))


def _demanded(relation: Relation, stage: int, depends: frozenset[Dependence] | None) -> Iterator[exp.Expr]:
    for token, target in relation.tokens.items():
        if not isinstance(target, Base):
            continue
        names = _wanted_names(token, target, depends)
        if names:
            yield _cells(relation, token, target, names, stage)


def _wanted_names(token: str, target: Base, depends: frozenset[Dependence] | None) -> tuple[str, ...]:
    if depends is None or (token, "*") in depends:
        return target.names
    return tuple(name for name in target.names if (token, name) in depends)


def _cells(relation: Relation, token: str, target: Base, names: tuple[str, ...], stage: int) -> exp.Expr:
    held = column(relation.name, token)

    def part(key: str) -> exp.Expr:
        return exp.Dot(this=held.copy(), expression=exp.Identifier(this=key, quoted=True))

    flags: Mapping[str, exp.Expr] = {
        name: part(f"m{number}") for number, name in enumerate(target.names) if name in names
    }
    cases = [exp.Case(ifs=[exp.If(this=flag, true=exp.Literal.string(name))]) for name, flag in flags.items()]
    columns = [
        aliased(exp.Literal.number(stage), "stage"),
        aliased(part("r"), "run"),
        aliased(part("l"), "loop"),
        aliased(part("e"), "entry"),
        aliased(part("i"), "index"),
        aliased(exp.Anonymous(this="concat_ws", expressions=[exp.Literal.string("\x1f"), *cases]), "names"),
    ]
    body = read(relation.name, *columns).distinct(copy=False)
    return body.where(sql_of(all_of(not_null(held), any_of(*flags.values()))), copy=False)


def _alias(name: str) -> exp.TableAlias:
    return exp.TableAlias(this=exp.Identifier(this=name, quoted=True))

"""Queries inside expressions: EXISTS, IN, scalar and quantified subqueries, correlated or not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlglot import exp

from logql.plan.aggregates import is_aggregate
from logql.plan.conditions import Cond, all_of, any_of, is_null, negate, sql_of
from logql.plan.held import makes_rows
from logql.plan.program import struct
from logql.plan.relation import Barrier, Relation, aliased, column, exists
from logql.plan.rules.possible_values import value_of
from logql.plan.scopes import Opaque, blocks_inside, conjuncts, sources_of
from logql.plan.truths import truth_of_value
from logql.plan.values import Dependence, Truth, Value, all_depends
from logql.sql.walk import bare, children, find

if TYPE_CHECKING:
    from logql.plan.blocks import Block

PlanQuery = Callable[..., Relation]


#: Fields of a token that tell where what it looks for may be anything.
_WILD = "w:"


@dataclass(frozen=True)
class _Link:
    """An inner expression, as a column of the planned inner rows, and the outer value that it must equal.

    `tested` by IN, where a NULL on either side makes the truth NULL; what a condition ties to NULL is no row at all.
    """

    inner: str
    outer: Value
    tested: bool = False


def subquery_truth(node: exp.Expr, block: Block, plan: PlanQuery) -> Truth:
    """Truth of EXISTS and IN: true is possible where some possible inner row may match, false where none surely does.

    >>> from tests.plan.show import show_units
    >>> show_units("SELECT a.run FROM logs a WHERE EXISTS (SELECT 1 FROM logs b WHERE b.run = a.run AND b.gn > 5)")
    ['A/0', 'B/0']
    """
    query = node.this if isinstance(node, exp.Exists) else node.args["query"].unnest()
    plain = (_is_plain(query) and _ties_by_equality(query)) or not _free_columns(query)
    if not block.program.is_open(query) or not plain or not block.program.on("subquery_truth"):
        return truth_of_value(subquery_value(node, block, plan))
    tested = [] if isinstance(node, exp.Exists) else _tested(node.this)
    links, relation = _inner_rows(query, tested, block, plan)
    possible = exists(relation.name, all_of(*(_may_match(link, relation) for link in links)))
    sure = all_of(negate(relation.unsure_in()), *(_surely_matches(link, relation) for link in links))
    certain: Cond = exists(relation.name, sure) if sure is not False else False
    token = block.program.fresh("k")
    _add_barrier(token, links, relation, negate(certain), block, early=True)
    null, surely_null = _null_among(links, relation) if tested else (False, False)
    depends = all_depends(link.outer for link in links) | {(token, "*")}
    false = all_of(negate(certain), negate(surely_null))
    return Truth(possible, false, negate(certain), any_of(possible, all_of(negate(certain), null)), depends)


def _null_among(links: list[_Link], relation: Relation) -> tuple[Cond, Cond]:
    """Where IN may meet a NULL, and where it surely does, among the rows that the other links leave.

    Where nothing is open both are the same: an outer row that stayed possible for want of that would keep its place
    among the first of a LIMIT.
    """
    tested, ties = [link for link in links if link.tested], [link for link in links if not link.tested]
    may_be = [_may_be_null(link, relation) for link in tested]
    surely = [_surely_null(link, relation) for link in tested]
    met: list[Cond] = [_may_match(link, relation) for link in ties]
    sure: list[Cond] = [negate(relation.unsure_in()), *(_surely_matches(link, relation) for link in ties)]
    if len(tested) > 1:  # the other parts of a row value must not differ
        met += [any_of(_may_match(link, relation), null) for link, null in zip(tested, may_be, strict=True)]
        sure += [any_of(_surely_matches(link, relation), null) for link, null in zip(tested, surely, strict=True)]
    found = all_of(*sure, any_of(*surely))
    null = exists(relation.name, all_of(*met, any_of(*may_be)))
    return null, exists(relation.name, found) if found is not False else False


def _tested(node: exp.Expr) -> list[exp.Expr]:
    """What IN looks for, the parts of a row value each."""
    row = bare(node)
    return row.expressions if isinstance(row, exp.Tuple) else [node]


def _may_be_null(link: _Link, relation: Relation) -> Cond:
    value = relation.value(link.inner)
    return any_of(is_null(value.sql), value.open, link.outer.open, is_null(link.outer.sql))


def _surely_null(link: _Link, relation: Relation) -> Cond:
    value = relation.value(link.inner)
    inner = all_of(is_null(value.sql), negate(value.open))
    return any_of(inner, all_of(is_null(link.outer.sql), negate(link.outer.open)))


def subquery_value(node: exp.Expr, block: Block, plan: PlanQuery) -> Value:
    """Any other use: the value is settled where no inner row that can belong to it is open."""
    unknown: list[Cond] = []
    depends, tokens = [], set[Dependence]()
    for query in [node] if isinstance(node, exp.Select | exp.SetOperation) else list(blocks_inside(node)):
        for free in _free_columns(query):
            value = _read(free, block)
            unknown.append(value.open)
            depends.append(value)
        if block.program.is_open(query):
            found, token = _open_inside(query, block, plan)
            unknown.append(found)
            tokens.add((token, "*"))
    for own in _own_columns(node):
        value = value_of(own, block)
        unknown.append(value.open)
        depends.append(value)
    return Value(substitute(node, block), any_of(*unknown), False, all_depends(depends) | tokens)


def substitute(node: exp.Expr, block: Block) -> exp.Expr:
    """The expression with the block's columns replaced by their planning columns, to any depth."""
    ready = block.computed(node)
    if ready is not None:
        return ready.sql
    if isinstance(node, exp.Column) and node.table in block.sources:
        return _read(node, block).sql
    rebuilt = type(node)(**{key: _substituted(part, block) for key, part in node.args.items()})
    if isinstance(node, exp.Table):
        rebuilt.meta.update(node.meta)
    return rebuilt


def _substituted(part: object, block: Block) -> object:
    if isinstance(part, exp.Expr):
        return substitute(part, block)
    return [_substituted(item, block) for item in part] if isinstance(part, list) else part


def _read(node: exp.Column, block: Block) -> Value:
    ready = block.computed(node)
    value = ready or block.column(node)
    if value is None:
        raise Opaque(f"{node.sql()} belongs to a block further out")
    return value


def _open_inside(query: exp.Expr, block: Block, plan: PlanQuery) -> tuple[Cond, str]:
    """Where some row behind the query is open, and the token that leads to those rows."""
    if _free_columns(query):
        links, relation = _inner_rows(query, [], block, plan)
    else:
        links, relation = [], plan(query, block.program)
    condition = all_of(relation.live(), *(_may_match(link, relation) for link in links))
    token = block.program.fresh("k")
    if condition is False:
        return False, token
    found = exists(relation.name, condition)
    _add_barrier(token, links, relation, found, block, early=False)
    return found, token


def _add_barrier(
    token: str, links: list[_Link], relation: Relation, wanted: Cond, block: Block, *, early: bool
) -> None:
    if not relation.tokens:
        return
    wild = {_WILD + link.inner: sql_of(link.outer.unknown) for link in links if link.outer.unknown is not False}
    fields = wild | {link.inner: link.outer.sql for link in links} or {"z": exp.Literal.number(1)}

    def matches(tokens: str) -> Cond:
        row_value = sum(link.tested for link in links) > 1
        pairs = {link: _token_matches(link, relation, tokens, row_value and link.tested) for link in links}
        ties = [pair for link, pair in pairs.items() if not link.tested]
        among: Cond = False
        if relation.unsure and len(ties) < len(links):  # NULL is IN what has no rows, or not: each row may tell
            nulls = any_of(*(is_null(_held(link.inner, tokens)) for link in links if link.tested))
            among = exists(tokens, all_of(nulls, *ties))
        return any_of(exists(tokens, all_of(*pairs.values())), among)

    early = early and all(relation.value(link.inner).settled for link in links)
    keys = tuple(link.inner for link in links)
    target = Barrier(relation, matches, relation.live(), keys if early and block.program.on("early_stop") else None)
    block.program.barriers.append(target)
    key = exp.Case(ifs=[exp.If(this=sql_of(wanted), true=struct(fields))])
    block.extra_tokens.append((token, key, target))


def _token_matches(link: _Link, relation: Relation, tokens: str, part: bool) -> Cond:
    """Whether a row is one that a token looks for; beside NULL in a `part` of a row value the others still count."""
    value, held = relation.value(link.inner), _held(link.inner, tokens)
    equal = exp.EQ(this=value.sql, expression=held)
    loose: list[Cond] = [value.unknown]  # one that may turn NULL equals nothing then
    if value.open is not False or relation.unsure:
        loose.append(all_of(relation.unsure_in(), is_null(value.sql)))
    if link.outer.unknown is not False:
        loose.append(_held(_WILD + link.inner, tokens))
    if part:
        loose += [is_null(value.sql), is_null(held)]
    return any_of(equal, *loose)


def _held(name: str, tokens: str) -> exp.Expr:
    return exp.Dot(this=column(tokens, "k"), expression=exp.Identifier(this=name, quoted=True))


def _may_match(link: _Link, relation: Relation) -> Cond:
    value = relation.value(link.inner)
    return any_of(exp.EQ(this=value.sql, expression=link.outer.sql), value.unknown, link.outer.unknown)


def _surely_matches(link: _Link, relation: Relation) -> Cond:
    value = relation.value(link.inner)
    equal = exp.EQ(this=value.sql, expression=link.outer.sql)
    return all_of(equal, negate(value.open), negate(link.outer.open))


def _is_plain(query: exp.Expr) -> bool:
    """A SELECT whose rows are those of FROM and WHERE."""
    if not isinstance(query, exp.Select):
        return False
    shaped = any(query.args.get(k) for k in ("group", "having", "qualify", "limit", "offset"))
    distinct = query.args.get("distinct")
    computed = any(map(_computes, query.expressions))
    return not shaped and not computed and not (distinct and distinct.args.get("on"))


def _ties_by_equality(query: exp.Select) -> bool:
    """Whether only equalities tie an inner row to the outer one: of any other tie, planning does not say if it holds.

    An outer row that would stay possible for that, with no cell open, would keep its place among the first of a LIMIT.
    """
    names = {node.table for node in _free_columns(query)}
    where = query.args.get("where")
    tied = (part for part in conjuncts(where.this if where else None) if _mentions(part, names))
    return all(_equality(part, names) is not None for part in tied)


def _computes(node: exp.Expr) -> bool:
    """Whether an aggregate, a window or what makes rows is in an expression, those of queries in it left out."""
    if isinstance(node, exp.Select | exp.SetOperation):
        return False
    return is_aggregate(node) or makes_rows(node) or isinstance(node, exp.Window) or any(map(_computes, children(node)))


def _inner_rows(query: exp.Expr, tested: list[exp.Expr], block: Block, plan: PlanQuery) -> tuple[list[_Link], Relation]:
    """The rows behind an inner query without what ties it to the outer row, and the equalities that tie it."""
    free = _free_columns(query)
    outer = [value_of(part, block) for part in tested]
    if not free:
        relation = plan(query.copy(), block.program)
        columns = list(relation.columns)[: len(outer)]
        if len(columns) < len(outer):
            raise Opaque("columns under a star")
        return [_Link(name, value, True) for name, value in zip(columns, outer, strict=True)], relation
    links = [_Link("_v", value, True) for value in outer]
    if not isinstance(query, exp.Select) or len(tested) > 1:
        raise Opaque("a correlated set operation, or row values in one")
    names = {node.table for node in free}
    _refuse_deep_correlation(query, names)
    own, pairs = _split_where(query, names, block)
    inner = query.copy()
    for key in ("group", "having", "qualify", "order", "limit", "offset", "distinct"):
        inner.set(key, None)
    outputs = [aliased(query.expressions[0].unalias(), "_v")] if tested else []
    if tested and _mentions(query.expressions[0], names):
        raise Opaque("a correlated projection")
    for number, (mine, other) in enumerate(pairs):
        outputs.append(aliased(mine, f"_j{number}"))
        links.append(_Link(f"_j{number}", value_of(other, block)))
    if not _is_plain(query) or not tested:
        outputs += _used_outputs(query, names)
    inner.set("expressions", outputs or [aliased(exp.Literal.number(1), "_one")])
    inner.set("where", exp.Where(this=sql_of(all_of(*own))) if own else None)
    return links, plan(inner, block.program)


def _used_outputs(query: exp.Select, names: set[str]) -> list[exp.Expr]:
    """The inner columns that projection, grouping and ordering read, so that open ones are seen."""
    found: dict[exp.Column, None] = {}
    for key in ("expressions", "group", "having", "qualify", "order", "distinct"):
        clause = query.args.get(key)
        for node in clause if isinstance(clause, list) else [clause] if clause else []:
            for used in find(node, exp.Column):
                if used.table and used.table not in names and not isinstance(used.this, exp.Star):
                    found[used] = None
    own = {source.alias for source in sources_of(query)}
    return [aliased(used, f"_a{n}") for n, used in enumerate(found) if used.table in own]


def _split_where(
    query: exp.Select, names: set[str], block: Block
) -> tuple[list[exp.Expr], list[tuple[exp.Expr, exp.Expr]]]:
    own, pairs = [], []
    where = query.args.get("where")
    for part in conjuncts(where.this if where else None):
        if not _mentions(part, names):
            own.append(part)
            continue
        pair = _equality(part, names)
        if pair is not None:
            pairs.append(pair)
        else:
            block.program.whole(part)
    return own, pairs


def _equality(part: exp.Expr, names: set[str]) -> tuple[exp.Expr, exp.Expr] | None:
    if not isinstance(part, exp.EQ) or part.find(exp.Select) is not None:
        return None
    for mine, other in ((part.this, part.expression), (part.expression, part.this)):
        inner = {c.table for c in find(mine, exp.Column)}
        outer = {c.table for c in find(other, exp.Column)}
        if not inner & names and inner and outer <= names:
            return mine, other
    return None


def _refuse_deep_correlation(query: exp.Select, names: set[str]) -> None:
    parts = [*sources_of(query), *(j.args.get("on") for j in query.args.get("joins") or ())]
    for part in parts:
        if part is not None and _mentions(part, names):
            raise Opaque("correlation inside FROM")
    for clause in ("expressions", "having", "order", "qualify", "group"):
        value = query.args.get(clause)
        for node in value if isinstance(value, list) else [value] if value else []:
            if any(True for _ in blocks_inside(node)):
                raise Opaque("queries nested in a correlated one")


def _mentions(node: exp.Expr, names: set[str]) -> bool:
    """Whether a column of one of some sources is in an expression."""
    return any(column.table in names for column in find(node, exp.Column))


def _free_columns(query: exp.Expr) -> list[exp.Column]:
    """Columns inside a query that belong to a block around it."""
    defined = {source.alias for select in find(query, exp.Select) for source in sources_of(select)}
    return [node for node in find(query, exp.Column) if node.table and node.table not in defined]


def _own_columns(node: exp.Expr) -> list[exp.Column]:
    found: list[exp.Column] = []
    for child in children(node):
        if isinstance(child, exp.Select | exp.SetOperation):
            continue
        if isinstance(child, exp.Column):
            found.append(child)
        else:
            found += _own_columns(child)
    return found

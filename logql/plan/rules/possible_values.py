"""Which values a predicate can take while cells under it are missing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from sqlglot import exp

from logql.plan.conditions import (
    Cond,
    all_of,
    any_of,
    closed,
    decide,
    first_case,
    is_false,
    is_null,
    is_true,
    not_null,
)
from logql.plan.formulas import COMPARISONS, STRICT, Formula, both, by_parts, comparison, either
from logql.plan.rules.contradictions import contradictions
from logql.plan.truths import (
    all_hold,
    flipped,
    known_truth,
    may_be_anything,
    strict_truth,
    strict_value,
    truth_of_value,
    unknown_of,
)
from logql.plan.values import Reader, Truth, Value, all_depends
from logql.sql.walk import bare, branches, children, find, flattened

QUERIES = (exp.Select, exp.SetOperation)


def possible_values(condition: exp.Expr, reader: Reader) -> Truth:
    """The truth values that `condition` can take, each as SQL over `$missing` flags and known values.

    >>> from tests.plan.show import show_possible
    >>> show_possible("gn > 5 AND val_acc < 0.5")
    'COALESCE(val_acc < 0.5 AND gn > 5, CASE WHEN NOT ("gn$missing" AND (NOT (val_acc) IS NULL)) THEN FALSE END)'
    """
    node = by_parts(bare(condition))
    ready = reader.computed(node)
    if ready is not None:
        return truth_of_value(ready)
    if reader.is_settled(node):
        return truth_of_value(Value(reader.as_is(node)))
    treat = _TREATMENTS.get(type(node)) if reader.precise else None
    if treat is None:
        return truth_of_value(value_of(node, reader))
    return treat(node, reader)


def three_valued(conditions: Iterable[exp.Expr], reader: Reader) -> Cond:
    """Conditions joined by AND: TRUE where they surely hold, FALSE where they cannot, NULL elsewhere."""
    return _value(_joined(conditions, True, True, reader))


def _decided(condition: exp.Expr, wanted: bool, reader: Reader) -> Cond | Formula:
    """One condition: a formula where DuckDB's own logic decides it."""
    node = by_parts(bare(condition))
    if reader.computed(node) is None and reader.precise:
        if isinstance(node, exp.Not):
            return _decided(node.this, not wanted, reader)
        if isinstance(node, exp.And | exp.Or):
            return _joined(flattened(node), isinstance(node, exp.And) is wanted, wanted, reader)
        formula = comparison(node, wanted, lambda part: reader.computed(part) or reader.column(part))
        if formula is not None:
            return formula
        if reader.is_settled(node):
            return _firm(reader.as_is(node), wanted)
        found = strict(node, reader)
        if found is not None:
            return _compared(*found, wanted)
    truth = possible_values(node, reader)
    return decide(*((truth.true, truth.not_true) if wanted else (truth.false, truth.not_false)))


def _joined(parts: Iterable[exp.Expr], together: bool, wanted: bool, reader: Reader) -> Cond | Formula:
    """Conditions of which all (`together`), or one at least, must be `wanted`."""
    if reader.together:
        parts = list(parts)
        if together and contradictions(parts, wanted):
            return False
        parts = parts if together else [part for part in parts if not contradictions([part], wanted)]
    found = [_decided(part, wanted, reader) for part in parts]
    formulas = [part for part in found if isinstance(part, Formula)]
    values: list[Cond] = [part for part in found if not isinstance(part, Formula)]
    groups = ([both(formulas)] if formulas else []) if together else either(formulas)
    if len(groups) == 1 and not values:
        return groups[0]
    return (all_of if together else any_of)(*values, *map(_value, groups))


def _value(part: Cond | Formula) -> Cond:
    return part.value() if isinstance(part, Formula) else part


def _compared(sql: exp.Expr, operands: Sequence[Value], wanted: bool) -> Cond:
    """A function that is NULL wherever an operand is: undecided where one may be anything, or turn NULL."""
    shaky = any_of(*(operand.nullable for operand in operands if not operand.with_row))
    free = any_of(*(may_be_anything(number, operands) for number in range(len(operands))))
    return all_of(decide(True, free, _firm(sql, wanted)), decide(True, shaky))


def _firm(node: exp.Expr, wanted: bool) -> exp.Expr:
    """Whether a predicate is `wanted`; FALSE where it is NULL."""
    tested = node if wanted else exp.Not(this=exp.Paren(this=node))
    return exp.Coalesce(this=tested, expressions=[exp.Boolean(this=False)])


def value_of(expression: exp.Expr, reader: Reader) -> Value:
    """The value of an expression and where it is not settled; any function of an open input may be anything."""
    ready = reader.computed(expression)
    if ready is not None:
        return ready
    if isinstance(expression, exp.Column):
        return reader.column(expression) or Value(expression.copy())
    if isinstance(expression, exp.Paren):
        inner = value_of(expression.this, reader)
        return Value(exp.Paren(this=inner.sql), inner.unknown, inner.nullable, inner.depends)
    if reader.is_settled(expression):
        return Value(reader.as_is(expression))
    if reader.precise and type(expression) in _TREATMENTS and not isinstance(expression, exp.Case | exp.If):
        truth = possible_values(expression, reader)
        return Value(reader.as_is(expression), truth.undecided, False, truth.depends)
    if isinstance(expression, exp.Subquery | exp.Exists) or holds_query(expression):
        return reader.subquery_value(expression)
    if reader.precise and isinstance(expression, STRICT):
        return strict_value(reader.as_is(expression), [value_of(leaf, reader) for leaf in _leaves(expression, reader)])
    treat = _VALUES.get(type(expression)) if reader.precise else None
    inputs = [value_of(child, reader) for child in _operands(expression)]
    unknown = treat(expression, reader) if treat else any_of(*(value.open for value in inputs))
    return Value(reader.as_is(expression), unknown, False, all_depends(inputs))


def _leaves(expression: exp.Expr, reader: Reader) -> Iterator[exp.Expr]:
    """What functions that are NULL wherever an input is, one in the other, are computed from."""
    for child in branches(expression):
        node = bare(child)
        if isinstance(node, STRICT) and reader.computed(node) is None and not holds_query(node):
            yield from _leaves(node, reader)
        elif not reader.is_settled(node) or any(True for _ in find(node, exp.Column, exp.Null)):
            yield node


def open_in(expressions: Iterable[exp.Expr], reader: Reader) -> Cond:
    """Where any of some expressions is not settled: what `value_of` tells of them, without their values."""
    found: list[Cond] = []
    seen: set[tuple[exp.Expr, ...]] = set()
    stack = list(expressions)
    while stack:
        node = stack.pop()
        if reader.precise and isinstance(node, STRICT) and reader.computed(node) is None and not holds_query(node):
            leaves = tuple(dict.fromkeys(_leaves(node, reader)))
            if leaves not in seen:
                inputs = [value_of(leaf, reader) for leaf in leaves]
                found += [unknown_of(inputs), *(value.nullable for value in inputs)]
                seen.add(leaves)
            continue
        treated = reader.precise and (type(node) in _TREATMENTS or type(node) in _VALUES)
        whole = treated or isinstance(node, exp.Column | exp.Subquery) or holds_query(node)
        if whole or reader.computed(node) is not None:
            value = value_of(node, reader)
            found += [value.unknown, value.nullable]
        else:
            stack += _operands(node)
    return any_of(*found)


def holds_query(expression: exp.Expr) -> bool:
    """Whether an operand is a query, or ANY or ALL of one or of a list."""
    return any(isinstance(child, (*QUERIES, exp.Any, exp.All)) or _is_all(child) for child in children(expression))


def _is_all(node: exp.Expr) -> bool:
    """Whether a node is ALL of a list, which sqlglot takes for a function."""
    return isinstance(node, exp.Anonymous) and node.name.upper() == "ALL"


def _operands(node: exp.Expr) -> list[exp.Expr]:
    """What an expression computes with; the branches of a CASE are no expressions of their own."""
    if isinstance(node, exp.Case):
        return [part for pair in _whens(node) for part in pair] + [_default(node)]
    return children(node)


def _and(node: exp.Expr, reader: Reader) -> Truth:
    return _joint(node, True, reader)


def _joint(node: exp.Expr, wanted: bool, reader: Reader) -> Truth:
    """Whether all conditions of an AND hold, or (not `wanted`) all of an OR fail."""
    parts = flattened(node)
    found = (possible_values(part, reader) for part in parts)
    return _judged(all_hold(found if wanted else map(flipped, found)), parts, wanted, reader)


def _judged(truth: Truth, parts: Sequence[exp.Expr], wanted: bool, reader: Reader) -> Truth:
    """The truth of conditions joined by AND: they cannot hold where they exclude each other."""
    never = reader.together and contradictions(parts, wanted)
    return replace(truth, true=False, not_true=True) if never else truth


def _or(node: exp.Expr, reader: Reader) -> Truth:
    return flipped(_joint(node, False, reader))


def _not(node: exp.Expr, reader: Reader) -> Truth:
    return flipped(possible_values(node.this, reader))


def _boolean(node: exp.Expr, reader: Reader) -> Truth:  # noqa: ARG001
    value = bool(node.this)
    return Truth(value, not value, not value, value)


def strict(node: exp.Expr, reader: Reader) -> tuple[exp.Expr, list[Value]] | None:
    """A predicate that is NULL wherever an operand is NULL: over planning columns, with its operands that are open."""
    if isinstance(node, COMPARISONS) and not holds_query(node):
        operands = [value_of(node.this, reader), value_of(node.expression, reader)]
        return type(node)(this=operands[0].sql, expression=operands[1].sql), operands
    if not isinstance(node, exp.In) or node.args.get("unnest") or node.args.get("field"):
        return None
    query, listed = node.args.get("query"), node.expressions
    items = [query] if query else listed
    if not items or any(map(_nothing, items)) or not all(map(reader.is_settled, items)):
        return None
    tested = value_of(node.this, reader)
    among = {"query": reader.as_is(query)} if query else {"expressions": [reader.as_is(item) for item in listed]}
    return exp.In(this=tested.sql, **among), [tested]


def _compare(node: exp.Expr, reader: Reader) -> Truth:
    found = strict(node, reader)
    if found is None:
        return truth_of_value(reader.subquery_value(node))
    truth = _judged(strict_truth(*found), [node], True, reader)
    return flipped(_judged(flipped(truth), [node], False, reader))


def _between(node: exp.Expr, reader: Reader) -> Truth:
    low = exp.GTE(this=node.this, expression=node.args["low"])
    high = exp.LTE(this=node.this, expression=node.args["high"])
    return all_hold([_compare(low, reader), _compare(high, reader)])


def _in(node: exp.Expr, reader: Reader) -> Truth:
    found = strict(node, reader)
    if found is not None:
        return strict_truth(*found)
    if any(map(_nothing, node.expressions)):
        return _in_with_null(node, reader)
    if node.args.get("query"):
        return reader.subquery_truth(node)
    if node.args.get("unnest") or node.args.get("field") or not node.expressions:
        return truth_of_value(_plain(node, reader))
    equal = (exp.EQ(this=closed(node.this), expression=closed(item)) for item in node.expressions)
    parts = (_compare(part, reader) for part in equal)
    return flipped(all_hold(flipped(part) for part in parts))


def _in_with_null(node: exp.Expr, reader: Reader) -> Truth:
    """A list with NULL in it is met, or NULL."""
    null = truth_of_value(Value(exp.Null()))
    listed = [item for item in node.expressions if not _nothing(item)]
    if not listed:
        return null
    return flipped(all_hold([flipped(_in(exp.In(this=node.this, expressions=listed), reader)), null]))


def _nothing(node: exp.Expr) -> bool:
    return isinstance(bare(node), exp.Null)


def _plain(node: exp.Expr, reader: Reader) -> Value:
    inputs = [value_of(child, reader) for child in children(node)]
    unknown = any_of(*(value.open for value in inputs))
    return Value(reader.as_is(node), unknown, False, all_depends(inputs))


def _is(node: exp.Expr, reader: Reader) -> Truth:
    target = node.expression
    if isinstance(target, exp.Null):
        value = value_of(node.this, reader)
        is_nothing = any_of(value.open, is_null(value.sql))
        return known_truth(is_nothing, any_of(value.unknown, not_null(value.sql)), value.depends)
    if isinstance(target, exp.Boolean):
        inner = possible_values(node.this, reader)
        if target.this:
            return known_truth(inner.true, inner.not_true, inner.depends)
        return known_truth(inner.false, inner.not_false, inner.depends)
    return truth_of_value(_plain(node, reader))


def _exists(node: exp.Expr, reader: Reader) -> Truth:
    return reader.subquery_truth(node)


def _case(node: exp.Expr, reader: Reader) -> Truth:
    """From the last branch back: a branch counts where its condition may hold, the rest where it may not."""
    found = possible_values(_default(node), reader)
    for condition, result in reversed(_whens(node)):
        test, truth = possible_values(condition, reader), possible_values(result, reader)
        found = Truth(
            _either(test, truth.true, found.true),
            _either(test, truth.false, found.false),
            _either(test, truth.not_true, found.not_true),
            _either(test, truth.not_false, found.not_false),
            all_depends([test, truth, found]),
        )
    return found


def _either(test: Truth, here: Cond, rest: Cond) -> Cond:
    return any_of(all_of(test.true, here), all_of(test.not_true, rest))


def _whens(node: exp.Expr) -> list[tuple[exp.Expr, exp.Expr]]:
    if isinstance(node, exp.If):
        return [(node.this, node.args["true"])]
    subject = node.this
    pairs = []
    for branch in node.args["ifs"]:
        condition = exp.EQ(this=closed(subject), expression=closed(branch.this)) if subject else branch.this
        pairs.append((condition, branch.args["true"]))
    return pairs


def _default(node: exp.Expr) -> exp.Expr:
    found = node.args.get("false") if isinstance(node, exp.If) else node.args.get("default")
    return found if isinstance(found, exp.Expr) else exp.Null()


def _case_open(node: exp.Expr, reader: Reader) -> Cond:
    """Where a CASE's value is not settled: its first condition that is not false is undecided, or its result open."""
    cases: list[tuple[Cond, Cond]] = []
    for condition, result in _whens(node):
        value = three_valued([condition], reader)
        if not reader.is_settled(condition):
            cases.append((value if isinstance(value, bool) else is_null(value), True))
        cases.append((value, value_of(result, reader).open))
    return first_case(cases, value_of(_default(node), reader).open)


def _coalesce_open(node: exp.Expr, reader: Reader) -> Cond:
    """Where a COALESCE's value is not settled: the first that is not NULL, or may not be, is open."""
    cases: list[tuple[Cond, Cond]] = []
    for item in [node.this, *node.expressions]:
        value = value_of(item, reader)
        cases += [(value.open, True), (not_null(value.sql), False)]
    return first_case(cases, False)


def _scoped_open(node: exp.Expr, reader: Reader) -> Cond:
    """Where what has variables of its own is not settled: any column in it is open."""
    return any_of(*(value_of(part, reader).open for part in dict.fromkeys(find(node, exp.Column)) if part.table))


def _same(node: exp.Expr, reader: Reader) -> Truth:
    left, right = value_of(node.this, reader), value_of(node.expression, reader)
    sql = type(node)(this=left.sql, expression=right.sql)
    unknown = any_of(left.open, right.open)
    return known_truth(any_of(is_true(sql), unknown), any_of(is_false(sql), unknown), left.depends | right.depends)


_TREATMENTS: dict[type[exp.Expr], Callable[[exp.Expr, Reader], Truth]] = {
    exp.And: _and,
    exp.Or: _or,
    exp.Not: _not,
    exp.Boolean: _boolean,
    exp.Between: _between,
    exp.In: _in,
    exp.Is: _is,
    exp.Exists: _exists,
    exp.Case: _case,
    exp.If: _case,
    exp.NullSafeEQ: _same,
    exp.NullSafeNEQ: _same,
    **dict.fromkeys(COMPARISONS, _compare),
}

_VALUES: dict[type[exp.Expr], Callable[[exp.Expr, Reader], Cond]] = {
    exp.Case: _case_open,
    exp.If: _case_open,
    exp.Coalesce: _coalesce_open,
    **dict.fromkeys((exp.Lambda, exp.Comprehension), _scoped_open),
}

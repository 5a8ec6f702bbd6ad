"""The algebra of sets of truth values, and of values that are NULL wherever an operand is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlglot import exp

from logql.plan.conditions import Cond, all_of, any_of, is_false, is_true, not_false, not_null, not_true
from logql.plan.formulas import is_constant
from logql.plan.values import Dependence, Truth, Value, all_depends


def truth_of_value(value: Value) -> Truth:
    """Truth values of a boolean of which nothing more than its flags is known."""
    return Truth(
        any_of(value.unknown, is_true(value.sql)),
        any_of(value.unknown, is_false(value.sql)),
        any_of(value.open, not_true(value.sql)),
        any_of(value.open, not_false(value.sql)),
        value.depends,
    )


def known_truth(true: Cond, false: Cond, depends: frozenset[Dependence]) -> Truth:
    """Truth of a test that is never NULL."""
    return Truth(true, false, false, true, depends)


def flipped(a: Truth) -> Truth:
    """Truth of NOT."""
    return Truth(a.false, a.true, a.not_false, a.not_true, a.depends)


def all_hold(parts: Iterable[Truth]) -> Truth:
    """Truth of AND."""
    held = list(parts)
    return Truth(
        all_of(*(part.true for part in held)),
        any_of(*(part.false for part in held)),
        any_of(*(part.not_true for part in held)),
        all_of(*(part.not_false for part in held)),
        all_depends(held),
    )


def strict_truth(sql: exp.Expr, operands: Sequence[Value]) -> Truth:
    """Truth of a function that is NULL wherever an operand is NULL."""
    depends = all_depends(operands)
    if all(operand.settled for operand in operands):
        return truth_of_value(Value(sql, False, False, depends))
    free = any_of(*(may_be_anything(number, operands) for number in range(len(operands))))
    null = any_of(*(operand.open for operand in operands))
    return Truth(
        any_of(is_true(sql), free),
        any_of(is_false(sql), free),
        any_of(not_true(sql), null),
        any_of(not_false(sql), null),
        depends,
    )


def strict_value(sql: exp.Expr, inputs: Sequence[Value]) -> Value:
    """A function that is NULL wherever an input is: one that turns NULL, with its row or not, turns it NULL too."""
    return Value(
        sql,
        unknown_of(inputs),
        any_of(*(value.nullable for value in inputs)),
        all_depends(inputs),
        blank=all(value.blank or value.unknown is False for value in inputs),
        with_row=all(value.with_row or value.nullable is False for value in inputs),
    )


def unknown_of(inputs: Sequence[Value]) -> Cond:
    """Where what is NULL wherever an input is may be anything: an input is unknown, and none is NULL for sure."""
    return all_of(any_of(*(value.unknown for value in inputs)), *map(may_be_filled, inputs))


def may_be_anything(number: int, operands: Sequence[Value]) -> Cond:
    """Where one operand is unknown and no other is NULL for sure."""
    others = [operand for index, operand in enumerate(operands) if index != number]
    return all_of(operands[number].unknown, *(may_be_filled(other) for other in others))


def may_be_filled(value: Value) -> Cond:
    """Where a value may turn out to be other than NULL."""
    if is_constant(value.sql):
        return True
    return any_of(value.unknown, not_null(value.sql))

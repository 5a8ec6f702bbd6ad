"""Conditions joined by AND that no value satisfies together: their rows are out before anything in them is known."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation

from sqlglot import exp

from logql.sql.walk import bare

#: How the left side may lie to the right one where a comparison is true.
_SIGNS: dict[type[exp.Expr], frozenset[int]] = {
    exp.LT: frozenset({-1}),
    exp.LTE: frozenset({-1, 0}),
    exp.EQ: frozenset({0}),
    exp.GTE: frozenset({0, 1}),
    exp.GT: frozenset({1}),
    exp.NEQ: frozenset({-1, 1}),
}
_ALL = frozenset({-1, 0, 1})
#: A column, by its source and name.
Place = tuple[str, str]


def contradictions(conditions: Iterable[exp.Expr], wanted: bool = True) -> bool:
    """Whether conditions cannot all be true (all false, unless `wanted`), whatever is missing.

    >>> from tests.plan.show import show_units
    >>> show_units("SELECT run FROM logs WHERE gn > 5 AND gn < 2"), show_units("SELECT run FROM logs WHERE gn <> gn")
    ([], [])
    """
    conditions = [bare(condition) for condition in conditions]
    if _apart(conditions):
        return False
    parts = [part for condition in conditions for part in _simple(condition, wanted)]
    if len(parts) == 1:
        left, signs, right = parts[0]
        return left == right and 0 not in signs
    found = _Together()
    for part in parts:
        found.add(*part)
    return found.impossible()


def _apart(conditions: Sequence[exp.Expr]) -> bool:
    """Whether each condition compares another column with a constant, as those of most filters do."""
    seen = set()
    for node in conditions:
        left = node.args.get("this")
        if type(node) not in _SIGNS or type(left) is not exp.Column or type(node.args["expression"]) is not exp.Literal:
            return False
        seen.add(_place(left))
    return len(seen) == len(conditions)


@dataclass
class _Bound:
    """A number that a column is compared with, as it is written."""

    number: Decimal
    strict: bool


@dataclass
class _Range:
    """Between which numbers a column must lie, and which it must not be."""

    low: _Bound | None = None
    high: _Bound | None = None
    out: set[Decimal] = field(default_factory=set)

    def add(self, signs: frozenset[int], number: Decimal) -> None:
        if signs == {-1, 1}:
            self.out.add(number)
        strict = 0 not in signs
        if -1 not in signs and (self.low is None or (number, strict) > (self.low.number, self.low.strict)):
            self.low = _Bound(number, strict)
        if 1 not in signs and (self.high is None or (number, not strict) < (self.high.number, not self.high.strict)):
            self.high = _Bound(number, strict)

    def empty(self) -> bool:
        """Whether nothing is left; numbers of unlike decimals may be compared in types that round them differently."""
        if self.low is None or self.high is None:
            return False
        low, high = self.low.number, self.high.number
        if low - high >= 1:
            return _single(low) != _single(high)
        if low.as_tuple().exponent != high.as_tuple().exponent:
            return False
        if self.low.strict or self.high.strict:
            return low >= high
        return _single(low) > _single(high) or (low == high and any(_alike(low, number) for number in self.out))


@dataclass
class _Together:
    """What conditions joined by AND say of each column, and of each two."""

    ranges: dict[Place, _Range] = field(default_factory=dict)
    pairs: dict[tuple[Place, Place], frozenset[int]] = field(default_factory=dict)
    nulls: set[Place] = field(default_factory=set)
    present: set[Place] = field(default_factory=set)

    def add(self, left: Place, signs: frozenset[int], right: Place | Decimal | None) -> None:
        """`right`: None where `left` must be NULL, or must not (all signs)."""
        (self.present if signs else self.nulls).add(left)
        if isinstance(right, Decimal):
            self.ranges.setdefault(left, _Range()).add(signs, right)
        elif right is not None:
            self.present.add(right)
            if right < left:
                left, signs, right = right, frozenset(-sign for sign in signs), left
            before = self.pairs.get((left, right), frozenset({0}) if left == right else _ALL)
            self.pairs[left, right] = before & signs

    def impossible(self) -> bool:
        if not self.nulls.isdisjoint(self.present) or not all(self.pairs.values()):
            return True
        return any(held.empty() for held in self.ranges.values())


def _simple(node: exp.Expr, wanted: bool) -> Iterator[tuple[Place, frozenset[int], Place | Decimal | None]]:
    """The comparisons of columns with columns and numbers that a condition stands for."""
    if isinstance(node, exp.Not):
        yield from _simple(bare(node.this), not wanted)
    elif isinstance(node, exp.Is) and isinstance(node.expression, exp.Null) and isinstance(node.this, exp.Column):
        yield _place(node.this), frozenset() if wanted else _ALL, None
    elif isinstance(node, exp.Between) and wanted:
        yield from _compared(node.this, _SIGNS[exp.GTE], node.args["low"])
        yield from _compared(node.this, _SIGNS[exp.LTE], node.args["high"])
    elif type(node) in _SIGNS:
        signs = _SIGNS[type(node)]
        yield from _compared(node.this, signs if wanted else _ALL - signs, node.args["expression"])


def _compared(
    left: exp.Expr, signs: frozenset[int], right: exp.Expr
) -> Iterator[tuple[Place, frozenset[int], Place | Decimal]]:
    if not isinstance(left, exp.Column):
        left, signs, right = right, frozenset(-sign for sign in signs), left
    if isinstance(left, exp.Column):
        other = _place(right) if isinstance(right, exp.Column) else _number(right)
        if other is not None:
            yield _place(left), signs, other


def _place(node: exp.Column) -> Place:
    return node.table.lower(), node.name.lower()


def _number(node: exp.Expr) -> Decimal | None:
    negative = isinstance(node, exp.Neg)
    node = node.this if negative else node
    if not isinstance(node, exp.Literal) or node.is_string:
        return None
    try:
        number = Decimal(node.name)
    except InvalidOperation:
        return None
    return -number if negative else number


def _single(number: Decimal) -> float:
    """A number as the least exact type has it: two that differ there differ in every type."""
    try:
        return float(struct.unpack("f", struct.pack("f", number))[0])
    except OverflowError:
        return 0.0


def _alike(number: Decimal, other: Decimal) -> bool:
    return number.as_tuple() == other.as_tuple()

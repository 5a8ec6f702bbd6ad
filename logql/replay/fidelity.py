"""How well a replay agrees with the record: values one by one, then the verdict on a segment.

Tolerance: `exact` is bit for bit (a NaN equals a NaN). `close` holds for floating point values within
atol + rtol * |recorded|, element by element in lists and structs; all other types must be equal. What a
clock's reading went into agrees with anything.
"""

from __future__ import annotations

import datetime
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from logql.model import Fidelity, Path
from logql.state.readings import Reading, differ_in_time_only
from logql.store.columns import text

Agreement = Literal["equal", "close", "far"]
_ORDER: dict[Agreement, int] = {"equal": 0, "close": 1, "far": 2}


class Misfit(str):
    """The recorded text of a value that did not fit its column."""

    __slots__ = ()


@dataclass
class Tally:
    """What was compared in a segment, and the first thing that did not agree."""

    rtol: float
    atol: float
    compared: int = 0
    compared_inside: int = 0
    worst: Agreement = "equal"
    first: str | None = None
    impure: str | None = None
    unproved: str | None = None
    differing: dict[str, None] = field(default_factory=dict)

    def add(self, agreement: Agreement, inside: bool, text: str, name: str | None = None) -> None:
        """Count one comparison; `inside` tells that it stands for the main loop's own course."""
        self.compared += 1
        self.compared_inside += inside
        if agreement != "equal" and (self.first is None or _ORDER[agreement] > _ORDER[self.worst]):
            self.first = text
        if agreement == "far" and name is not None:
            self.differing[name] = None
        self.worst = max(self.worst, agreement, key=_ORDER.__getitem__)

    def add_value(self, path: Path, name: str, recorded: object, replayed: object) -> None:
        """Compare one re-logged value; one that is a clock's proves nothing."""
        if type(replayed) is Reading:
            return
        agreement = agree(recorded, replayed, self.rtol, self.atol)
        text = f"{name} at {describe(path)} was {brief(recorded)}, is {brief(replayed)}"
        self.add(agreement, bool(path), text, name)

    def verdict(self) -> Fidelity:
        """The segment's fidelity."""
        if self.impure is not None:
            return "impure"
        if self.worst == "far":
            return "diverged"
        if not self.compared_inside or self.unproved is not None:
            return "unchecked"
        return "close" if self.worst == "close" else "exact"


def agree(recorded: Any, replayed: Any, rtol: float, atol: float) -> Agreement:
    """How a replayed value agrees with the recorded one; a column's type may have widened the recorded one."""
    if type(replayed) is Reading:
        return "equal"
    if recorded is None or replayed is None:
        return "equal" if recorded is replayed else "far"
    if _is_number(recorded) and _is_number(replayed):
        return _agree_numbers(recorded, replayed, rtol, atol)
    if isinstance(recorded, str) and not isinstance(replayed, str):
        return _agree_with_text(recorded, replayed, rtol, atol)
    if isinstance(recorded, Mapping) and isinstance(replayed, Mapping):
        keys = recorded.keys() | replayed.keys()
        return _worst([agree(recorded.get(key), replayed.get(key), rtol, atol) for key in keys])
    if _is_list(recorded) and _is_list(replayed):
        if len(recorded) != len(replayed):
            return "far"
        return _worst([agree(one, other, rtol, atol) for one, other in zip(recorded, replayed, strict=True)])
    same = _is_same(recorded, replayed)
    return "equal" if same or differ_in_time_only(recorded, replayed) else "far"


def describe(path: Path) -> str:
    """A context for people: `epoch=3, step=17`."""
    return ", ".join(f"{step.loop}={step.index}" for step in path) or "run level"


def brief(value: object) -> str:
    """A value in a few words."""
    try:
        said = repr(value)
    except ValueError:  # an integer of more digits than Python writes
        said = text(value)
    return said if len(said) <= 60 else said[:57] + "..."


def _agree_numbers(recorded: Any, replayed: Any, rtol: float, atol: float) -> Agreement:
    if recorded == replayed or (recorded != recorded and replayed != replayed):
        return "equal"
    if not isinstance(recorded, float) and not isinstance(replayed, float):
        return "far"
    if math.isfinite(recorded) and math.isfinite(replayed) and abs(replayed - recorded) <= atol + rtol * abs(recorded):
        return "close"
    return "far"


def _agree_with_text(recorded: str, replayed: Any, rtol: float, atol: float) -> Agreement:
    """Compare a value that did not fit its column, or that its column holds as text."""
    if _is_number(replayed) and type(recorded) is not Misfit:
        return "far"
    if recorded == text(replayed):
        return "equal"
    parsed = _parsed(recorded)
    return "far" if isinstance(parsed, str) else agree(parsed, replayed, rtol, atol)


def _is_same(recorded: Any, replayed: Any) -> bool:
    """Whether two values are equal; a column of moments holds a date as its midnight."""
    if type(recorded) is datetime.datetime and type(replayed) is datetime.date:
        return bool(recorded == datetime.datetime.combine(replayed, datetime.time()))
    return bool((type(recorded) is type(replayed) or type(recorded) is Misfit) and recorded == replayed)


def _is_number(value: object) -> bool:
    return isinstance(value, bool | int | float)


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _worst(found: Sequence[Agreement]) -> Agreement:
    return max(found, key=_ORDER.__getitem__, default="equal")


def _parsed(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text

"""Numbers that a clock's reading went into: no replay can give them again, so nobody expects it to.

A replay hands readings of its clocks to the code of the project as `Reading`s. What is computed from them by Python's
arithmetic is one, too: a duration, its average, a rate. Neither values nor states are compared where one stands; nor
are the moments that a program wrote into names.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Mapping
from typing import Any

#: Moments as programs write them into names: seconds since 1970, dates with or without times, SummaryWriter's.
_MOMENT = re.compile(
    r"(?<!\d)(?:1[5-9]\d{8}(?:\d{3})?(?:\.\d+)?"
    r"|20\d\d[-_/.]?[01]\d[-_/.]?[0-3]\d(?:[ T_-]{0,2}[0-2]\d[-_:h.]?[0-5]\d(?:[-_:m.]?[0-5]\d(?:\.\d+)?)?)?"
    r"|[A-Z][a-z]{2}\d\d_[0-2]\d-[0-5]\d-[0-5]\d)(?!\d)"
)


class Reading(float):
    """A float that depends on a clock; copies and pickles of it are plain floats to whoever has no logql."""

    __slots__ = ()

    def __reduce__(self) -> tuple[type[float], tuple[float]]:
        return float, (float(self),)

    def __copy__(self) -> Reading:
        return self

    def __deepcopy__(self, _: object) -> Reading:
        return self

    def __round__(self, digits: Any = None) -> Any:
        return float.__round__(self) if digits is None else Reading(float.__round__(self, digits))

    def __divmod__(self, other: Any) -> Any:
        return self // other, self % other


def _keeping(name: str) -> Callable[..., Any]:
    compute = getattr(float, name)

    def method(self: Reading, *others: Any) -> Any:
        found = compute(self, *others)
        return Reading(found) if type(found) is float else found

    method.__name__ = method.__qualname__ = name
    return method


for _name in ["add", "sub", "mul", "truediv", "floordiv", "mod", "pow"]:
    setattr(Reading, f"__{_name}__", _keeping(f"__{_name}__"))
    setattr(Reading, f"__r{_name}__", _keeping(f"__r{_name}__"))
for _name in ("neg", "pos", "abs"):
    setattr(Reading, f"__{_name}__", _keeping(f"__{_name}__"))


def depends_on_clock(value: object) -> bool:
    """Whether a recorded value is, or holds, a reading."""
    if isinstance(value, Mapping):
        return any(map(depends_on_clock, value.values()))
    return any(map(depends_on_clock, value)) if isinstance(value, list) else type(value) is Reading


def differ_in_time_only(one: object, other: object) -> bool:
    """Whether two values are moments, or names that are the same but for the moments written into them."""
    if isinstance(one, str) and isinstance(other, str):
        return _MOMENT.search(one) is not None and _MOMENT.sub("", one) == _MOMENT.sub("", other)
    return isinstance(one, datetime.datetime) and isinstance(other, datetime.datetime)


def without_readings(value: object) -> object:
    """The same value with plain numbers."""
    if isinstance(value, Mapping):
        return {key: without_readings(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_readings(item) for item in value]
    return float(value) if type(value) is Reading else value

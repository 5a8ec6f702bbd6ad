"""Numbers that a clock's reading went into: no replay can give them again, so nobody expects it to.

A replay hands readings of its clocks to the code of the project as `Reading`s. What is computed from them by Python's
arithmetic is one, too: a duration, its average, a rate. Neither values nor states are compared where one stands.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


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


def without_readings(value: object) -> object:
    """The same value with plain numbers."""
    if isinstance(value, Mapping):
        return {key: without_readings(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_readings(item) for item in value]
    return float(value) if type(value) is Reading else value

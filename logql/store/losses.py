"""What of a run could not be recorded (a full disk, a quota): kept with the run, so that nobody takes it for all.

`Run.environment["lost"]` has it: `events`, the numbers [first, behind] of lost ones, and the `reason` of the first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from logql.model import Run

_KEY = "lost"
_SAID = "could not be recorded"


class Losses:
    """The losses of one recorder, as they happen."""

    def __init__(self) -> None:
        self._events: list[list[int]] = []
        self._reason: str | None = None

    def add(self, first: int, count: int, error: BaseException) -> None:
        """Note that `count` events from the number `first` on are lost."""
        self._reason = self._reason or (str(error).strip().splitlines() or [type(error).__name__])[0]
        if self._events and self._events[-1][1] == first:
            self._events[-1][1] = first + count
        elif count:
            self._events.append([first, first + count])

    def describe(self) -> dict[str, object]:
        """What the run's environment is to say of it."""
        if self._reason is None:
            return {}
        return {_KEY: {"events": [list(one) for one in self._events], "reason": self._reason}}


def lost_events(run: Run) -> list[tuple[int, int]]:
    """Numbers (first, behind) of the events that a run lacks."""
    found: Any = run.environment.get(_KEY) or {}
    return [(first, behind) for first, behind in found.get("events", ())]


def describe_losses(environment: Mapping[str, Any]) -> str | None:
    """A run's losses in words."""
    found = environment.get(_KEY)
    if not found:
        return None
    count = sum(behind - first for first, behind in found["events"])
    what = f"{count} values and iterations" if count else "lines of output"
    return f"{what} {_SAID}: {found['reason']}"


def has_losses(run: Run) -> bool:
    """Whether values of a run are lost; its environment is looked at only where its error says so."""
    return run.error is not None and _SAID in run.error and bool(lost_events(run))

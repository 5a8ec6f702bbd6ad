"""How the parts of this folder say that a state cannot be saved."""

from __future__ import annotations


class Refusal(Exception):
    """Raised when an object cannot be saved exactly; never leaves this folder (`save` returns a `Refused`)."""

    def __init__(self, reason: str, path: str = "") -> None:
        self.reason = reason
        self.path = path
        super().__init__(reason)


class Overlong(Exception):
    """Raised when a state has so many objects that looking at them takes longer than allowed."""

    def __init__(self, limit_s: float) -> None:
        super().__init__(f"the state has too many objects to look at within {limit_s:g} s")


class GraphNotSaved(RuntimeError):
    """Raised when restored code runs backward through an autograd graph that a checkpoint could not hold."""

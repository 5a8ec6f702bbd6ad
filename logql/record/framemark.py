"""Tells one call of a function from another that runs the same code, without keeping its variables alive."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable
from types import FrameType


class _Token:
    """What a debugger would have the interpreter call in a frame; without a debugger nothing is called."""

    __slots__ = ("__weakref__",)

    def __call__(self, *_: object) -> None: ...


class FrameMark:
    """Marks a frame for as long as its function runs; `ended` is called when it does so no longer.

    A frame has no other place that goes with it, and its address may be another's later. Where a debugger traces
    frames, none can be marked.
    """

    def __init__(self, frame: FrameType, ended: Callable[[], None]) -> None:
        token = _Token()
        self._token = weakref.ref(token, lambda _: ended())
        if sys.gettrace() is None:
            frame.f_trace = token

    def is_on(self, frame: FrameType) -> bool:
        """Whether it is this very frame that was marked."""
        return frame.f_trace is not None and frame.f_trace is self._token()

"""How this process ends: what the interpreter tells nobody but its own exit code."""

from __future__ import annotations

import dis
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

_RETURNS = frozenset(("RETURN_VALUE", "RETURN_CONST"))


class Ending:
    """Watches how the script is left: by its last line, by an uncaught exception, or by `sys.exit`.

    The frame of the main module keeps its last instruction: a `return` where the script ran to its end, and whatever
    was under way where an exception left it, be it through a `finally` that went on for long.
    """

    def __init__(self) -> None:
        #: whether `sys.exit` was called, and how it was last
        self._exits = False
        self._exit: SystemExit | None = None
        self._original: Callable[..., Any] | None = None
        self._frame: FrameType | None = None

    def watch(self) -> None:
        """Begin to watch; called when a run opens."""
        self._frame = self._frame or _main_frame()
        if self._original is not None:
            return
        self._original = original = sys.exit

        def exit(code: Any = None, /) -> Any:  # noqa: A001
            """Exit the interpreter by raising SystemExit(code)."""
            if threading.current_thread() is threading.main_thread():
                self._exits = True
                self._exit = None if code in (None, 0) else SystemExit(code)
            original(code)

        sys.exit = exit

    def error(self) -> BaseException | None:
        """What ended the script, at exit: an exception that the interpreter printed, or an exit with an error."""
        error = getattr(sys, "last_exc", None) or getattr(sys, "last_value", None)
        if isinstance(error, BaseException):
            return error
        return self._exit if self._was_left() else None

    def forget(self) -> None:
        """Let go of the script's frame, so that its variables end as they would."""
        self._frame = None

    def is_unknown(self) -> bool:
        """Whether the script was left by a SystemExit that did not come from `sys.exit`: its code is not to be had."""
        return self._was_left() and not self._exits

    def _was_left(self) -> bool:
        return self._frame is not None and not _returned(self._frame)


def _returned(frame: FrameType) -> bool:
    """Whether a frame that is over was left by a `return`."""
    if frame.f_lasti < 0:
        return True
    return any(one.offset == frame.f_lasti and one.opname in _RETURNS for one in dis.get_instructions(frame.f_code))


def _main_frame() -> FrameType | None:
    """The frame of the main module's code, as long as it runs."""
    here = sys._current_frames().get(threading.main_thread().ident or 0)
    found = None
    while here is not None:
        if here.f_code.co_name == "<module>" and here.f_globals.get("__name__") == "__main__":
            found = here
        here = here.f_back
    return found


ending = Ending()

"""Sees which files this process reads and overwrites, from `import logql` on: through an audit hook, as all pass it.

A resumed training reads its checkpoint before it logs anything, so watching begins with the import; until a run is open
the names are only noted. What C++ code opens is not seen.
"""

import os
import sys
from _thread import get_ident
from time import time

from logql.record import loading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    #: Called with a path as the program gave it, the time, and whether it is about to be overwritten; must not raise.
    Receiver = Callable[[str, float, bool], object]

#: Read by the interpreter, never data.
CODE = (".py", ".pyc", ".so")
_MOST_NOTED = 10_000
_NO_READING = os.O_WRONLY | os.O_TRUNC

_noted: "list[tuple[str, float, bool]]" = []
_receiver: "Receiver | None" = None
_watching = False
#: threads in which logql itself is at work
_hidden: "set[int]" = set()


class Hidden:
    """A block in which the thread opens files for logql, and not for the program."""

    def __enter__(self) -> None:
        _hidden.add(get_ident())

    def __exit__(self, *_: object) -> None:
        _hidden.discard(get_ident())


def watch() -> None:
    """Begin to see opens; a hook stays until the process ends."""
    global _watching
    if not _watching:
        _watching = True
        sys.addaudithook(_hook)


def send_to(receiver: "Receiver | None") -> None:
    """Hand over what was noted so far, and every open from now on; None notes again."""
    global _receiver
    _receiver = receiver
    noted = _noted[:] if receiver is not None else []
    _noted.clear()
    for event in noted:
        (receiver or _ignore)(*event)


def stop() -> None:
    """See nothing any more, as in a forked child."""
    global _receiver
    _receiver = _ignore
    _noted.clear()


def _hook(event: str, arguments: "tuple[object, ...]") -> None:
    if event in ("open", "os.rename") and get_ident() not in _hidden:
        try:
            _see(event, arguments)
        except Exception:  # what is raised here would be the program's, even while the interpreter is taken apart
            return


def _see(event: str, arguments: "tuple[object, ...]") -> None:
    path, _, flags = arguments if event == "open" else (arguments[1], None, _NO_READING)
    if not isinstance(path, int):
        name = os.fsdecode(path)  # type: ignore[arg-type]
        if name.endswith(CODE):
            loading.code_opened()
        else:
            (_receiver or _note)(name, time(), isinstance(flags, int) and bool(flags & _NO_READING))


def _note(path: str, now: float, writes: bool) -> None:
    if len(_noted) < _MOST_NOTED:
        _noted.append((os.path.abspath(path), now, writes))


def _ignore(path: str, now: float, writes: bool) -> None:
    """What is opened is of no interest."""

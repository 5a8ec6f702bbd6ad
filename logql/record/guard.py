"""No fault of logql's own reaches the training: one warning each, naming what is lost, and on it goes."""

from __future__ import annotations

import os
import sys

_warned: set[str] = set()
#: True while a warning is printed: it is no output of the script's.
speaking = False


def strict() -> bool:
    """Whether faults raise instead (LOGQL_STRICT=1)."""
    return os.environ.get("LOGQL_STRICT") == "1"


def warn(key: str, text: str) -> None:
    """Print a warning on stderr, the first time for each `key`."""
    global speaking
    if key in _warned:
        return
    _warned.add(key)
    speaking = True
    try:
        sys.stderr.write(f"logql: {text}\n")
        sys.stderr.flush()
    except Exception:
        return
    finally:
        speaking = False


def failed(key: str, lost: str, error: BaseException) -> None:
    """Warn that `lost` is lost because of `error`; call it in an except block. Raises it again in strict mode."""
    if strict():
        raise error
    first = (str(error).strip().splitlines() or [""])[0]
    warn(key, f"{lost}: {type(error).__name__}: {first}")


def forget_warnings() -> None:
    """Let every warning be given again, as for another run."""
    _warned.clear()

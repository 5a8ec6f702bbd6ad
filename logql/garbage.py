"""When the interpreter looks for garbage."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collections_paused(*, lasting: bool = False) -> Iterator[None]:
    """Without garbage collections while what is built is no garbage: they would walk all of it again and again.

    With `lasting`, what was built counts as old afterwards, and the next collection does not walk it either.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            if lasting and not gc.get_freeze_count():  # else the program itself has set objects apart
                gc.freeze()
                gc.unfreeze()
            gc.enable()

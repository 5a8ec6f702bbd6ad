"""Removes what replays leave on the disk, beside everything else: some file systems take milliseconds per directory."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import threading
import time
import weakref
from typing import Any

from logql.store import layout
from logql.store.liveness import Lock, is_held

#: Beginning of the names of scratch directories.
PREFIX = "replay-"
_removing: weakref.WeakSet[threading.Thread] = weakref.WeakSet()


def remove_later(path: str, lock: Lock | None) -> None:
    """Remove a scratch directory and let go of its lock, on a thread that the interpreter's end waits for."""
    thread = threading.Thread(target=_remove, args=(path, lock), name="logql-cleaning")
    _removing.add(thread)
    try:
        thread.start()
    except RuntimeError:  # no threads can be had, or the interpreter is ending
        _remove(path, lock)


def wait() -> None:
    """Return when all that was to be removed is."""
    for thread in list(_removing):
        if thread.ident is not None:
            thread.join()


def _remove(path: str, lock: Lock | None) -> None:
    remove_tree(path)
    if lock is not None:
        lock.release()


def sweep_scratch(store: str) -> None:
    """Remove the scratch directories of pools that were killed."""
    directory = os.path.join(store, layout.SCRATCH)
    try:
        names = [name for name in os.listdir(directory) if name.startswith(PREFIX)]
    except OSError:
        return
    for name in names:
        path = os.path.join(directory, name)
        with contextlib.suppress(OSError):
            fresh = time.time() - os.stat(path).st_mtime < 60 and not os.path.exists(os.path.join(path, "lock"))
            if not fresh and not is_held(os.path.join(path, "lock")):
                remove_tree(path)


def remove_tree(path: str) -> None:
    """Remove a directory in which a script, or an overlay's own work, may have taken the permissions away."""

    def allow(function: Any, name: str, error: tuple[Any, BaseException, Any]) -> None:
        if not isinstance(error[1], PermissionError):
            return
        with contextlib.suppress(OSError):
            os.chmod(os.path.dirname(name) or os.curdir, stat.S_IRWXU)
            os.chmod(name, stat.S_IRWXU)
            if function in (os.unlink, os.rmdir):
                function(name)
            else:
                remove_tree(name)

    shutil.rmtree(path, onerror=allow)
    shutil.rmtree(path, ignore_errors=True)

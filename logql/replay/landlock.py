"""Linux's Landlock: a process gives up writing outside of some directories, without namespaces or privileges.

It holds for C++ code, and for all programs that the process starts. Source: landlock(7).
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from collections.abc import Sequence

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION = 1
_BELOW_PATH = 1
_NO_NEW_PRIVILEGES = 38
#: From this version on files can be renamed from one directory into another, and truncating can be refused.
_RENAMES, _TRUNCATES = 2, 3
#: Writing to a file, removing (2), making what a directory holds (7), and moving it into another directory.
_CHANGES = 1 << 1 | 0b11 << 4 | 0b1111111 << 6 | 1 << 13
_TRUNCATE = 1 << 14


def is_offered() -> bool:
    """Whether this kernel, and the container that we are in, let a process give up writing."""
    return _version() >= _RENAMES


def allow_writes_below(directories: Sequence[str]) -> bool:
    """Give up writing elsewhere, for good; False where that is not offered.

    Only the calling thread and what it starts are bound: call it before there are others.
    """
    if not is_offered():
        return False
    changes = _CHANGES | (_TRUNCATE if _version() >= _TRUNCATES else 0)
    ruleset = _call(_CREATE_RULESET, struct.pack("=Q", changes), ctypes.c_size_t(8), 0)
    if ruleset < 0:
        return False
    try:
        allowed = all(_allow(ruleset, changes, path) for path in directories)
        return allowed and _give_up_privileges() and _call(_RESTRICT_SELF, ruleset, 0) == 0
    finally:
        os.close(ruleset)


def _version() -> int:
    return _call(_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION) if sys.platform == "linux" else 0


def _allow(ruleset: int, changes: int, path: str) -> bool:
    directory = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return _call(_ADD_RULE, ruleset, _BELOW_PATH, struct.pack("=Qi", changes, directory), 0) == 0
    finally:
        os.close(directory)


def _give_up_privileges() -> bool:
    return bool(ctypes.CDLL(None).prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) == 0)


def _call(number: int, *arguments: object) -> int:
    return int(ctypes.CDLL(None).syscall(ctypes.c_long(number), *arguments))

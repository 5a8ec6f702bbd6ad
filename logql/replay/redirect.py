"""Weak isolation: paths in the real project, which scripts and restored variables hold, lead into the copy.

That is so for what Python opens, and for libraries that open files from C++ and are the usual ones to write with.
"""

from __future__ import annotations

import builtins
import functools
import io
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from logql.replay.patching import Patch, patch_modules

#: Functions that take paths and open them from C++, by the module that they belong to.
OPENERS: Mapping[str, Sequence[str]] = {
    "torch.serialization": ("_open_zipfile_writer",),
    "torch.jit._script": ("RecursiveScriptModule.save",),
    "safetensors": ("serialize_file", "safe_open"),
    "h5py._hl.files": ("File.__init__",),
    "pyarrow.parquet.core": ("ParquetFile.__init__", "ParquetWriter.__init__", "read_table", "write_table"),
    "polars.dataframe.frame": ("DataFrame.write_csv", "DataFrame.write_ipc", "DataFrame.write_parquet"),
}

_Move = Callable[[Any], Any]


def redirect_files(origin: str, copy: str, store: str) -> None:
    """Have what opens a path in the real project open the copy's."""
    roots = {os.path.abspath(origin), os.path.realpath(origin)}

    def moved(path: Any) -> Any:
        if not isinstance(path, str | os.PathLike):
            return path
        name = os.fsdecode(path)
        for root in roots:
            if name.startswith(root + os.sep) and not name.startswith((copy + os.sep, store + os.sep)):
                return os.path.join(copy, name[len(root) + 1 :])
        return path

    builtins.open = io.open = _moving(io.open, moved)
    os.open = _moving(os.open, moved)
    patch_modules({module: _patch_of(names, moved) for module, names in OPENERS.items()})


def _moving(function: Any, moved: _Move) -> Any:
    """The function with all its arguments moved that are paths in the real project."""

    @functools.wraps(function)
    def opening(*arguments: Any, **named: Any) -> Any:
        return function(*map(moved, arguments), **{name: moved(value) for name, value in named.items()})

    return opening


def _patch_of(names: Sequence[str], moved: _Move) -> Patch:
    def patch(module: Any) -> None:
        for name in names:
            owner, _, last = name.rpartition(".")
            place = functools.reduce(lambda at, part: getattr(at, part, None), filter(None, owner.split(".")), module)
            if hasattr(place, last):  # another version of the package may not have it
                setattr(place, last, _moving(getattr(place, last), moved))

    return patch

# ruff: noqa: ARG002  (all kinds share their signatures)
"""Open files: which, where in them, and how they come back in a replay's private copy."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from logql.errors import StateError
from logql.state.errors import Refusal
from logql.state.graph import Buffer, Node, Payload
from logql.state.kinds.base import Kind, need_anchor

if TYPE_CHECKING:
    from logql.state.build import Builder
    from logql.state.walk import Walker

FILE_TYPES = (io.TextIOWrapper, io.BufferedWriter, io.BufferedReader, io.BufferedRandom, io.FileIO)
#: Bytes of a file open for writing that are kept with the state, at most.
_LARGEST = 64 << 20
#: How a file of a type is made that is closed at once: nothing but its type is left of it.
_CLOSED: dict[type, Callable[[], io.IOBase]] = {
    io.TextIOWrapper: partial(open, os.devnull, encoding="utf-8"),
    io.BufferedWriter: partial(open, os.devnull, "wb"),
    io.BufferedReader: partial(open, os.devnull, "rb"),
    io.BufferedRandom: partial(open, os.devnull, "r+b"),
    io.FileIO: partial(open, os.devnull, "rb", buffering=0),
}


class FileKind(Kind):
    """An open or closed file. One open for appending is truncated to the saved size; others are written anew."""

    name = "file"
    identity = True

    def capture(self, value: Any, walker: Walker) -> Payload:
        if value.closed:
            if type(value) not in _CLOSED:
                need_anchor(value, walker, "a closed file")
            return {"type": walker.ref(".__class__", type(value)), "closed": True}
        path, mode = value.name, getattr(value, "mode", "r")
        if not isinstance(path, str) or not value.seekable():
            raise Refusal("a file without a name, a pipe or a terminal")
        if not walker.copying():
            return {"type": walker.ref(".__class__", type(value))}
        if value.writable():
            value.flush()
        elif "+" in mode:
            raise Refusal(f"a file open for {mode!r}")
        if "a" not in mode:
            need_anchor(value, walker, f"a file open for {mode!r}")
        if value.writable() and not _is_plain(value):
            raise Refusal("a compressed file open for writing")
        try:
            position = value.tell()
        except OSError as error:
            raise Refusal(f"the position in {os.path.basename(path)}: {error}") from error
        size = os.fstat(value.fileno()).st_size
        written = {"content": _written(value, size, walker)} if value.writable() and "a" not in mode else {}
        return {
            **written,
            "type": walker.ref(".__class__", type(value)),
            "closed": False,
            "path": path,
            "mode": mode,
            "position": position,
            "size": size,
            "encoding": getattr(value, "encoding", None),
            "newline": None,
        }

    def accepts(self, node: Node, live: Any, builder: Builder) -> bool:
        if not super().accepts(node, live, builder):
            return False
        mode = getattr(live, "mode", "r")
        return bool(node.payload["closed"] or (not live.closed and mode == node.payload["mode"]))

    def create(self, node: Node, builder: Builder) -> object:
        payload = node.payload
        if payload["closed"]:
            return _CLOSED[builder.value(payload["type"])]()
        if "a" not in payload["mode"]:
            raise StateError(f"a file cannot be opened anew: {builder.path(node)}")
        return open(payload["path"], payload["mode"], encoding=payload["encoding"])

    def fill(self, node: Node, vessel: Any, builder: Builder) -> None:
        payload = node.payload
        if payload["closed"]:
            vessel.close()
            return
        if vessel.writable():
            vessel.flush()
            os.ftruncate(vessel.fileno(), payload["size"])
        if "content" in payload:
            os.pwrite(vessel.fileno(), payload["content"].bytes(), 0)
        vessel.seek(payload["position"])


def _is_plain(value: Any) -> bool:
    """Whether what is written reaches the file as it is."""
    while not isinstance(value, io.FileIO):
        value = getattr(value, "buffer", None) or getattr(value, "raw", None)
        if not isinstance(value, FILE_TYPES):
            return False
    return True


def _written(value: Any, size: int, walker: Walker) -> Buffer:
    """What a file holds that the prologue of a replay empties."""
    if size > _LARGEST:
        raise Refusal("a large file open for writing")
    with open(value.name, "rb") as file:
        data = memoryview(file.read())
    if data.nbytes != size:
        raise Refusal("a file that is not where it was opened")
    return walker.buffer((id(value), "file"), "bytes", size, None, lambda: data)


def is_standard_stream(value: object) -> bool:
    """Whether a stream is the process's own stdin, stdout or stderr (or what stands in for one)."""
    import sys

    streams = (sys.stdin, sys.stdout, sys.stderr, sys.__stdin__, sys.__stdout__, sys.__stderr__)
    if any(value is stream for stream in streams):
        return True
    try:
        return isinstance(value, FILE_TYPES) and value.fileno() in (0, 1, 2)
    except (OSError, ValueError, AttributeError):
        return False

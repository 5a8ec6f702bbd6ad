"""Whether it was a damaged file of the store that made a query fail: its error then names the file and the way out."""

from __future__ import annotations

import os
from collections.abc import Iterable

from logql.errors import CorruptFile
from logql.store import parquet
from logql.store.state import Piece

_HINT = "logql doctor --repair sets it aside, and the rest of the history answers"


def find_damage(pieces: Iterable[Piece], message: str) -> CorruptFile | None:
    """The first of `pieces` whose file is not what was written; where `message` names files, of those alone."""
    files = [piece for piece in pieces if piece.path is not None]
    named = [piece for piece in files if piece.path and piece.path in message]
    for piece in named or files:
        assert piece.path is not None
        problem = _problem(piece.path, piece)
        if problem:
            return CorruptFile(f"{piece.path} {problem}", hint=_HINT)
    return None


def _problem(path: str, piece: Piece) -> str | None:
    try:
        size = os.stat(path).st_size
        if size != piece.bytes:
            return f"is damaged: it has {size} bytes instead of {piece.bytes}"
        if parquet.checksum_of(path) != piece.checksum:
            return "is damaged: its bytes are not those that were written"
    except FileNotFoundError:
        return "is missing"
    except OSError as exc:
        return f"cannot be read: {exc.strerror or exc}"
    return None

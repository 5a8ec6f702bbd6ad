"""Reading one level: its pieces as one relation of unified types."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from logql.execute.sqltext import ident, text
from logql.store.snapshot import Piece

if TYPE_CHECKING:
    from logql.execute.tables import Tables

#: Columns that level tables have besides loops and names, with their types.
FRAME_TYPES = {
    "version": "VARCHAR",
    "run": "VARCHAR",
    "rank": "INTEGER",
    "ts": "TIMESTAMP",
    "_seq": "BIGINT",
    "_sub": "INTEGER",
    "_part": "INTEGER",
    "_order": "VARCHAR[]",
    "_null": "VARCHAR[]",
    "_fill": "VARCHAR",
}
_NUMBERS = ("BOOLEAN", "INTEGER", "BIGINT", "DOUBLE")
_LARGEST = 2**53


def scan(pieces: Sequence[Piece], wanted: Mapping[str, str], tables: Tables) -> str | None:
    """SQL that reads the columns `wanted` (with their types) of `pieces`; None where there are no pieces.

    Pieces that store the columns alike are read by one scan.
    """
    alike: dict[str, list[Piece]] = {}
    for piece in pieces:
        alike.setdefault(_projection(piece, wanted), []).append(piece)
    parts = [
        f"SELECT {projection} FROM {source}"
        for projection, members in alike.items()
        for source in _sources(members, tables)
    ]
    return " UNION ALL ".join(parts) or None


def misfits(pieces: Iterable[Piece], types: Mapping[str, str]) -> frozenset[str]:
    """Those of the names in `types` that some piece holds values of that do not fit their unified type."""
    pieces = list(pieces)
    return frozenset(
        name
        for name, type_ in types.items()
        if any(f"{name}$text" in piece.schema or _loses(_stored(piece, name), type_) for piece in pieces)
    )


def keeps_texts(pieces: Iterable[Piece], name: str, type_: str) -> bool:
    """Whether some piece may hold values of a name that do not fit its type; looks at no value."""
    return any(
        f"{name}$text" in piece.schema or (type_ in _NUMBERS and _stored(piece, name) not in (*_NUMBERS, None))
        for piece in pieces
    )


def _loses(stored: str | None, type_: str) -> bool:
    if stored is None or stored == type_ or type_ == "VARCHAR":
        return False
    return (stored, type_) == ("BIGINT", "DOUBLE") or (type_ in _NUMBERS and stored not in _NUMBERS)


def _stored(piece: Piece, name: str) -> str | None:
    found = piece.schema.get(name)
    return None if found == "NULL" else found


def _sources(pieces: Sequence[Piece], tables: Tables) -> list[str]:
    paths = [text(piece.path) for piece in pieces if piece.path is not None]
    found = [f"read_parquet([{', '.join(paths)}])"] if paths else []
    for piece in pieces:
        if piece.path is None:
            name = f"_lq_live_{id(piece.table):x}"
            tables[name] = piece.table
            found.append(name)
    return found


def _projection(piece: Piece, wanted: Mapping[str, str]) -> str:
    found = []
    for name, type_ in wanted.items():
        bare = name.removesuffix("$text")
        if bare != name and bare in wanted:
            cell = _text_cell(bare, wanted[bare], piece)
        else:
            cell = _cell(name, type_, _stored(piece, name))
        found.append(f"{cell} AS {ident(name)}")
    return ", ".join(found)


def _cell(name: str, type_: str, stored: str | None) -> str:
    """The column as the unified type; what that type cannot hold is NULL."""
    column = ident(name)
    if stored is None:
        return f"NULL::{type_}"
    if stored == type_:
        return column
    if stored == "BIGINT" and type_ == "DOUBLE":
        exact = f"{column} BETWEEN -{_LARGEST} AND {_LARGEST} OR {column}::DOUBLE::HUGEINT = {column}"
        return f"CASE WHEN {exact} THEN {column}::DOUBLE END"
    if stored == "BOOLEAN" and type_ == "DOUBLE":
        return f"{column}::INTEGER::DOUBLE"
    if type_ in _NUMBERS and stored not in _NUMBERS:
        return f"NULL::{type_}"
    if type_ == "VARCHAR" and stored.startswith("STRUCT("):
        return f"to_json({column})::VARCHAR"
    return f"TRY_CAST({column} AS {type_})"


def _text_cell(name: str, type_: str, piece: Piece) -> str:
    """The text of a value that is NULL for want of fitting."""
    stored = _stored(piece, name)
    kept = ident(f"{name}$text") if f"{name}$text" in piece.schema else "NULL::VARCHAR"
    if not _loses(stored, type_):
        return kept
    lost = f"CASE WHEN {_cell(name, type_, stored)} IS NULL THEN {ident(name)}::VARCHAR END"
    return lost if kept.startswith("NULL") else f"COALESCE({kept}, {lost})"

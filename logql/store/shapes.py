"""The shape of a run from those of its ranks and its parts."""

from __future__ import annotations

from collections.abc import Iterable

from logql.model import Shape
from logql.store import rows, types
from logql.store.catalog import Catalog

#: The shape of a run of which nothing is sealed.
EMPTY = Shape({(): {}}, {}, {})


def merge_shapes(shapes: Iterable[Shape], ranks: int) -> Shape:
    """What a run logged where, from what its ranks, or stretches of them, did."""
    found: dict[tuple[str, ...], dict[str, str]] = {}
    loops: dict[str, str] = {}
    repeats: dict[tuple[str, ...], frozenset[str]] = {}
    for shape in shapes:
        for level, columns in shape.levels.items():
            own = found.setdefault(level, {})
            own.update({name: types.unify((own.get(name, types.NULL), type_)) for name, type_ in columns.items()})
        loops.update({name: types.unify((loops.get(name, types.NULL), t)) for name, t in shape.loops.items()})
        for level, repeated in shape.repeats.items():
            repeats[level] = repeats.get(level, frozenset()) | repeated
    return Shape(found, loops, repeats, ranks)


def stored_shape(catalog: Catalog, run: str) -> Shape:
    """The shape of what is sealed of a run, as the catalog has it."""
    with catalog.connection.read() as db:
        row = db.execute("SELECT text FROM runs JOIN texts ON texts.id = shape WHERE runs.id = ?", (run,)).fetchone()
    return rows.shape_from_json(row[0]) if row else EMPTY

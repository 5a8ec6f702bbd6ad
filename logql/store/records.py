"""What the catalog knows of a run, kept beside its rows so that a catalog can be rebuilt from the files alone.

The run level's files have a column `_record`: JSON on the first row of each run, NULL on others. A column, not the
file's metadata, so that a file of ten thousand runs has a small footer.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from logql.errors import CorruptFile
from logql.model import Checkpoint, MainLoop, Run, Shape, Version
from logql.store import columns, rows
from logql.store.catalog import Catalog

if TYPE_CHECKING:
    import pyarrow as pa

COLUMN = "_record"


def run_record(catalog: Catalog, run: Run, shape: Shape, chunks: Sequence[str] = ()) -> str:
    """JSON of a run with its version, main loops, checkpoints of the training, shape, names, and the chunks sealed."""
    version = next((one for one in catalog.versions() if one.id == run.version), None)
    used = {name for names in shape.levels.values() for name in names}
    with catalog.connection.read() as db:
        names = {name: stored for name, stored in db.execute("SELECT name, stored FROM names") if stored in used}
    record = {
        "run": {**asdict(run), "environment": dict(run.environment), "args": dict(run.args)},
        "version": None if version is None else asdict(version),
        "main_loops": [asdict(loop) for loop in catalog.main_loops(run.id)],
        "checkpoints": [asdict(one) for one in catalog.checkpoints(run.id) if one.by == "training"],
        "shape": rows.shape_to_json(shape),
        "names": names,
        "chunks": list(chunks),
    }
    return json.dumps(record, default=str)


def add_record(table: pa.Table, record: str | None) -> pa.Table:
    """The run level's table with the column `_record`."""
    return table.append_column(COLUMN, columns.strings([record, *[None] * (table.num_rows - 1)]))


class Record:
    """A decoded record."""

    def __init__(self, text: str) -> None:
        try:
            found: dict[str, Any] = json.loads(text)
            run = found["run"]
            self.run = Run(**{**run, "argv": tuple(run["argv"]), "tags": tuple(run["tags"])})
            version = found["version"]
            self.version = version and Version(**{**version, "parents": tuple(version["parents"])})
            self.main_loops = [MainLoop(**loop) for loop in found["main_loops"]]
            self.checkpoints = [Checkpoint(**one) for one in found["checkpoints"]]
            self.shape = rows.shape_from_json(found["shape"])
            self.names: dict[str, str] = dict(found["names"])
            self.chunks: list[str] = list(found["chunks"])
        except (ValueError, TypeError, KeyError, AttributeError) as exc:
            raise CorruptFile(f"a run's record cannot be read: {exc}") from exc

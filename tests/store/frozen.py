"""A small store with something of everything, and what it answers: `python -m tests.store.frozen DIRECTORY`.

What the first release wrote lies in `tests/data/store-1.tar.xz` beside its answers, and is never made anew: later
releases must open it. A release with a newer format adds an archive of its own.
"""

from __future__ import annotations

import json
import sys
import tarfile
from pathlib import Path
from typing import Any

import logql
from logql.model import Event, Line, Logged, MainLoop, Step
from logql.store import compact, seal
from logql.store.catalog import Catalog
from logql.store.fills import write_fill
from logql.store.snapshot import forget
from tests.store.history import Recorder, epochs, record
from tests.store.test_fills import a_fill
from tests.store.test_upkeep import a_checkpoint

DATA = Path(__file__).parents[1] / "data"
QUERIES = (
    "SELECT run, version, status, name, tags, lr, seed, best FROM runs ORDER BY run",
    "SELECT run, epoch, acc, mixed FROM epoch ORDER BY ALL",
    "SELECT run, epoch, step, loss, acc FROM logs ORDER BY ALL",
    "SELECT run, epoch, twice FROM logs ORDER BY ALL",
    "SELECT run, epoch, stream, line FROM output ORDER BY ALL",
    "SELECT run, version, columns, loop, first_index, last_index, state, fidelity FROM fills ORDER BY ALL",
    "SELECT run, loop, epoch_entry FROM (SELECT run, loop, entry AS epoch_entry FROM checkpoints) ORDER BY ALL",
    "SELECT version, message, dirty FROM versions ORDER BY version",
    "SELECT * FROM best_runs ORDER BY run",
    'SELECT Loss_2, "a b/c" FROM logs ORDER BY ALL',
)


def make(store: str) -> None:
    """Record, fill and compact."""
    for number in range(3):
        record(store, f"010{number}", epochs(3, 2, seed=number), version="abc"[number] * 12, name=f"run {number}",
               tags=("x", "y"), args={"lr": 0.5 / (1 + number), "seed": number})  # fmt: skip
    seal.recover(store)
    compact.compact(store)
    record(store, "0200", [*epochs(2, 2), *odd_values()], version="b" * 12, status="running")
    seal.recover(store)
    write_fill(store, a_fill(run="0101", version="b" * 12), [Logged((Step("epoch", 0, 1),), "gnorm", 0.5, 9, 1, 1.0)])
    a_checkpoint(store, 0, b"state", run="0101")
    with Catalog.open(store) as catalog:
        catalog.put_main_loop(MainLoop("0101", "epoch", 0, "train.py", 3, None, 3, True, 1.5, 0.25, 0))
    with logql.connect(store, replay="off") as connection:
        connection.execute("CREATE VIEW best_runs AS SELECT run, max(acc) AS acc FROM epoch GROUP BY run")
    killed = Recorder(store, "0300", "c" * 12)
    killed.append(epochs(2, 1))
    killed.abandon()
    forget()


def odd_values() -> list[Event]:
    """A name logged twice, names that clash or are odd, a column of mixed types."""
    path = (Step("epoch", 0, 1),)
    values = (("twice", 1), ("twice", 2), ("Loss", 0.25), ("a b/c", "text"), ("mixed", 1.5), ("mixed", "n/a"),
              ("wide", [1.0, 2.0]), ("nested", {"k": 1}), ("nothing", None), ("big", 1 << 40))  # fmt: skip
    logged: list[Event] = [
        Logged(path, name, value, 100 + at, 0, 1500.0 + at) for at, (name, value) in enumerate(values)
    ]
    return [*logged, Line(path, "stderr", "root", "WARNING", "careful", 109, 1600.0)]


def answers(store: str) -> list[Any]:
    """What the queries give, as JSON has it."""
    forget()
    with logql.connect(store, replay="off") as connection:
        found = [connection.execute(sql).fetchall() for sql in QUERIES]
    forget()
    return list(json.loads(json.dumps(found, default=str)))


def main(directory: str) -> None:
    """Make the archive and its answers."""
    store = Path(directory) / ".logql"
    make(str(store))
    with tarfile.open(Path(directory) / "store-1.tar.xz", "w:xz") as archive:
        archive.add(store, "store", filter=_anonymous)
    text = json.dumps(answers(str(store)), indent=0)
    (Path(directory) / "store-1.json").write_text(text + "\n", encoding="utf-8")


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


if __name__ == "__main__":
    main(sys.argv[1])

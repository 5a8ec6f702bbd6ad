"""Histories for the tests of the store: events written through the real write-ahead writer, as a recorder would."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence

from logql.model import Enter, Event, Line, Logged, Path, Run, Step, Version
from logql.store import liveness, wal
from logql.store.catalog import Catalog


def epochs(count: int, steps: int = 0, seed: int = 0, *, outside: bool = False) -> list[Event]:
    """A training of `count` epochs of `steps` steps: `loss` per step, `acc` per epoch, `best` per run.

    With `outside` the run logs values between the epochs, too: one name again and again, and another now and then.
    """
    found: list[Event] = []
    for event in _training(count, steps, seed):
        begins = isinstance(event, Enter) and len(event.path) == 1
        if outside and begins:
            index = event.path[0].index
            found += [
                Logged((), name, index / 8, 0, 0, event.ts) for name in ("so_far", "mark")[: 1 + (index % 5 == 3)]
            ]
        found.append(event)
    return _numbered(found)


def _numbered(events: Iterable[Event]) -> list[Event]:
    """Events with the seqs that a run would give them."""
    found, seq = [], -1
    for event in events:
        seq += not isinstance(event, Line)
        found.append(event._replace(seq=seq))
    return found


def _training(count: int, steps: int, seed: int) -> Iterator[Event]:
    seq = 0
    for epoch in range(count):
        outer = (Step("epoch", 0, epoch),)
        yield Enter(outer, epoch, seq, 1000.0 + seq)
        seq += 1
        for step in range(steps):
            inner = (*outer, Step("step", 0, step))
            yield Enter(inner, step, seq, 1000.0 + seq)
            yield Logged(inner, "loss", (seed + epoch * steps + step) / 1024, seq + 1, 0, 1000.5 + seq)
            seq += 2
        yield Line(outer, "stdout", None, None, f"epoch {epoch}", seq - 1, 1000.0 + seq)
        yield Logged(outer, "acc", (seed + epoch) / 64, seq, 0, 1000.0 + seq)
        seq += 1
    yield Logged((), "best", seed, seq, 0, 1000.0 + seq)


def batch_of(events: Sequence[Event]) -> wal.Batch:
    """Events as one batch."""
    numbers: dict[Path, int] = {}
    entries: list[wal.Entry] = []
    names: list[str] = []
    batch = wal.Batch(next((event.seq for event in events if not isinstance(event, Line)), 0),
                      array("q"), array("H"), array("d"), array("d"), names, entries)  # fmt: skip

    def context(path: Path) -> int:
        if not path:
            return 0
        parent = context(path[:-1])
        key = (*path[:-1], Step(path[-1].loop, path[-1].entry, -1))
        if key not in numbers:
            numbers[key] = len(numbers) + 1
            entries.append(wal.Entry(numbers[key], path[-1].loop, path[-1].entry, parent))
        return numbers[key] << wal.INDEX_BITS | path[-1].index

    for position, event in enumerate(events):
        batch.contexts.append(context(event.path))
        batch.times.append(event.ts)
        batch.values.append(0.0)
        if isinstance(event, Enter):
            batch.kinds.append(wal.ENTER)
            if event.item is not None:
                batch.items[position] = event.item
        elif isinstance(event, Line):
            batch.kinds.append(wal.LINE)
            batch.lines.append((event.stream, event.logger, event.level, event.text))
        else:
            if event.name not in names:
                names.append(event.name)
            batch.kinds.append(wal.FIRST_NAME + names.index(event.name))
            if type(event.value) is float:
                batch.values[position] = event.value
            else:
                batch.others[position] = event.value
    return batch


class Recorder:
    """Stands for a recorder: registers a version and a run, holds the run's lock and appends events."""

    def __init__(self, store: str, run: str, version: str = "a" * 12, rank: int = 0, **changes: object) -> None:
        self.catalog = Catalog.open(store, create=True)
        self.lock = liveness.hold_run(store, run)
        self.run = self.catalog.run(run) or self._register(run, version, changes)
        self.writer = wal.Writer(store, run, rank, chunk_bytes=changes.pop("chunk_bytes", wal.CHUNK_BYTES))  # type: ignore[arg-type]

    def _register(self, run: str, version: str, changes: dict[str, object]) -> Run:
        self.catalog.add_version(Version(version, version.ljust(40, "0")))
        values = {"script": "train.py", "argv": ("train.py",), "status": "running", "started_at": 1000.0,
                  "project": "/p", "cwd": "/p", **{k: v for k, v in changes.items() if k != "chunk_bytes"}}  # fmt: skip
        return self.catalog.add_run(Run(id=run, version=version, **values))  # type: ignore[arg-type]

    def append(self, events: Iterable[Event]) -> None:
        self.writer.append(batch_of(list(events)))

    def finish(self, status: str = "finished") -> None:
        self.writer.close()
        self.catalog.update_run(self.run.id, status=status, ended_at=2000.0)
        self.abandon()

    def abandon(self) -> None:
        """End as a killed process does: the lock is dropped, nothing else happens."""
        self.writer.abandon()
        self.catalog.close()
        if self.lock is not None:
            self.lock.release()


def record(store: str, run: str, events: Iterable[Event], version: str = "a" * 12, **changes: object) -> Run:
    """Record a whole run that finishes; it is not sealed."""
    recorder = Recorder(store, run, version, **changes)  # type: ignore[arg-type]
    recorder.append(events)
    recorder.finish()
    return recorder.run

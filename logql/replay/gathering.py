"""The values that a replay comes by: wanted ones are kept, the others go to the comparison with the record."""

from __future__ import annotations

import time
from typing import Protocol

from logql.model import Logged, Path
from logql.replay import wire
from logql.replay.spec import WorkerSpec
from logql.state.readings import depends_on_clock, without_readings

#: Events are sent when so many have gathered within an iteration.
_BATCH = 50_000


class Send(Protocol):
    """Sends a frame to the pool."""

    def __call__(self, kind: str, **fields: object) -> None: ...


class Values:
    """Numbers events as the record does, and sends them; knows which wanted names the present iteration has logged."""

    def __init__(self, spec: WorkerSpec, send: Send) -> None:
        self.wanted = spec.names
        #: the number of the next event in the record
        self.seq = 0
        self._sub = 0
        self._depth = 0 if spec.segment.loop is None else 1
        self._once = spec.once
        self._send = send
        self._hindsight: list[Logged] = []
        self._relogged: list[Logged] = []
        self._seen: set[str] = set()
        #: wanted names that are known to depend on a clock
        self._timed: set[str] = set()

    def go_to(self, seq: int) -> None:
        """A state was restored: events are numbered from there."""
        self.seq, self._sub = seq, 0

    def count_event(self) -> None:
        """The next event of the record happened."""
        self.go_to(self.seq + 1)

    def begin_iteration(self) -> None:
        """A wanted iteration begins."""
        self._seen.clear()

    def add_wanted(self, path: Path, name: str, value: object, repeated: bool) -> bool:
        """Keep a wanted value, but for one that a column repeats; whether it is one that this iteration logs once."""
        self._sub += 1
        if not repeated:
            plain = self._without_readings(name, value)
            self._hindsight.append(Logged(path, name, plain, self.seq - 1, self._sub, time.time()))
        self._flush_many()
        once = self._once and len(path) == self._depth
        if once:
            self._seen.add(name)
        return once

    def add_recorded(self, path: Path, name: str, value: object) -> None:
        """Have a value compared with the record."""
        self._relogged.append(Logged(path, name, value, self.seq, 0, 0.0))
        self.count_event()
        self._flush_many()

    def is_complete(self) -> bool:
        """Whether all that was wanted of this iteration is there."""
        return self._once and self._seen >= self.wanted

    def flush(self) -> None:
        """Send what has gathered."""
        if self._hindsight or self._relogged:
            self._send(
                "events",
                hindsight=[wire.encode_event(event) for event in self._hindsight],
                relogged=[wire.encode_event(event) for event in self._relogged],
            )
            self._hindsight.clear()
            self._relogged.clear()

    def _flush_many(self) -> None:
        if len(self._hindsight) + len(self._relogged) >= _BATCH:
            self.flush()

    def _without_readings(self, name: str, value: object) -> object:
        """A wanted value as it is stored; tells once that it is the replay's own time."""
        if depends_on_clock(value) and name not in self._timed:
            self._timed.add(name)
            self._send("note", text=f"{name} depends on the clock: it tells the replay's time, not the run's")
        return without_readings(value)

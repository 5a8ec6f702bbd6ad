"""The thread that hands what was logged to the operating system, well within a second."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from logql.record import api, guard
from logql.record.batches import Columns, build_batch, count_lines
from logql.record.names import NameRules
from logql.store.losses import Losses
from logql.store.wal import Writer

INTERVAL_S = 0.4
#: Events taken out of the buffer at once, and those that make a batch: small enough for the processor's cache.
_TAKEN = 1 << 16
_BATCH = 1 << 11
#: How far the end of a batch is moved back at most.
_LONGEST_BODY = 64


class Flusher:
    """Drains `api.events` into a WAL writer; counts the events so that a checkpoint knows its place among them.

    `on_tick` is called after each periodic drain, on the flusher's thread.
    """

    def __init__(self, writer: Writer, rules: NameRules, first_seq: int, on_tick: Callable[[], None]) -> None:
        self._writer = writer
        self._rules = rules
        self._seq = first_seq
        #: every name so far, in the order in which they came
        self.names: dict[str, None] = {}
        #: what could not be written
        self.losses = Losses()
        self._on_tick = on_tick
        #: re-entrant, as a signal handler of the script's may flush while the same thread does
        self._lock = threading.RLock()
        self._draining = False
        self._wake = threading.Event()
        self._stopped = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._run, name="logql-flusher", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Drain what is left and end the thread."""
        self._stopped = True
        self._wake.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout=10)
        self.drain()

    @property
    def closed_chunks(self) -> int:
        """How many chunks of the stream are full."""
        return self._writer.closed

    def next_seq(self) -> int:
        """The number that the next event will have."""
        with self._lock:
            kinds = api.events[1::4]
            return self._seq + len(kinds) - kinds.count(api.LINE)

    def drain(self) -> None:
        """Hand everything logged so far to the operating system; what cannot be written is lost, with a warning."""
        with self._lock:
            if self._draining:
                return
            self._draining = True
            try:
                self._drain()
            finally:
                self._draining = False

    def _drain(self) -> None:
        while events := api.events:
            count, start = min(len(events), 4 * _TAKEN), 0
            while start < count:
                stop = _end_of_batch(events, start, count)
                self._write(Columns(*(events[start + part : stop : 4] for part in range(4))))
                start = stop
            del events[:count]

    def sync(self) -> None:
        """Return when everything logged so far is on disk."""
        self.drain()
        with self._lock:
            try:
                self._writer.sync()
            except OSError as exc:
                guard.failed("store", "what was logged may not have reached the disk", exc)

    def close(self) -> None:
        """Stop, sync and let go of the stream."""
        self.stop()
        with self._lock:
            try:
                self._writer.close()
            except OSError as exc:
                guard.failed("store", "what was logged may not have reached the disk", exc)

    def abandon(self) -> None:
        """Forget the stream in a forked child: it is the parent's."""
        self._writer.abandon()

    def _write(self, drained: Columns) -> None:
        lines = 0
        try:
            batch = build_batch(drained, self._seq, self._rules)
            lines = count_lines(batch)
            self.names.update(dict.fromkeys(batch.names))
            self._writer.append(batch)
        except Exception as exc:
            lines = drained.kinds.count(api.LINE)
            self.losses.add(self._seq, len(drained.kinds) - lines, exc)
            guard.failed("store", "values could not be recorded and are lost", exc)
        self._seq += len(drained.kinds) - lines

    def _run(self) -> None:
        while not self._stopped:
            self._wake.wait(INTERVAL_S)
            try:
                self.drain()
                self._on_tick()
            except Exception as exc:
                guard.warn("flusher", f"recording had a fault: {type(exc).__name__}: {exc}")


def _end_of_batch(events: list[Any], start: int, count: int) -> int:
    """Where a batch that begins at `start` ends: before an iteration begins, so that a loop's batches look alike."""
    stop = start + 4 * _BATCH
    if stop >= count:
        return count
    for before in range(stop + 1, stop + 1 - 4 * _LONGEST_BODY, -4):
        if events[before] is api.ENTER:
            return before - 1
    return stop

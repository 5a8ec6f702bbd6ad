"""The thread that hands what was logged to the operating system, well within a second."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from logql.record import api, guard
from logql.record.batches import build_batch, count_lines
from logql.record.names import NameRules
from logql.store.wal import Writer

INTERVAL_S = 0.4
#: Events drained at once: bounds how long the flusher keeps the interpreter from the training.
_CHUNK = 1 << 15


class Flusher:
    """Drains `api.events` into a WAL writer; counts the events so that a checkpoint knows its place among them.

    `on_tick` is called after each periodic drain, on the flusher's thread.
    """

    def __init__(self, writer: Writer, rules: NameRules, first_seq: int, on_tick: Callable[[], None]) -> None:
        self._writer = writer
        self._rules = rules
        self._seq = first_seq
        self._last_event_at = 0.0
        self._on_tick = on_tick
        self._lock = threading.Lock()
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

    def next_seq(self) -> int:
        """The number that the next event will have."""
        with self._lock:
            kinds = api.events[1::4]
            return self._seq + len(kinds) - kinds.count(api.LINE)

    def last_event_at(self) -> float:
        """When the last event happened."""
        with self._lock:
            return float(api.events[-1]) if api.events else self._last_event_at

    def drain(self) -> None:
        """Hand everything logged so far to the operating system; what cannot be written is lost, with a warning."""
        with self._lock:
            while api.events:
                drained = api.events[: 4 * _CHUNK]
                del api.events[: len(drained)]
                self._write(drained)

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

    def _write(self, drained: list[Any]) -> None:
        seq = self._seq
        self._last_event_at = drained[-1]
        self._seq += len(drained) // 4 - count_lines(drained)
        try:
            self._writer.append(build_batch(drained, seq, self._rules))
        except Exception as exc:
            guard.failed("store", "values could not be recorded and are lost", exc)

    def _run(self) -> None:
        while not self._stopped:
            self._wake.wait(INTERVAL_S)
            try:
                self.drain()
                self._on_tick()
            except Exception as exc:
                guard.warn("flusher", f"recording had a fault: {type(exc).__name__}: {exc}")

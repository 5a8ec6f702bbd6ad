"""Captured output: each line that the script prints or logs, once, with its context; the terminal shows what it would.

The streams stay the same objects: only their `write` is wrapped, as an attribute of the instance.
"""

from __future__ import annotations

import sys
import threading
import time
from typing import Any

from logql.record import api, guard

#: Bound of what is kept per run; a longer line is cut.
MAX_BYTES = 32 << 20
MAX_LINE = 16_384
#: Ends what is painted below and will be painted over: the inner one of nested progress bars.
_CURSOR_UP = "\x1b[A"


class Capture:
    """Wraps sys.stdout, sys.stderr and `logging` between `start` and `stop`."""

    def __init__(self) -> None:
        self._streams: list[_Stream] = []
        self._logging: _Logging | None = None
        self._bytes = 0
        self._local = threading.local()

    def start(self) -> None:
        """Begin to capture; a stream that cannot be wrapped is left alone."""
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name, None)
            if stream is not None and all(stream is not other.stream for other in self._streams):
                self._streams.append(_Stream(self, name, stream))
        self._logging = _Logging(self)

    def stop(self) -> None:
        """Restore the streams, and keep the lines that did not end."""
        for stream in self._streams:
            stream.unwrap()
            stream.end_line()
        if self._logging is not None:
            self._logging.restore()
        self._streams = []

    def abandon(self) -> None:
        """Restore the streams in a forked child, whatever other threads were doing with them."""
        for stream in self._streams:
            stream.unwrap()
        if self._logging is not None:
            self._logging.restore()

    def add_line(self, stream: str, text: str) -> None:
        """Record one printed line; within a logging call it carries the record's logger and level."""
        record = getattr(self._local, "record", None)
        if record is None:
            self._put(stream, None, None, text)
        else:
            self._local.seen = True
            self._put(stream, record.name, record.levelname, text)

    def add_record(self, record: Any) -> None:
        """Record a `logging` record that no stream showed."""
        for text in record.getMessage().splitlines():
            self._put("logging", record.name, record.levelname, text)

    def _put(self, stream: str, logger: str | None, severity: str | None, text: str) -> None:
        self._bytes += len(text)
        if self._bytes > MAX_BYTES:
            guard.warn("output", f"more than {MAX_BYTES >> 20} MB of output: the rest of it is not recorded")
            return
        api.put((api.context(), api.LINE, (stream, logger, severity, text[:MAX_LINE]), time.time()))

    @property
    def local(self) -> Any:
        """Per-thread: the logging record under way, and whether a stream has shown it."""
        return self._local


class _Stream:
    """One stream whose writes are noted line by line."""

    def __init__(self, capture: Capture, name: str, stream: Any) -> None:
        self.stream = stream
        self._capture = capture
        self._name = name
        self._open = ""
        self._write = stream.write
        self._own = "write" in getattr(stream, "__dict__", {})
        self._lock = threading.RLock()
        try:
            stream.write = self._tee
        except (AttributeError, TypeError):
            self._own = True

    def unwrap(self) -> None:
        if getattr(self.stream, "__dict__", {}).get("write") == self._tee:
            if self._own:
                self.stream.write = self._write
            else:
                del self.stream.write

    def end_line(self) -> None:
        with self._lock:
            text, self._open = self._open, ""
            if _last_state(text).removesuffix(_CURSOR_UP):
                self._capture.add_line(self._name, _last_state(text))

    def _tee(self, text: str) -> Any:
        written = self._write(text)
        try:
            self._note(text)
        except Exception as exc:
            guard.warn("output", f"output is not recorded: {type(exc).__name__}: {exc}")
        return written

    def _note(self, text: str) -> None:
        if not text or guard.speaking:
            return
        with self._lock:
            *lines, rest = (self._open + text).split("\n")
            self._open = _last_state(rest)[-MAX_LINE:] if "\r" in rest else rest[-MAX_LINE:]
            for state in map(_last_state, lines):
                if not state.endswith(_CURSOR_UP):
                    self._capture.add_line(self._name, state)


def _last_state(line: str) -> str:
    """What a terminal shows of a line that was repainted with carriage returns."""
    if "\r" not in line:
        return line
    return next((state for state in reversed(line.split("\r")) if state), "")


class _Logging:
    """Notes which record is being handled, so that its line gets the logger's name and level, and appears once."""

    def __init__(self, capture: Capture) -> None:
        import logging

        self._logger = logging.Logger
        self._original = original = logging.Logger.callHandlers

        def call_handlers(logger: Any, record: Any) -> None:
            local = capture.local
            outer = getattr(local, "record", None)
            local.record, local.seen = record, False
            try:
                original(logger, record)
            finally:
                local.record = outer
            try:
                if not local.seen:
                    capture.add_record(record)
                local.seen = True
            except Exception as exc:
                guard.warn("output", f"a logging record is not recorded: {type(exc).__name__}: {exc}")

        self._wrapper = call_handlers
        self._logger.callHandlers = call_handlers  # type: ignore[method-assign,assignment]

    def restore(self) -> None:
        if self._logger.callHandlers is self._wrapper:
            self._logger.callHandlers = self._original  # type: ignore[method-assign]

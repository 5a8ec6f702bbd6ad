"""A real terminal for tests: a process behind a pseudo-terminal, its screen kept by pyte."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

import pyte

ROOT = Path(__file__).resolve().parent.parent.parent
#: Seconds that a test waits for a text on the screen; generous, as other work shares the machine.
PATIENCE_S = 60.0


class Terminal:
    """`python -m logql` with a screen of `columns` x `lines`; `type` sends keys, `wait_for` a text on the screen."""

    def __init__(
        self,
        cwd: Path,
        *,
        arguments: Sequence[str] = (),
        columns: int = 100,
        lines: int = 40,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.screen = pyte.HistoryScreen(columns, lines, history=5000, ratio=1.0)
        self._stream = pyte.ByteStream(self.screen)
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            values = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color", **(environment or {})}
            for name in ("COLUMNS", "LINES"):  # would count for more than the window's size
                values.pop(name, None)
            os.chdir(cwd)
            os.execve(sys.executable, [sys.executable, "-m", "logql", *arguments], values)
        self.resize(columns, lines)

    def resize(self, columns: int, lines: int) -> None:
        """Give the window another size, as a person does with the mouse."""
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.screen.resize(lines, columns)

    def type(self, text: str) -> None:
        """Send keys; what the program answers is read meanwhile, so that neither side blocks."""
        data = text.encode()
        while data:
            self.read(0)
            _, writable, _ = select.select([], [self._fd], [], 1.0)
            if writable:
                data = data[os.write(self._fd, data[:512]) :]

    def read(self, seconds: float) -> None:
        """Take in what the program writes, for so long."""
        end = time.monotonic() + seconds
        while True:
            readable, _, _ = select.select([self._fd], [], [], max(0.0, end - time.monotonic()))
            if not readable:
                return
            try:
                data = os.read(self._fd, 65536)
            except OSError:
                return
            if not data:
                return
            self._stream.feed(data)
            self._answer(data)

    def _answer(self, data: bytes) -> None:
        """Tell where the cursor is, as terminals do when they are asked."""
        if b"\x1b[6n" in data:
            os.write(self._fd, f"\x1b[{self.screen.cursor.y + 1};{self.screen.cursor.x + 1}R".encode())

    def wait_for(self, text: str, *, count: int = 1) -> str:
        """Wait until the screen shows a text, `count` times; the screen then."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            self.read(0.05)
            shown = self.text()
            if shown.count(text) >= count:
                return shown
        raise AssertionError(f"{text!r} did not come; the screen shows\n{self.text()}")

    def text(self) -> str:
        """The screen as lines without spaces at their ends."""
        return "\n".join(line.rstrip() for line in self.screen.display).rstrip()

    def exit_code(self) -> int:
        """Wait for the end of the program."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            self.read(0.05)
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.pid = 0
                return os.waitstatus_to_exitcode(status)
        raise AssertionError(f"it did not end; the screen shows\n{self.text()}")

    def close(self) -> None:
        """End the program if it runs, and give the terminal back."""
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self.pid = 0
        os.close(self._fd)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

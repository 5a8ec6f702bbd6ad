"""Real terminals for tests: a process behind a pseudo-terminal whose screen pyte keeps, or in a window of tmux."""

from __future__ import annotations

import fcntl
import math
import os
import pty
import select
import shlex
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

import pyte

ROOT = Path(__file__).resolve().parent.parent.parent
#: Seconds that a test waits for a text on the screen; generous, as other work shares the machine.
PATIENCE_S = 120.0
#: What the line at the foot shows while the prompt waits for the person.
TOOLBAR = "budget 300 s"


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
        self._code = 0
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
        return self.wait_until(lambda shown: shown.count(text) >= count, repr(text))

    def wait_until(self, condition: Callable[[str], bool], what: str) -> str:
        """Wait until something holds for the screen; the screen then."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            self.read(0.05)
            if condition(shown := self.text()):
                return shown
        raise AssertionError(f"{what} did not come; the screen shows\n{self.text()}")

    def wait_busy(self, seconds: float = 0.3) -> None:
        """Wait until the prompt is gone and the program has computed for so long: what was entered is running."""
        self.wait_until(lambda shown: TOOLBAR not in shown, "the end of the prompt")
        begun = cpu_seconds(self.pid)
        self.wait_until(lambda _: cpu_seconds(self.pid) - begun > seconds, "work")

    def text(self) -> str:
        """The screen as lines without spaces at their ends."""
        return "\n".join(line.rstrip() for line in self.screen.display).rstrip()

    def exit_code(self, keys: str = "") -> int:
        """Wait for the end of the program, typing keys every second: what comes between two prompts is dropped."""
        typed = -math.inf

        def has_ended(_: str) -> bool:
            nonlocal typed
            if self._has_ended():
                return True
            if keys and time.monotonic() - typed > 1.0:
                self.type(keys)
                typed = time.monotonic()
            return False

        self.wait_until(has_ended, "the end")
        return self._code

    def _has_ended(self) -> bool:
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if pid:
            self.pid, self._code = 0, os.waitstatus_to_exitcode(status)
        return bool(pid)

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


class Tmux(Terminal):
    """The same in a window of tmux, which draws the screen; `directory` is for its socket."""

    def __init__(
        self,
        cwd: Path,
        *,
        directory: Path,
        columns: int = 100,
        lines: int = 40,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._socket = str(directory / "tmux")
        settings = directory / "tmux.conf"
        settings.write_text("set -g status off\nset -g remain-on-exit on\nset -g escape-time 0\n")
        values = {"PYTHONPATH": str(ROOT), **(environment or {})}
        words = ["exec", "env", "-u", "COLUMNS", "-u", "LINES", *(f"{name}={value}" for name, value in values.items())]
        command = shlex.join([*words, sys.executable, "-m", "logql"])
        size = ("-x", str(columns), "-y", str(lines))
        self._tmux("-f", str(settings), "new-session", "-d", "-s", "test", "-c", str(cwd), *size, command)
        self.pid = int(self._asked("#{pane_pid}"))

    def resize(self, columns: int, lines: int) -> None:
        """Give the window another size."""
        self._tmux("resize-window", "-x", str(columns), "-y", str(lines))

    def type(self, text: str) -> None:
        """Send keys."""
        self._tmux("load-buffer", "-", given=text)
        self._tmux("paste-buffer", "-r")

    def read(self, seconds: float) -> None:
        """Let tmux take in what the program writes."""
        time.sleep(seconds)

    def text(self) -> str:
        """The screen as lines without spaces at their ends."""
        return "\n".join(line.rstrip() for line in self._tmux("capture-pane", "-p").splitlines()).rstrip()

    def close(self) -> None:
        """End tmux and what runs in it."""
        self._tmux("kill-server")

    def _has_ended(self) -> bool:
        dead, _, code = self._asked("#{pane_dead} #{pane_dead_status}").partition(" ")
        self._code = int(code or 0)
        return dead == "1"

    def _asked(self, what: str) -> str:
        return self._tmux("display-message", "-p", what).strip()

    def _tmux(self, *arguments: str, given: str | None = None) -> str:
        command = ["tmux", "-S", self._socket, *arguments]
        return subprocess.run(command, input=given, check=True, capture_output=True, text=True).stdout


def cpu_seconds(pid: int) -> float:
    """Seconds that a process has computed."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

"""Processes that turn a run's stream into files: while it goes on, where much has gathered, and at its end."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from logql.record import guard

if TYPE_CHECKING:
    import subprocess

#: Chunks of the stream that are closed before a live run's are sealed.
ENOUGH = 4

#: Sealers of runs that this process has ended: a sweep must not leave a zombie per run.
_left: list[int] = []


class Sealing:
    """Starts the sealer of one run; at most one runs while the run goes on."""

    def __init__(self, store: str, run: str) -> None:
        self._arguments = [sys.executable, "-m", "logql.store.seal", store, run]
        self._off = os.environ.get("LOGQL_SEAL") == "0"
        self._asked = 0
        self._process: subprocess.Popen[bytes] | None = None

    def go_on(self, closed: int) -> None:
        """Have what is over sealed if enough of the `closed` chunks are new since it was last asked."""
        if self._process is not None and self._process.poll() is not None:
            self._process = None
        if closed - self._asked >= ENOUGH and self._process is None and not self._off:
            self._asked = closed
            self._process = self._start()

    def finish(self) -> None:
        """Have all of the run sealed, by a process that may outlive this one."""
        _left[:] = [pid for pid in _left if not _has_ended(pid)]
        for process in (self._process, None if self._off else self._start()):
            if process is not None:
                process.returncode = 0  # it is not waited for at the end
                _left.append(process.pid)

    def _start(self) -> subprocess.Popen[bytes] | None:
        try:
            return _spawn(self._arguments)
        except OSError as exc:
            guard.failed("seal", "the run will be sealed by the next reader", exc)
            return None


def _has_ended(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:  # another's, or waited for by the program
        return True


def _spawn(command: list[str]) -> subprocess.Popen[bytes]:
    """Start a process that may outlive this one and shares nothing with it."""
    import subprocess

    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    path = os.pathsep.join(part for part in (root, os.environ.get("PYTHONPATH")) if part)
    quiet = subprocess.DEVNULL
    return subprocess.Popen(
        command,
        stdin=quiet,
        stdout=quiet,
        stderr=quiet,
        cwd="/",
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": path},
    )

"""A process that forks recorders on demand, so that hundreds can be started and killed in seconds.

Run as `python -m tests.store.nursery STORE FOLDER`; on stdin: `start NAME KIND` or `kill NAME`, answered by a line when
it is done. A recorder writes a byte to `FOLDER/NAME` for each value that it has handed over (`api`: that was flushed).
"""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path as FilePath

import logql
from logql.model import Enter, Logged, Step
from tests.store.history import Recorder

ROOT = FilePath(__file__).parents[2]


class Nursery:
    """The other end, for a test."""

    def __init__(self, store: str, folder: FilePath) -> None:
        self.folder = folder
        environment = {**os.environ, "LOGQL_STORE": store, "LOGQL_SEAL": "0", "PYTHONPATH": str(ROOT)}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.store.nursery", store, str(folder)],
            cwd=folder, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def start(self, name: str, kind: str) -> None:
        """Start a recorder."""
        self._tell(f"start {name} {kind}")

    def kill(self, name: str) -> int:
        """Kill a recorder; gives how many values it had handed over when it was dead."""
        self._tell(f"kill {name}")
        return (self.folder / name).stat().st_size

    def wait(self, name: str) -> None:
        """Return when a recorder has handed over a few values: on a busy machine most die before their first."""
        deadline = time.monotonic() + 60.0
        while (self.folder / name).stat().st_size < 3 and time.monotonic() < deadline:
            time.sleep(0.005)

    def close(self) -> None:
        """Kill all that are left and end."""
        with self._process as process:
            assert process.stdin is not None
            process.stdin.close()

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "done\n"


def main(store: str, folder: str) -> None:
    """Do what stdin says."""
    alive: dict[str, int] = {}
    for line in sys.stdin:
        action, name, *rest = line.split()
        if action == "start":
            alive[name] = _fork(store, folder, name, rest[0])
        else:
            _kill(alive.pop(name))
        print("done", flush=True)
    for pid in alive.values():
        _kill(pid)


def _kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def _fork(store: str, folder: str, name: str, kind: str) -> int:
    told = os.open(os.path.join(folder, name), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
    pid = os.fork()
    if pid == 0:
        try:
            _record_api(name, told) if kind == "api" else _record(store, name, told)
        finally:
            os._exit(1)
    os.close(told)
    return pid


def _record(store: str, name: str, told: int) -> None:
    """A bare writer: an epoch with its value, and one outside of loops, per batch; a few batches per chunk."""
    recorder = Recorder(store, name, chunk_bytes=2000)
    for n in itertools.count():
        path = (Step("epoch", 0, n),)
        logged = [
            Logged(at, name, n / 4, 3 * n + place, 0, 1.0 + n)
            for place, (at, name) in enumerate(((path, "x"), ((), "y")), 1)
        ]
        recorder.append([Enter(path, n, 3 * n, 1.0 + n), *logged])
        os.write(told, b".")
        time.sleep(0.002)


def _record_api(name: str, told: int) -> None:
    """What a training script does."""
    with logql.run(name=name):
        for n in itertools.count():
            with logql.iteration("epoch", n):
                logql.log("x", n / 4)
            logql.log("y", n / 4)
            logql.flush()
            os.write(told, b".")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])

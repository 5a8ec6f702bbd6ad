"""Starts the process of a replay: afresh, or as a fork of one that has imported what its script imports first."""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from logql.replay.leading import Import

_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_PATH = f"import sys; sys.path.insert(0, {_ROOT!r}); "
_SUPERVISE = _PATH + "from logql.replay.supervise import main; main()"
_SERVE = _PATH + "from logql.replay.forkserver import main; main()"
#: Exit code of a process that was never there: its server could not, or would not, fork it.
UNSERVED = 204
_KILLED = -9
_NUMBER = 8


@dataclass(frozen=True)
class Launch:
    """What to start: `command` is an interpreter with its options, `environment` what a run's replays share.

    `variables` are this one's alone, `spec` is the file with its order, in the `directory` that it starts in; `own` are
    the modules that imports find in the script's directory.
    """

    command: tuple[str, ...]
    environment: Mapping[str, str]
    variables: Mapping[str, str]
    spec: str
    directory: str
    own: frozenset[str] = frozenset()


class Started(Protocol):
    """A supervisor's process; its number is None as long as it is not there."""

    @property
    def pid(self) -> int | None: ...

    def poll(self) -> int | None:
        """Its exit code (-n: killed by signal n) once it has ended."""

    def wait(self, timeout: float) -> int:
        """Its exit code. Raises subprocess.TimeoutExpired."""


class Starter(Protocol):
    """Starts supervisors; descriptors stay the caller's. Raises OSError where it cannot."""

    def start(self, launch: Launch, lifeline: int, results: int, log: int) -> Started: ...


class Fresh:
    """Starts each in an interpreter of its own."""

    def start(self, launch: Launch, lifeline: int, results: int, log: int) -> Started:
        return _Process(
            [*launch.command, "-c", _SUPERVISE, launch.spec, str(lifeline), str(results), str(os.getpid())],
            env={**launch.environment, **launch.variables},
            cwd=launch.directory,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(lifeline, results),
            start_new_session=True,
        )


class _Process(subprocess.Popen[bytes]):
    """A process whose end is waited for without looking again and again."""

    def wait(self, timeout: float | None = None) -> int:
        if timeout is not None and self.poll() is None:
            with contextlib.suppress(OSError, AttributeError):  # where there is no such descriptor, it looks again
                ended = os.pidfd_open(self.pid)
                select.select([ended], [], [], timeout)
                os.close(ended)
                timeout = 0.0
        return super().wait(timeout)


class Server:
    """A fork server: as long as it loads modules, what is asked of it waits; when it ends, so does all that waits."""

    def __init__(
        self, command: tuple[str, ...], environment: Mapping[str, str], imports: tuple[Import, ...], store: str
    ) -> None:
        """`store` is told to those who list processes."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        end, self._lifeline = os.pipe()
        self._orders = ours
        self._forked: list[Forked] = []
        arguments = [str(theirs.fileno()), str(end), str(os.getpid()), json.dumps(imports), store]
        with theirs, tempfile.TemporaryFile() as printed:
            try:
                self._process = subprocess.Popen(
                    [*command, "-c", _SERVE, *arguments],
                    env=environment,
                    cwd="/",
                    stdin=subprocess.DEVNULL,
                    stdout=printed,
                    stderr=printed,
                    pass_fds=(theirs.fileno(), end),
                    start_new_session=True,
                )
            except BaseException:
                ours.close()
                os.close(self._lifeline)
                raise
            finally:
                os.close(end)

    def ended(self) -> bool:
        """Whether it serves no more."""
        return self._process.poll() is not None

    def start(self, launch: Launch, lifeline: int, results: int, log: int) -> Started:
        status, status_end = os.pipe()
        forked = Forked(status)
        order = {
            "spec": launch.spec,
            "directory": launch.directory,
            "environment": dict(launch.variables),
            "own": sorted(launch.own),
        }
        try:
            socket.send_fds(self._orders, [json.dumps(order).encode()], [lifeline, results, log, status_end])
        except OSError:  # it is gone; the other end of the status pipe closes with ours
            pass
        finally:
            os.close(status_end)
        self._forked.append(forked)
        return forked

    def close(self) -> None:
        """End it, as soon as what it forked has ended."""
        self._orders.close()
        if not any(forked.is_there() for forked in self._forked):
            self._process.kill()
        os.close(self._lifeline)
        try:
            self._process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for forked in self._forked:
            forked.close()


class Forked:
    """A supervisor that a server forks: known by what the server writes into a pipe."""

    def __init__(self, status: int) -> None:
        self._status = status
        self._told: list[int] = []
        self._over = False

    @property
    def pid(self) -> int | None:
        self._read(0.0)
        return self._told[0] if self._told else None

    def poll(self) -> int | None:
        self._read(0.0)
        if len(self._told) > 1:
            return self._told[1]
        return (_KILLED if self._told else UNSERVED) if self._over else None

    def wait(self, timeout: float) -> int:
        until = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() >= until:
                raise subprocess.TimeoutExpired("replay", timeout)
            self._read(until - time.monotonic())
        return code

    def is_there(self) -> bool:
        """Whether it was started and has not ended."""
        return self.pid is not None and self.poll() is None

    def close(self) -> None:
        """Stop listening."""
        if not self._over:
            self._over = True
            os.close(self._status)

    def _read(self, seconds: float) -> None:
        """Take what the server wrote, if anything comes within some seconds."""
        while not self._over and select.select([self._status], [], [], max(0.0, seconds))[0]:
            data = os.read(self._status, _NUMBER)
            if data:
                self._told.append(int.from_bytes(data, "little", signed=True))
            if not data or len(self._told) > 1:
                self.close()
            seconds = 0.0

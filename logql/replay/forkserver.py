"""A process that has imported what scripts import first, and forks a supervisor for each replay that it is sent.

`python -c "..forkserver.main()" ORDERS LIFELINE PARENT IMPORTS STORE`. It loads installed modules alone, and only as
long as loading them leaves no trace: at the first file written, program started, thread or descriptor left open it
ends, which tells its pool to start those replays afresh. What differs between replays is made after the fork.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import json
import os
import random
import select
import socket
import struct
import sys
import tempfile
from collections.abc import Iterator
from typing import Any, NoReturn

from logql.replay import namespaces, supervise, worker  # noqa: F401  (what replays load is loaded once)
from logql.replay.private_copy import CHANGING, WRITING
from logql.replay.trackers import silence_trackers

#: What a status pipe carries: the number of the process, and behind it its exit code.
STATUS = struct.Struct("<q")
#: Audit events of what a module must not do while it is loaded, besides changing files.
_TRACES = frozenset(
    (
        "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.system", "pty.spawn", "socket.bind", "socket.connect",
        "sqlite3.connect", "subprocess.Popen",
    )
)  # fmt: skip
#: Threads that libraries stop before a fork and start again behind it, as jemalloc does.
_FORKABLE_THREADS = frozenset(("jemalloc_bg_thd",))
_LIBRARIES = (os.path.dirname(os.__file__) + os.sep, f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")
_ENGINE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_MOST_PRINTED = 1 << 20


class _TraceError(Exception):
    """Raised where a forked process would not be as good as a fresh one."""


def main() -> None:
    """Entry of the process; never returns."""
    orders, lifeline, parent = (int(text) for text in sys.argv[1:4])
    imports = json.loads(sys.argv[4])
    if os.getppid() != parent:
        os._exit(1)
    try:
        with _ending_with(lifeline):
            load(imports)
    except BaseException as exc:
        print(f"logql: replays start afresh: {type(exc).__name__}: {exc}", file=sys.stderr, flush=True)
        os._exit(1)
    with socket.socket(fileno=orders) as connection:
        _serve(connection, _printed())
    os._exit(0)


@contextlib.contextmanager
def _ending_with(lifeline: int) -> Iterator[None]:
    """Have the kernel end this process (SIGIO) when the pool is gone, even in a module that never finishes loading."""
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    flags = fcntl.fcntl(lifeline, fcntl.F_GETFL)
    fcntl.fcntl(lifeline, fcntl.F_SETFL, flags | os.O_ASYNC)
    if select.select([lifeline], [], [], 0)[0]:
        os._exit(1)
    yield
    fcntl.fcntl(lifeline, fcntl.F_SETFL, flags)


def load(imports: list[tuple[str, list[str]]]) -> None:
    """Load modules. Raises _TraceError, or what they raise, where it left more behind than modules."""
    sys.path[:] = [path for path in sys.path if path]
    sys.dont_write_bytecode = True
    sys.argv = _Arguments(["-c"])
    silence_trackers()
    tempfile.gettempdir()  # tries whether it can be written to, once
    descriptors = os.listdir("/proc/self/fd")
    with _watching(), _unseeded():
        for module, names in imports:
            if not _is_installed(module.partition(".")[0]):
                break
            __import__(module, fromlist=names)
    if os.listdir("/proc/self/fd") != descriptors:
        raise _TraceError("a module keeps a file open")
    if strangers := [name for name, one in list(sys.modules.items()) if _is_strange(getattr(one, "__file__", None))]:
        raise _TraceError(f"{strangers[0]} is not an installed module")
    if threads := _lasting_threads():
        raise _TraceError(f"a module started a thread: {threads[0]}")
    sys.argv = ["-c"]


class _Arguments(list[str]):
    """The command line, while modules are loaded that must not depend on it."""

    def _refuse(self, *_: object) -> NoReturn:
        raise _TraceError("a module reads the command line")

    __getitem__ = __iter__ = __len__ = _refuse


@contextlib.contextmanager
def _watching() -> Iterator[None]:
    """End this process before a module changes a file, starts a program or talks to another one."""
    watching = True

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if not watching:
            return
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITING
        if event == "os.mkdir" and os.path.isdir(arguments[0]):
            return
        if (writes and arguments[0] != os.devnull) or event in CHANGING or event in _TRACES:
            print(f"logql: replays start afresh: a module leaves a trace: {event} {arguments[:1]}", file=sys.stderr)
            sys.stderr.flush()
            os._exit(1)

    sys.addaudithook(hook)
    yield
    watching = False


@contextlib.contextmanager
def _unseeded() -> Iterator[None]:
    """Refuse modules that seed `random`: it has other seeds behind a fork."""
    seed = random.seed

    def refuse(*_: object) -> NoReturn:
        raise _TraceError("a module seeds random numbers")

    vars(random)["seed"] = refuse
    yield
    vars(random)["seed"] = seed


def _is_installed(top: str) -> bool:
    """Whether a module is a package's or the standard library's, and no code of the user."""
    if top in sys.modules or top in sys.builtin_module_names:
        return True
    spec = importlib.util.find_spec(top)
    if spec is None:
        return False
    places = list(spec.submodule_search_locations or ()) or [spec.origin or ""]
    return all(place == "frozen" or not _is_strange(os.path.join(place, "")) for place in places)


def _is_strange(path: object) -> bool:
    """Whether a file is neither a library's nor logql's."""
    if not isinstance(path, str) or not os.path.isabs(path) or path.startswith((_ENGINE, _LIBRARIES[0])):
        return False
    return not any(part in path for part in _LIBRARIES[1:])


def _lasting_threads() -> list[str]:
    """Threads of this process that a fork does not stop: what they hold would be lost in the child."""
    child = os.fork()
    if not child:
        os._exit(0)
    found = []
    for task in os.listdir("/proc/self/task"):
        if int(task) != os.getpid():
            with open(f"/proc/self/task/{task}/comm", encoding="utf-8", errors="replace") as file:
                found.append(file.read().strip())
    os.waitpid(child, 0)
    return [name for name in found if name not in _FORKABLE_THREADS]


def _printed() -> bytes:
    """What modules printed while they were loaded: each replay's log begins with it."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    namespaces.flush_c_output()
    return os.pread(1, _MOST_PRINTED, 0)


def _serve(orders: socket.socket, printed: bytes) -> None:
    """Fork for each order, until the pool is gone and so is the last of ours."""
    children: dict[int, tuple[int, int]] = {}
    open_ = True
    while open_ or children:
        waiting = [*([orders.fileno()] if open_ else []), *children]
        readable, _, _ = select.select(waiting, [], [])
        for ended in children.keys() & set(readable):
            _report(ended, *children.pop(ended))
        if orders.fileno() not in readable:
            continue
        data, descriptors, _, _ = socket.recv_fds(orders, 1 << 20, 4)
        open_ = bool(data)
        if not data:
            continue
        order = json.loads(data)
        *given, status = descriptors
        if sys.modules.keys() & set(order["own"]):
            os.close(status)
        else:
            child = _fork(order, given, printed)
            os.write(status, STATUS.pack(child))
            children[os.pidfd_open(child)] = child, status
        for descriptor in given:
            os.close(descriptor)


def _report(ended: int, child: int, status: int) -> None:
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with contextlib.suppress(BrokenPipeError):
        os.write(status, STATUS.pack(code))
    os.close(status)
    os.close(ended)


def _fork(order: dict[str, Any], descriptors: list[int], printed: bytes) -> int:
    """Start a supervisor that is as one started afresh; its number."""
    parent = os.getpid()
    child = os.fork()
    if child:
        return child
    try:
        lifeline, results, log = descriptors
        os.setsid()
        for stream in (1, 2):
            os.dup2(log, stream)
        _close_all_but(lifeline, results)
        os.write(1, printed)
        os.environ.update(order["environment"])
        os.chdir(order["directory"])
        tempfile.tempdir = None  # chosen anew, by the environment of now
        supervise.oversee(order["spec"], lifeline, results, parent)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(1)


def _close_all_but(*kept: int) -> None:
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2 and int(name) not in kept:
            with contextlib.suppress(OSError):
                os.close(int(name))

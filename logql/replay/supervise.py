"""The process between a pool and a worker: isolates it, guards it, and leaves nothing of it behind.

`python -c "..supervise.main()" SPEC LIFELINE RESULTS PARENT`. The chain is supervisor, holder of the namespaces, init
of the PID namespace, worker; whichever dies takes those after it along. The supervisor runs no user code, so it can be
trusted to notice that its pool is gone (the lifeline is at its end) and to kill everything; no signal ends it before.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from typing import NoReturn

from logql.replay import guard, isolation, namespaces
from logql.replay.spec import WorkerSpec

#: Exit codes of a supervisor beyond those of its worker (128 + n: killed by signal n).
NO_NAMESPACES = 200
ABANDONED = 201
DISK_FULL = 202
#: Beginning of the line that tells why there are no namespaces.
NO_VIEW = "logql: no private view of the file system: "
_POLL_S = 0.5
#: CPU seconds that this process's ancestors in the chain had used when it was forked
_cpu_before = 0.0


def main() -> None:
    """Entry of the process; never returns."""
    oversee(sys.argv[1], *(int(text) for text in sys.argv[2:5]))


def oversee(path: str, lifeline: int, results: int, parent: int) -> NoReturn:
    """Have the order at `path` carried out; `results` is where the worker writes to."""
    if os.getppid() != parent:
        os._exit(137)
    with open(path, encoding="utf-8") as file:
        spec = WorkerSpec.from_json(file.read())
    namespaces.adopt_orphans()
    # opened before the file system changes, so that it leads to the real directory whatever is mounted over it
    spool = os.open(os.path.join(spec.scratch, "spool"), os.O_RDONLY | os.O_DIRECTORY)
    child = _start_isolated(spec, results, spool) if spec.isolation == "strong" else _start_plain(spec, results, spool)
    os.close(results)
    os._exit(_guard(spec, child, lifeline, parent))


def _start_plain(spec: WorkerSpec, results: int, spool: int) -> int:
    return _fork(lambda: _work(spec, results, spool))


def _start_isolated(spec: WorkerSpec, results: int, spool: int) -> int:
    """Fork the holder of the namespaces; we map its ids, which it may not do itself."""
    ready, go = os.pipe(), os.pipe()
    child = _fork(lambda: _hold(spec, results, spool, ready[1], go[0]))
    os.close(ready[1])
    os.close(go[0])
    if os.read(ready[0], 1):
        try:
            namespaces.write_maps(child)
            os.write(go[1], b"x")
        except OSError:
            pass  # the holder sees the end of the pipe and gives up
    os.close(ready[0])
    os.close(go[1])
    return child


def _hold(spec: WorkerSpec, results: int, spool: int, ready: int, go: int) -> int:
    """Enter new namespaces, build the view, and start the init that everything else lives under."""
    try:
        namespaces.unshare(namespaces.NEW_USER | namespaces.NEW_MOUNTS | namespaces.NEW_PIDS)
        os.write(ready, b"x")
        os.close(ready)
        if not os.read(go, 1):
            return NO_NAMESPACES
        namespaces.die_with_parent()
        notes = isolation.build_view(isolation.Layout(spec.project, spec.scratch, spec.hidden))
    except OSError as exc:
        print(f"{NO_VIEW}{exc.strerror or exc}", file=sys.stderr, flush=True)
        return NO_NAMESPACES
    for note in notes:
        print(f"logql: {note}", file=sys.stderr, flush=True)
    child = _fork(lambda: _be_init(spec, results, spool))
    os.close(results)
    code = _wait_for(child)
    return 128 - code if code < 0 else code


def _be_init(spec: WorkerSpec, results: int, spool: int) -> int:
    """First process of the PID namespace: when it ends, the kernel kills all others in it."""
    namespaces.mount_proc()
    guard.limit_processes(spec.max_tasks)
    namespaces.seal_proc()
    child = _fork(lambda: _work(spec, results, spool))
    os.close(results)
    return worker_code(_wait_for(child))


def _work(spec: WorkerSpec, results: int, spool: int) -> int:
    """Become the worker."""
    os.setsid()
    guard.limit_resources(spec.memory_bytes, spec.disk_bytes)
    from logql.replay import worker

    path = f"/proc/self/fd/{spool}" if spec.isolation == "strong" else os.path.join(spec.scratch, "spool")
    return worker.run(spec, results, path, _cpu_before)


def _fork(body: Callable[[], int]) -> int:
    """Start a child that dies with us, runs `body` and exits with what it returns."""
    global _cpu_before
    parent = os.getpid()
    _cpu_before += time.process_time()
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        same_namespace = os.getppid() in (parent, 0)
        namespaces.die_with_parent(None)
        if not same_namespace:
            os._exit(137)
        code = body()
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stderr.flush()
        os._exit(code)


def _wait_for(child: int) -> int:
    """Reap all children until `child` is among them; its exit code."""
    while True:
        try:
            pid, status = os.wait()
        except InterruptedError:
            continue
        if pid == child:
            return os.waitstatus_to_exitcode(status)


def worker_code(code: int) -> int:
    """A worker's exit code as one that no supervisor's is: 128 + n where signal n killed it, else 127 at most."""
    return 128 - code if code < 0 else min(code, 127)


def _guard(spec: WorkerSpec, child: int, lifeline: int, parent: int) -> int:
    """Wait for `child`, the pool's end, or a broken limit; then kill what is left."""
    watch = guard.DiskWatch(spec.scratch, spec.disk_bytes)
    code = None
    ended = _child_descriptor(child)
    while code is None:
        waiting = [lifeline] if ended is None else [lifeline, ended]
        readable, _, _ = select.select(waiting, [], [], 0.02 if ended is None else _POLL_S)
        if lifeline in readable or os.getppid() != parent:
            code = ABANDONED
        elif watch.exceeded():
            code = DISK_FULL
        else:
            pid, status = os.waitpid(child, os.WNOHANG)
            if pid:
                child, code = 0, os.waitstatus_to_exitcode(status)
                code = worker_code(code) if spec.isolation == "weak" or code < 0 else code
    _kill_all(child)
    return code


def _child_descriptor(child: int) -> int | None:
    """A descriptor that becomes readable when `child` ends, where the system has such."""
    try:
        return os.pidfd_open(child)
    except (AttributeError, OSError):
        return None


def _kill_all(child: int) -> None:
    """Kill the child and every descendant that came down to us, until none is left."""
    if child:
        _kill(child)
    deadline = time.monotonic() + 10.0
    while time.monotonic() < deadline:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:  # orphans come down to us, so nothing is left
            return
        if not pid:
            for pid in guard.descendants():
                _kill(pid)
            time.sleep(0.005)


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)

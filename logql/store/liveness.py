"""Whether the process behind a run, a fill or a lease still lives: locks that the system drops at death.

A recorder holds a shared flock on `wal/<run>.lock` for as long as it may write; a sealer holds `wal/<run>.seal`. Forked
children close the descriptor, so that they never keep a dead parent alive. One that writes events of its own holds
`wal/<run>.lock` anew, and its rows are sealed when it ends; that the training is dead, `wal/<run>.main` tells. Whoever
replays holds `scratch/claims/<holder>`. Locks also tell of processes in other containers, whose numbers mean nothing.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
import weakref

from logql.store import layout

_held: weakref.WeakSet[Lock] = weakref.WeakSet()


class Lock:
    """An flock on a file, held until `release` or the death of this process."""

    def __init__(self, path: str, descriptor: int) -> None:
        self.path = path
        self._descriptor: int | None = descriptor
        _held.add(self)

    @classmethod
    def take(cls, path: str, *, shared: bool = False, wait: float = 0.0) -> Lock | None:
        """Lock `path` (made if absent), or None if another holds it for longer than `wait` seconds."""
        mode = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB
        deadline = time.monotonic() + wait
        while True:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            kept = False
            try:
                locked = _try_lock(descriptor, mode)
                kept = locked and _is_file(path, descriptor)
            finally:
                if not kept:
                    os.close(descriptor)
            if kept:
                return cls(path, descriptor)
            if locked:
                continue
            if time.monotonic() >= deadline:
                return None
            time.sleep(0.02)

    def release(self, *, unlink: bool = False) -> None:
        """Let go of the lock; `unlink` removes its file first, so that nobody waits on a file that is gone."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            return
        if unlink:
            with contextlib.suppress(OSError):
                os.unlink(self.path)
        os.close(descriptor)

    def __enter__(self) -> Lock:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def run_lock(store: str, run: str) -> str:
    """Path of the lock that a recorder of `run` holds (shared) while it lives."""
    return os.path.join(store, layout.WAL, f"{run}.lock")


def seal_lock(store: str, run: str) -> str:
    """Path of the lock that whoever seals `run` holds."""
    return os.path.join(store, layout.WAL, f"{run}.seal")


def hold_run(store: str, run: str) -> Lock | None:
    """What a recorder calls before it writes its run to the catalog; None if a sealer just declared the run dead."""
    return Lock.take(run_lock(store, run), shared=True, wait=5.0)


def main_lock(store: str, run: str) -> str:
    """Path of the lock that the process which opened `run` holds (shared, one per rank), and its children do not."""
    return os.path.join(store, layout.WAL, f"{run}.main")


def hold_main(store: str, run: str) -> Lock | None:
    """What the process that opened a run calls besides `hold_run`: children may outlive it, the training does not."""
    return Lock.take(main_lock(store, run), shared=True, wait=5.0)


def main_lives(store: str, run: str) -> bool | None:
    """Whether the process that opened `run` lives; None where it never said that it was there."""
    path = main_lock(store, run)
    return is_held(path) if os.path.exists(path) else None


def exit_note(store: str, run: str) -> str:
    """Path of the file to which the C library writes the exit code of the process that opened `run`, if asked to."""
    return os.path.join(store, layout.WAL, f"{run}.exit")


def note_exit_code(store: str, run: str) -> bool:
    """Have this process's exit code written when it ends, which Python tells nobody; whether the C library can."""
    import ctypes

    library = ctypes.CDLL(None)
    library.fopen.restype = ctypes.c_void_p
    path, mode = os.fsencode(exit_note(store, run)), b"w"
    file = library.fopen(path, mode) if hasattr(library, "on_exit") else None
    # fputc(code, file) is what on_exit is made for: a function of the code and of one pointer
    return file is not None and library.on_exit(library.fputc, ctypes.c_void_p(file)) == 0


def read_exit_code(store: str, run: str) -> int | None:
    """What `note_exit_code` asked for."""
    try:
        with open(exit_note(store, run), "rb") as file:
            data = file.read(1)
    except FileNotFoundError:
        return None
    return data[0] if data else None


def hold_claims(store: str) -> Lock:
    """What a pool of replays calls before it claims cells: the name of the lock's file is their holder's."""
    directory = os.path.join(store, layout.CLAIMS)
    os.makedirs(directory, exist_ok=True)
    for name in os.listdir(directory):
        _forget_dead(os.path.join(directory, name))
    while (lock := Lock.take(os.path.join(directory, os.urandom(8).hex()))) is None:
        pass
    return lock


def claims_live(store: str, holder: str | None) -> bool:
    """Whether whoever claimed cells as `holder` still lives."""
    return bool(holder) and is_held(os.path.join(store, layout.CLAIMS, str(holder)))


def _forget_dead(path: str) -> None:
    with contextlib.suppress(OSError):
        lock = Lock.take(path)
        if lock is not None:
            lock.release(unlink=True)


def is_held(path: str) -> bool:
    """Whether a live process holds the lock file `path`; a missing file is held by nobody, an unreadable one may be."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except PermissionError:
        return True
    try:
        return not _try_lock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(descriptor)


def process_identity(pid: int) -> str | None:
    """Text that tells this life of `pid` from later ones with the same number; None if there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        return None if fields[0] in (b"Z", b"X") else f"{_boot()}:{fields[19].decode()}"
    except FileNotFoundError:
        if os.path.exists("/proc/self/stat"):
            return None
    except (OSError, IndexError):
        pass
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except OSError:
        pass
    return "unknown"


def _boot() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read(8)
    except OSError:
        return "-"


def _try_lock(descriptor: int, mode: int) -> bool:
    try:
        fcntl.flock(descriptor, mode)
    except OSError as exc:
        if exc.errno in (errno.EAGAIN, errno.EACCES, errno.EINTR):
            return False
        raise
    return True


def _is_file(path: str, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _drop_in_child() -> None:
    for lock in list(_held):
        lock.release()


os.register_at_fork(after_in_child=_drop_in_child)

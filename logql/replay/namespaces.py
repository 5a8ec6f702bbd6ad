"""Linux namespaces and mounts by system calls: what a private view of the file system is built from.

Sources: unshare(2), user_namespaces(7), mount_setattr(2), the kernel's Documentation/filesystems/overlayfs.rst.
"""

from __future__ import annotations

import ctypes
import os
import signal

NEW_USER = 0x10000000
NEW_MOUNTS = 0x00020000
NEW_PIDS = 0x20000000
_RECURSIVE = 1 << 14
_PRIVATE = 1 << 18
_DETACH = 2
_SET_PARENT_DEATH_SIGNAL = 1
_SET_CHILD_SUBREAPER = 36
_BIND = 1 << 12
_MOUNT_SETATTR = 442
_AT_FDCWD = -100
_READ_ONLY = 1

_libc = ctypes.CDLL(None, use_errno=True)


class _MountAttributes(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "user")]


def unshare(flags: int) -> None:
    """Move this process into new namespaces; OSError where the kernel or a container forbids it."""
    _check(_libc.unshare(flags), "unshare")


def write_maps(pid: int) -> None:
    """Map the ids of `pid`'s new user namespace: all of them where we may (root), else our own user alone."""
    if os.geteuid() == 0:
        try:
            _write_map(pid, "0 0 4294967295", "0 0 4294967295")
            return
        except OSError:
            pass
    with open(f"/proc/{pid}/setgroups", "w", encoding="ascii") as file:
        file.write("deny")
    uid, gid = os.geteuid(), os.getegid()
    _write_map(pid, f"{uid} {uid} 1", f"{gid} {gid} 1")


def make_private() -> None:
    """Keep mounts made here from spreading to where we came from."""
    _check(_libc.mount(b"none", b"/", None, _PRIVATE | _RECURSIVE, None), "mount --make-rprivate /")


class Layers:
    """The directories of one overlay, held as open descriptors: later mounts and commas in paths do not matter."""

    def __init__(self, lower: str, upper: str, work: str) -> None:
        self._descriptors = [os.open(path, os.O_PATH | os.O_DIRECTORY) for path in (lower, upper, work)]

    def mount(self, target: str) -> list[str]:
        """Show the lower directory at `target`, with all writes going to the upper one; returns `target`."""
        low, up, tmp = (f"/proc/self/fd/{descriptor}" for descriptor in self._descriptors)
        options = f"userxattr,lowerdir={low},upperdir={up},workdir={tmp}"
        _check(_libc.mount(b"overlay", os.fsencode(target), b"overlay", 0, options.encode()), f"overlay on {target}")
        return [target]

    def close(self) -> None:
        """Let go of the directories; what is mounted stays mounted."""
        for descriptor in self._descriptors:
            os.close(descriptor)


def bind(source: str, target: str) -> None:
    """Show what is at `source`, with all that is mounted below it, at `target` too."""
    result = _libc.mount(os.fsencode(source), os.fsencode(target), None, _BIND | _RECURSIVE, None)
    _check(result, f"mount --rbind on {target}")


def detach(target: str) -> None:
    """Take away what this process has mounted at `target`, with all that is mounted below it."""
    _check(_libc.umount2(os.fsencode(target), _DETACH), f"umount {target}")


def mount_proc() -> None:
    """Show this PID namespace's processes under /proc; containers often forbid it, then it stays as it is."""
    _libc.mount(b"proc", b"/proc", b"proc", 0, None)


def seal_proc() -> None:
    """Make the kernel's settings read-only: with root's ids mapped, they could be changed for the whole machine."""
    if _libc.mount(b"/proc/sys", b"/proc/sys", None, _BIND, None) == 0:
        set_read_only("/proc/sys")


def set_read_only(point: str) -> None:
    """Make the mount at `point` read-only in this namespace."""
    attributes = _MountAttributes(_READ_ONLY, 0, 0, 0)
    size = ctypes.sizeof(attributes)
    result = _libc.syscall(_MOUNT_SETATTR, _AT_FDCWD, os.fsencode(point), 0, ctypes.byref(attributes), size)
    _check(result, f"mount_setattr {point}")


def mount_points() -> list[str]:
    """Where something is mounted in this namespace."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        points = [line.split(" ")[4] for line in file]
    return [_unescape(point) for point in points]


def die_with_parent(parent: int | None = None) -> None:
    """Have the kernel kill this process when its parent dies; exits at once where it is dead already."""
    if hasattr(_libc, "prctl"):
        _libc.prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
    if parent is not None and os.getppid() != parent:
        os._exit(137)


def adopt_orphans() -> None:
    """Become the parent of descendants whose parents die, so that none is lost from sight."""
    if hasattr(_libc, "prctl"):
        _libc.prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def flush_c_output() -> None:
    """Flush what C code of this process has printed."""
    _libc.fflush(None)


def _write_map(pid: int, users: str, groups: str) -> None:
    for name, text in (("uid_map", users), ("gid_map", groups)):
        with open(f"/proc/{pid}/{name}", "w", encoding="ascii") as file:
            file.write(text)


def _unescape(point: str) -> str:
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        point = point.replace(code, character)
    return point


def _check(result: int, what: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")

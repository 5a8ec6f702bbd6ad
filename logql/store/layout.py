"""Where things lie in a store, and that nothing leads outside of it."""

from __future__ import annotations

import contextlib
import errno
import os

from logql.errors import CorruptFile, StoreError
from logql.model import Level, level_text

CATALOG = "catalog.sqlite"
LOGS = "logs"
FILLS = "fills"
WAL = "wal"
CHECKPOINTS = "checkpoints"
CODE = "code.git"
SCRATCH = "scratch"
#: Leases of running queries; see `store.leases`.
READERS = os.path.join(SCRATCH, "readers")
CLAIMS = os.path.join(SCRATCH, "claims")

_CANNOT_SYNC = frozenset((errno.EINVAL, errno.ENOTSUP, errno.ENOSYS))
_DIRECTORIES = (LOGS, FILLS, WAL, CHECKPOINTS, READERS)
_NETWORK_NAMES = (
    "nfs nfs3 nfs4 cifs smb smb2 smb3 smbfs afs afpfs ncpfs ceph lustre gpfs beegfs glusterfs davfs "
    "fuse.sshfs fuse.glusterfs fuse.ceph fuse.s3fs fuse.gcsfuse fuse.rclone fuse.davfs2 fuse.juicefs"
)
_NETWORK = frozenset(_NETWORK_NAMES.split(" "))
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")


def create(store: str) -> None:
    """Make the directories of a store, and the .gitignore that hides it from git."""
    for name in _DIRECTORIES:
        os.makedirs(os.path.join(store, name), exist_ok=True)
    ignore = os.path.join(store, ".gitignore")
    if not os.path.exists(ignore):
        with open(ignore, "w", encoding="utf-8") as file:
            file.write("*\n")
        sync(store)
        with contextlib.suppress(PermissionError):  # the directory around it may be another's
            sync(os.path.dirname(store))


def holds_rows(store: str) -> bool:
    """Whether there are recorded files, so that the catalog must be there, too."""
    try:
        return bool(os.listdir(os.path.join(store, LOGS)))
    except (FileNotFoundError, NotADirectoryError):
        return False


def is_writable(store: str) -> bool:
    """Whether this user may change the store; one that is not there yet is another question."""
    paths = (store, os.path.join(store, WAL), os.path.join(store, CATALOG))
    return all(os.access(path, os.W_OK) for path in paths if os.path.exists(path))


def sync(path: str) -> None:
    """Put a file, or a directory's entries, on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fsync(descriptor)
    finally:
        os.close(descriptor)


def fsync(descriptor: int) -> None:
    """`os.fsync`, where the file system can: some cannot for directories, or keep nothing behind the program's back."""
    try:
        os.fsync(descriptor)
    except OSError as exc:
        if exc.errno not in _CANNOT_SYNC:
            raise


def prune_directories(store: str, directory: str) -> None:
    """Remove `directory` and those around it that became empty, up to `logs/` or `fills/`."""
    while os.path.dirname(os.path.dirname(directory)) not in ("", "/", store) and directory.startswith(store + os.sep):
        try:
            os.rmdir(directory)
        except OSError:
            return
        directory = os.path.dirname(directory)


def inside(store: str, relative: str) -> str:
    """Absolute path of `relative`, a path that a catalog or a file names; CorruptFile where it leaves the store."""
    parts = relative.split("/")
    if not relative or "\0" in relative or os.path.isabs(relative) or any(part in ("", ".", "..") for part in parts):
        raise CorruptFile(f"the catalog names a path outside of the store: {relative!r}", hint="logql doctor --rebuild")
    path = os.path.join(store, *parts)
    root = os.path.realpath(store)
    if os.path.commonpath([root, os.path.realpath(path)]) != root:
        raise CorruptFile(f"{path} leads outside of the store", hint="remove the link, then logql doctor --repair")
    return path


def level_directory(level: Level | str) -> str:
    """Directory name of a level: `epoch.step`, with every unsafe byte of a loop's name percent-encoded.

    The level `output` keeps that name; a loop called `output` or `run` is told apart by an encoded first letter.
    """
    if isinstance(level, str):
        return level
    if level in (("output",), ("run",)):
        return f"%{ord(level[0][0]):02X}{level[0][1:]}"
    return ".".join(_encode(name) for name in level) if level else level_text(level)


def level_of(directory: str) -> Level | str:
    """The level that `level_directory` named."""
    if directory == "output":
        return directory
    if directory == "run":
        return ()
    return tuple(_decode(part) for part in directory.split("."))


def refuse_network(store: str) -> None:
    """Raise StoreError where `store` lies on a network file system: SQLite's and our locks do not hold there."""
    kind = file_system(store)
    if kind in _NETWORK:
        raise StoreError(
            f"the store {store} lies on a network file system ({kind}), where locks do not hold",
            hint="keep it on a local disk: set LOGQL_STORE, or `store` in [tool.logql] of pyproject.toml",
        )


def file_system(path: str) -> str | None:
    """Type of the file system that holds `path` as /proc/self/mountinfo names it; None where there is no such list."""
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            mounts = [_mount(line) for line in file]
    except OSError:
        return None
    path = os.path.realpath(path)
    found, kind = "", None
    for point, type_ in mounts:
        if len(point) >= len(found) and (path == point or path.startswith(point.rstrip("/") + "/")):
            found, kind = point, type_
    return kind


def _mount(line: str) -> tuple[str, str]:
    fields = line.split(" ")
    point = fields[4].replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")
    return point, fields[fields.index("-", 5) + 1]


def _encode(name: str) -> str:
    return "".join(c if c in _PLAIN else "".join(f"%{b:02X}" for b in c.encode("utf-8", "surrogatepass")) for c in name)


def _decode(text: str) -> str:
    out = bytearray()
    position = 0
    while position < len(text):
        if text[position] == "%":
            out.append(int(text[position + 1 : position + 3], 16))
            position += 3
        else:
            out += text[position].encode()
            position += 1
    return out.decode("utf-8", "surrogatepass")

"""One SQLite connection to a catalog, safe to use from several threads and after a fork."""

from __future__ import annotations

import os
import sqlite3
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from logql.errors import CorruptFile, StoreError
from logql.store import layout, schema
from logql.store.liveness import Lock

BUSY_MS = 60_000

_open: weakref.WeakSet[Connection] = weakref.WeakSet()
_forking: list[Connection] = []


class Connection:
    """`write()` and `read()` give transactions; a lock makes them one at a time per process."""

    def __init__(self, store: str, read_only: bool, busy_ms: int = BUSY_MS) -> None:
        """`busy_ms` is how long to wait for another's transaction."""
        self.path = os.path.join(store, layout.CATALOG)
        self.read_only = read_only
        self._busy_ms = busy_ms
        self._lock = threading.RLock()
        self._closed = False
        self._connection: sqlite3.Connection | None = None
        self._directory_synced = False
        with self._errors():
            schema.check_format(self._use(), self.path, read_only)
        _open.add(self)

    def close(self) -> None:
        """Close it; further use raises StoreError."""
        with self._lock:
            self._closed = True
            if self._connection is not None:
                self._connection.close()
            self._connection = None

    @contextmanager
    def write(self, *, durable: bool = False) -> Iterator[Transaction]:
        """A BEGIN IMMEDIATE transaction; with `durable` its commit survives a power failure."""
        if self.read_only:
            raise StoreError(f"{self.path} was opened for reading only")
        with self._lock, self._errors():
            connection = self._use()
            connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            connection.execute("BEGIN IMMEDIATE")
            try:
                connection.execute("UPDATE counters SET changes = changes + 1")
                (rev,) = connection.execute("SELECT changes FROM counters").fetchone()
                yield Transaction(connection, rev)
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def sync(self) -> None:
        """Return when all that was committed is on the disk: a commit that is not `durable` may be with the system.

        The catalog itself is never opened here: to close it would drop SQLite's locks.
        """
        with self._lock, suppress(FileNotFoundError):
            layout.sync(self.path + "-wal")
            if not self._directory_synced:
                layout.sync(os.path.dirname(self.path))
                self._directory_synced = True

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """One consistent snapshot of all tables."""
        with self._lock, self._errors():
            connection = self._use()
            if connection.in_transaction:
                yield connection
                return
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                connection.rollback()

    def _use(self) -> sqlite3.Connection:
        if self._closed:
            raise StoreError(f"{self.path} was closed")
        if self._connection is None:
            self._connection = _connect(self.path, self.read_only, self._busy_ms)
            self._directory_synced = False
        return self._connection

    def before_fork(self) -> None:
        """Close the connection: SQLite must not be carried through a fork. It opens again at its next use."""
        self._lock.acquire()
        if self._connection is not None and not self._connection.in_transaction:
            self._connection.close()
            self._connection = None

    def after_fork(self) -> None:
        """Let other threads use it again."""
        self._lock.release()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as exc:
            raise StoreError(f"{self.path}: {exc}", hint=_hint(str(exc))) from exc
        except sqlite3.IntegrityError as exc:
            raise StoreError(f"{self.path}: {exc}") from exc
        except sqlite3.DatabaseError as exc:
            raise CorruptFile(f"{self.path} is damaged: {exc}", hint="logql doctor --rebuild") from exc


class Transaction:
    """An open write transaction; `rev` is the change counter that its rows carry."""

    __slots__ = ("connection", "rev")

    def __init__(self, connection: sqlite3.Connection, rev: int) -> None:
        self.connection = connection
        self.rev = rev

    def execute(self, sql: str, values: tuple[object, ...] | dict[str, object] = ()) -> sqlite3.Cursor:
        return self.connection.execute(sql, values)

    def upsert(self, table: str, row: dict[str, object], keys: tuple[str, ...], where: str = "") -> None:
        """Insert `row` with this transaction's rev, or replace the one with the same `keys` (if `where` allows)."""
        row = {**row, "rev": self.rev}
        changed = ", ".join(f"{name} = excluded.{name}" for name in row if name not in keys)
        self.connection.execute(
            f"INSERT INTO {table} ({', '.join(row)}) VALUES ({', '.join('?' * len(row))}) "
            f"ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {changed} {where}",
            tuple(row.values()),
        )

    def removed(self) -> None:
        """Tell readers that rows are gone, so that they load everything anew."""
        self.connection.execute("UPDATE counters SET removals = removals + 1")


def create(store: str) -> None:
    """Make the catalog of a new store; several processes may try at once."""
    layout.create(store)
    path = os.path.join(store, layout.CATALOG)
    lock = Lock.take(os.path.join(store, layout.SCRATCH, "create.lock"), wait=30.0)
    try:
        if not os.path.exists(path) or os.path.getsize(path) == 0:
            _create_at(path + ".new")
            layout.sync(path + ".new")
            os.replace(path + ".new", path)
            layout.sync(store)
    except sqlite3.OperationalError as exc:
        raise StoreError(f"cannot create {path}: {exc}", hint=_hint(str(exc))) from exc
    except sqlite3.DatabaseError as exc:
        raise CorruptFile(f"{path} is damaged: {exc}", hint="logql doctor --rebuild") from exc
    finally:
        if lock is not None:
            lock.release()


def _create_at(path: str) -> None:
    """Make a whole catalog under a name that nobody opens, so that one with its own name has all tables."""
    for left in (path, path + "-wal", path + "-shm"):
        with suppress(FileNotFoundError):
            os.unlink(left)
    connection = sqlite3.connect(path, timeout=BUSY_MS / 1000, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        schema.create(connection)
    finally:
        connection.close()


def _connect(path: str, read_only: bool, busy_ms: int) -> sqlite3.Connection:
    if not read_only:
        return _opened(path, busy_ms)
    uri = "file:" + path.replace("%", "%25").replace("?", "%3f").replace("#", "%23") + "?mode=ro"
    try:
        return _opened(uri, busy_ms, uri=True)
    except sqlite3.OperationalError:
        return _opened(uri + "&immutable=1", busy_ms, uri=True)


def _opened(path: str, busy_ms: int, uri: bool = False) -> sqlite3.Connection:
    connection = sqlite3.connect(path, uri=uri, isolation_level=None, check_same_thread=False)
    try:
        connection.execute(f"PRAGMA busy_timeout = {busy_ms}")
        connection.execute("PRAGMA trusted_schema = OFF")
        if uri:  # what can only be read may be in a folder that cannot hold SQLite's own files
            connection.execute("SELECT 1 FROM sqlite_master").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection


def _hint(message: str) -> str | None:
    if "readonly" in message or "unable to open" in message:
        return "is the directory writable? A store can be read with read_only=True"
    if "full" in message:
        return "free some space; what was recorded so far is kept"
    if "no such" in message:
        return "the catalog lacks a table or column: logql doctor --rebuild"
    return None


def _before_fork() -> None:
    _forking.extend(_open)
    for connection in _forking:
        connection.before_fork()


def _after_fork() -> None:
    while _forking:
        _forking.pop().after_fork()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)

"""The tables of `catalog.sqlite`, and how an older store becomes a newer one.

Rows that readers cache carry `rev`, the change counter of the transaction that wrote them; removing rows counts in
`counters.removals` (of files: `file_removals`), after which a reader loads everything (all files) anew.
"""

from __future__ import annotations

import sqlite3

from logql.errors import CorruptFile, StoreError, StoreTooNew
from logql.settings import FORMAT_VERSION

TABLES = """
CREATE TABLE settings (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE counters (
    id INTEGER PRIMARY KEY CHECK (id = 0), changes INTEGER NOT NULL, seals INTEGER NOT NULL,
    removals INTEGER NOT NULL, file_removals INTEGER NOT NULL);
INSERT INTO counters VALUES (0, 1, 0, 0, 0);

CREATE TABLE texts (id INTEGER PRIMARY KEY, text TEXT UNIQUE NOT NULL);
CREATE TABLE versions (
    id TEXT PRIMARY KEY, ordinal INTEGER UNIQUE NOT NULL, commit_id TEXT NOT NULL, parents TEXT NOT NULL, branch TEXT,
    author TEXT, message TEXT, committed_at REAL, dirty INTEGER NOT NULL, rev INTEGER NOT NULL);
CREATE INDEX versions_rev ON versions (rev);
CREATE TABLE runs (
    key INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE NOT NULL, version TEXT NOT NULL, script TEXT NOT NULL,
    argv TEXT NOT NULL, status TEXT NOT NULL, started_at REAL NOT NULL, project TEXT NOT NULL, cwd TEXT NOT NULL,
    name TEXT, ended_at REAL, host TEXT, user TEXT, pid INTEGER, python TEXT, tags TEXT NOT NULL, error TEXT,
    ranks INTEGER NOT NULL, args TEXT NOT NULL, environment TEXT NOT NULL,
    shape INTEGER, unsealed INTEGER NOT NULL DEFAULT 1, rev INTEGER NOT NULL);
CREATE INDEX runs_rev ON runs (rev);
CREATE INDEX runs_unsealed ON runs (key) WHERE unsealed;
CREATE TABLE main_loops (
    run TEXT NOT NULL, loop TEXT NOT NULL, entry INTEGER NOT NULL, file TEXT, line INTEGER, function TEXT,
    iterations INTEGER NOT NULL, finished INTEGER NOT NULL, seconds REAL NOT NULL, setup_seconds REAL NOT NULL,
    ordinal INTEGER NOT NULL, rev INTEGER NOT NULL, PRIMARY KEY (run, loop, entry)) WITHOUT ROWID;
CREATE INDEX main_loops_rev ON main_loops (rev);
CREATE TABLE checkpoints (
    run TEXT NOT NULL, rank INTEGER NOT NULL, loop TEXT NOT NULL, entry INTEGER NOT NULL, idx INTEGER NOT NULL,
    seq INTEGER NOT NULL, manifest TEXT, bytes INTEGER NOT NULL, seconds REAL NOT NULL, reason TEXT, by_ TEXT NOT NULL,
    taken_at REAL NOT NULL, rev INTEGER NOT NULL, PRIMARY KEY (run, rank, loop, entry, idx)) WITHOUT ROWID;
CREATE INDEX checkpoints_rev ON checkpoints (rev);
CREATE TABLE fills (
    id TEXT PRIMARY KEY, query TEXT NOT NULL, run TEXT NOT NULL, version TEXT NOT NULL, names TEXT NOT NULL, loop TEXT,
    entry INTEGER NOT NULL, first_index INTEGER, last_index INTEGER, state TEXT NOT NULL, executed INTEGER NOT NULL,
    compared INTEGER NOT NULL, estimated_s REAL NOT NULL, actual_s REAL NOT NULL, fidelity TEXT, error TEXT, log TEXT,
    started_at REAL NOT NULL, covered TEXT, levels TEXT NOT NULL, pid INTEGER, process TEXT, rev INTEGER NOT NULL);
CREATE INDEX fills_rev ON fills (rev);
CREATE INDEX fills_running ON fills (run) WHERE state = 'running';

CREATE TABLE files (
    id INTEGER PRIMARY KEY AUTOINCREMENT, path TEXT UNIQUE NOT NULL, kind TEXT NOT NULL, level TEXT NOT NULL,
    rows INTEGER NOT NULL, bytes INTEGER NOT NULL, first_version INTEGER NOT NULL, last_version INTEGER NOT NULL,
    first_epoch INTEGER NOT NULL, last_epoch INTEGER NOT NULL, columns INTEGER NOT NULL, checksum TEXT NOT NULL,
    rev INTEGER NOT NULL);
CREATE INDEX files_rev ON files (rev);
CREATE TABLE file_runs (file INTEGER NOT NULL, run INTEGER NOT NULL, PRIMARY KEY (file, run)) WITHOUT ROWID;
CREATE INDEX file_runs_run ON file_runs (run);
CREATE TABLE file_fills (file INTEGER NOT NULL, fill TEXT NOT NULL, PRIMARY KEY (file, fill)) WITHOUT ROWID;
CREATE TABLE staged (path TEXT PRIMARY KEY, owner TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX staged_owner ON staged (owner);
CREATE TABLE superseded (path TEXT PRIMARY KEY, rev INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE sealed (stream TEXT PRIMARY KEY, run TEXT NOT NULL, next INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE names (name TEXT PRIMARY KEY, stored TEXT UNIQUE NOT NULL) WITHOUT ROWID;
CREATE TABLE renamed (old TEXT PRIMARY KEY, new TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE taken (folded TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE kept (kind TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (kind, key)) WITHOUT ROWID;
"""

#: Steps from format n to n + 1, as SQL scripts, run in one transaction when a newer logql opens an older store.
MIGRATIONS: dict[int, str] = {}


def create(connection: sqlite3.Connection) -> None:
    """Make the tables in one transaction; does nothing where another process was first."""
    connection.execute("BEGIN IMMEDIATE")
    if not has_tables(connection):
        for statement in TABLES.split(";\n"):
            connection.execute(statement)
        connection.execute("INSERT INTO settings VALUES ('format', ?)", (FORMAT_VERSION,))
    connection.execute("COMMIT")


def has_tables(connection: sqlite3.Connection) -> bool:
    """Whether the catalog was made; a file of zero bytes is one that its maker died in."""
    return bool(connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'settings'").fetchone())


def check_format(connection: sqlite3.Connection, path: str, read_only: bool) -> None:
    """Migrate an older catalog; StoreTooNew for a newer one."""
    row = connection.execute("SELECT value FROM settings WHERE key = 'format'").fetchone()
    if row is None or not isinstance(row[0], int):
        raise CorruptFile(f"{path} names no format version", hint="logql doctor --rebuild")
    if row[0] > FORMAT_VERSION:
        raise StoreTooNew(
            f"{path} has format {row[0]}, this logql reads up to {FORMAT_VERSION}", hint="pip install --upgrade logql"
        )
    if row[0] < FORMAT_VERSION and read_only:
        raise StoreError(
            f"{path} has format {row[0]}, this logql reads {FORMAT_VERSION}",
            hint="open it once where it may be written: that brings it up to date",
        )
    if row[0] < FORMAT_VERSION:
        _migrate(connection)


def _migrate(connection: sqlite3.Connection) -> None:
    """Take every step in one transaction; of several processes the first does."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        (found,) = connection.execute("SELECT value FROM settings WHERE key = 'format'").fetchone()
        for step in range(found, FORMAT_VERSION):
            for statement in MIGRATIONS[step].split(";\n"):
                connection.execute(statement)
        connection.execute("UPDATE settings SET value = max(value, ?) WHERE key = 'format'", (FORMAT_VERSION,))
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")

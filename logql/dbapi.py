"""PEP 249: logql.connect(), connections and cursors, with results as Arrow, pandas and polars too.

apilevel 2.0; threadsafety 2 (threads may share the module and connections); paramstyle qmark, and named (`$name`).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import TYPE_CHECKING, Any

from logql.errors import (
    DatabaseError,
    DataError,
    Error,
    IntegrityError,
    InterfaceError,
    InternalError,
    Interrupted,
    NotSupportedError,
    OperationalError,
    ProgrammingError,
    Warning,
)
from logql.options import Options
from logql.pep249 import (
    BINARY,
    DATETIME,
    NUMBER,
    ROWID,
    STRING,
    Binary,
    Date,
    DateFromTicks,
    Time,
    TimeFromTicks,
    Timestamp,
    TimestampFromTicks,
)
from logql.rows import Result
from logql.session import Session
from logql.settings import locate
from logql.sql.parameters import Parameters, check_parameters
from logql.sql.split import main_word, split_statements

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow as pa

__all__ = [
    "BINARY",
    "DATETIME",
    "NUMBER",
    "ROWID",
    "STRING",
    "Binary",
    "Connection",
    "Cursor",
    "DataError",
    "DatabaseError",
    "Date",
    "DateFromTicks",
    "Error",
    "IntegrityError",
    "InterfaceError",
    "InternalError",
    "NotSupportedError",
    "OperationalError",
    "ProgrammingError",
    "Time",
    "TimeFromTicks",
    "Timestamp",
    "TimestampFromTicks",
    "Warning",
    "apilevel",
    "connect",
    "dataframe",
    "paramstyle",
    "sql",
    "threadsafety",
]

apilevel = "2.0"
threadsafety = 2
paramstyle = "qmark"

#: Statements that change rows of own tables.
_CHANGES = ("INSERT", "UPDATE", "DELETE", "MERGE")

Row = tuple[Any, ...]
#: Name, type, display and internal size, precision, scale, and whether NULL can occur (not known of a result).
Description = list[tuple[str, str, None, None, int | None, int | None, None]]


def connect(
    store: str | os.PathLike[str] | None = None,
    *,
    replay: str = "auto",
    database: str | None = None,
    read_only: bool = False,
) -> Connection:
    """Connect to a store: `store`, else the one of the project around the working directory.

    `replay` is 'auto', 'ask' or 'off'. Own tables live in memory, or in the file `database`.
    Raises StoreError where there is no store.
    """
    location = locate(os.getcwd(), os.fspath(store) if store is not None else None)
    project = location.project
    if store is not None and os.path.basename(location.store) == ".logql":
        project = os.path.dirname(location.store)
    options = Options().set("replay", replay)
    return Connection(Session(location.store, project, options=options, database=database, read_only=read_only))


def sql(query: str, parameters: Parameters = None) -> Cursor:
    """Run `query` on the store of the working directory's project; the cursor of its last statement."""
    connection = connect()
    cursor = connection.cursor()
    cursor.execute(query, parameters)
    cursor._owned = connection
    return cursor


def dataframe(*names: str) -> pandas.DataFrame:
    """The logged `names` (all, if none is given) with the columns of their contexts, one row per context."""
    with connect() as connection:
        schema = connection.session.world().schema
        wanted = ["run", "version", *schema.loops, *names] if names else ["*"]
        columns = ", ".join(name if name == "*" else '"' + name.replace('"', '""') + '"' for name in wanted)
        return connection.execute(f"SELECT {columns} FROM history.logs").df()


#: Seconds between two attempts to stop what runs on a connection that is to be closed.
_CLOSING_S = 0.2


class Connection:
    """A connection to one store. Cursors share it; statements run one at a time."""

    Warning = Warning
    Error = Error
    InterfaceError = InterfaceError
    DatabaseError = DatabaseError
    DataError = DataError
    OperationalError = OperationalError
    IntegrityError = IntegrityError
    InternalError = InternalError
    ProgrammingError = ProgrammingError
    NotSupportedError = NotSupportedError

    def __init__(self, session: Session) -> None:
        self.session = session
        self._lock = threading.RLock()
        self._closed = False

    @property
    def progress(self) -> Callable[[Any], None] | None:
        """Called with a `replay.job.Progress` while a query replays."""
        return self.session.progress

    @progress.setter
    def progress(self, report: Callable[[Any], None] | None) -> None:
        self.session.progress = report

    def cursor(self) -> Cursor:
        """A new cursor."""
        self._check()
        return Cursor(self)

    def execute(self, query: str, parameters: Parameters = None) -> Cursor:
        """Run `query` on a new cursor."""
        return self.cursor().execute(query, parameters)

    def commit(self) -> None:
        """Commit the transaction on own tables, if one was begun."""
        self._transaction("COMMIT")

    def rollback(self) -> None:
        """Roll back the transaction on own tables, if one was begun."""
        self._transaction("ROLLBACK")

    def interrupt(self) -> None:
        """Cancel the statement that is running, from another thread; what it filled is kept."""
        self._check()
        self.session.interrupt()

    def close(self) -> None:
        """Close the connection; what another thread runs on it is cancelled. Raises InterfaceError if it is closed."""
        self._check()
        while not self._lock.acquire(timeout=_CLOSING_S):
            self.session.interrupt()
        try:
            self._check()
            self._closed = True
            self.session.close()
        finally:
            self._lock.release()

    def _transaction(self, statement: str) -> None:
        self._check()
        with self._lock:
            try:
                self.session.engine.execute(statement)
            except Error as error:
                if "no transaction" not in str(error):
                    raise

    def _check(self) -> None:
        if self._closed:
            raise InterfaceError("the connection is closed")

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._closed:
            self.close()


class Cursor:
    """Runs statements and holds the result of the last one."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.arraysize = 1
        self.description: Description | None = None
        self.rowcount = -1
        self.messages: list[tuple[type[Warning], str]] = []
        self._result: Result | None = None
        self._closed = False
        self._owned: Connection | None = None

    def execute(self, query: str, parameters: Parameters = None) -> Cursor:
        """Run one or several statements; the result is the last one's. Parameters go to a single statement."""
        self._check()
        check_parameters(parameters)
        statements = split_statements(query)
        if not statements:
            raise ProgrammingError("there is no statement")
        if len(statements) > 1 and parameters:
            raise ProgrammingError("parameters go with one statement at a time")
        self.messages = []
        with self.connection._lock:
            for statement in statements:
                self._run(statement, parameters)
        return self

    def _run(self, statement: str, parameters: Parameters) -> None:
        session = self.connection.session
        self._clear()
        try:
            outcome = session.execute(statement, parameters)
        except KeyboardInterrupt:
            session.interrupt()
            raise Interrupted("the query was cancelled; what was filled is kept") from None
        self.messages += [(Warning, notice) for notice in outcome.notices]
        answer = outcome.answer
        self.rowcount = answer.count
        if answer.types:
            self._result = result = Result(answer)
            self.rowcount = result.count
            self.description = [
                (name, type_, None, None, *_digits(type_), None)
                for name, type_ in zip(result.names, result.types, strict=True)
            ]

    def executemany(self, query: str, parameters: Iterable[Sequence[object] | Mapping[str, object]]) -> Cursor:
        """Run a statement once per set of parameters; one that changes own tables does so for all sets or none."""
        sets = list(parameters)
        count = self._insert_rows(query, sets)
        if count is None:
            with self.connection._lock, self._together(query):
                count = sum(max(self.execute(query, each).rowcount, 0) for each in sets)
        self.rowcount = count
        return self

    def _together(self, query: str) -> AbstractContextManager[object]:
        """A transaction for what changes rows."""
        self._check()
        changes = main_word(query) in _CHANGES
        return self.connection.session.engine.all_or_none() if changes else nullcontext()

    def _insert_rows(self, query: str, sets: Sequence[Any]) -> int | None:
        """Insert all rows at once, where the statement is an INSERT of one row and its values are simple."""
        self._check()
        statements = split_statements(query)
        if len(statements) != 1 or len(sets) < 2 or not all(isinstance(each, (list, tuple)) for each in sets):
            return None
        with self.connection._lock:
            self._clear()
            self.messages = []
            return self.connection.session.insert_rows(statements[0], sets)

    def fetchone(self) -> Row | None:
        """The next row, or None."""
        rows = self._fetched(1)
        return rows[0] if rows else None

    def fetchmany(self, size: int | None = None) -> list[Row]:
        """The next rows, `arraysize` by default."""
        return self._fetched(self.arraysize if size is None else size)

    def fetchall(self) -> list[Row]:
        """All rows that are left."""
        return self._fetched(None)

    def arrow(self) -> pa.Table:
        """The whole result as an Arrow table. Of a large one, no rows may have been fetched."""
        return self._open_result().table()

    def fetch_record_batch(self, rows: int = 100_000) -> pa.RecordBatchReader:
        """The whole result as an Arrow reader, in batches of up to `rows` rows; a large one is read only once."""
        return self._open_result().reader(rows)

    def df(self) -> pandas.DataFrame:
        """The whole result as a pandas DataFrame."""
        _need("pandas")
        frame: pandas.DataFrame = self.arrow().to_pandas()
        return frame

    def pl(self) -> polars.DataFrame:
        """The whole result as a polars DataFrame."""
        frame: polars.DataFrame = _need("polars").from_arrow(self.arrow())
        return frame

    def setinputsizes(self, sizes: Sequence[object]) -> None:
        """Does nothing (PEP 249 allows that)."""

    def setoutputsize(self, size: int, column: int | None = None) -> None:
        """Does nothing (PEP 249 allows that)."""

    def close(self) -> None:
        """Close the cursor; a second time does nothing."""
        self._closed = True
        self._clear()
        owned, self._owned = self._owned, None
        if owned is not None:
            owned.close()

    def _clear(self) -> None:
        if self._result is not None:
            self._result.close()
        self._result, self.description, self.rowcount = None, None, -1

    def _fetched(self, most: int | None) -> list[Row]:
        result = self._open_result()
        try:
            return result.fetch(most)
        except KeyboardInterrupt:
            self.connection.session.interrupt()
            raise Interrupted("the query was cancelled; what was filled is kept") from None

    def _open_result(self) -> Result:
        self._check()
        if self._result is None:
            raise ProgrammingError("the last statement gave no result")
        return self._result

    def _check(self) -> None:
        if self._closed:
            raise InterfaceError("the cursor is closed")
        self.connection._check()

    def __iter__(self) -> Iterator[Row]:
        while (row := self.fetchone()) is not None:
            yield row

    def __enter__(self) -> Cursor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _digits(type_: str) -> tuple[int | None, int | None]:
    """The precision and scale of a DECIMAL."""
    if not (type_.startswith("DECIMAL(") and type_.endswith(")")):
        return None, None
    precision, _, scale = type_.removeprefix("DECIMAL(").removesuffix(")").partition(",")
    return int(precision), int(scale)


def _need(package: str) -> Any:
    import importlib

    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise NotSupportedError(f"{package} is not installed", hint=f"pip install 'logql[{package}]'") from error

"""One client's session: its statements as logql's, run off the event loop, within limits."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, TypeVar

import sqlglot
from mysql_mimic.errors import ErrorCode, MysqlError
from mysql_mimic.results import ResultSet
from mysql_mimic.session import Query
from mysql_mimic.session import Session as MimicSession
from sqlglot import exp
from sqlglot.errors import SqlglotError

from logql import errors
from logql.dbapi import Connection
from logql.serve.mysql import with_engines_functions
from logql.serve.results import result_of
from logql.serve.schema import DATABASE, InfoSchema, create_table
from logql.serve.variables import session_variables
from logql.sql.parameters import write_parameters

T = TypeVar("T")
#: A query that could not be read as MySQL's is given to the engine as it was written.
_AS_WRITTEN = "as_written"
_AGAIN_S = 0.2
_COLOURS = re.compile("\x1b\\[[0-9;]*m")


class ClientSession(MimicSession):  # type: ignore[misc]
    """Answers one client. The connection to the store is opened by its first query."""

    def __init__(self, connect: Callable[[], Connection], executor: Executor, timeout_s: float, most_rows: int) -> None:
        super().__init__(session_variables())
        self.database = DATABASE
        self.authenticated = False
        self._connect = connect
        self._executor = executor
        self._timeout_s = timeout_s
        self._most_rows = most_rows
        self._opened: Connection | None = None
        # Queries without a table, too, are for the engine: the default evaluates them as Python.
        self.middlewares.remove(self._static_query_middleware)

    async def init(self, connection: Any) -> None:
        """Refuse a client whose login failed: it has been told, and the protocol's loop would still serve it."""
        if self.username is None:
            raise MysqlError("Access denied", ErrorCode.ACCESS_DENIED_ERROR)
        self.authenticated = True
        self.database = self.database or DATABASE
        await super().init(connection)

    async def close(self) -> None:
        """Give back the connection to the store."""
        await super().close()
        if self._opened is not None:
            opened, self._opened = self._opened, None
            await asyncio.get_running_loop().run_in_executor(self._executor, opened.close)

    async def use(self, database: str) -> None:
        """Take a database: there is one, and what describes it."""
        if database.lower() not in (DATABASE, "information_schema", "mysql", "performance_schema", "sys"):
            raise MysqlError(f"Unknown database '{database}'; there is {DATABASE}", ErrorCode.NO_DB_ERROR)
        self.database = database.lower()

    async def schema(self) -> InfoSchema:
        """What is answered for SHOW and information_schema."""
        return InfoSchema(await self._off_loop(self._reader))

    async def query(self, expression: exp.Expr, sql: str, attrs: dict[str, str]) -> Any:  # noqa: ARG002
        """Run a query."""
        text = _engine_text(expression, sql)
        return await self._off_loop(lambda: result_of(self._reader().execute(text), self._most_rows))

    async def describe(self, sql: str, parameters: int) -> ResultSet:
        """The columns that a statement will give, without its rows; none where that shows only when it runs."""
        try:
            (tree,) = self._parse(sql)
            text = write_parameters(_engine_text(tree, sql), [None] * parameters)
            return await self._off_loop(lambda: self._columns(f"SELECT * FROM ({text}) LIMIT 0"))
        except (MysqlError, ValueError):
            return ResultSet([], [])

    def _columns(self, sql: str) -> ResultSet:
        """The columns of a query; nothing is replayed for them."""
        reader = self._reader()
        kept = reader.session.options
        reader.session.options = kept.set("replay", "off")
        try:
            return result_of(reader.execute(sql), self._most_rows)
        finally:
            reader.session.options = kept

    async def _set_middleware(self, q: Query) -> Any:
        """SET of a computed value, as JDBC computes the SQL mode from what it is: taken in and ignored."""
        items = list(q.expression.expressions) if isinstance(q.expression, exp.Set) else []
        for item in items:
            if isinstance(item.this, exp.EQ) and isinstance(item.this.expression, exp.Func):
                item.pop()
        return await super()._set_middleware(q)

    async def _show(self, expression: exp.Show) -> Any:
        if expression.name.upper() == "CREATE TABLE":
            name = expression.text("target") or expression.text("this")
            text = await self._off_loop(lambda: create_table(self._reader(), name))
            return [(name, text)], ["Table", "Create Table"]
        return await super()._show(expression)

    def _parse(self, sql: str) -> list[exp.Expr]:
        """Statements of MySQL's; what only DuckDB's SQL has is kept as it was written."""
        try:
            return [each for each in sqlglot.parse(sql, dialect="mysql") if each]
        except SqlglotError as error:
            try:
                found = [each for each in sqlglot.parse(sql, dialect="duckdb") if each]
            except SqlglotError:
                text = _COLOURS.sub("", str(error))
                raise MysqlError(f"You have an error in your SQL: {text}", ErrorCode.PARSE_ERROR) from error
            if len(found) == 1:
                found[0].meta[_AS_WRITTEN] = True
            return found

    def _reader(self) -> Connection:
        if self._opened is None:
            self._opened = self._connect()
        return self._opened

    async def _off_loop(self, work: Callable[[], T]) -> T:
        """Run `work` in a thread; when time is up or the client is gone, what it runs is interrupted."""
        future = self._executor.submit(work)
        waiter = asyncio.wrap_future(future)
        try:
            return await asyncio.wait_for(asyncio.shield(waiter), self._timeout_s or None)
        except errors.Error as error:
            raise MysqlError(str(error), _code(error)) from error
        except TimeoutError as error:
            await self._give_up(future, waiter)
            raise MysqlError(f"the query took longer than {self._timeout_s:g} s and was cancelled") from error
        except asyncio.CancelledError:
            await self._give_up(future, waiter)
            raise

    async def _give_up(self, future: Future[T], waiter: asyncio.Future[T]) -> None:
        """Take work back that waits for its turn, else interrupt it until it ends: it may be between two statements."""
        while not future.cancel() and not future.done():
            if self._opened is not None:
                self._opened.interrupt()
            await asyncio.wait([waiter], timeout=_AGAIN_S)
        await asyncio.wait([waiter])
        if not waiter.cancelled():
            waiter.exception()


def _engine_text(expression: exp.Expr, sql: str) -> str:
    """A query in DuckDB's SQL. Raises MysqlError for what is no query: clients read."""
    query, prefix = expression, ""
    if isinstance(expression, exp.Describe) and isinstance(expression.this, exp.Query):
        query, prefix = expression.this, "EXPLAIN "
    if not isinstance(query, exp.Query) or query.find(exp.Into, exp.DML, exp.DDL, exp.Command) is not None:
        word = (sql.split() or ["this"])[0].upper()
        raise MysqlError(
            f"{word} is not possible here: clients of logql serve can only read", ErrorCode.NOT_SUPPORTED_YET
        )
    if expression.meta.get(_AS_WRITTEN):
        return sql.rstrip().rstrip(";")
    tree = with_engines_functions(query)
    for node in tree.find_all(exp.Table, exp.Column):
        if node.text("db").lower() == DATABASE:
            node.set("db", None)
            node.set("catalog", None)
    return prefix + tree.sql(dialect="duckdb")


def _code(error: errors.Error) -> ErrorCode:
    if isinstance(error, errors.NotSupportedError):
        return ErrorCode.NOT_SUPPORTED_YET
    return ErrorCode.PARSE_ERROR if isinstance(error, errors.ProgrammingError) else ErrorCode.UNKNOWN_ERROR

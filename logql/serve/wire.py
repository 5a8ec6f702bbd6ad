"""The protocol where mysql-mimic leaves out what drivers rely on: shapes of columns, columns of prepared statements.

Without the shape of a DECIMAL, ODBC drops the digits behind its point; without the columns of a prepared statement, all
columns but the first; a cursor would lose a row at every fetch; and TLS fails where a client is quick.
"""

from __future__ import annotations

import asyncio
import ssl
import struct
from collections.abc import Iterator
from itertools import islice
from typing import Any

from mysql_mimic import MysqlServer, packets, types
from mysql_mimic.connection import Connection
from mysql_mimic.control import TooManyConnections
from mysql_mimic.errors import ErrorCode
from mysql_mimic.prepared import REGEX_PARAM, PreparedStatement
from mysql_mimic.results import ResultSet
from mysql_mimic.stream import MysqlStream
from mysql_mimic.types import ColumnDefinition, ServerStatus

from logql.serve.results import shapes_of

#: Rows after which other clients have their turn.
_TURN = 1000


class WireConnection(Connection):  # type: ignore[misc]
    """One client's connection."""

    async def handle_stmt_prepare(self, data: bytes) -> None:
        """Take in a prepared statement; tell its parameters and columns."""
        sql = self.client_charset.decode(data)
        parameters = len(REGEX_PARAM.findall(sql))
        number = next(self.prepared_stmt_seq)
        self.prepared_stmts[number] = PreparedStatement(stmt_id=number, sql=sql, num_params=parameters)
        columns = list(self._definitions(await self.session.describe(sql, parameters)))
        head = struct.pack("<BIHHBH", 0, number, len(columns), parameters, 0, 0)
        parameter = packets.make_column_definition_41(server_charset=self.server_charset, name="?")
        found = [head, *self._ended([parameter] * parameters), *self._ended(columns)]
        self.stream.write_many(found)
        await self.stream.drain()

    async def handle_stmt_execute(self, data: bytes) -> None:
        """Run a prepared statement; its rows follow, or wait for fetches where the client wants a cursor."""
        asked = packets.parse_com_stmt_execute(
            capabilities=self.capabilities, client_charset=self.client_charset, data=data, get_stmt=self.get_stmt
        )
        asked.stmt.param_buffers = None
        result = await self.query(asked.sql, asked.query_attrs)
        if not result:
            await self.stream.write(self.ok())
            return
        head = [types.uint_len(len(result.columns)), *self._definitions(result)]
        rows = (packets.make_binary_resultrow(row, result.columns) for row in result.rows)
        if asked.use_cursor:
            asked.stmt.cursor = rows
            self.stream.write_many([*head, self.ok_or_eof(flags=ServerStatus.SERVER_STATUS_CURSOR_EXISTS)])
            await self.stream.drain()
            return
        self.stream.write_many(head if self.deprecate_eof() else [*head, self.eof()])
        while part := list(islice(rows, _TURN)):
            self.stream.write_many(part)
            await self.stream.drain()
            await asyncio.sleep(0)
        await self.stream.write(self.ok_or_eof())

    async def handle_stmt_fetch(self, data: bytes) -> None:
        """The next rows of a cursor."""
        asked = packets.parse_handle_stmt_fetch(data)
        cursor = self.get_stmt(asked.stmt_id).cursor
        part = list(islice(cursor, asked.num_rows)) if cursor is not None else []
        more = len(part) == asked.num_rows
        flags = ServerStatus.SERVER_STATUS_CURSOR_EXISTS if more else ServerStatus.SERVER_STATUS_LAST_ROW_SENT
        self.stream.write_many([*part, self.ok_or_eof(flags=flags)])
        await self.stream.drain()

    async def write_text_resultset(self, result_set: ResultSet) -> None:
        """A result as text: its columns, then its rows."""
        columns = result_set.columns
        head = packets.make_column_count(capabilities=self.capabilities, column_count=len(columns))
        end = [] if self.deprecate_eof() else [self.eof()]
        self.stream.write_many([head, *self._definitions(result_set), *end])
        rows = list(result_set.rows)
        for start in range(0, len(rows), _TURN):
            self.stream.write_text_rows(rows[start : start + _TURN], columns)
            await self.stream.drain()
            await asyncio.sleep(0)
        await self.stream.write(self.ok_or_eof())

    def _definitions(self, result: ResultSet) -> Iterator[bytes]:
        for column, shape in zip(result.columns, shapes_of(result), strict=True):
            yield packets.make_column_definition_41(
                server_charset=self.server_charset,
                name=column.name,
                column_type=column.type,
                character_set=column.character_set,
                column_length=shape.length,
                decimals=shape.decimals,
                flags=ColumnDefinition(shape.flags),
            )

    def _ended(self, definitions: list[bytes]) -> list[bytes]:
        return [*definitions, self.eof()] if definitions and not self.deprecate_eof() else definitions


class WireStream:
    """mysql-mimic's stream, whose TLS begins with what the client has sent already."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._stream = MysqlStream(reader, writer)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    async def start_tls(self, context: ssl.SSLContext) -> None:
        """Go on in TLS. A client's first message often comes with its wish for TLS, and lies in the reader by now."""
        transport: Any = self._stream.writer.transport
        transport.pause_reading()
        early = bytes(self._stream.reader._buffer)
        self._stream.reader._buffer.clear()
        starting = asyncio.ensure_future(self._stream.start_tls(context))
        for _ in range(2):  # it has put its protocol in place, then that protocol has been connected
            await asyncio.sleep(0)
        if early:
            protocol = transport.get_protocol()
            protocol.get_buffer(len(early))[: len(early)] = early
            protocol.buffer_updated(len(early))
        await starting


class WireServer(MysqlServer):  # type: ignore[misc]
    """A server whose connections are of this module."""

    async def _client_connected_cb(self, reader: Any, writer: Any) -> None:
        connection = WireConnection(
            stream=WireStream(reader, writer),
            session=self.session_factory(),
            control=self.control,
            server_capabilities=self.capabilities,
            identity_provider=self.identity_provider,
            ssl=self.ssl,
        )
        try:
            connection.connection_id = await self.control.add(connection)
        except TooManyConnections:
            await connection.stream.write(connection.error(msg="Too many connections", code=ErrorCode.CON_COUNT_ERROR))
            return
        try:
            await connection.start()
        finally:
            writer.close()
            await self.control.remove(connection.connection_id)

"""The server: who may connect, how many at once, and within which limits."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ipaddress
import logging
import os
import signal
import ssl
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

try:
    from mysql_mimic.auth import IdentityProvider, NativePasswordAuthPlugin, User
    from mysql_mimic.control import LocalControl, TooManyConnections
except ImportError as missing:
    from logql.errors import NotSupportedError

    raise NotSupportedError("serving needs mysql-mimic", hint="pip install 'logql[serve]'") from missing

from logql import dbapi
from logql.errors import OperationalError, ProgrammingError
from logql.serve.session import ClientSession
from logql.serve.wire import WireServer

PASSWORD = "LOGQL_SERVE_PASSWORD"  # noqa: S105
_LOGIN_S = 10.0
_GOODBYE_S = 0.5


@dataclass(frozen=True)
class Limits:
    """What clients may use: seconds and rows of a query, queries and connections at once, DuckDB's memory."""

    timeout_s: float = 300.0
    rows: int = 1_000_000
    queries: int = 4
    connections: int = 500
    memory: str | None = None


class Server:
    """Serves one store. `users` maps names to passwords; without any, every client of this machine may read."""

    def __init__(
        self,
        store: str | None,
        *,
        host: str = "127.0.0.1",
        port: int = 3306,
        users: dict[str, str] | None = None,
        replay: str = "off",
        budget: float | None = None,
        limits: Limits | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        if not users and not _is_loopback(host):
            raise ProgrammingError(
                f"{host} is not of this machine alone, and there are no users",
                hint=f"--user NAME with its password in {PASSWORD}, or --host 127.0.0.1",
            )
        self._store, self._replay, self._budget = store, replay, budget
        self._host, self._port = host, port
        self._limits = limits or Limits()
        self._executor = ThreadPoolExecutor(self._limits.queries, thread_name_prefix="logql-serve")
        self._keeper = self._connect()
        self._confine()
        self._control = _Control(self._limits.connections)
        self._server = WireServer(
            session_factory=self._session,
            identity_provider=_Users(users or {}),
            control=self._control,
            ssl=tls,
            host=host,
            port=port,
        )

    @property
    def store(self) -> str:
        """The store's path."""
        return self._keeper.session.store

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return int(self._server.sockets()[0].getsockname()[1])

    async def start(self) -> None:
        """Listen. Raises OperationalError where the address cannot be had."""
        logging.getLogger("mysql_mimic").setLevel(logging.CRITICAL + 1)
        asyncio.get_running_loop().set_exception_handler(_ignore)
        try:
            await self._server.start_server()
        except OSError as error:
            raise OperationalError(f"cannot listen on {self._host}:{self._port}: {error}") from error

    async def wait(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set, then close everything."""
        serving = asyncio.create_task(self._server.serve_forever())
        await stop.wait()
        serving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await serving
        self._server.close()
        self._control.close()
        clients = asyncio.all_tasks() - {asyncio.current_task()}
        if clients:
            await asyncio.wait(clients, timeout=_LOGIN_S)
        self.close()

    def close(self) -> None:
        """Give back the store."""
        self._executor.shutdown(wait=False, cancel_futures=True)
        self._keeper.close()

    def _connect(self) -> dbapi.Connection:
        connection = dbapi.connect(self._store, replay=self._replay, read_only=self._replay == "off")
        if self._budget is not None:
            connection.execute(f"SET replay_budget = {self._budget}")
        return connection

    def _confine(self) -> None:
        """Let queries read the store's files and no others; the settings hold for the whole process."""
        ((open_to_files,),) = self._keeper.execute("SELECT current_setting('enable_external_access')").fetchall()
        if open_to_files:
            directory = self.store.replace("'", "''")
            self._keeper.execute(f"SET allowed_directories = ['{directory}/']")
            self._keeper.execute("SET enable_external_access = false")
        if self._limits.memory:
            self._keeper.execute(f"SET memory_limit = '{self._limits.memory}'")

    def _session(self) -> ClientSession:
        return ClientSession(self._connect, self._executor, self._limits.timeout_s, self._limits.rows)


class _Users(IdentityProvider):  # type: ignore[misc]
    """The users who may connect; anyone without a password, where there are none."""

    def __init__(self, passwords: dict[str, str]) -> None:
        self._known = {
            name: NativePasswordAuthPlugin.create_auth_string(password) for name, password in passwords.items()
        }

    async def get_user(self, username: str) -> User | None:
        """The user of this name, with the digest of the password."""
        if self._known and username not in self._known:
            return None
        return User(name=username, auth_string=self._known.get(username), auth_plugin=NativePasswordAuthPlugin.name)


class _Control(LocalControl):  # type: ignore[misc]
    """Counts connections, and drops those that do not log in."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    async def add(self, connection: Any) -> int:
        """Take in a connection."""
        if len(self._connections) >= self._most:
            asyncio.get_running_loop().call_later(_GOODBYE_S, connection.stream.writer.close)
            raise TooManyConnections
        asyncio.get_running_loop().call_later(_LOGIN_S, _drop_stranger, connection)
        found: int = await super().add(connection)
        return found

    def close(self) -> None:
        """Drop all clients."""
        for connection in list(self._connections.values()):
            connection.stream.writer.close()


def _drop_stranger(connection: Any) -> None:
    if not connection.session.authenticated:
        connection.stream.writer.close()


def _ignore(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What a client breaks on its side of a connection ends that connection, and is no news."""


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def serve(arguments: argparse.Namespace) -> int:
    """The command: serve until it is interrupted or terminated."""
    server = Server(
        arguments.store,
        host=arguments.host,
        port=arguments.port,
        users=_users(getattr(arguments, "user", None)),
        replay=arguments.replay,
        budget=arguments.budget,
        limits=_limits(arguments),
        tls=_tls(arguments),
    )
    asyncio.run(_run(server, arguments.host))
    return 0


async def _run(server: Server, host: str) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        await server.start()
    except OperationalError:
        server.close()
        raise
    print(f"logql serves {server.store} on {host}:{server.port}; Ctrl-C ends it", file=sys.stderr, flush=True)
    await server.wait(stop)


def _users(name: str | None) -> dict[str, str]:
    if name is None:
        return {}
    password = os.environ.get(PASSWORD, "")
    if not password:
        raise ProgrammingError(f"the user {name} needs a password", hint=f"set {PASSWORD}")
    return {name: password}


def _limits(arguments: argparse.Namespace) -> Limits:
    given = {"timeout_s": "timeout", "rows": "max_rows", "queries": "max_queries", "memory": "memory"}
    found = {name: getattr(arguments, option, None) for name, option in given.items()}
    return Limits(**{name: value for name, value in found.items() if value is not None})


def _tls(arguments: argparse.Namespace) -> ssl.SSLContext | None:
    certificate, key = getattr(arguments, "tls_cert", None), getattr(arguments, "tls_key", None)
    if certificate is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    return context

"""The server over MySQL's protocol, with pymysql as the client, and with clients that behave badly."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import os
import random
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import logql
from logql import dbapi
from logql.errors import OperationalError, ProgrammingError
from logql.store.snapshot import forget
from tests.store.history import epochs, record
from tests.test_session import NEW, OLD, truth

pymysql = pytest.importorskip("pymysql")
pytest.importorskip("mysql_mimic")

from logql.serve import Limits, Server  # noqa: E402


class Running:
    """A server in a thread of its own."""

    def __init__(self, store: str, **options: Any) -> None:
        self.server = Server(store, port=0, **options)
        self.ready = threading.Event()
        self.thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self.thread.start()
        assert self.ready.wait(20)

    async def _serve(self) -> None:
        self.loop, self.stop = asyncio.get_running_loop(), asyncio.Event()
        await self.server.start()
        self.port = self.server.port
        self.ready.set()
        await self.server.wait(self.stop)

    def client(self, **options: Any) -> Any:
        return pymysql.connect(host="127.0.0.1", port=self.port, **{"user": "any", "read_timeout": 20, **options})

    def ask(self, sql: str, **options: Any) -> list[tuple[Any, ...]]:
        with self.client(**options) as client, client.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall())

    def end(self) -> None:
        self.loop.call_soon_threadsafe(self.stop.set)
        self.thread.join(20)
        assert not self.thread.is_alive()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    found = str(tmp_path_factory.mktemp("served") / ".logql")
    record(found, "R1", epochs(3, 2), "1" * 12, args={"lr": 0.5})
    with dbapi.connect(found) as connection:
        connection.execute("COMMENT ON COLUMN acc IS 'accuracy'")
        connection.execute("CREATE VIEW best AS SELECT run, max(acc) AS top FROM logs GROUP BY run")
    yield found
    forget(found)


@pytest.fixture(scope="module")
def running(store: str) -> Iterator[Running]:
    found = Running(store, limits=Limits(timeout_s=5, rows=1000, queries=2, connections=60))
    yield found
    found.end()


def test_queries(running: Running) -> None:
    assert running.ask("SELECT epoch, acc FROM logs ORDER BY epoch") == [(0, 0.0), (1, 1 / 64), (2, 2 / 64)]
    assert running.ask("SELECT `epoch` FROM `logql`.`epoch` WHERE logql.epoch.acc > 0.02") == [(2,)]
    assert running.ask("SELECT top FROM best") == [(2 / 64,)]
    assert running.ask("SELECT 1") == [(1,)]
    assert running.ask("SELECT DATABASE()") == [("logql",)]


def test_what_only_duckdb_has(running: Running) -> None:
    assert running.ask("SELECT epoch::VARCHAR FROM epoch QUALIFY row_number() OVER (ORDER BY acc DESC) = 1") == [("2",)]


@pytest.mark.parametrize(
    ("function", "value"),
    [
        ("DAYOFWEEK(x)", 7), ("WEEKDAY(x)", 5), ("WEEK(x)", 46), ("DAYOFYEAR(x)", 325), ("QUARTER(x)", 4),
        ("MICROSECOND(x)", 678000), ("SECOND(x)", 15), ("LENGTH('ü')", 2), ("CHAR_LENGTH('ü')", 1),
        ("TIMESTAMPDIFF(HOUR, '2026-11-21 12:30:00', x)", 0), ("MAKEDATE(2026, 60)", datetime.date(2026, 3, 1)),
        ("UNIX_TIMESTAMP('2026-11-21 13:14:15')", 1795266855), ("LAST_DAY(x)", datetime.date(2026, 11, 30)),
        ("DATEDIFF(x, '2026-11-01')", 20), ("DATE_FORMAT(x, '%Y-%m %H:%i:%s')", "2026-11 13:14:15"),
        ("IFNULL(NULL, 7 DIV 2)", 3), ("5 / 2", 2.5), ("INSTR('abc', 'c')", 3), ("LOG10(100)", 2.0),
    ],
)  # fmt: skip
def test_functions_mean_what_they_mean_in_mysql(running: Running, function: str, value: object) -> None:
    assert running.ask(f"SELECT {function} FROM (SELECT TIMESTAMP '2026-11-21 13:14:15.678' AS x) t") == [(value,)]


#: How Superset groups by time on MySQL, and the beginning of the span that a Saturday afternoon lies in.
GRAINS = {
    "DATE_ADD(DATE(x), INTERVAL (HOUR(x)*60*60 + MINUTE(x)*60 + SECOND(x)) SECOND)": "2026-11-21 13:14:15",
    "DATE_ADD(DATE(x), INTERVAL (HOUR(x)*60 + MINUTE(x)) MINUTE)": "2026-11-21 13:14:00",
    "DATE_ADD(DATE(x), INTERVAL HOUR(x) HOUR)": "2026-11-21 13:00:00",
    "DATE(x)": "2026-11-21",
    "DATE(DATE_SUB(x, INTERVAL DAYOFWEEK(x) - 1 DAY))": "2026-11-15",
    "DATE(DATE_SUB(x, INTERVAL DAYOFWEEK(DATE_SUB(x, INTERVAL 1 DAY)) - 1 DAY))": "2026-11-16",
    "DATE(DATE_SUB(x, INTERVAL DAYOFMONTH(x) - 1 DAY))": "2026-11-01",
    "MAKEDATE(YEAR(x), 1) + INTERVAL QUARTER(x) QUARTER - INTERVAL 1 QUARTER": "2026-10-01 00:00:00",
    "DATE(DATE_SUB(x, INTERVAL DAYOFYEAR(x) - 1 DAY))": "2026-01-01",
}


@pytest.mark.parametrize("grain", GRAINS)
def test_grains_of_time(running: Running, grain: str) -> None:
    sql = f"SELECT {grain} AS x, count(*) FROM (SELECT TIMESTAMP '2026-11-21 13:14:15.678' AS x) t GROUP BY {grain}"
    ((begin, count),) = running.ask(sql)
    assert (str(begin), count) == (GRAINS[grain], 1)


@pytest.mark.parametrize("function", ["YEARWEEK(ts)", "WEEK(ts, 3)"])
def test_functions_that_would_be_guesses_are_refused(running: Running, function: str) -> None:
    with pytest.raises(pymysql.err.MySQLError, match="in mode 0"):
        running.ask(f"SELECT {function} FROM epoch")


def test_values_of_every_type(running: Running) -> None:
    (row,) = running.ask(
        "SELECT TRUE, 12::TINYINT, -5::BIGINT, 12::HUGEINT, 1.25::DECIMAL(5,2), 0.1::DOUBLE, 0.5::FLOAT, 'ü', "
        "DATE '2026-01-02', TIMESTAMP '2026-01-02 03:04:05.25', TIME '10:11:12', unhex('AB'), [1, 2], "
        "{'a': 'ä'}, NULL, TIMESTAMPTZ '2026-01-02 00:00:00+02'"
    )
    assert [str(value) for value in row[3:5]] == ["12", "1.25"]
    assert (row[0], row[1], row[2], row[5], row[6], row[7]) == (1, 12, -5, 0.1, 0.5, "ü")
    assert row[8:10] == (datetime.date(2026, 1, 2), datetime.datetime(2026, 1, 2, 3, 4, 5, 250000))
    assert row[10:12] == (datetime.timedelta(hours=10, minutes=11, seconds=12), b"\xab")
    assert row[12:] == ("[1, 2]", '{"a": "ä"}', None, datetime.datetime(2026, 1, 1, 22, 0))


def test_what_there_is(running: Running) -> None:
    assert ("logql",) in running.ask("SHOW DATABASES")
    tables = {name for (name,) in running.ask("SHOW TABLES")}
    assert {"logs", "runs", "epoch", "step", "columns", "best"} <= tables
    columns = {row[0]: row[1] for row in running.ask("SHOW COLUMNS FROM logs")}
    assert (columns["acc"], columns["epoch"], columns["run"], columns["ts"]) == (
        "double",
        "bigint",
        "text",
        "datetime(6)",
    )
    assert running.ask("DESCRIBE logs") == running.ask("SHOW COLUMNS FROM logs")
    assert "accuracy" in {row[8] for row in running.ask("SHOW FULL COLUMNS FROM logs")}
    sql = "SELECT TABLE_NAME, DATA_TYPE FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = 'logql'"
    assert ("logs", "double") in running.ask(sql)
    ((_, ddl),) = running.ask("SHOW CREATE TABLE logs")
    assert "`acc` double DEFAULT NULL" in ddl


@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")
def test_sqlalchemy_over_the_wire(running: Running) -> None:
    sqlalchemy = pytest.importorskip("sqlalchemy")
    engine = sqlalchemy.create_engine(f"mysql+pymysql://any@127.0.0.1:{running.port}/logql")
    with engine.connect() as connection:
        logs = sqlalchemy.Table("logs", sqlalchemy.MetaData(), autoload_with=connection)
        found = connection.execute(sqlalchemy.select(logs.c.acc).where(logs.c.epoch == 2)).scalars().all()
    engine.dispose()
    assert found == [2 / 64]


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELEC 1", "error in your SQL"),
        ("SELECT losss FROM logs", "losss"),
        ("SELECT * FROM nothing", "nothing"),
        ("CREATE TABLE t (a INT)", "only read"),
        ("DROP TABLE logs", "only read"),
        ("INSERT INTO logs VALUES (1)", "only read"),
        ("SELECT * FROM range(100000000000)", "more rows than the 1000"),
        ("SELECT * FROM range(2000)", "more rows than the 1000"),
        ("SELECT * FROM '/etc/passwd'", "passwd"),
        ("SELECT * FROM read_text('/etc/passwd')", "disabled"),
        ("SELECT count(*) FROM information_schema.nothing", "Unknown table"),
        ("SHOW CREATE TABLE nothing", "doesn't exist"),
        ("USE other", "Unknown database"),
    ],
)
def test_errors_are_clean(running: Running, sql: str, message: str) -> None:
    with running.client() as client, client.cursor() as cursor:
        with pytest.raises(pymysql.err.MySQLError, match=message) as found:
            cursor.execute(sql)
        assert "Traceback" not in str(found.value)
        cursor.execute("SELECT count(*) FROM runs")
        assert cursor.fetchall() == ((1,),)


def test_a_long_query_is_cancelled(running: Running) -> None:
    begun = time.monotonic()
    with pytest.raises(pymysql.err.MySQLError, match="longer than 5 s"):
        running.ask(
            "SELECT count(*) FROM range(100000) a, range(100000) b, range(1000) c WHERE a.range + b.range = c.range * 7"
        )
    assert time.monotonic() - begun < 15


def misbehave(port: int, number: int, chance: random.Random) -> socket.socket:
    """A connection that says nothing, nonsense, half a packet, or the beginning of a huge one."""
    one = socket.create_connection(("127.0.0.1", port), timeout=20)
    said = (
        b"",
        chance.randbytes(chance.randrange(1, 2000)),
        b"\x05\x00",
        struct.pack("<I", 0xFFFFFF)[:3] + b"\x01" + chance.randbytes(50),
    )
    with contextlib.suppress(OSError):
        one.sendall(said[number % len(said)])
    return one


def test_five_hundred_connections_and_slow_readers(store: str) -> None:
    found = Running(store, limits=Limits(rows=2000, connections=500))
    chance = random.Random(3)
    try:
        patient = found.client()
        slow = [found.client() for _ in range(20)]
        for client in slow:
            query = b"\x03SELECT repeat('x', 10000) FROM range(2000)"
            client._sock.sendall(struct.pack("<I", len(query)) + query)
        held = [misbehave(found.port, number, chance) for number in range(520)]
        with patient.cursor() as cursor:
            for _ in range(3):
                cursor.execute("SELECT epoch, acc FROM logs ORDER BY epoch")
                assert cursor.fetchall() == ((0, 0.0), (1, 1 / 64), (2, 2 / 64))
        for one in held:
            one.close()
        for client in slow:
            client._force_close()
        assert wait_for_answer(found) == [(1,)]
        patient.close()
    finally:
        found.end()


def wait_for_answer(found: Running) -> list[tuple[Any, ...]]:
    """What a new client is answered, as soon as there is room for it."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return found.ask("SELECT count(*) FROM runs")
        except pymysql.err.MySQLError:
            assert time.monotonic() < deadline
            time.sleep(0.2)


def test_garbage_after_the_login(running: Running) -> None:
    chance = random.Random(2)
    for command in range(0, 30, 3):
        client = running.client()
        body = bytes([command]) + chance.randbytes(20)
        client._sock.sendall(struct.pack("<I", len(body)) + body)
        client._force_close()
    assert running.ask("SELECT count(*) FROM runs") == [(1,)]


def test_users_and_passwords(store: str) -> None:
    found = Running(store, users={"ada": "s3cret"})
    try:
        assert found.ask("SELECT count(*) FROM runs", user="ada", password="s3cret") == [(1,)]  # noqa: S106
        for name, password in (("ada", "wrong"), ("ada", ""), ("eve", ""), ("eve", "s3cret")):
            with pytest.raises(pymysql.err.MySQLError):
                found.client(user=name, password=password)
        assert _query_in_spite_of_refusal(found.port) is False
    finally:
        found.end()


def _query_in_spite_of_refusal(port: int) -> bool:
    """Log in with a wrong password, ignore the answer, and ask; whether the server answered with rows."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as one:
        one.recv(4096)
        login = (
            struct.pack("<IIB23s", 0x0008AA05, 1 << 24, 45, b"")
            + b"eve\0"
            + b"\x14"
            + b"x" * 20
            + b"mysql_native_password\0"
        )
        one.sendall(struct.pack("<I", len(login) | 1 << 24) + login)
        one.recv(4096)
        query = b"\x03SELECT 424242"
        try:
            one.sendall(struct.pack("<I", len(query)) + query)
            return b"424242" in one.recv(4096)
        except OSError:
            return False


def test_never_open_without_users(store: str) -> None:
    with pytest.raises(ProgrammingError, match="no users"):
        Server(store, host="0.0.0.0")  # noqa: S104


def test_a_taken_port(store: str, running: Running) -> None:
    server = Server(store, port=running.port)
    with pytest.raises(OperationalError, match="cannot listen"):
        asyncio.run(server.start())
    server.close()


def test_virtual_columns_are_replayed_where_that_is_allowed(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(OLD)
    environment = {**os.environ, "PYTHONPATH": str(Path(logql.__file__).parent.parent)}
    subprocess.run([sys.executable, "train.py"], cwd=tmp_path, check=True, env=environment)
    (tmp_path / "train.py").write_text(NEW)
    store, query = str(tmp_path / ".logql"), "SELECT square FROM logs WHERE epoch = 4"
    for options, expected in ((({}), None), ({"replay": "auto", "budget": 60.0}, truth()[0][4])):
        found = Running(store, **options)
        try:
            assert found.ask(query) == [(expected,)]
        finally:
            found.end()
    forget(store)


def test_the_command(store: str) -> None:
    command = [sys.executable, "-m", "logql", "--store", store, "serve", "--port", "0", "--max-rows", "5"]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, cwd=Path(logql.__file__).parent.parent
    ) as process:
        assert process.stderr is not None
        port = int(process.stderr.readline().split(" on 127.0.0.1:")[1].split(";")[0])
        with pymysql.connect(host="127.0.0.1", port=port, user="any") as client, client.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM runs")
            assert cursor.fetchone() == (1,)
            with pytest.raises(pymysql.err.MySQLError, match="than the 5 that"):
                cursor.execute("SELECT * FROM range(6)")
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0


def test_a_slow_reader_holds_up_nobody(running: Running) -> None:
    slow = running.client()
    query = b"\x03SELECT repeat('x', 100000) FROM range(900)"
    slow._sock.sendall(struct.pack("<I", len(query)) + query)
    assert running.ask("SELECT count(*) FROM runs") == [(1,)]
    slow._force_close()


def test_tls(store: str, tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl")
    certificate, key = str(tmp_path / "cert.pem"), str(tmp_path / "key.pem")
    subject = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", *subject, "-keyout", key,
         "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    found = Running(store, users={"ada": "s3cret"}, tls=context)
    try:
        secure = {"ca": certificate}
        for _ in range(10):  # the handshake's first message comes together with the wish for it, or later
            with found.client(user="ada", password="s3cret", ssl=secure) as client, client.cursor() as cursor:  # noqa: S106
                assert client._sock.version().startswith("TLS")
                cursor.execute("SELECT count(*) FROM runs")
                assert cursor.fetchone() == (1,)
        with pytest.raises(pymysql.err.MySQLError):
            found.client(user="ada", password="wrong", ssl=secure)  # noqa: S106
    finally:
        found.end()

"""Results larger than what is held: read as they are fetched, beside other statements, by any thread."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator
from itertools import accumulate, pairwise
from pathlib import Path

import pytest

from logql import dbapi
from logql.execute import engine
from tests.store.history import epochs, record

ROOT = Path(__file__).resolve().parent.parent
MANY = "SELECT range AS n, range % 7 AS m FROM range(1000000) ORDER BY n"


@pytest.fixture
def connection(store: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[dbapi.Connection]:
    """A connection that holds 100 kB of a result."""
    monkeypatch.setattr(engine, "HELD_BYTES", 100_000)
    monkeypatch.setattr(engine, "BATCH_ROWS", 5_000)
    with dbapi.connect(store) as found:
        yield found


def numbers(rows: list[tuple[int, int]]) -> list[int]:
    return [row[0] for row in rows]


def test_rows_come_in_order_and_all(connection: dbapi.Connection) -> None:
    cursor = connection.execute(MANY)
    assert cursor.rowcount == -1
    assert cursor.fetchone() == (0, 0)
    assert numbers(cursor.fetchmany(30_000)) == list(range(1, 30_001))
    rest = cursor.fetchall()
    assert (rest[0], rest[-1], len(rest)) == ((30_001, 30_001 % 7), (999_999, 999_999 % 7), 969_999)
    assert cursor.fetchone() is None
    assert cursor.fetchall() == []


def test_a_result_whole_or_in_batches(connection: dbapi.Connection) -> None:
    cursor = connection.execute(MANY)
    assert cursor.arrow().num_rows == 1_000_000
    assert cursor.arrow().column_names == ["n", "m"]
    assert numbers(cursor.fetchmany(2)) == [0, 1]
    batches = list(connection.execute(MANY).fetch_record_batch(1000))
    assert max(batch.num_rows for batch in batches) == 1000
    starts = [0, *accumulate(batch.num_rows for batch in batches)]
    assert [batch.column(0)[0].as_py() for batch in batches] == starts[:-1]
    assert starts[-1] == 1_000_000


def test_what_is_gone_is_not_taken_for_the_whole(connection: dbapi.Connection) -> None:
    cursor = connection.execute(MANY)
    cursor.fetchmany(50_000)
    for read in (cursor.arrow, cursor.fetch_record_batch):
        with pytest.raises(dbapi.ProgrammingError, match="fetched already"):
            read()
    assert cursor.fetchone() == (50_000, 50_000 % 7)


def test_another_statement_on_the_connection_meanwhile(connection: dbapi.Connection) -> None:
    one, two = connection.cursor(), connection.cursor()
    one.execute(MANY)
    two.execute("SELECT range + 5 AS n, 0 AS m FROM range(500000)")
    for start in range(0, 500_000, 100_000):
        assert numbers(one.fetchmany(100_000)) == list(range(start, start + 100_000))
        assert numbers(two.fetchmany(100_000)) == list(range(start + 5, start + 100_005))
        assert connection.execute("SELECT count(*) FROM runs").fetchone() == (1,)
    assert two.fetchone() is None
    assert one.fetchone() == (500_000, 500_000 % 7)


def test_history_is_read_from_its_snapshot(connection: dbapi.Connection, store: str) -> None:
    sql = "SELECT e.epoch, r.range FROM epoch e, range(20000) r ORDER BY r.range, e.epoch"
    cursor = connection.execute(sql)
    record(store, "R2", epochs(1), "2" * 12)
    other = connection.execute("SELECT count(*) FROM epoch")
    assert cursor.fetchall() == [(epoch, number) for number in range(20_000) for epoch in range(3)]
    assert other.fetchone() == (4,)


def test_a_transaction_goes_on_below_an_open_result(connection: dbapi.Connection) -> None:
    connection.execute("BEGIN")
    connection.execute("CREATE TABLE t AS SELECT range AS a FROM range(100000)")
    cursor = connection.execute("SELECT a FROM t ORDER BY a")
    cursor.fetchone()
    connection.execute("DELETE FROM t")
    connection.rollback()
    assert len(cursor.fetchall()) == 99_999
    assert "t" not in {name for (name,) in connection.execute("SHOW TABLES").fetchall()}


FAILS = "SELECT CASE WHEN range < 900000 THEN range ELSE ('x' || range)::INT END AS n FROM range(1000000)"


def test_an_error_at_the_end_is_the_readers(connection: dbapi.Connection) -> None:
    connection.execute("SET threads = 1")
    cursor = connection.execute(FAILS)
    with pytest.raises(dbapi.DataError, match="Could not convert string 'x900000'"):
        cursor.fetchall()
    cursor = connection.execute(FAILS)
    assert connection.execute("SELECT 1").fetchone() == (1,)
    with pytest.raises(dbapi.DataError, match="Could not convert string 'x900000'"):
        cursor.arrow()
    with pytest.raises(dbapi.ProgrammingError, match="run the query again"):
        cursor.arrow()


def test_results_that_nobody_reads_are_given_up(connection: dbapi.Connection) -> None:
    for _ in range(3):
        connection.execute("SELECT range AS n FROM range(100000000000)").fetchone()
    cursor = connection.cursor()
    for _ in range(3):
        cursor.execute("SELECT range AS n FROM range(100000000000)")
    cursor.close()
    assert connection.execute("SELECT count(*) FROM logs").fetchone() == (1,)


def test_cancelled_from_another_thread_while_it_is_read(connection: dbapi.Connection) -> None:
    cursor = connection.execute("SELECT range AS n FROM range(100000000000)")
    cursor.fetchone()
    reading = threading.Event()

    def cancel() -> None:
        reading.wait()
        connection.interrupt()

    thread = threading.Thread(target=cancel)
    thread.start()
    cursor.fetchmany(100_000)
    reading.set()
    with pytest.raises(dbapi.OperationalError, match=r"[Ii]nterrupt"):
        deque(iter(cursor.fetchone, None), maxlen=0)
    thread.join()
    assert connection.execute("SELECT 1").fetchone() == (1,)


def test_each_thread_reads_its_own_cursor(connection: dbapi.Connection) -> None:
    found: list[int] = []

    def read(start: int) -> None:
        rows = connection.execute(f"SELECT range FROM range({start}, {start + 200000})").fetchall()
        assert all(two[0] - one[0] == 1 for one, two in pairwise(rows))
        found.append(rows[0][0] + len(rows))

    threads = [threading.Thread(target=read, args=(start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [200_000, 200_001, 200_002, 200_003]


def test_closing_with_an_open_result(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "HELD_BYTES", 100_000)
    other = dbapi.connect(store)
    cursor = other.execute(MANY)
    cursor.fetchone()
    other.close()
    with pytest.raises(dbapi.InterfaceError):
        cursor.fetchall()


MEASURE = """
import sys
from logql import dbapi

def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))

with dbapi.connect(sys.argv[1]) as connection:
    connection.execute("SET threads = 1")
    connection.execute("SELECT range AS n, range * 2 AS m FROM range(3000000)").fetchmany(10)
    before, count = peak(), 0
    cursor = connection.execute("SELECT range AS n, range * 2 AS m FROM range(10000000)")
    for batch in cursor.fetch_record_batch():
        count += batch.num_rows
    print(count, peak() - before)
"""


def test_ten_million_rows_pass_through_little_memory(store: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, store],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    count, grown = map(int, done.stdout.split())
    assert count == 10_000_000
    assert grown < 50_000  # kB; the rows themselves are 160,000


def test_the_command_line_writes_rows_as_they_come(store: str) -> None:
    command = [sys.executable, "-m", "logql", "--store", store, "sql", "--format", "csv"]
    with subprocess.Popen(
        [*command, "SELECT range AS n, 'text' || range AS t FROM range(1000000000000)"],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        rows = csv.reader(process.stdout)
        assert [next(rows) for _ in range(3)] == [["n", "t"], ["0", "text0"], ["1", "text1"]]
        process.stdout.close()
        assert process.wait(60) == 0

"""PEP 249 on a recorded store: connections, cursors, parameters, results, threads."""

from __future__ import annotations

import datetime
import decimal
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

import logql
from logql import dbapi
from tests.store.history import epochs, record


@pytest.fixture
def connection(store: str) -> Iterator[dbapi.Connection]:
    with dbapi.connect(store) as found:
        yield found


def test_module_attributes() -> None:
    assert (dbapi.apilevel, dbapi.threadsafety, dbapi.paramstyle) == ("2.0", 2, "qmark")
    assert issubclass(dbapi.ProgrammingError, dbapi.DatabaseError)
    assert dbapi.Date(2026, 1, 2) == datetime.date(2026, 1, 2)
    assert dbapi.NUMBER == "BIGINT"
    assert dbapi.STRING != "BIGINT"
    assert logql.STRING is dbapi.STRING
    assert logql.Binary(b"x") == b"x"
    assert logql.Timestamp is dbapi.Timestamp


def test_no_store_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(dbapi.OperationalError, match="there is no store"):
        dbapi.connect(str(tmp_path / ".logql"))
    (tmp_path / "file").write_text("")
    for path in ("file", "file/store"):
        with pytest.raises(dbapi.OperationalError, match="a file is in its place"):
            dbapi.connect(tmp_path / path)
    (tmp_path / ".logql").mkdir()
    with pytest.raises(dbapi.OperationalError, match=r"did you mean .*/\.logql\?"):
        dbapi.connect(tmp_path)


def test_fetching(connection: dbapi.Connection) -> None:
    cursor = connection.cursor()
    cursor.execute("SELECT epoch, acc FROM logs ORDER BY epoch")
    assert [column[:2] for column in cursor.description or ()] == [("epoch", "BIGINT"), ("acc", "DOUBLE")]
    assert cursor.rowcount == 3
    assert cursor.fetchone() == (0, 0.0)
    assert cursor.fetchmany(1) == [(1, 1 / 64)]
    assert cursor.fetchall() == [(2, 2 / 64)]
    assert cursor.fetchone() is None
    cursor.execute("SELECT epoch FROM logs ORDER BY epoch")
    assert [row for (row,) in cursor] == [0, 1, 2]


def test_description_knows_the_digits_of_decimals(connection: dbapi.Connection) -> None:
    cursor = connection.execute("SELECT 1.25::DECIMAL(9, 2) AS d, [1.5::DECIMAL(3, 1)] AS l, 1 AS i")
    assert [column[4:6] for column in cursor.description or ()] == [(9, 2), (None, None), (None, None)]
    assert cursor.description is not None
    assert [column[1] == dbapi.NUMBER for column in cursor.description] == [True, False, True]


def test_statements_without_a_result(connection: dbapi.Connection) -> None:
    cursor = connection.cursor()
    cursor.execute("CREATE TABLE t (a INTEGER)")
    assert cursor.description is None
    with pytest.raises(dbapi.ProgrammingError):
        cursor.fetchone()
    cursor.executemany("INSERT INTO t VALUES (?)", [[1], [2], [3]])
    assert cursor.rowcount == 3
    assert cursor.execute("SELECT sum(a) FROM t").fetchone() == (6,)


ROWS = [
    (1, 1.5, "a", None, datetime.date(2026, 1, 2), datetime.datetime(2026, 1, 2, 3, 4, 5, 6), b"\x00x", True),
    (-(2**62), float("inf"), "日'本", None, None, None, b"", False),
    (None, 2, "", None, datetime.date(1969, 12, 31), datetime.datetime(1969, 12, 31), None, None),
]


@pytest.mark.parametrize(
    ("insert", "at_once"),
    [
        ("INSERT INTO t VALUES (?, ?, ?, ?, ?, ?, ?, ?);", True),
        ("INSERT INTO t (a, b, c, d, e, f, g, h) VALUES (?, ?, ?, ?, ?, ?, ?, ? AND true)", True),
        ("INSERT INTO t SELECT ?, ?, ?, ?, ?, ?, ?, ?", False),
    ],
)
def test_many_rows_are_inserted_as_one_by_one(
    connection: dbapi.Connection, monkeypatch: pytest.MonkeyPatch, insert: str, at_once: bool
) -> None:
    connection.execute(
        "CREATE TABLE t (a BIGINT, b DOUBLE, c VARCHAR, d INTEGER, e DATE, f TIMESTAMP, g BLOB, h BOOLEAN)"
    )
    run: list[str] = []
    execute = connection.session.engine.execute
    monkeypatch.setattr(
        connection.session.engine,
        "execute",
        lambda sql, *rest, **named: run.append(sql) or execute(sql, *rest, **named),
    )
    cursor = connection.cursor().executemany(insert, ROWS)
    assert (cursor.rowcount, cursor.description) == (3, None)
    assert len([sql for sql in run if sql.startswith(("INSERT", "WITH"))]) == (1 if at_once else 3)
    assert connection.execute("SELECT * FROM t ORDER BY rowid").fetchall() == ROWS


def test_many_rows_of_mixed_types_and_wrong_ones(connection: dbapi.Connection) -> None:
    connection.execute("CREATE TABLE t (a VARCHAR PRIMARY KEY, b DECIMAL(9, 2))")
    cursor = connection.cursor()
    cursor.executemany("INSERT INTO t VALUES (?, ?)", [[1, decimal.Decimal("1.25")], ["x", 2], [True, 2**53 + 0.5]][:2])
    assert cursor.execute("SELECT * FROM t ORDER BY a").fetchall() == [
        ("1", decimal.Decimal("1.25")),
        ("x", decimal.Decimal("2.00")),
    ]
    with pytest.raises(dbapi.IntegrityError):
        cursor.executemany("INSERT INTO t VALUES (?, ?)", [["y", 1], ["y", 2]])
    with pytest.raises(dbapi.DatabaseError):
        cursor.executemany("INSERT INTO t VALUES (?, ?)", [["y", 1], ["z"]])
    with pytest.raises(dbapi.NotSupportedError, match="recorded"):
        cursor.executemany("INSERT INTO logs (acc) VALUES (?)", [[1.0], [2.0]])
    assert cursor.executemany("INSERT INTO t VALUES (?, ?)", []).rowcount == 0


@pytest.mark.parametrize(
    ("query", "parameters"),
    [
        ("SELECT count(*) FROM logs WHERE epoch > ? AND lr = ?", [0, 0.5]),
        ("SELECT count(*) FROM logs WHERE epoch > $1 AND lr = $2", [0, 0.5]),
        ("SELECT count(*) FROM logs WHERE epoch > $low AND lr = $lr", {"low": 0, "lr": 0.5}),
        ("SELECT count(*) FROM logs WHERE epoch > :low AND lr = :lr", {"low": 0, "lr": 0.5}),
        ("SELECT count(*) FROM logs WHERE epoch > :low::INT AND lr=:lr AND ':lr' = ':lr'", {"low": 0, "lr": 0.5}),
        (
            "SELECT count(*) + ('ab'[1:0] = 'x')::INT FROM logs WHERE epoch > :low AND lr IN (:lr)",
            {"low": 0, "lr": 0.5},
        ),
    ],
)
def test_parameters(connection: dbapi.Connection, query: str, parameters: object) -> None:
    assert connection.execute(query, parameters).fetchone() == (2,)  # type: ignore[arg-type]


@pytest.mark.parametrize("query", ["SELECT {}", "SELECT {} FROM logs", "SELECT {}, square FROM logs"])
@pytest.mark.parametrize(
    ("mark", "parameters"),
    [("?", 1), ("?", "a"), ("?, ?", [1]), ("?", [1, 2]), ("$a", {"a": 1, "b": 2}), ("$a", {"b": 2}), ("?", object())],
)
def test_parameters_that_do_not_fit(connection: dbapi.Connection, query: str, mark: str, parameters: object) -> None:
    with pytest.raises(dbapi.Error) as raised:
        connection.execute(query.format(mark), parameters)  # type: ignore[arg-type]
    assert type(raised.value).__module__.startswith("logql")


def test_a_version_may_be_a_parameter(connection: dbapi.Connection) -> None:
    ((version, count),) = connection.execute("SELECT version, count(epoch) FROM logs GROUP BY version").fetchall()
    asked = "SELECT count(*) FROM logs AT (VERSION => {}) WHERE epoch >= {}"
    assert connection.execute(asked.format("?", "?"), [version, 0]).fetchone() == (count,)
    assert connection.execute(asked.format("$v", "$e"), {"v": version, "e": 0}).fetchone() == (count,)
    assert connection.execute(asked.format(":v", ":e"), {"v": version, "e": 0}).fetchone() == (count,)
    with pytest.raises(dbapi.Error, match="names no commit"):
        connection.execute(asked.format("?", "?"), ["nowhere", 0])


@pytest.mark.parametrize(
    "wrong", [[("1", "b"), ("x", "c")], [(2, "b"), (3,)], [(2, "b", "c"), (3, "d")], [(2, "b"), (None, object())]]
)
def test_executemany_changes_all_or_nothing(connection: dbapi.Connection, wrong: list[tuple[object, ...]]) -> None:
    cursor = connection.execute("CREATE TABLE t AS SELECT 1 AS a, 'a' AS b")
    for query in ("INSERT INTO t VALUES (?, ?)", "WITH c AS (SELECT ? AS a) INSERT INTO t SELECT a, ? FROM c"):
        with pytest.raises(dbapi.Error):
            cursor.executemany(query, wrong)
    with pytest.raises(dbapi.Error):
        cursor.executemany("UPDATE t SET a = a + ?::INT", [(5,), ("x",)])
    assert cursor.execute("SELECT * FROM t").fetchall() == [(1, "a")]
    assert cursor.executemany("UPDATE t SET a = a + ?", [(5,), (7,)]).rowcount == 2
    cursor.execute("BEGIN")
    cursor.executemany("DELETE FROM t WHERE a = ? RETURNING a", [(13,), (14,)])
    cursor.execute("ROLLBACK")
    assert cursor.execute("SELECT * FROM t").fetchall() == [(13, "a")]


def test_a_change_behind_ctes_gives_a_count_and_no_rows(connection: dbapi.Connection) -> None:
    cursor = connection.execute("CREATE TABLE t (a INT)")
    cursor.execute('WITH x(n) AS (SELECT 1), "insert" AS (SELECT 2) INSERT INTO t SELECT n FROM x')
    assert (cursor.rowcount, cursor.description) == (1, None)
    cursor.execute("WITH x AS (SELECT epoch FROM epoch) UPDATE t SET a = (SELECT max(epoch) FROM x)")
    assert (cursor.rowcount, cursor.description) == (1, None)
    cursor.execute("WITH x AS (SELECT 1) DELETE FROM t RETURNING a")
    assert cursor.fetchall() == [(2,)]
    cursor.execute("WITH x AS (SELECT 1 AS delete) SELECT delete FROM x")
    assert cursor.fetchall() == [(1,)]


def test_executemany_knows_defaults(connection: dbapi.Connection) -> None:
    cursor = connection.cursor()
    cursor.execute("CREATE TABLE t (a INTEGER DEFAULT 7, b VARCHAR)")
    assert cursor.executemany("INSERT INTO t VALUES (DEFAULT, ?)", [["x"], ["y"]]).rowcount == 2
    assert cursor.execute("SELECT * FROM t").fetchall() == [(7, "x"), (7, "y")]


def test_several_statements_at_once(connection: dbapi.Connection) -> None:
    cursor = connection.execute("CREATE TABLE t AS SELECT 1 AS a; SELECT a FROM t -- the end\n;")
    assert cursor.fetchall() == [(1,)]
    with pytest.raises(dbapi.ProgrammingError, match="one statement at a time"):
        connection.execute("SELECT ?; SELECT ?", [1])


def test_arrow_pandas_and_batches(connection: dbapi.Connection) -> None:
    cursor = connection.execute("SELECT epoch, step, loss FROM logs ORDER BY 1, 2")
    assert cursor.arrow().num_rows == 6
    assert list(cursor.df().columns) == ["epoch", "step", "loss"]
    assert cursor.pl().shape == (6, 3)
    assert sum(batch.num_rows for batch in cursor.fetch_record_batch(rows=4)) == 6


def test_messages_hold_notices(connection: dbapi.Connection) -> None:
    cursor = connection.execute("SELECT avg(acc), avg(loss) FROM logs")
    ((kind, text),) = cursor.messages
    assert kind is dbapi.Warning
    assert 'the relation "epoch"' in text


def test_own_tables_are_shared_and_transactions_roll_back(store: str) -> None:
    with dbapi.connect(store) as one, dbapi.connect(store) as two:
        one.execute("CREATE TABLE t (a INTEGER)")
        assert two.execute("SELECT count(*) FROM t").fetchone() == (0,)
        one.execute("BEGIN")
        one.execute("INSERT INTO t VALUES (1)")
        one.rollback()
        one.rollback()
        one.commit()
        assert one.execute("SELECT count(*) FROM t").fetchone() == (0,)
        one.execute("DROP TABLE t")


def test_a_failed_transaction_says_so_until_it_is_rolled_back(connection: dbapi.Connection) -> None:
    connection.execute("CREATE TABLE t (a INTEGER PRIMARY KEY)")
    connection.execute("BEGIN")
    connection.execute("INSERT INTO t VALUES (1)")
    with pytest.raises(dbapi.IntegrityError):
        connection.execute("INSERT INTO t SELECT 1 FROM runs")
    with pytest.raises(dbapi.DatabaseError, match="ROLLBACK"):
        connection.execute("SELECT count(*) FROM runs")
    connection.rollback()
    assert connection.execute("SELECT count(*) FROM runs").fetchone() == (1,)


def test_values_come_as_python_has_them(connection: dbapi.Connection) -> None:
    row = connection.execute(
        "SELECT 12::HUGEINT, INTERVAL 90 MINUTE, '1c3a7f3e-0000-4000-8000-000000000001'::UUID, MAP {'a': 1}, "
        "'101'::BIT, TIMESTAMP_NS '2026-01-02 03:04:05.123456789', 1.5::DECIMAL(4, 2)"
    ).fetchone()
    assert row == (
        12, datetime.timedelta(minutes=90), uuid.UUID("1c3a7f3e-0000-4000-8000-000000000001"), {"a": 1},
        "101", datetime.datetime(2026, 1, 2, 3, 4, 5, 123456), decimal.Decimal("1.5"),
    )  # fmt: skip
    assert type(row[0]) is int


def test_own_tables_in_a_file(store: str, tmp_path: Path) -> None:
    path = str(tmp_path / "own.duckdb")
    with dbapi.connect(store, database=path) as connection:
        connection.execute("CREATE TABLE t AS SELECT acc FROM logs")
    with dbapi.connect(store, database=path) as connection:
        assert connection.execute("SELECT count(*) FROM t").fetchone() == (3,)


def test_closed_things_say_so(store: str) -> None:
    connection = dbapi.connect(store)
    cursor = connection.cursor()
    cursor.close()
    with pytest.raises(dbapi.InterfaceError, match="cursor is closed"):
        cursor.execute("SELECT 1")
    connection.close()
    for use in (connection.cursor, connection.commit, connection.close):
        with pytest.raises(dbapi.InterfaceError, match="connection is closed"):
            use()


def test_threads_share_a_connection(connection: dbapi.Connection) -> None:
    found: list[object] = []

    def ask() -> None:
        found.extend(connection.execute("SELECT count(*) FROM logs WHERE epoch >= 0").fetchone() or ())

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [3, 3, 3, 3]


def test_a_new_run_is_in_the_next_query(store: str, connection: dbapi.Connection) -> None:
    assert connection.execute("SELECT count(*) FROM logs").fetchone() == (1,)
    record(store, "R2", epochs(1), "2" * 12)
    assert connection.execute("SELECT count(*) FROM logs").fetchone() == (2,)


def test_the_shortcut_and_the_package(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGQL_STORE", store)
    with logql.sql("SELECT max(epoch) FROM logs") as cursor:
        assert cursor.fetchone() == (2,)
    frame = logql.dataframe("acc")
    assert list(frame["acc"]) == [0.0, 1 / 64, 2 / 64]
    assert list(frame.columns) == ["run", "version", "epoch", "step", "acc"]


def test_read_only(store: str) -> None:
    with dbapi.connect(store, read_only=True) as connection:
        assert connection.execute("SELECT count(*) FROM logs").fetchone() == (1,)
        with pytest.raises(dbapi.NotSupportedError, match="read-only"):
            connection.execute("COMMENT ON RUN 'R1' IS 'x'")
        with pytest.raises(dbapi.NotSupportedError, match="read-only: FILL writes"):
            connection.execute("FILL acc")

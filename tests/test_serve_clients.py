"""Clients that none of us wrote, over `logql serve`: MariaDB's, JDBC's and ODBC's, where they are installed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from glob import glob
from pathlib import Path

import pytest

from logql.store.snapshot import forget
from tests.store.history import epochs, record

pytest.importorskip("mysql_mimic")

ROOT = Path(__file__).resolve().parent.parent
#: Every type: the expression, and what MariaDB's client shows of it.
VALUES = {
    "TRUE": "1",
    "12::TINYINT": "12",
    "-300::SMALLINT": "-300",
    "2147483647::INTEGER": "2147483647",
    "-9007199254740993::BIGINT": "-9007199254740993",
    "18446744073709551615::UBIGINT": "18446744073709551615",
    "170141183460469231731687303715884105727::HUGEINT": "170141183460469231731687303715884105727",
    "1.25::DECIMAL(5, 2)": "1.25",
    "0.1::DOUBLE": "0.1",
    "1e300::DOUBLE": "1e+300",
    "0.5::FLOAT": "0.5",
    "'nan'::DOUBLE": "NaN",
    "'-inf'::DOUBLE": "-Infinity",
    "'ü日本 \U0001f600'": "ü日本 \U0001f600",
    "repeat('x', 3000)": "x" * 3000,
    "DATE '2026-01-02'": "2026-01-02",
    "TIMESTAMP '2026-01-02 03:04:05.25'": "2026-01-02 03:04:05.250000",
    "TIMESTAMPTZ '2026-01-02 00:00:00+02'": "2026-01-01 22:00:00",
    "TIME '10:11:12'": "10:11:12",
    "unhex('AB00FF')": "0xAB00FF",
    "[1, 2]": "[1, 2]",
    "struct_pack(a := 'ä')": '{"a": "ä"}',
    "'1c3a7f3e-0000-4000-8000-000000000001'::UUID": "1c3a7f3e-0000-4000-8000-000000000001",
    "NULL": "NULL",
}
QUERY = "SELECT " + ", ".join(f"{expression} AS c{number}" for number, expression in enumerate(VALUES))
JAVA_DIFFERS = {
    "TRUE": "true", "1e300::DOUBLE": "1.0E300", "TIMESTAMP '2026-01-02 03:04:05.25'": "2026-01-02 03:04:05.25",
    "TIMESTAMPTZ '2026-01-02 00:00:00+02'": "2026-01-01 22:00:00.0", "unhex('AB00FF')": "ab00ff", "NULL": "null",
}  # fmt: skip
ODBC_DIFFERS = {
    "1e300::DOUBLE": "1e300", "TIMESTAMP '2026-01-02 03:04:05.25'": "2026-01-02 03:04:05.250000",
    "TIMESTAMPTZ '2026-01-02 00:00:00+02'": "2026-01-01 22:00:00.000000", "TIME '10:11:12'": "10:11:12.000000",
    "NULL": "",
}  # fmt: skip
#: What isql, which prints everything as text of at most 300 characters, cannot show; MySQL has no such numbers.
NOT_TEXT = ("repeat('x', 3000)", "'nan'::DOUBLE", "'-inf'::DOUBLE", "unhex('AB00FF')")
JAVA = """
import java.sql.*;

public class Ask {
    static void show(ResultSet rows) throws Exception {
        int columns = rows.getMetaData().getColumnCount();
        while (rows.next())
            for (int i = 1; i <= columns; i++) {
                Object value = rows.getObject(i);
                if (value instanceof byte[]) value = java.util.HexFormat.of().formatHex((byte[]) value);
                System.out.println(value);
            }
    }

    public static void main(String[] given) throws Exception {
        try (Connection connection = DriverManager.getConnection(given[0])) {
            show(connection.createStatement().executeQuery(given[1]));
            show(connection.prepareStatement(given[1]).executeQuery());
            PreparedStatement asked = connection.prepareStatement("SELECT epoch FROM logs WHERE acc > ? AND lr = ?");
            asked.setFetchSize(2);
            asked.setDouble(1, -1);
            asked.setDouble(2, 0.5);
            show(asked.executeQuery());
            ResultSet columns = connection.getMetaData().getColumns("logql", null, "epoch", "acc");
            while (columns.next()) System.out.println(columns.getString("TYPE_NAME"));
        }
    }
}
"""


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    store = str(tmp_path_factory.mktemp("clients") / ".logql")
    record(store, "R1", epochs(5, 2), "1" * 12, args={"lr": 0.5})
    forget(store)
    command = [sys.executable, "-m", "logql", "--store", store, "serve", "--port", "0"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        yield int(server.stderr.readline().split(" on 127.0.0.1:")[1].split(";")[0])
        server.send_signal(signal.SIGTERM)
        assert server.wait(60) == 0


def run(*command: str, given: str = "") -> list[str]:
    """The lines that a client prints."""
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        command, input=given, env=environment, capture_output=True, text=True, errors="backslashreplace", check=False
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout.splitlines()


def expected(differs: dict[str, str]) -> list[str]:
    return [differs.get(expression, text) for expression, text in VALUES.items()]


@pytest.mark.skipif(shutil.which("mariadb") is None, reason="needs MariaDB's client")
def test_the_mariadb_client(port: int) -> None:
    client = ("mariadb", "--no-defaults", "-h", "127.0.0.1", "-P", str(port), "-u", "any", "logql")
    options = ("--default-character-set=utf8mb4", "--binary-as-hex", "--batch", "--skip-column-names")
    (row,) = run(*client, *options, given=QUERY)
    assert row.split("\t") == expected({})
    tables = run(*client, *options, given="SHOW TABLES")
    assert {"logs", "epoch", "runs"} <= set(tables)
    assert "acc\tdouble\tYES\tNULL\tNULL\tNULL" in run(*client, *options, given="DESCRIBE epoch")


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["", "&useServerPrepStmts=true", "&useServerPrepStmts=true&useCursorFetch=true"])
def test_jdbc(port: int, tmp_path: Path, protocol: str) -> None:
    drivers = glob("/usr/share/java/mariadb-java-client*.jar")
    if not drivers or shutil.which("java") is None:
        pytest.skip("needs Java and MariaDB's JDBC driver")
    (tmp_path / "Ask.java").write_text(JAVA)
    url = f"jdbc:mariadb://127.0.0.1:{port}/logql?user=any{protocol}"
    shown = run("java", "-Dfile.encoding=UTF-8", "-cp", drivers[0], str(tmp_path / "Ask.java"), url, QUERY)
    values = expected(JAVA_DIFFERS)
    assert shown == [*values, *values, "0", "1", "2", "3", "4", "DOUBLE"]


@pytest.mark.slow
def test_odbc(port: int) -> None:
    if shutil.which("isql") is None or "[MariaDB Unicode]" not in run("odbcinst", "-q", "-d"):
        pytest.skip("needs unixODBC and MariaDB's driver")
    source = f"DRIVER={{MariaDB Unicode}};SERVER=127.0.0.1;PORT={port};USER=any;DATABASE=logql;CHARSET=utf8mb4"
    shown = {}
    for expression in (each for each in VALUES if each not in NOT_TEXT):
        (row,) = run("isql", "-b", "-k", source, "-d|", "-m100000", given=f"SELECT 'first', {expression}, 'last'")
        shown[expression] = row.rstrip("|").split("|")
    values = dict(zip(VALUES, expected(ODBC_DIFFERS), strict=True))
    assert shown == {expression: ["first", values[expression], "last"] for expression in shown}

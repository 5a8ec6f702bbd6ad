"""Apache Superset over `logql serve`: a database, datasets, SQL Lab with replays, charts by time; then a browser.

    python -m pytest -m slow tests/superset

installs Superset into an environment of its own, which takes minutes; SUPERSET_ENVIRONMENT names one that has it.
The screenshots are taken where Chromium is installed; SUPERSET_PICTURES keeps them.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from logql import dbapi
from logql.samples import build_project, load_sample
from tests.superset.instance import PASSWORD, USER, Superset, install

ROOT = Path(__file__).resolve().parent.parent.parent
QUERY = """
SELECT version, lr, epoch, val_acc, grad_norm, fidelity(grad_norm) AS fidelity
FROM logs
WHERE val_acc < 0.5 AND epoch < 2
ORDER BY version, lr, epoch
"""
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("superset") / "digits"
    build_project(load_sample("digits"), directory)
    return directory


@pytest.fixture(scope="module")
def port(project: Path) -> Iterator[int]:
    command = [sys.executable, "-m", "logql", "serve", "--port", "0", "--replay", "auto", "--budget", "120"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, cwd=project, env=environment, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        yield int(server.stderr.readline().split(" on 127.0.0.1:")[1].split(";")[0])
        server.send_signal(signal.SIGTERM)
        assert server.wait(30) == 0


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(tmp_path_factory.mktemp("environment") / "superset")


@pytest.fixture(scope="module")
def superset(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Superset]:
    with Superset(python, tmp_path_factory.mktemp("instance") / "home") as found:
        yield found


@pytest.fixture(scope="module")
def database(superset: Superset, port: int) -> int:
    uri = f"mysql+pymysql://any@127.0.0.1:{port}/logql"
    superset.call("POST", "database/test_connection/", {"sqlalchemy_uri": uri, "database_name": "logql"})
    made = superset.call(
        "POST", "database/", {"database_name": "logql", "sqlalchemy_uri": uri, "expose_in_sqllab": True}
    )
    return int(made["id"])


@pytest.fixture(scope="module")
def dataset(superset: Superset, database: int) -> int:
    body = {"database": database, "schema": "logql", "table_name": "epoch"}
    return int(superset.call("POST", "dataset/", body)["id"])


def lab(superset: Superset, database: int, sql: str) -> list[dict[str, Any]]:
    """The rows that SQL Lab shows for a statement."""
    body = {"database_id": database, "sql": sql, "schema": "logql", "runAsync": False, "client_id": os.urandom(5).hex()}
    answer = superset.call("POST", "sqllab/execute/", body)
    assert answer["status"] == "success", answer
    return list(answer["data"])


def test_what_the_database_has(superset: Superset, database: int, dataset: int) -> None:
    tables = superset.call("GET", f"database/{database}/tables/?q=(schema_name:logql)")["result"]
    assert {"logs", "runs", "versions", "epoch"} <= {row["value"] for row in tables}
    made = superset.call("GET", f"dataset/{dataset}")["result"]
    columns = {column["column_name"]: column for column in made["columns"]}
    assert columns["ts"]["is_dttm"]
    assert "DOUBLE" in columns["val_acc"]["type"].upper()


def test_sql_lab_replays_a_virtual_column(superset: Superset, database: int, project: Path) -> None:
    shown = lab(superset, database, QUERY)
    with dbapi.connect(str(project / ".logql"), replay="off") as connection:
        cursor = connection.execute(QUERY)
        names = [column[0] for column in cursor.description or ()]
        expected = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
        ((fills,),) = connection.execute("SELECT count(*) FROM fills WHERE state = 'done'").fetchall()
    assert shown == expected
    assert fills > 0
    assert {row["fidelity"] for row in shown} == {"exact"}
    assert all(row["grad_norm"] is not None for row in shown if row["fidelity"])


def test_a_chart_by_time(superset: Superset, dataset: int, project: Path) -> None:
    for grain, text in (("P1M", "month"), ("P1D", "day"), ("PT1M", "minute"), ("PT1S", "second")):
        query = {
            "columns": [
                {"timeGrain": grain, "columnType": "BASE_AXIS", "sqlExpression": "ts", "label": "ts",
                 "expressionType": "SQL"},
            ],
            "metrics": [
                {"expressionType": "SQL", "sqlExpression": "MAX(val_acc)", "label": "best"},
                {"expressionType": "SQL", "sqlExpression": "COUNT(*)", "label": "epochs"},
            ],
            "row_limit": 1000,
            "orderby": [["ts", True]],
        }  # fmt: skip
        body = {"datasource": {"id": dataset, "type": "table"}, "queries": [query], "result_format": "json"}
        (found,) = superset.call("POST", "chart/data", body)["result"]
        with dbapi.connect(str(project / ".logql"), replay="off") as connection:
            expected = connection.execute(
                f"SELECT max(val_acc), count(*) FROM epoch GROUP BY date_trunc('{text}', ts) ORDER BY min(ts)"
            ).fetchall()
        assert [(row["best"], row["epochs"]) for row in found["data"]] == expected


def test_a_browser(superset: Superset, dataset: int, python: Path, tmp_path: Path) -> None:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("needs Chromium")
    chart = superset.call("POST", "chart/", _line_chart(dataset))["id"]
    pictures = Path(os.environ.get("SUPERSET_PICTURES", tmp_path))
    done = subprocess.run(
        [str(python), str(ROOT / "tests/superset/browse.py"), chromium, superset.url, USER, PASSWORD, str(chart),
         QUERY.strip(), str(pictures)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    for name in ("superset-sql-lab.png", "superset-chart.png"):
        assert (pictures / name).stat().st_size > 20_000
    assert "grad_norm" in done.stdout


def _line_chart(dataset: int) -> dict[str, object]:
    metric = {
        "expressionType": "SQL", "sqlExpression": "AVG(val_acc)", "label": "validation accuracy", "optionName": "m1",
    }  # fmt: skip
    params = {
        "datasource": f"{dataset}__table", "viz_type": "echarts_timeseries_line", "x_axis": "ts",
        "time_grain_sqla": "PT1S", "metrics": [metric], "groupby": ["version"], "adhoc_filters": [],
        "row_limit": 10000, "truncate_metric": True, "show_legend": True, "markerEnabled": True,
    }  # fmt: skip
    return {
        "slice_name": "Validation accuracy by version", "viz_type": "echarts_timeseries_line",
        "datasource_id": dataset, "datasource_type": "table", "params": json.dumps(params),
    }  # fmt: skip

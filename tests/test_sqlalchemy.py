"""The SQLAlchemy dialect: connecting, reflecting, reading the history, writing own tables, data frames."""

from __future__ import annotations

import datetime
import tomllib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from logql import dbapi
from logql.store.snapshot import forget
from tests.store.history import epochs, record

sa = pytest.importorskip("sqlalchemy")

from logql.sqlalchemy.dialect import LogqlDialect  # noqa: E402


@pytest.fixture
def store(tmp_path: Path) -> Iterator[str]:
    sa.dialects.registry.register("logql", "logql.sqlalchemy.dialect", "LogqlDialect")
    found = str(tmp_path / ".logql")
    record(found, "R1", epochs(3, 2), "1" * 12, args={"lr": 0.5})
    with dbapi.connect(found) as connection:
        connection.execute("COMMENT ON COLUMN acc IS 'accuracy'")
        connection.execute("CREATE VIEW best AS SELECT run, max(acc) AS top FROM logs GROUP BY run")
    yield found
    forget(found)


@pytest.fixture
def engine(store: str) -> Iterator[Any]:
    found = sa.create_engine(f"logql:///{store}")
    yield found
    found.dispose()


def test_both_names_are_entry_points() -> None:
    text = (Path(__file__).parent.parent / "pyproject.toml").read_text()
    points = tomllib.loads(text)["project"]["entry-points"]["sqlalchemy.dialects"]
    assert set(points) == {"logql", "logql.duckdb"}
    for point in points.values():
        module, _, name = point.partition(":")
        assert getattr(import_module(module), name) is LogqlDialect
    assert (LogqlDialect.name, LogqlDialect.driver) == ("logql", "duckdb")


def test_urls(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def arguments(url: str) -> Any:
        return LogqlDialect().create_connect_args(sa.make_url(url))[1]

    assert arguments(f"logql:///{store}") == {"store": store}
    assert arguments(f"logql://{store}") == {"store": store}
    monkeypatch.chdir(Path(store).parent)
    assert arguments("logql:///.logql?read_only=true&replay=off") == {
        "store": ".logql", "read_only": True, "replay": "off",
    }  # fmt: skip
    assert arguments("logql://") == {"store": None}
    with pytest.raises(sa.exc.ArgumentError, match="knows no option 'speed'"):
        arguments("logql:///x?speed=9")
    for option, message in (
        ("replay_budget=abc", "replay_budget is a number of seconds, not 'abc'"),
        ("read_only=maybe", "read_only is one of true, false"),
        ("replay=often", "replay is one of auto, ask, off"),
        ("reflect=mine", "reflect is one of all, own"),
    ):
        with pytest.raises(sa.exc.ArgumentError, match=message):
            arguments(f"logql:///x?{option}")
    assert arguments("logql:///x?read_only=No&replay_budget=1e3")["read_only"] is False


def test_reflection(engine: Any) -> None:
    inspector = sa.inspect(engine)
    assert inspector.get_schema_names() == ["history", "main"]
    assert {"logs", "runs", "versions", "columns", "epoch", "step"} <= set(inspector.get_table_names())
    assert inspector.get_table_names("main") == []
    assert inspector.get_view_names() == ["best"]
    assert "max(acc)" in inspector.get_view_definition("best")
    assert [column["name"] for column in inspector.get_columns("best")] == ["run", "top"]
    columns = {column["name"]: column for column in inspector.get_columns("logs")}
    assert isinstance(columns["acc"]["type"], sa.DOUBLE)
    assert isinstance(columns["epoch"]["type"], sa.BIGINT)
    assert isinstance(columns["ts"]["type"], sa.TIMESTAMP)
    assert columns["acc"]["comment"] == "accuracy"
    assert inspector.get_columns("logs", schema="history") == list(columns.values()) or len(columns) > 5
    assert inspector.has_table("logs")
    assert inspector.has_table("best")
    assert not inspector.has_table("nothing")
    with pytest.raises(sa.exc.NoSuchTableError):
        inspector.get_columns("nothing")


def test_only_own_tables_for_tools_that_migrate(store: str) -> None:
    engine = sa.create_engine(f"logql:///{store}?reflect=own")
    assert sa.inspect(engine).get_table_names() == []
    assert "logs" in sa.inspect(engine).get_table_names("history")
    engine.dispose()


def test_reading_the_history(engine: Any) -> None:
    with engine.connect() as connection:
        logs = sa.Table("logs", sa.MetaData(), autoload_with=connection)
        query = sa.select(logs.c.epoch, logs.c.acc).where(logs.c.acc > 0.01, logs.c.lr == 0.5).order_by(logs.c.epoch)
        assert connection.execute(query).all() == [(1, 1 / 64), (2, 2 / 64)]
        history = sa.Table("epoch", sa.MetaData(), schema="history", autoload_with=connection)
        assert connection.execute(sa.select(sa.func.count()).select_from(history)).scalar_one() == 3


def test_own_tables(engine: Any) -> None:
    metadata = sa.MetaData()
    other = sa.Table("other", metadata, sa.Column("name", sa.String, primary_key=True))
    own = sa.Table(
        "own", metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.ForeignKey("other.name"), nullable=False, comment="whose"),
        sa.Column("took", sa.Interval), sa.Column("data", sa.JSON), sa.Column("when", sa.DateTime, index=True),
        sa.UniqueConstraint("name", "when"), comment="mine",
    )  # fmt: skip
    metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(other.insert(), [{"name": "a"}, {"name": "b"}])
        took = datetime.timedelta(days=1, seconds=2)
        keys = connection.execute(
            own.insert().returning(own.c.id),
            [{"name": "a", "took": took, "data": {"x": [1]}}, {"name": "b", "took": None, "data": None}],
        )
        assert sorted(keys.scalars()) == [1, 2]
    with engine.connect() as connection:
        row = connection.execute(sa.select(own.c.took, own.c.data["x"][0].as_integer()).where(own.c.id == 1)).one()
        assert tuple(row) == (took, 1)
        connection.execute(own.delete())
        connection.rollback()
        assert connection.execute(sa.select(sa.func.count()).select_from(own)).scalar_one() == 2
    inspector = sa.inspect(engine)
    assert inspector.get_pk_constraint("own")["constrained_columns"] == ["id"]
    assert inspector.get_foreign_keys("own")[0]["referred_table"] == "other"
    assert inspector.get_unique_constraints("own")[0]["column_names"] == ["name", "when"]
    assert inspector.get_indexes("own")[0]["column_names"] == ["when"]
    assert inspector.get_table_comment("own") == {"text": "mine"}
    assert {column["name"]: column["comment"] for column in inspector.get_columns("own")}["name"] == "whose"
    metadata.drop_all(engine)
    assert not sa.inspect(engine).has_table("own")


def test_what_is_recorded_stays(engine: Any) -> None:
    with engine.begin() as connection, pytest.raises(sa.exc.NotSupportedError, match="logs"):
        connection.execute(sa.text("INSERT INTO logs (acc) VALUES (1)"))
    with engine.begin() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM runs")).scalar_one() == 1


def test_pandas(engine: Any) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.read_sql("SELECT epoch, acc FROM logs ORDER BY epoch", engine)
    assert list(frame["acc"]) == [0.0, 1 / 64, 2 / 64]
    assert len(pandas.read_sql_table("epoch", engine, columns=["epoch", "acc"])) == 3
    named = pandas.read_sql(sa.text("SELECT epoch FROM logs WHERE acc > :low"), engine, params={"low": 0.02})
    assert list(named["epoch"]) == [2]
    assert frame.to_sql("mine", engine, index=False) == 3
    frame.to_sql("mine", engine, index=False, if_exists="append")
    assert len(pandas.read_sql("SELECT acc FROM mine JOIN epoch USING (acc)", engine)) == 6
    frame.to_sql("mine", engine, index=False, if_exists="replace")
    assert len(pandas.read_sql_table("mine", engine)) == 3
    with pytest.raises(ValueError, match="already exists"):
        frame.to_sql("logs", engine, index=False)
    for how in ("append", "replace"):
        with pytest.raises((pandas.errors.DatabaseError, sa.exc.NotSupportedError), match="recorded"):
            frame.to_sql("logs", engine, index=False, if_exists=how)


def test_polars(engine: Any, store: str) -> None:
    polars = pytest.importorskip("polars")
    query = "SELECT epoch, acc FROM logs ORDER BY epoch"
    assert polars.read_database(query, engine)["acc"].to_list() == [0.0, 1 / 64, 2 / 64]
    with dbapi.connect(store) as connection:
        assert polars.read_database(query, connection)["epoch"].to_list() == [0, 1, 2]

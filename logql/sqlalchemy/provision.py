"""What SQLAlchemy's own test suite asks of a dialect before it runs; nothing else imports it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import inspect, text
from sqlalchemy.testing.provision import (
    delete_from_all_tables,
    post_configure_engine,
    post_configure_testing_engine,
    temp_table_keyword_args,
)

SCHEMAS = ("test_schema", "test_schema_2")


@post_configure_testing_engine.for_db("logql")  # type: ignore[untyped-decorator, unused-ignore]
def _own_tables_only(url: Any, engine: Any, options: Any, scope: Any) -> None:  # noqa: ARG001
    """The suite drops every table that it is told of: the recorded ones are none of its business."""
    engine.dialect.reflects_history = False


@post_configure_engine.for_db("logql")  # type: ignore[untyped-decorator, unused-ignore]
def _make_schemas(url: Any, engine: Any, follower_ident: Any) -> None:  # noqa: ARG001
    with engine.begin() as connection:
        for schema in SCHEMAS:
            connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {schema}"))


@delete_from_all_tables.for_db("logql")  # type: ignore[untyped-decorator, unused-ignore]
def _delete_one_by_one(connection: Any, cfg: Any, metadata: Any) -> None:  # noqa: ARG001
    """A transaction per table: DuckDB sees rows that a transaction deleted as still referenced until it commits."""
    known = set(inspect(connection).get_table_names())
    for table in reversed(metadata.sorted_tables):
        if table.schema or table.name in known:
            with connection.engine.begin() as own:
                own.execute(table.delete())


@temp_table_keyword_args.for_db("logql")  # type: ignore[untyped-decorator, unused-ignore]
def _temporary(cfg: Any, eng: Any) -> dict[str, list[str]]:  # noqa: ARG001
    return {"prefixes": ["TEMPORARY"]}

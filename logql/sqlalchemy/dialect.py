"""The dialect: how to connect, what DuckDB can do, and which classes write its SQL."""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import ModuleType
from typing import Any
from weakref import WeakSet

from sqlalchemy.engine import URL, Engine
from sqlalchemy.engine.interfaces import ConnectArgsType
from sqlalchemy.exc import ArgumentError

from logql.errors import ProgrammingError
from logql.options import Options
from logql.sqlalchemy.compiler import DdlCompiler, Preparer, QueryCompiler, TypeCompiler
from logql.sqlalchemy.reflection import OWN, Reflection
from logql.sqlalchemy.types import COLUMN_SPECS

_SWITCH = {"true": True, "false": False, "1": True, "0": False, "yes": True, "no": False, "on": True, "off": False}
_OPTIONS = frozenset({"replay", "replay_budget", "database", "read_only", "reflect"})


class LogqlDialect(Reflection):
    """SQLAlchemy over logql: recorded relations to read, own tables to write."""

    name = "logql"
    driver = "duckdb"
    default_paramstyle = "qmark"
    supports_statement_cache = True

    statement_compiler = QueryCompiler
    ddl_compiler = DdlCompiler
    type_compiler_cls = TypeCompiler
    preparer = Preparer
    colspecs = COLUMN_SPECS

    supports_alter = False
    supports_comments = True
    inline_comments = False
    supports_default_values = True
    supports_default_metavalue = True
    supports_empty_insert = False
    supports_multivalues_insert = True
    supports_native_boolean = True
    supports_native_decimal = True
    supports_native_uuid = True
    supports_sane_rowcount = True
    supports_sane_multi_rowcount = True
    supports_sequences = False
    supports_is_distinct_from = True
    tuple_in_values = True
    div_is_floordiv = False
    cte_follows_insert = True
    default_schema_name = OWN

    insert_returning = True
    update_returning = True
    delete_returning = True
    insert_executemany_returning = True
    use_insertmanyvalues = True
    use_insertmanyvalues_wo_returning = False  # executemany is faster
    favor_returning_over_lastrowid = True
    postfetch_lastrowid = False

    @classmethod
    def import_dbapi(cls) -> ModuleType:
        """The DB-API module."""
        from logql import dbapi

        return dbapi

    @classmethod
    def engine_created(cls, engine: Engine) -> None:
        """Count the rows of inserts in batches, too: pandas tells the number."""
        engine.update_execution_options(preserve_rowcount=True)

    def create_connect_args(self, url: URL) -> ConnectArgsType:
        """Arguments of `connect` from a URL: the store's path, relative or absolute, and options."""
        options = {key: value if isinstance(value, str) else value[-1] for key, value in url.query.items()}
        if unknown := sorted(set(options) - _OPTIONS):
            raise ArgumentError(
                f"logql knows no option {unknown[0]!r} of a URL; it knows {', '.join(sorted(_OPTIONS))}"
            )
        self.reflects_history = _choice("reflect", options.pop("reflect", "all"), {"all": True, "own": False})
        arguments: dict[str, Any] = dict(options)
        if "read_only" in arguments:
            arguments["read_only"] = _choice("read_only", arguments["read_only"], _SWITCH)
        for name in ("replay", "replay_budget"):
            if name in arguments:
                _check_setting(name, arguments[name])
        arguments["store"] = _store_path(url.database)
        return [], arguments

    def connect(self, *arguments: Any, **options: Any) -> Any:
        """A connection; the budget is a setting of its own."""
        budget = options.pop("replay_budget", None)
        connection = super().connect(*arguments, **options)
        if budget is not None:
            connection.cursor().execute(f"SET replay_budget = {float(budget)}")
        return connection

    def __init__(self, json_serializer: Any = None, json_deserializer: Any = None, **options: Any) -> None:
        super().__init__(**options)
        self._json_serializer = json_serializer
        self._json_deserializer = json_deserializer
        self._to_begin: WeakSet[Any] = WeakSet()

    def do_begin(self, dbapi_connection: Any) -> None:
        """Note that a transaction on own tables begins: at its first statement, whose snapshot it then has."""
        self._to_begin.add(_bare(dbapi_connection))

    def do_commit(self, dbapi_connection: Any) -> None:
        """Commit, if anything was begun."""
        self._to_begin.discard(_bare(dbapi_connection))
        dbapi_connection.commit()

    def do_rollback(self, dbapi_connection: Any) -> None:
        """Roll back, if anything was begun."""
        self._to_begin.discard(_bare(dbapi_connection))
        dbapi_connection.rollback()

    def do_execute(self, cursor: Any, statement: str, parameters: Any, context: Any = None) -> None:  # noqa: ARG002
        """Execute a statement, in a transaction that may begin here."""
        self._begin(cursor)
        cursor.execute(statement, parameters)

    def do_executemany(self, cursor: Any, statement: str, parameters: Any, context: Any = None) -> None:  # noqa: ARG002
        """Execute a statement for each set of parameters."""
        self._begin(cursor)
        cursor.executemany(statement, parameters)

    def do_execute_no_params(self, cursor: Any, statement: str, context: Any = None) -> None:  # noqa: ARG002
        """Execute a statement as it is."""
        self._begin(cursor)
        cursor.execute(statement)

    def _begin(self, cursor: Any) -> None:
        if cursor.connection in self._to_begin:
            self._to_begin.discard(cursor.connection)
            cursor.connection.cursor().execute("BEGIN")

    def do_ping(self, dbapi_connection: Any) -> bool:
        """Whether a pooled connection still works."""
        dbapi_connection.cursor().execute("SELECT 1")
        return True

    def is_disconnect(self, e: Any, connection: Any, cursor: Any) -> bool:  # noqa: ARG002
        """Whether an error means that the connection is gone."""
        return "the connection is closed" in str(e)

    def _get_server_version_info(self, connection: Any) -> tuple[int, ...]:
        (version,) = connection.exec_driver_sql("SELECT version()").one()
        return tuple(int(part) for part in version.lstrip("v").split("-")[0].split(".") if part.isdigit())

    def _get_default_schema_name(self, connection: Any) -> str:  # noqa: ARG002
        return OWN


def _bare(connection: Any) -> Any:
    """The connection inside the pool's wrapper, if there is one."""
    return getattr(connection, "dbapi_connection", connection)


def _choice(name: str, value: str, meanings: Mapping[str, bool]) -> bool:
    """What an option of a URL means. Raises ArgumentError for a value that it cannot have."""
    if value.lower() not in meanings:
        raise ArgumentError(f"{name} is one of {', '.join(meanings)}, not {value!r}")
    return meanings[value.lower()]


def _check_setting(name: str, value: str) -> None:
    try:
        Options().set(name, value)
    except ProgrammingError as error:
        raise ArgumentError(error.message) from error


def _store_path(database: str | None) -> str | None:
    """The store that a URL's path means: relative to the working directory, else from the root if only that exists."""
    if not database:
        return None
    path = os.path.expanduser(database)
    rooted = os.sep + path
    return rooted if not os.path.exists(path) and os.path.exists(rooted) else path

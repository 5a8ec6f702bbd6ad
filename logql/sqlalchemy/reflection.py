"""What there is: own tables and views as DuckDB's catalog has them, recorded relations as the history has them."""

# The signatures are SQLAlchemy's.
# ruff: noqa: ARG002
from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import exc
from sqlalchemy.engine import Connection, default, reflection

from logql.catalog.relations import FIXED_NAMES
from logql.sqlalchemy.types import type_of

if TYPE_CHECKING:
    from logql.session import Session

HISTORY = "history"
OWN = "main"
_HERE = "database_name IN (current_database(), 'temp')"


def session_of(connection: Connection) -> Session:
    """The session behind a connection of SQLAlchemy's."""
    found: Session = connection.connection.dbapi_connection.session  # type: ignore[union-attr]
    return found


def ask(connection: Connection, sql: str, *parameters: object) -> list[dict[str, Any]]:
    """Rows of a query of DuckDB's catalog."""
    cursor = connection.connection.cursor()
    try:
        cursor.execute(sql, list(parameters))
        names = [column[0] for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    finally:
        cursor.close()


class Reflection(default.DefaultDialect):
    """The methods of a dialect that `sqlalchemy.inspect` calls."""

    #: Whether listings without a schema hold the recorded relations, too.
    reflects_history = True

    # -- what names mean

    def _history(self, connection: Connection) -> list[str]:
        return sorted(FIXED_NAMES | set(session_of(connection).world().schema.loops))

    def _own(self, connection: Connection, schema: str | None, temporary: bool = False) -> list[str]:
        return _names(connection, "table", schema, temporary)

    def _kind(self, connection: Connection, name: str, schema: str | None) -> str:
        """'own' or 'history', whose a name is. Raises NoSuchTableError."""
        if schema != HISTORY:
            sql = f"SELECT table_name FROM duckdb_columns() WHERE {_HERE} AND table_name = ? AND {_schema(schema)}"
            if ask(connection, sql + " LIMIT 1", name):
                return "own"
            if schema in (None, OWN) and name.lower() in self._kept_views(connection):
                return "kept"
        if schema in (None, HISTORY) and name in self._history(connection):
            return "history"
        raise exc.NoSuchTableError(f"{schema}.{name}" if schema else name)

    def _kept_views(self, connection: Connection) -> dict[str, object]:
        return session_of(connection).catalog.items("view")

    # -- listings

    @reflection.cache
    def get_schema_names(self, connection: Connection, **kw: Any) -> list[str]:
        """`main` with own tables, `history` with what is recorded, and own schemas."""
        sql = f"SELECT schema_name FROM duckdb_schemas() WHERE {_HERE} AND NOT internal"
        return sorted({HISTORY, OWN, *(row["schema_name"] for row in ask(connection, sql))})

    @reflection.cache
    def get_table_names(self, connection: Connection, schema: str | None = None, **kw: Any) -> list[str]:
        """Own tables, and without a schema the recorded relations that none of them hides."""
        if schema == HISTORY:
            return self._history(connection)
        own = self._own(connection, schema)
        if schema is not None or not self.reflects_history:
            return own
        hidden = {name.lower() for name in [*own, *self.get_view_names(connection)]}
        return own + [name for name in self._history(connection) if name.lower() not in hidden]

    @reflection.cache
    def get_temp_table_names(self, connection: Connection, schema: str | None = None, **kw: Any) -> list[str]:
        """Temporary tables of this connection."""
        return _names(connection, "table", None, temporary=True)

    @reflection.cache
    def get_view_names(self, connection: Connection, schema: str | None = None, **kw: Any) -> list[str]:
        """Views: those that the store keeps, and own ones in schemas of their own."""
        if schema == HISTORY:
            return []
        kept = self._kept_views(connection) if schema in (None, OWN) else {}
        return sorted({*kept, *_names(connection, "view", schema, temporary=False)})

    @reflection.cache
    def get_temp_view_names(self, connection: Connection, schema: str | None = None, **kw: Any) -> list[str]:
        """Temporary views of this connection."""
        return [name for name in _names(connection, "view", None, temporary=True) if not name.startswith("_lq_")]

    @reflection.cache
    def has_table(self, connection: Connection, table_name: str, schema: str | None = None, **kw: Any) -> bool:
        """Whether a table, view or recorded relation has this name."""
        try:
            kind = self._kind(connection, table_name, schema)
        except exc.NoSuchTableError:
            return False
        return kind != "history" or self.reflects_history or schema == HISTORY

    # -- columns

    @reflection.cache
    def get_columns(self, connection: Connection, table_name: str, schema: str | None = None, **kw: Any) -> Any:
        """Columns with types, defaults and comments. Names that were never recorded are in no listing."""
        kind = self._kind(connection, table_name, schema)
        if kind == "own":
            return _own_columns(connection, table_name, schema)
        if kind == "kept":
            cursor = connection.connection.cursor()
            cursor.execute(f"SELECT * FROM {self.identifier_preparer.quote(table_name)} LIMIT 0")
            return [_column(name, str(type_)) for name, type_, *_ in cursor.description or ()]
        session = session_of(connection)
        comments = session.catalog.items("comment")
        columns = session.world().schema.relation(table_name)
        return [_column(name, type_, comments.get(f"column:{name}")) for name, type_ in columns.items()]

    @reflection.cache
    def get_view_definition(self, connection: Connection, view_name: str, schema: str | None = None, **kw: Any) -> str:
        """The statement that made a view."""
        kept = self._kept_views(connection) if schema in (None, OWN) else {}
        if view_name.lower() in kept:
            return str(kept[view_name.lower()])
        sql = f"SELECT sql FROM duckdb_views() WHERE {_HERE} AND view_name = ? AND {_schema(schema)}"
        if rows := ask(connection, sql, view_name):
            return str(rows[0]["sql"])
        raise exc.NoSuchTableError(view_name)

    @reflection.cache
    def get_table_comment(self, connection: Connection, table_name: str, schema: str | None = None, **kw: Any) -> Any:
        """The comment on a table."""
        if self._kind(connection, table_name, schema) != "own":
            return {"text": None}
        sql = (
            f"SELECT comment FROM duckdb_tables() WHERE {_HERE} AND table_name = $1 AND {_schema(schema)} UNION ALL "
            f"SELECT comment FROM duckdb_views() WHERE {_HERE} AND view_name = $1 AND {_schema(schema)}"
        )
        return {"text": next((row["comment"] for row in ask(connection, sql, table_name)), None)}

    # -- constraints and indexes

    @reflection.cache
    def get_pk_constraint(self, connection: Connection, table_name: str, schema: str | None = None, **kw: Any) -> Any:
        """The primary key; DuckDB forgets the name that it was given."""
        found = self._constraints(connection, table_name, schema, "PRIMARY KEY")
        return {"constrained_columns": found[0]["constraint_column_names"] if found else [], "name": None}

    @reflection.cache
    def get_unique_constraints(
        self, connection: Connection, table_name: str, schema: str | None = None, **kw: Any
    ) -> Any:
        """Unique constraints, without the names that they were given."""
        found = self._constraints(connection, table_name, schema, "UNIQUE")
        return [{"name": None, "column_names": row["constraint_column_names"]} for row in found]

    @reflection.cache
    def get_check_constraints(
        self, connection: Connection, table_name: str, schema: str | None = None, **kw: Any
    ) -> Any:
        """Check constraints, without the names that they were given."""
        found = self._constraints(connection, table_name, schema, "CHECK")
        return [{"name": None, "sqltext": row["expression"]} for row in found]

    @reflection.cache
    def get_foreign_keys(self, connection: Connection, table_name: str, schema: str | None = None, **kw: Any) -> Any:
        """Foreign keys, without the names that they were given; they stay within a schema."""
        found = self._constraints(connection, table_name, schema, "FOREIGN KEY")
        return [
            {
                "name": None,
                "constrained_columns": row["constraint_column_names"],
                "referred_schema": schema,
                "referred_table": row["referenced_table"],
                "referred_columns": row["referenced_column_names"],
                "options": {},
            }
            for row in found
        ]

    @reflection.cache
    def get_indexes(self, connection: Connection, table_name: str, schema: str | None = None, **kw: Any) -> Any:
        """Indexes that were made by name."""
        self._kind(connection, table_name, schema)
        sql = (
            "SELECT index_name, is_unique, expressions FROM duckdb_indexes() "
            f"WHERE {_HERE} AND table_name = ? AND {_schema(schema)} ORDER BY index_name"
        )
        return [
            {
                "name": row["index_name"],
                "column_names": [part.strip(" \"'") for part in row["expressions"][1:-1].split(",")],
                "unique": bool(row["is_unique"]),
            }
            for row in ask(connection, sql, table_name)
        ]

    def _constraints(self, connection: Connection, table: str, schema: str | None, kind: str) -> list[dict[str, Any]]:
        if self._kind(connection, table, schema) != "own":
            return []
        sql = (
            "SELECT DISTINCT constraint_column_names, expression, referenced_table, referenced_column_names "
            "FROM duckdb_constraints() "
            f"WHERE {_HERE} AND table_name = ? AND constraint_type = ? AND {_schema(schema)} ORDER BY ALL"
        )
        return ask(connection, sql, table, kind)


def _schema(schema: str | None) -> str:
    name = (schema or OWN).replace("'", "''")
    return f"schema_name = '{name}'"


def _names(connection: Connection, kind: str, schema: str | None, temporary: bool) -> list[str]:
    where = "temporary" if temporary else f"NOT temporary AND {_HERE} AND {_schema(schema)}"
    sql = f"SELECT {kind}_name AS name FROM duckdb_{kind}s() WHERE NOT internal AND {where} ORDER BY 1"
    return [str(row["name"]) for row in ask(connection, sql)]


def _own_columns(connection: Connection, table: str, schema: str | None) -> list[dict[str, Any]]:
    sql = (
        "SELECT column_name, data_type, is_nullable, column_default, comment FROM duckdb_columns() "
        f"WHERE {_HERE} AND table_name = ? AND {_schema(schema)} ORDER BY column_index"
    )
    return [
        _column(row["column_name"], row["data_type"], row["comment"], row["is_nullable"], row["column_default"])
        for row in ask(connection, sql, table)
    ]


def _column(
    name: str, type_: str, comment: object = None, nullable: bool = True, column_default: str | None = None
) -> dict[str, Any]:
    numbered = (column_default or "").startswith("nextval(")
    return {
        "name": name,
        "type": type_of(type_),
        "nullable": nullable,
        "default": column_default if column_default not in (None, "NULL") else None,
        "autoincrement": numbered,
        "comment": comment,
    }

"""SQLAlchemy's expressions, statements and types as DuckDB's SQL."""

# The signatures are SQLAlchemy's, and so are the parts without types.
# ruff: noqa: ARG002
# mypy: disable-error-code="no-untyped-call, no-any-return"
from __future__ import annotations

from typing import Any

from sqlalchemy import types
from sqlalchemy.sql import compiler
from sqlalchemy.sql.expression import cast

from logql.sqlalchemy.words import RESERVED_WORDS

_NOW = "CAST(now() AS TIMESTAMP)"


class QueryCompiler(compiler.SQLCompiler):
    """Queries and DML."""

    def visit_now_func(self, fn: Any, **kw: Any) -> str:
        """now() without a time zone: what a TIMESTAMP column holds."""
        return _NOW

    def visit_current_timestamp_func(self, fn: Any, **kw: Any) -> str:
        """CURRENT_TIMESTAMP without a time zone."""
        return _NOW

    def visit_char_length_func(self, fn: Any, **kw: Any) -> str:
        """The length of a text."""
        return f"length{self.function_argspec(fn, **kw)}"

    def get_select_precolumns(self, select: Any, **kw: Any) -> str:
        """DISTINCT, or DISTINCT ON some expressions."""
        if select._distinct and select._distinct_on:
            return f"DISTINCT ON ({', '.join(self.process(column, **kw) for column in select._distinct_on)}) "
        return "DISTINCT " if select._distinct else ""

    def limit_clause(self, select: Any, **kw: Any) -> str:
        """LIMIT and OFFSET, either of them alone, too."""
        text = ""
        if select._limit_clause is not None:
            text += "\n LIMIT " + self.process(select._limit_clause, **kw)
        if select._offset_clause is not None:
            text += "\n OFFSET " + self.process(select._offset_clause, **kw)
        return text

    def for_update_clause(self, select: Any, **kw: Any) -> str:
        """Nothing: transactions see a snapshot, and rows cannot be locked."""
        return ""

    def visit_json_getitem_op_binary(self, binary: Any, operator: Any, _cast_applied: bool = False, **kw: Any) -> str:
        """An element of a JSON value, as JSON, text or a number."""
        return self._json_item(binary, operator, _cast_applied, **kw)

    def visit_json_path_getitem_op_binary(
        self, binary: Any, operator: Any, _cast_applied: bool = False, **kw: Any
    ) -> str:
        """What a path leads to in a JSON value."""
        return self._json_item(binary, operator, _cast_applied, **kw)

    def _json_item(self, binary: Any, operator: Any, cast_applied: bool, **kw: Any) -> str:
        affinity = binary.type._type_affinity
        if affinity in (types.JSON, types.String):
            function = "json_extract" if affinity is types.JSON else "json_extract_string"
        elif cast_applied:
            function = "json_extract_string"
        else:
            return self.process(cast(binary, binary.type), _cast_applied=True, **kw)
        left, right = self.process(binary.left, **kw), self.process(binary.right, **kw)
        return f"{function}({left}, {right})"

    def visit_regexp_match_op_binary(self, binary: Any, operator: Any, **kw: Any) -> str:
        """A match of a regular expression anywhere in a text."""
        return f"regexp_matches({self._regexp(binary, binary.right, **kw)})"

    def visit_not_regexp_match_op_binary(self, binary: Any, operator: Any, **kw: Any) -> str:
        """No match of a regular expression in a text."""
        return f"NOT {self.visit_regexp_match_op_binary(binary, operator, **kw)}"

    def visit_regexp_replace_op_binary(self, binary: Any, operator: Any, **kw: Any) -> str:
        """A replacement of all matches."""
        pattern, replacement = binary.right.clauses
        parts = [self.process(part, **kw) for part in (binary.left, pattern, replacement)]
        flags = binary.modifiers.get("flags") or ""
        return f"regexp_replace({', '.join(parts)}, '{flags if 'g' in flags else flags + 'g'}')"

    def _regexp(self, binary: Any, pattern: Any, **kw: Any) -> str:
        parts = [self.process(binary.left, **kw), self.process(pattern, **kw)]
        flags = binary.modifiers.get("flags")
        return ", ".join([*parts, self.render_literal_value(flags, types.STRINGTYPE)] if flags else parts)

    def visit_bitwise_xor_op_binary(self, binary: Any, operator: Any, **kw: Any) -> str:
        """Exclusive or: `^` is a power in DuckDB."""
        return f"xor({self.process(binary.left, **kw)}, {self.process(binary.right, **kw)})"

    def visit_aggregate_strings_func(self, fn: Any, **kw: Any) -> str:
        """Texts joined by a separator."""
        return super().visit_aggregate_strings_func(fn, use_function_name="string_agg", **kw)

    def visit_empty_set_expr(self, element_types: Any, **kw: Any) -> str:
        """A subquery without rows, for an IN over no values."""
        nulls = ", ".join(
            f"CAST(NULL AS {self.dialect.type_compiler_instance.process(type_)})"
            if not type_._isnull
            else "CAST(NULL AS INTEGER)"
            for type_ in element_types or [types.INTEGER()]
        )
        return f"SELECT {nulls} WHERE 1 != 1"

    def update_from_clause(
        self, update_stmt: Any, from_table: Any, extra_froms: Any, from_hints: Any, **kw: Any
    ) -> str:
        """UPDATE ... FROM other tables."""
        kw["asfrom"] = True
        return "FROM " + ", ".join(table._compiler_dispatch(self, fromhints=from_hints, **kw) for table in extra_froms)

    def delete_extra_from_clause(
        self, delete_stmt: Any, from_table: Any, extra_froms: Any, from_hints: Any, **kw: Any
    ) -> str:
        """DELETE ... USING other tables."""
        kw["asfrom"] = True
        return "USING " + ", ".join(table._compiler_dispatch(self, fromhints=from_hints, **kw) for table in extra_froms)

    def returning_clause(self, stmt: Any, returning_cols: Any, *, populate_result_map: bool, **kw: Any) -> str:
        """RETURNING, with bare names of columns."""
        kw["include_table"] = False
        return super().returning_clause(stmt, returning_cols, populate_result_map=populate_result_map, **kw)


class DdlCompiler(compiler.DDLCompiler):
    """Statements that make and drop own tables."""

    def get_column_specification(self, column: Any, **kw: Any) -> str:
        """A column; one that numbers its rows takes its values from a sequence of its own."""
        text = super().get_column_specification(column, **kw)
        sequence = self._numbering(column)
        if sequence is None:
            return text
        name, rest = self.preparer.format_column(column), " NOT NULL" if not column.nullable else ""
        type_ = self.dialect.type_compiler_instance.process(column.type, type_expression=column)
        return f"{name} {type_} DEFAULT nextval({_quoted(sequence)}){rest}"

    def get_column_default_string(self, column: Any) -> str | None:
        """A default, as it was written: DuckDB casts it to the column's type by itself."""
        text = super().get_column_default_string(column)
        return text.replace(_NOW, "now()") if text else text

    def visit_create_table(self, create: Any, **kw: Any) -> str:
        """CREATE TABLE, after the sequence that numbers its rows."""
        text = super().visit_create_table(create, **kw)
        sequence = self._numbering(create.element._autoincrement_column)
        return f"CREATE SEQUENCE IF NOT EXISTS {sequence};\n{text}" if sequence else text

    def visit_drop_table(self, drop: Any, **kw: Any) -> str:
        """DROP TABLE, and the sequence that numbered its rows."""
        text = super().visit_drop_table(drop, **kw)
        sequence = self._numbering(drop.element._autoincrement_column)
        return f"{text};\nDROP SEQUENCE IF EXISTS {sequence}" if sequence else text

    def _numbering(self, column: Any) -> str | None:
        """The name of the sequence behind an autoincrement column; None for any other column."""
        table = getattr(column, "table", None)
        if table is None or column is not table._autoincrement_column:
            return None
        server_side = column.server_default is not None and column.identity is None
        if server_side or (column.default is not None and not column.default.is_sequence):
            return None
        name = self.preparer.quote_identifier(f"{table.name}_{column.name}_numbers")
        return f"{self.preparer.quote_schema(table.schema)}.{name}" if table.schema else name

    def visit_create_index(
        self, create: Any, include_schema: Any = False, include_table_schema: Any = True, **kw: Any
    ) -> str:
        """CREATE INDEX: the index lives in the schema of its table."""
        return super().visit_create_index(create, False, include_table_schema, **kw)

    def visit_set_column_comment(self, create: Any, **kw: Any) -> str:
        """A comment on a column of an own table, whose name then always has its table's before it."""
        column = self.preparer.format_column(create.element, use_table=True, use_schema=True)
        text = self.sql_compiler.render_literal_value(create.element.comment, types.STRINGTYPE)
        return f"COMMENT ON COLUMN {column} IS {text}"


def _quoted(name: str) -> str:
    """A name as a string literal."""
    return "'" + name.replace("'", "''") + "'"


class TypeCompiler(compiler.GenericTypeCompiler):
    """Types of columns and casts."""

    def visit_float(self, type_: Any, **kw: Any) -> str:
        """A Float is a double, as Python's is; DuckDB's FLOAT has 4 bytes (types.REAL)."""
        return "DOUBLE"

    def visit_FLOAT(self, type_: Any, **kw: Any) -> str:  # noqa: N802
        """See `visit_float`."""
        return "DOUBLE"

    def visit_DOUBLE_PRECISION(self, type_: Any, **kw: Any) -> str:  # noqa: N802
        """A double."""
        return "DOUBLE"

    def visit_NUMERIC(self, type_: Any, **kw: Any) -> str:  # noqa: N802
        """A decimal; without a precision, the widest, with 10 digits behind the point."""
        if type_.precision is None:
            return "DECIMAL(38, 10)"
        return f"DECIMAL({type_.precision}, {type_.scale or 0})"

    visit_DECIMAL = visit_NUMERIC  # noqa: N815

    def visit_DATETIME(self, type_: Any, **kw: Any) -> str:  # noqa: N802
        """A time stamp."""
        return self.visit_TIMESTAMP(type_, **kw)

    def visit_TIMESTAMP(self, type_: Any, **kw: Any) -> str:  # noqa: N802
        """A time stamp, with a time zone where the type has one."""
        return "TIMESTAMP WITH TIME ZONE" if type_.timezone else "TIMESTAMP"

    def visit_TIME(self, type_: Any, **kw: Any) -> str:  # noqa: N802
        """A time of day."""
        return "TIME WITH TIME ZONE" if type_.timezone else "TIME"

    def visit_INTERVAL(self, type_: Any, **kw: Any) -> str:  # noqa: N802
        """An interval of DuckDB's own."""
        return "INTERVAL"

    def visit_ARRAY(self, type_: Any, **kw: Any) -> str:  # noqa: N802
        """A list."""
        return self.process(type_.item_type, **kw) + "[]" * (type_.dimensions or 1)

    def visit_JSON(self, type_: Any, **kw: Any) -> str:  # noqa: N802
        """JSON."""
        return "JSON"

    def _text(self, type_: Any, **kw: Any) -> str:
        return "VARCHAR" if type_.length is None else f"VARCHAR({type_.length})"

    visit_CHAR = visit_NCHAR = visit_NVARCHAR = visit_VARCHAR = visit_CLOB = visit_NCLOB = _text  # noqa: N815

    def _bytes(self, type_: Any, **kw: Any) -> str:
        return "BLOB"

    visit_BINARY = visit_VARBINARY = visit_BLOB = visit_large_binary = _bytes  # noqa: N815


class Preparer(compiler.IdentifierPreparer):
    """Names, in quotes where DuckDB needs them."""

    reserved_words = set(RESERVED_WORDS)
    illegal_initial_characters = {str(digit) for digit in range(10)} | {"$"}

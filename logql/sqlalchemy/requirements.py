"""What SQLAlchemy's test suite may expect of logql; what is closed says why."""

# mypy: disable-error-code="no-untyped-call"
from __future__ import annotations

from typing import Any

from sqlalchemy.testing import exclusions
from sqlalchemy.testing.requirements import SuiteRequirements


def _open(self: Any) -> Any:  # noqa: ARG001
    return exclusions.open()


def _closed(reason: str) -> Any:
    def closed(self: Any) -> Any:  # noqa: ARG001
        return exclusions.skip_if(lambda: True, reason)

    return property(closed)


class Requirements(SuiteRequirements):
    """Read by `--requirements logql.sqlalchemy.requirements:Requirements`."""


_OPEN = """
array_type boolean_col_expressions comment_reflection comment_reflection_full_unicode create_or_replace_view
create_table_as create_temp_table_as ctes ctes_on_dml ctes_with_values date_historic datetime_historic
datetime_literals delete_from duplicate_key_raises_integrity_error except_ fetch_expression has_temp_table
independent_connections insert_from_select
intersect json_type mod_operator_as_percent_sign multivalues_inserts nested_aggregates nullsordering
order_by_label_with_expression percent_schema_names precision_numerics_enotation_large
precision_numerics_enotation_small precision_numerics_many_significant_digits
precision_numerics_retains_significant_digits regexp_match regexp_replace schemas server_defaults
supports_bitwise_and supports_bitwise_not supports_bitwise_or supports_bitwise_shift supports_bitwise_xor
supports_distinct_on supports_is_distinct_from table_ddl_if_exists index_ddl_if_exists table_value_constructor
temp_table_names temporary_views timestamp_microseconds
tuple_in unicode_ddl update_from uuid_data_type view_column_reflection view_reflection views window_functions
window_range_non_numeric aggregate_order_by infinity_floats
implicit_default_schema expression_server_defaults float_or_double_precision_behaves_generically
cast_precision_numerics_many_significant_digits datetime_interval datetime_timezone
"""

_CLOSED = {
    "sequences": "sequences are not part of the dialect: own tables number their rows by themselves",
    "sequences_optional": "sequences are not part of the dialect: own tables number their rows by themselves",
    "savepoints": "DuckDB has no savepoints",
    "window_range": "the tests take rows to come in the order of a window, which DuckDB does not promise",
    "window_range_numeric": "the tests take rows to come in the order of a window, which DuckDB does not promise",
    "two_phase_transactions": "DuckDB has no two-phase commit",
    "deferrable_fks": "DuckDB checks foreign keys at once",
    "on_update_cascade": "DuckDB's foreign keys have no ON UPDATE and ON DELETE",
    "recursive_fk_cascade": "DuckDB's foreign keys have no ON UPDATE and ON DELETE",
    "cross_schema_fk_reflection": "DuckDB's foreign keys stay within a schema",
    "foreign_key_constraint_name_reflection": "DuckDB forgets the names of constraints",
    "foreign_key_constraint_reflection": "DuckDB forgets the names of constraints, which these tests compare",
    "reflects_pk_names": "DuckDB forgets the names of constraints",
    "indexes_with_ascdesc": "DuckDB's indexes have no order",
    "reflect_indexes_with_ascdesc": "DuckDB's indexes have no order",
    "indexes_with_expressions": "expressions of DuckDB's indexes are reflected as one text",
    "isolation_level": "DuckDB has one isolation level, snapshots",
    "autocommit": "DuckDB has one isolation level, snapshots",
    "identity_columns": "DuckDB has no identity columns",
    "computed_columns": "DuckDB's generated columns cannot be stored",
    "fetch_first": "DuckDB has LIMIT and no FETCH FIRST",
    "dbapi_lastrowid": "a cursor has no lastrowid: RETURNING gives what was inserted",
    "implements_get_lastrowid": "a cursor has no lastrowid: RETURNING gives what was inserted",
    "empty_inserts": "DuckDB's INSERT ... DEFAULT VALUES needs a default for every column",
    "time_timezone": "a time of day with a zone comes without it from Arrow",
    "datetime_timezone_historic": "zones of dates before 1900 have seconds in their offsets",
    "unique_constraint_reflection": "DuckDB forgets the names of constraints",
    "check_constraint_reflection": "DuckDB forgets the names of constraints",
}

for _name in _OPEN.split():
    setattr(Requirements, _name, property(_open))
for _name, _reason in _CLOSED.items():
    setattr(Requirements, _name, _closed(_reason))

"""SQLAlchemy's own suite for dialects; run by tests/test_sqlalchemy_suite.py in a process of its own."""

# mypy: ignore-errors
import pytest
from sqlalchemy.testing.suite import *  # noqa: F403
from sqlalchemy.testing.suite import ComponentReflectionTest as _ComponentReflectionTest
from sqlalchemy.testing.suite import ComponentReflectionTestExtra as _ComponentReflectionTestExtra
from sqlalchemy.testing.suite import CTETest as _CTETest

_NO_LENGTH = pytest.mark.skip("DuckDB keeps no length of a VARCHAR")
_NO_NAMES = pytest.mark.skip("DuckDB forgets the names of constraints")


class CTETest(_CTETest):
    @classmethod
    def insert_data(cls, connection):
        """Row by row: DuckDB sees no row of the same statement that a foreign key refers to."""
        for row in ((1, "d1", None), (2, "d2", 1), (3, "d3", 1), (4, "d4", 3), (5, "d5", 3)):
            connection.execute(cls.tables.some_table.insert().values(row))


class ComponentReflectionTest(_ComponentReflectionTest):
    test_reflect_table_temp_table = _NO_LENGTH(_ComponentReflectionTest.test_reflect_table_temp_table)
    test_get_foreign_keys_quoted_name = _NO_NAMES(_ComponentReflectionTest.test_get_foreign_keys_quoted_name)


class ComponentReflectionTestExtra(_ComponentReflectionTestExtra):
    test_string_length_reflection = _NO_LENGTH(_ComponentReflectionTestExtra.test_string_length_reflection)

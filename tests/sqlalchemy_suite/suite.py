"""SQLAlchemy's own suite for dialects; run by tests/test_sqlalchemy_suite.py in a process of its own."""

# mypy: ignore-errors
import pytest
from sqlalchemy import Column, Integer, String, Table
from sqlalchemy.testing.suite import *  # noqa: F403
from sqlalchemy.testing.suite import ComponentReflectionTest as _ComponentReflectionTest
from sqlalchemy.testing.suite import ComponentReflectionTestExtra as _ComponentReflectionTestExtra
from sqlalchemy.testing.suite import CTETest as _CTETest
from sqlalchemy.testing.suite import TrueDivTest as _TrueDivTest

_NO_LENGTH = pytest.mark.skip("DuckDB keeps no length of a VARCHAR")
_DOUBLES = pytest.mark.skip("DuckDB divides decimals as doubles")
_NO_NAMES = pytest.mark.skip("DuckDB forgets the names of constraints")


class CTETest(_CTETest):
    @classmethod
    def define_tables(cls, metadata):
        """Without the foreign key: DuckDB checks it before it sees the other rows of the same statement."""
        for name in ("some_table", "some_other_table"):
            Table(name, metadata, Column("id", Integer, primary_key=True), Column("data", String(50)),
                  Column("parent_id", Integer))  # fmt: skip


class ComponentReflectionTest(_ComponentReflectionTest):
    test_reflect_table_temp_table = _NO_LENGTH(_ComponentReflectionTest.test_reflect_table_temp_table)
    test_get_foreign_keys_quoted_name = _NO_NAMES(_ComponentReflectionTest.test_get_foreign_keys_quoted_name)


class ComponentReflectionTestExtra(_ComponentReflectionTestExtra):
    test_string_length_reflection = _NO_LENGTH(_ComponentReflectionTestExtra.test_string_length_reflection)


class TrueDivTest(_TrueDivTest):
    test_truediv_divisor = _DOUBLES(_TrueDivTest.test_truediv_divisor)

"""The public compliance suite of PEP 249 (`dbapi-compliance`), on own tables of a recorded store."""

from __future__ import annotations

import tempfile
from typing import Any

import pytest

from logql import dbapi
from logql.store.snapshot import forget
from tests.store.history import epochs, record

dbapi20 = pytest.importorskip("dbapi20", reason="needs dbapi-compliance")


class TestCompliance(dbapi20.DatabaseAPI20Test):  # type: ignore[misc, name-defined]
    """All 36 tests; the two that the suite leaves to the driver are below."""

    driver = dbapi

    def setUp(self) -> None:
        """A store of its own with one run; a connection keeps the own tables in memory between those of a test."""
        self.directory = tempfile.TemporaryDirectory()
        self.store = f"{self.directory.name}/.logql"
        record(self.store, "R1", epochs(2))
        self.connect_args = (self.store,)
        self.keeper = dbapi.connect(self.store)

    def tearDown(self) -> None:
        super().tearDown()
        self.keeper.close()
        forget(self.store)
        self.directory.cleanup()

    def test_nextset(self) -> None:
        """PEP 249 leaves nextset to drivers with several result sets; a cursor of logql's holds the last one."""
        assert not hasattr(self._cursor(), "nextset")

    def test_setoutputsize(self) -> None:
        """Sizes are taken and ignored: columns of any size come whole."""
        cursor = self._cursor()
        cursor.setoutputsize(1)
        cursor.setoutputsize(1, 0)
        cursor.execute("SELECT repeat('x', 5000)")
        assert len(cursor.fetchone()[0]) == 5000

    def _cursor(self) -> Any:
        cursor = self.keeper.cursor()
        self.addCleanup(cursor.close)
        return cursor

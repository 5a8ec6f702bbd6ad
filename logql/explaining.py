"""EXPLAIN and EXPLAIN ANALYZE: logql's plan, then DuckDB's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from logql.execute.engine import Answer
from logql.sql.bound import BoundQuery
from logql.sql.statements import Explain

if TYPE_CHECKING:
    from logql.session import Session


def explain_query(session: Session, bound: BoundQuery, statement: Explain) -> Answer:
    """The plan of a query: what would be filled and at which cost, and DuckDB's plan of what is asked of it."""
    raise NotImplementedError

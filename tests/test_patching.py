"""A place that a person pinned is where the statement goes, in the answer as in `logql patch`."""

from __future__ import annotations

from logql.patching import keep_pin, place_in_version
from tests.test_session import Session, project, rows, session, truth

__all__ = ["project", "session"]


def test_a_pin_decides_what_is_replayed(session: Session) -> None:
    squares, _, last = truth()
    found = place_in_version(session, "last", session.catalog.versions()[0].id, ("train.py", 12))
    keep_pin(session, found)
    try:
        query = "SELECT epoch, last FROM logs WHERE epoch < 2 ORDER BY epoch"
        assert [value**2 for _, value in rows(session, query)] == squares[:2]  # type: ignore[operator]
    finally:
        session.catalog.remove("pin", next(iter(session.catalog.items("pin"))))
    assert rows(session, "SELECT last FROM logs") == [(last,)]

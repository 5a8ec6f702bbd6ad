"""A place that a person pinned is where the statement goes, in the answer as in `logql patch`."""

from __future__ import annotations

import pytest

from logql.errors import ProgrammingError
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


@pytest.mark.parametrize(
    ("name", "pin", "message"),
    [
        ("last", ("train.py", 999), "and no line 999"),
        ("last", ("train.py", 0), "and no line 0"),
        ("last", ("trian.py", 3), "has no trian.py"),
        ("acc", None, "logs 'acc' itself"),
        ("acc", ("train.py", 3), "logs 'acc' itself"),
    ],
)
def test_places_that_cannot_be(session: Session, name: str, pin: tuple[str, int] | None, message: str) -> None:
    with pytest.raises(ProgrammingError, match=message):
        place_in_version(session, name, session.catalog.versions()[0].id, pin)


def test_a_version_may_be_a_commit(session: Session) -> None:
    (version,) = session.catalog.versions()
    for name in (version.id, version.id[:6], version.commit, version.commit[:12]):
        assert place_in_version(session, "last", name, None).version == version
    for name in ("nowhere", "HEAD~99"):
        with pytest.raises(ProgrammingError, match="names no versions"):
            place_in_version(session, "last", name, None)

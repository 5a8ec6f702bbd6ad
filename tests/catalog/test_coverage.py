"""What fills settle, by fingerprint."""

from __future__ import annotations

from logql.catalog.coverage import Coverage, index_fills, trusted
from logql.model import Fill


def fill(id_: str, state: str, first: int, last: int, **changes: object) -> Fill:
    values: dict[str, object] = {"levels": {"n": (("epoch",),)}, "started_at": float(ord(id_)), **changes}
    return Fill(id_, "q", "R", "v", {"n": "f"}, "epoch", 0, first, last, state, **values)  # type: ignore[arg-type]


def covered(*fills: Fill, strict: bool = False) -> Coverage:
    found = Coverage()
    for each in index_fills(fills)["R", "n"]:
        found.add(each, "n", trusted(each, strict))
    return found


def test_the_last_fill_of_an_iteration_counts() -> None:
    found = covered(fill("b", "done", 1, 2), fill("a", "done", 0, 1))
    assert {index: each.id for index, each in found.done["epoch", 0].items()} == {0: "a", 1: "b", 2: "b"}
    assert found.overlaps
    assert found.levels == {("epoch",)}


def test_a_failure_never_hides_a_value_and_a_value_heals_a_failure() -> None:
    found = covered(fill("a", "done", 0, 0), fill("b", "failed", 0, 1), fill("c", "done", 1, 1))
    assert set(found.done["epoch", 0]) == {0, 1}
    assert not found.has_failed()


def test_gaps_and_untrusted_fills() -> None:
    found = covered(fill("a", "done", 0, 4, covered=(0, 4), fidelity="diverged"), strict=True)
    assert set(found.failed["epoch", 0]) == {0, 4}
    assert found.known(("epoch", 0)) == 2
    assert found.levels == set()


def test_running_and_cancelled_fills_settle_nothing() -> None:
    assert not index_fills([fill("a", "running", 0, 1), fill("b", "cancelled", 0, 1)])

"""The whole way on a small project: two versions recorded, values asked for that only today's source logs."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

import logql
from logql.catalog.history import History
from logql.errors import BudgetExceeded
from logql.filling import Filled
from logql.model import Fill, Logged, Segment, Step
from logql.options import Options
from logql.replay.job import new_id
from logql.session import Session
from logql.store.fills import write_fill
from logql.store.snapshot import forget

OLD = """
import random
import logql

rate = logql.arg("rate", 0.9)
random.seed(7)
weight = 1.0
for epoch in logql.loop("epoch", range(6)):
    for step in logql.loop("step", range(3)):
        weight = weight * rate + random.random()
        logql.log("loss", weight)
    logql.log("acc", 1 / weight)
"""
SQUARE = '    logql.log("square", weight * weight)\n'
NEW = OLD.replace('    logql.log("acc", 1 / weight)\n', '    logql.log("acc", 1 / weight)\n' + SQUARE).replace(
    '        logql.log("loss", weight)\n', '        logql.log("loss", weight)\n        logql.log("half", weight / 2)\n'
)
NEW += 'logql.log("last", weight)\n'


def truth(rate: float = 0.9) -> tuple[list[float], list[float], float]:
    """Square per epoch, half per step, last: what the old version would have logged."""
    stream, weight = random.Random(7), 1.0
    squares, halves = [], []
    for _ in range(6):
        for _ in range(3):
            weight = weight * rate + stream.random()
            halves.append(weight / 2)
        squares.append(weight * weight)
    return squares, halves, weight


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Trained with the old version; today's source is the new one, never run."""
    found = tmp_path_factory.mktemp("project")
    (found / "train.py").write_text(OLD)
    environment = {**os.environ, "PYTHONPATH": str(Path(logql.__file__).parent.parent), "LOGQL_CHECKPOINT_EVERY": "1"}
    subprocess.run(["git", "init", "-q"], cwd=found, check=True)
    subprocess.run([sys.executable, "train.py"], cwd=found, check=True, env=environment)
    (found / "train.py").write_text(NEW)
    yield found
    forget(str(found / ".logql"))


@pytest.fixture
def session(project: Path) -> Iterator[Session]:
    found = Session(str(project / ".logql"), str(project))
    yield found
    for name in ("square", "half", "last"):
        found.execute(f"UNFILL {name}")
    found.close()


def rows(session: Session, sql: str) -> list[tuple[object, ...]]:
    table = session.execute(sql).answer.table
    return [tuple(row.values()) for row in table.to_pylist()]


def fills(session: Session) -> list[Fill]:
    session.world()
    return [fill for fill in session.history.snapshot.fills if fill.state == "done"]


def test_a_value_that_was_never_logged(session: Session) -> None:
    squares, halves, last = truth()
    assert rows(session, "SELECT epoch, square FROM logs WHERE epoch BETWEEN 3 AND 4 ORDER BY 1") == [
        (3, squares[3]),
        (4, squares[4]),
    ]
    (fill,) = fills(session)
    assert (fill.executed, fill.first_index, fill.last_index, fill.fidelity) == (2, 3, 4, "exact")
    assert rows(session, "SELECT epoch, square FROM logs WHERE epoch = 4") == [(4, squares[4])]
    assert len(fills(session)) == 1, "the same cells are not replayed again"
    found = rows(session, "SELECT epoch, step, half, square FROM logs WHERE epoch = 4 ORDER BY step")
    assert found == [(4, step, halves[12 + step], squares[4]) for step in range(3)]
    assert rows(session, "SELECT last FROM runs") == [(last,)]


def test_origins_and_columns(session: Session) -> None:
    rows(session, "SELECT square FROM logs WHERE epoch = 1")
    session.execute("SET replay = 'off'")
    assert rows(session, "SELECT origin(square), count(*) FROM logs GROUP BY ALL ORDER BY 1") == [
        ("hindsight", 1),
        ("missing", 5),
    ]
    assert rows(session, "SELECT fidelity(square) FROM logs WHERE epoch = 1") == [("exact",)]
    assert rows(session, "SELECT level, hindsight, missing, file FROM columns WHERE name = 'square'") == [
        ("epoch", 1, 5, "train.py")
    ]


def test_what_failed_or_diverged_before_is_told_again(session: Session, project: Path) -> None:
    """As long as rows in reach show it, and not where the query looks elsewhere."""
    session.world()
    (run,) = session.history.snapshot.runs
    fingerprint = session.history.status("square", run).fingerprint
    assert fingerprint is not None

    def keep(index: int, **changes: object) -> None:
        fill = Fill(
            new_id(), "", run.id, run.version, {"square": fingerprint}, "epoch", 0, index, index, "done", started_at=1.0
        )
        event = Logged((Step("epoch", 0, index),), "square", 1.5, 0, 1, 0.0)
        events = () if changes.get("state") == "failed" else (event,)
        write_fill(str(project / ".logql"), replace(fill, **changes), events)  # type: ignore[arg-type]

    keep(1, state="failed", error="no such file: x.npy", covered=(1,))
    keep(2, fidelity="diverged", levels={"square": (("epoch",),)})
    for _ in range(2):
        outcome = session.execute("SELECT epoch, square FROM logs WHERE epoch IN (1, 2) ORDER BY 1")
        assert outcome.answer.table.column("square").to_pylist() == [None, 1.5]
        assert sorted(outcome.notices) == [
            f"square of version {run.version}: no such file: x.npy",
            f"square of version {run.version}: the replay is diverged",
        ]
    assert not session.execute("SELECT epoch, square FROM logs WHERE epoch = 4").notices


def test_replay_off_counts_what_is_missing(session: Session) -> None:
    session.execute("SET replay = 'off'")
    outcome = session.execute("SELECT epoch, square FROM logs")
    assert outcome.answer.table.column("square").null_count == 6
    assert any("6 cells of square are missing" in notice for notice in outcome.notices)


def test_the_budget_is_kept(session: Session) -> None:
    session.execute("SET replay_budget = 0")
    with pytest.raises(BudgetExceeded, match="replay_budget is 0 s"):
        session.execute("SELECT square FROM logs")
    assert fills(session) == []


def test_explain_replays_nothing(session: Session) -> None:
    ((key, text), *_) = rows(session, "EXPLAIN SELECT square FROM logs WHERE epoch = 2")
    assert key == "logql_plan"
    assert "train.py" in str(text)
    assert "square" in str(text)
    assert fills(session) == []


def test_fill_and_unfill(session: Session) -> None:
    session.execute("FILL square WHERE epoch >= 4")
    assert [(fill.first_index, fill.last_index) for fill in fills(session)] == [(4, 5)]
    session.execute("UNFILL square WHERE epoch = 5")
    session.execute("SET replay = 'off'")
    assert rows(session, "SELECT epoch, square IS NULL FROM logs WHERE epoch > 3 ORDER BY 1") == [(4, False), (5, True)]
    session.execute("UNFILL square")
    assert rows(session, "SELECT count(square) FROM logs") == [(0,)]


def test_a_made_column(session: Session) -> None:
    session.execute("CREATE VIRTUAL COLUMN tenth AS 'weight / 10' AFTER '1 / weight'")
    squares, _, _ = truth()
    ((value,),) = rows(session, "SELECT tenth FROM logs WHERE epoch = 2")
    assert value == squares[2] ** 0.5 / 10 or abs(float(str(value)) - squares[2] ** 0.5 / 10) < 1e-12
    session.execute("UNFILL tenth")
    session.execute("DROP VIRTUAL COLUMN tenth")


class Oracle:
    """Looks up values instead of replaying."""

    def __init__(self, store: str) -> None:
        self.store = store
        self.seen: list[Segment] = []

    def fill(self, segments: Sequence[Segment], history: History, query: str, options: Options) -> Filled:  # noqa: ARG002
        squares, _, _ = truth()
        found = []
        for segment in segments:
            self.seen.append(segment)
            fill = Fill(
                new_id(), query, segment.run, segment.version, segment.names, segment.loop, segment.entry,
                segment.wanted[0], segment.wanted[-1], "done", covered=segment.wanted, fidelity="exact",
                levels={"square": (("epoch",),)},
            )  # fmt: skip
            events = [
                Logged((Step("epoch", 0, index),), "square", squares[index], index, 1, 0.0) for index in segment.wanted
            ]
            write_fill(self.store, fill, events)
            found.append(replace(fill))
        return Filled(tuple(found))


@pytest.mark.parametrize(
    ("sql", "wanted", "expected"),
    [
        ("SELECT count(*) FROM logs WHERE square > 30 AND acc < 0.3", None, None),
        ("SELECT max(square) FROM logs WHERE epoch < 2", {0, 1}, [(max(truth()[0][:2]),)]),
        ("SELECT epoch FROM logs WHERE square > 0 AND epoch IN (1, 4) ORDER BY 1", {1, 4}, [(1,), (4,)]),
        ("SELECT acc FROM logs WHERE epoch = 0", set(), [(1 / truth()[0][0] ** 0.5,)]),
        ("SELECT count(*) FROM (SELECT epoch, square FROM logs) WHERE epoch = 3", {3}, [(1,)]),
        ("WITH s AS (SELECT square FROM logs) SELECT 1 AS one", set(), [(1,)]),
        ("SELECT * FROM logs WHERE epoch = 1 AND step = 0", set(), None),
    ],
)
def test_only_what_the_question_needs(project: Path, sql: str, wanted: set[int] | None, expected: object) -> None:
    store = str(project / ".logql")
    oracle = Oracle(store)
    session = Session(store, str(project), filler=oracle)
    try:
        found = rows(session, sql)
        if expected is not None:
            assert [tuple(pytest.approx(cell) for cell in row) for row in expected] == found  # type: ignore[attr-defined]
        if wanted is not None:
            assert {index for segment in oracle.seen for index in segment.wanted} == wanted
    finally:
        session.execute("UNFILL square")
        session.close()


def test_unfill_where_keeps_what_else_the_segment_gave(session: Session) -> None:
    squares, halves, _ = truth()
    rows(session, "SELECT square, half FROM logs WHERE epoch BETWEEN 2 AND 4")
    session.execute("UNFILL square WHERE epoch = 3")
    session.execute("SET replay = 'off'")
    found = rows(session, "SELECT epoch, square FROM logs WHERE epoch BETWEEN 2 AND 4 ORDER BY 1")
    assert found == [(2, squares[2]), (3, None), (4, squares[4])]
    assert rows(session, "SELECT half FROM logs WHERE epoch = 3 ORDER BY step") == [(v,) for v in halves[9:12]]
    session.execute("SET replay = 'auto'")
    session.execute("UNFILL half WHERE step = 1 AND epoch = 2")
    assert rows(session, "SELECT square FROM logs WHERE epoch = 3") == [(squares[3],)]
    assert rows(session, "SELECT half FROM logs WHERE epoch = 2 ORDER BY step") == [(v,) for v in halves[6:9]]


def test_a_statement_that_fails_takes_no_other_with_it(session: Session, project: Path) -> None:
    source = project / "train.py"
    source.write_text(NEW.replace(SQUARE, SQUARE + '    logql.log("wrong", [][epoch])\n'))
    try:
        found = rows(session, "SELECT square, wrong, reason(wrong) FROM logs WHERE epoch = 2")
        assert [row[:2] for row in found] == [(truth()[0][2], None)]
        assert "IndexError" in str(found[0][2])
        assert [set(fill.names) for fill in fills(session)] == [{"square"}]
    finally:
        source.write_text(NEW)


def test_two_connections_ask_for_the_same_cells(session: Session, project: Path) -> None:
    other = Session(str(project / ".logql"), str(project))
    try:
        sql = "SELECT sum(square) FROM logs"
        with ThreadPoolExecutor(2) as pool:
            answers = list(pool.map(lambda one: rows(one, sql), (session, other)))
    finally:
        other.close()
    assert answers[0] == answers[1] == [(pytest.approx(sum(truth()[0])),)]
    done = [fill for fill in fills(session) if fill.query == sql]
    assert sum(fill.executed for fill in done) == 6, "no epoch is executed twice"


def test_notices_name_only_what_was_asked_for(session: Session) -> None:
    session.execute("SET replay = 'off'")
    outcome = session.execute("SELECT square FROM logs WHERE epoch > 3 AND acc > 0")
    assert any("2 cells of square" in notice for notice in outcome.notices), outcome.notices

"""Main loops: where their `for` stands, what the catalog knows of them, when checkpoints are taken and when not."""

from __future__ import annotations

from pathlib import Path

import pytest

from logql.model import Checkpoint, MainLoop
from logql.store.catalog import Catalog
from tests.record.running import read_logged, record, run_python, write_script


def read_loops(store: Path) -> list[MainLoop]:
    with Catalog.open(str(store)) as catalog:
        return catalog.main_loops()


def read_checkpoints(store: Path) -> list[Checkpoint]:
    with Catalog.open(str(store)) as catalog:
        return catalog.checkpoints()


EVERY = {"LOGQL_CHECKPOINT_EVERY": "1"}


def test_the_place_of_each_for_statement(tmp_path: Path) -> None:
    record(
        tmp_path,
        """\
        import logql
        def train(n):
            for epoch in logql.loop(
                "epoch",
                range(n),
            ):
                for step in logql.loop("step", range(2)):
                    pass
        class Trainer:
            def fit(self):
                for i in logql.loop("epoch", range(3)): logql.log("x", i)
        train(2)
        Trainer().fit()
        for fold in logql.loop("fold", "ab"):
            if fold == "b":
                break
        """,
    )
    found = [
        (loop.loop, loop.entry, loop.file, loop.line, loop.function, loop.iterations, loop.finished, loop.ordinal)
        for loop in sorted(read_loops(tmp_path / ".logql"), key=lambda loop: loop.ordinal)
    ]
    assert found == [
        ("epoch", 0, "train.py", 3, "train", 2, True, 0),
        ("epoch", 1, "train.py", 11, "Trainer.fit", 3, True, 1),
        ("fold", 0, "train.py", 14, None, 2, True, 2),
    ]


def test_seconds_are_those_of_the_iterations(tmp_path: Path) -> None:
    record(
        tmp_path,
        """
        import logql, time

        def work(seconds):
            end = time.thread_time() + seconds
            while time.thread_time() < end:
                pass

        work(0.3)
        for i in logql.loop("i", range(2)):
            work(0.1)
        work(0.2)
        for i in logql.loop("j", range(1)):
            work(0.1)
        """,
    )
    first, second = sorted(read_loops(tmp_path / ".logql"), key=lambda loop: loop.ordinal)
    assert 0.19 <= first.seconds < 0.4
    assert 0.3 <= first.setup_seconds < 10
    assert 0.09 <= second.seconds < 0.3
    assert 0.19 <= second.setup_seconds < 0.6


def test_a_loop_that_fails_has_the_seconds_until_then(tmp_path: Path) -> None:
    text = "import logql, time\nfor i in logql.loop('i', range(3)):\n    time.sleep(0.1)\n    assert i < 1\n"
    record(tmp_path, text, expect=1)
    (loop,) = read_loops(tmp_path / ".logql")
    assert 0.19 <= loop.seconds < 0.6


def test_entries_are_counted_however_many_contexts_there_are(tmp_path: Path) -> None:
    record(
        tmp_path,
        """
        import logql
        for epoch in logql.loop("epoch", range(1)):
            for step in logql.loop("step", range(5000)):
                for part in logql.loop("part", range(1)):
                    pass
            for step in logql.loop("step", range(1)):
                logql.log("x", 1)
        for i in range(5000):
            with logql.iteration("block", i):
                with logql.iteration("inner", 0):
                    pass
        """,
    )
    ((path, *_),) = read_logged(tmp_path / ".logql")
    assert path == (("epoch", 0, 0), ("step", 1, 0))
    assert [(loop.loop, loop.entry, loop.iterations) for loop in read_loops(tmp_path / ".logql")] == [
        ("epoch", 0, 1),
        ("block", 0, 5000),
    ]


def test_every_boundary_and_the_exit_with_their_numbers(tmp_path: Path) -> None:
    record(
        tmp_path,
        """
        import logql
        w = 0
        for epoch in logql.loop("epoch", range(4)):
            w += 1
            logql.log("w", w)
            print("a line does not count")
            if epoch == 2:
                break
        """,
        env=EVERY,
    )
    found = [(point.index, point.seq, point.reason) for point in read_checkpoints(tmp_path / ".logql")]
    assert sorted(found, key=lambda row: row[1]) == [(1, 2, None), (2, 4, None), (None, 6, None)]


def test_every_third(tmp_path: Path) -> None:
    text = "import logql\nw = 0\nfor i in logql.loop('i', range(8)):\n    w += i\n    logql.log('w', w)\n"
    record(tmp_path, text, env={"LOGQL_CHECKPOINT_EVERY": "3"})
    assert {point.index for point in read_checkpoints(tmp_path / ".logql")} == {3, 6, None}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("for x in map(str, logql.loop('i', range(2))):\n    pass", "alone"),
        ("for i, x in zip(logql.loop('i', range(2)), (x for x in 'ab')):\n    pass", "plain container"),
        ("x = [i for i in logql.loop('i', range(2))]", "`for` statement"),
        ("for i in [0, 1]:\n    with logql.iteration('i', i):\n        pass", "run over a range"),
        ("for _ in 'a':\n  for i in range(2):\n    with logql.iteration('i', i):\n        pass", "another loop"),
        ("for i in range(2):\n  if i < 2:\n    with logql.iteration('i', i):\n        pass", "every iteration"),
        ("with logql.iteration('i', 0): pass\nwith logql.iteration('i', 1): pass", "in no loop"),
        ("for i in logql.loop('i', map(str, [1, 2])):\n    pass", "runs over a map"),
        ("for i in logql.loop('i', (x for x in [1, 2])):\n    pass", "runs over a generator"),
        ("for i in logql.loop('i', enumerate(x for x in [1, 2])):\n    pass", "runs over a generator"),
    ],
)
def test_what_cannot_be_entered_anew_is_refused_once_with_its_reason(tmp_path: Path, text: str, reason: str) -> None:
    record(tmp_path, f"import logql\n{text}\nlogql.log('done', 1)\n", env=EVERY)
    (loop,) = read_loops(tmp_path / ".logql")
    (point,) = read_checkpoints(tmp_path / ".logql")
    assert (loop.iterations, loop.finished) == (2, True)
    assert point.manifest is None
    assert reason in (point.reason or "")


@pytest.mark.parametrize(
    "iterable", ["enumerate('abc')", "zip('abc', [1, 2, 3])", "iter([1, 2, 3])", "{1: 2, 3: 4, 5: 6}"]
)
def test_iterables_that_can_be_advanced(tmp_path: Path, iterable: str) -> None:
    text = f"import logql\nw = 0\nfor i in logql.loop('i', {iterable}):\n    w += 1\n    logql.log('w', w)\n"
    record(tmp_path, text, env=EVERY)
    found = read_checkpoints(tmp_path / ".logql")
    assert [(point.index, point.reason) for point in found] == [(1, None), (2, None), (None, None)]


def test_what_the_body_changes_of_its_iterable_is_refused(tmp_path: Path) -> None:
    record(
        tmp_path,
        """
        import logql
        todo = [3, 1]
        for n in logql.loop("n", todo):
            todo += [0] * (n - 1)
            logql.log("left", len(todo))
        """,
        env=EVERY,
    )
    (point,) = read_checkpoints(tmp_path / ".logql")
    assert "length" in (point.reason or "")


def test_a_state_that_cannot_be_saved_is_refused_once(tmp_path: Path) -> None:
    record(
        tmp_path,
        """
        import logql
        words = iter(["a", "b", "c", "d"])
        pull = (word for word in words)
        for i in logql.loop("i", range(4)):
            logql.log("word", next(pull))
        """,
        env=EVERY,
    )
    (point,) = [point for point in read_checkpoints(tmp_path / ".logql") if point.manifest is None]
    assert "pull" in (point.reason or "")
    assert [p for p in read_checkpoints(tmp_path / ".logql") if p.manifest] == []


def test_a_loop_of_the_command_line_elsewhere(tmp_path: Path) -> None:
    write_script(tmp_path, "import sys\nsys.path.insert(0, '..')\nimport model\nmodel.fit()\n", "scripts/train.py")
    write_script(
        tmp_path, "import logql\ndef fit():\n    for i in logql.loop('i', range(2)):\n        pass\n", "model.py"
    )
    (tmp_path / ".git").mkdir()
    run_python(tmp_path / "scripts", "train.py", env={"PATH": "/nonexistent"})
    (loop,) = read_loops(tmp_path / ".logql")
    assert (loop.file, loop.line, loop.function) == ("model.py", 3, "fit")


def test_without_overhead_there_are_no_checkpoints(tmp_path: Path) -> None:
    text = "import logql\nfor i in logql.loop('i', range(3)):\n    logql.log('x', i)\n"
    record(tmp_path, text, env={"LOGQL_OVERHEAD": "0"})
    (point,) = read_checkpoints(tmp_path / ".logql")
    assert "LOGQL_OVERHEAD" in (point.reason or "")


def test_checkpoints_stay_within_the_bound(tmp_path: Path) -> None:
    record(
        tmp_path,
        """
        import logql, time
        state = [[float(i)] * 100 for i in range(100)]
        for i in logql.loop("i", range(2500)):
            state[i % 100][0] += 1.0
            time.sleep(0.001)
        """,
    )
    (loop,) = read_loops(tmp_path / ".logql")
    points = read_checkpoints(tmp_path / ".logql")
    inside = [point for point in points if point.index is not None]
    assert inside
    assert {point.index for point in points} >= {None}
    assert sum(point.seconds for point in inside) <= 0.05 * loop.seconds * 1.5

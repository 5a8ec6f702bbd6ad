"""A replay to the end of a script serves segments of the main loops on its way, each with a result of its own."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

import pytest

import logql
from logql.replay.job import Job, Result, new_id
from logql.replay.pool import LocalPool
from tests.replay.conftest import Project, after

SCRIPT = """\
import numpy as np
import logql

rng = np.random.default_rng(3)
w = rng.normal(size=8)


def tell(place):
    size = float(np.abs(w).sum())
    return size


tell("begin")
for epoch in logql.loop("epoch", range(5)):
    w -= 0.1 * w + 0.01 * rng.normal(size=8)
    tell("epoch")
    logql.log("loss", float(w @ w))
tell("between")
for epoch in logql.loop("tune", range(10)):
    w *= 0.9
    tell("tune")
    logql.log("loss", float(w.sum()))
    if epoch == 3:
        break
tell("end")
logql.log("last", float(w.max()))
"""
INSERT = after("size = float", 'logql.log("size", size)')
LOOPS = (("epoch", range(5)), ("tune", range(4)))


def truth() -> dict[tuple[int, ...], list[float]]:
    """What the script would have logged, by loop and index; the run's own values in order."""
    import numpy as np

    found: dict[tuple[object, ...], list[float]] = {}

    class Fake:
        @staticmethod
        def log(name: str, value: float) -> None:
            if name == "size":
                found.setdefault(tuple(where), []).append(value)

        @staticmethod
        def loop(name: str, items: range) -> object:
            for item in items:
                where[:] = [name, item]
                yield item
            where.clear()

    where: list[object] = []
    source = INSERT(SCRIPT).replace("import logql\n", "").replace("        break\n", "        logql.end(); break\n")
    Fake.end = staticmethod(where.clear)  # type: ignore[attr-defined]
    exec(source, {"logql": Fake, "np": np})
    return found  # type: ignore[return-value]


def by_place(results: list[Result]) -> dict[tuple[object, ...], list[object]]:
    """Values of all results by loop and index."""
    found: dict[tuple[object, ...], list[object]] = {}
    for result in results:
        for event in result.events:
            place = tuple(part for step in event.path for part in (step.loop, step.index))
            found.setdefault(place, []).append(event.value)
    return found


def whole(project: Project, *loops: tuple[str, range]) -> Job:
    """The job of a run to its end, with loops on its way."""
    job = project.job(INSERT, ["size"], (), loop=None)
    segments = [replace(job.segment, loop=loop, wanted=tuple(wanted)) for loop, wanted in loops]
    return replace(job, along=tuple(replace(job, segment=segment, id=new_id()) for segment in segments))


@pytest.mark.parametrize("every", [1, 0])
def test_one_process_gives_a_result_of_each_loop_and_of_what_is_outside(project: Project, every: int) -> None:
    project.write("train.py", SCRIPT)
    project.run(**({} if every else {"LOGQL_OVERHEAD": "0"}), every=every or None)
    job = whole(project, *LOOPS)
    results = project.replay(job)
    assert [(result.state, result.fidelity, result.error) for result in results] == [("done", "exact", None)] * 3
    assert by_place(results) == truth()
    assert [result.covered for result in results] == [(0, 1, 2, 3, 4), (0, 1, 2, 3), ()]
    assert [result.executed for result in results] == [5, 4, 0]
    assert len({result.log for result in results}) == 1


def test_a_result_on_the_way_is_given_before_the_process_ends(project: Project) -> None:
    tail = "\nimport os, time\nwhile os.environ.get('LOGQL_REPLAY'):\n    time.sleep(0.1)\n"
    project.write("train.py", SCRIPT + tail)
    project.run()
    pool = LocalPool(project.store, str(project.path))
    pool.submit(whole(project, *LOOPS))
    found = []
    with closing(pool.results()) as results:
        for item in results:
            found += [item] if isinstance(item, Result) else []
            if len(found) == 2:
                break
    assert [(one.segment.loop, one.state, one.fidelity) for one in found] == [
        ("epoch", "done", "exact"),
        ("tune", "done", "exact"),
    ]
    inside = {place: values for place, values in truth().items() if place}
    assert by_place(found) == inside


def test_what_fails_behind_a_loop_leaves_the_loop_filled(project: Project) -> None:
    project.write("train.py", SCRIPT.replace('tell("end")', 'open("data/x").close()'))
    (project.path / "data").mkdir()
    (project.path / "data/x").write_text("")
    project.run()
    (project.path / "data/x").unlink()
    *loops, rest = project.replay(whole(project, *LOOPS))
    assert [result.state for result in loops] == ["done", "done"]
    assert (rest.state, "data/x" in (rest.error or "")) == ("failed", True)


def test_a_run_that_died_in_a_loop_is_replayed_as_far_as_it_came(project: Project) -> None:
    project.write(
        "train.py", SCRIPT.replace("    if epoch == 3:\n        break\n", "    if epoch == 2:\n        1 / 0\n")
    )
    project.run(check=False)
    results = project.replay(whole(project, ("epoch", range(5)), ("tune", range(3))))
    assert [result.state for result in results] == ["done"] * 3
    assert by_place(results) == {
        place: values for place, values in truth().items() if place != ("tune", 3) and place
    } | {(): truth()[()][:2]}
    assert all(result.actual_s > 0 for result in results[:2])


def test_blocks_on_the_way(project: Project) -> None:
    blocks = SCRIPT.replace(
        'for epoch in logql.loop("epoch", range(5)):\n',
        'for epoch in range(5):\n  with logql.iteration("epoch", epoch):\n',
    )
    project.write("train.py", blocks)
    project.run()
    job = project.job(INSERT, ["size"], (), loop=None)
    assert [(loop.loop, loop.iterations) for loop in job.loops] == [("epoch", 5), ("tune", 4)]
    results = project.replay(whole(project, *LOOPS))
    assert [(result.state, result.error) for result in results] == [("done", None)] * 3
    assert by_place(results) == truth()


HOOKED = SCRIPT.replace('tell("begin")', 'HOOKS = {"tell": tell}\nHOOKS["tell"]("begin")')
HOOKED = HOOKED.replace("    tell(", '    HOOKS["tell"](').replace("\ntell(", '\nHOOKS["tell"](')
FILLS = "SELECT run, loop, first_index, last_index, executed, state, log FROM fills ORDER BY run, loop"


def test_a_query_replays_a_run_once_for_a_statement_with_unknown_callers(project: Project) -> None:
    project.write("train.py", HOOKED)
    project.run(LOGQL_OVERHEAD="0", every=None)
    project.run()
    project.write("train.py", INSERT(HOOKED))
    with logql.connect(project.store) as connection:
        asked = "SELECT {0}, size FROM logs WHERE {0} IS NOT NULL ORDER BY run, {0}"
        rows = [connection.execute(asked.format(loop)).fetchall() for loop, _ in LOOPS]
        fills = connection.execute(FILLS).fetchall()
    expected = truth()
    for (loop, indices), found in zip(LOOPS, rows, strict=True):
        assert found == 2 * [(index, expected[loop, index][0]) for index in indices]
    parts = [("epoch", 0, 4, 5, "done"), ("tune", 0, 3, 4, "done"), (None, None, None, 0, "done")]
    assert [fill[1:6] for fill in fills] == 2 * parts
    processes = [len({fill[6] for fill in fills if fill[0] == run}) for run in sorted({fill[0] for fill in fills})]
    assert processes == [1, 2]


def test_a_loop_that_fails_does_not_take_what_is_outside_with_it(project: Project) -> None:
    project.write("train.py", HOOKED)
    project.run()
    insert = after("size = float", 'logql.log("size", 1 / (place != "tune"))')
    project.write("train.py", insert(HOOKED))
    with logql.connect(project.store) as connection:
        connection.execute("SELECT size FROM logs").fetchall()
        fills = connection.execute(FILLS).fetchall()
    done = [(loop, state) for _, loop, _, _, _, state, _ in fills if state != "cancelled"]
    assert done == [("epoch", "done"), ("tune", "failed"), (None, "done")]

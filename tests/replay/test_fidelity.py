"""What a replay says about its agreement with the record, and what inserted statements may not do."""

from __future__ import annotations

import datetime
import math
from contextlib import closing

import pytest

import logql
from logql.replay.fidelity import Misfit, Tally, agree
from logql.replay.job import Options
from tests.replay.conftest import Project, after, before, values

SEEDED = """\
import random
import numpy as np
import logql

random.seed(1)
np.random.seed(1)
rng = np.random.default_rng(1)
w = rng.normal(size=4)
history = []
for epoch in logql.loop("epoch", range(5)):
    w += rng.normal(size=4) + np.random.normal() + random.random()
    history.append(float(w[0]))
    logql.log("w0", float(w[0]))
"""
UNSEEDED = (
    SEEDED.replace("random.seed(1)", "pass").replace("np.pass", "pass").replace("default_rng(1)", "default_rng()")
)


def test_seeded_code_is_exact(project: Project) -> None:
    project.write("train.py", SEEDED)
    project.run(every=None, LOGQL_OVERHEAD="0")
    (result,) = project.replay(project.job(after("history.append", 'logql.log("s", float(w.sum()))'), ["s"], (4,)))
    assert (result.fidelity, result.compared, result.notes) == ("exact", 5, ())


def test_unseeded_code_diverges_and_says_so(project: Project) -> None:
    project.write("train.py", UNSEEDED)
    project.run(every=None, LOGQL_OVERHEAD="0")
    (result,) = project.replay(project.job(after("history.append", 'logql.log("s", float(w.sum()))'), ["s"], (2,)))
    assert (result.state, result.fidelity) == ("done", "diverged")
    assert result.notes[0].startswith("w0 at epoch=")
    assert "not seeded" in result.notes[1]


def test_changed_data_is_told_as_the_cause(project: Project) -> None:
    project.write("data/scale.txt", "2.0")
    project.write("data/other.txt", "1.0")
    project.write(
        "train.py",
        "import logql\n\nscale = float(open('data/scale.txt').read())\nopen('data/other.txt').close()\n"
        "for epoch in logql.loop('epoch', range(3)):\n    logql.log('x', scale * epoch)\n",
    )
    project.run(every=None, LOGQL_OVERHEAD="0")
    project.write("data/scale.txt", "3.0")
    (result,) = project.replay(project.job(after("logql.log", "logql.log('y', scale + epoch)"), ["y"], (2,)))
    assert (result.state, result.fidelity) == ("done", "diverged")
    assert "logql: likely because of" in project.log(result)
    assert result.notes[1] == "likely because of: data/scale.txt changed since the run"


def test_unseeded_code_from_a_checkpoint_is_exact(project: Project) -> None:
    project.write("train.py", UNSEEDED)
    project.run()
    (result,) = project.replay(project.job(after("history.append", 'logql.log("s", float(w.sum()))'), ["s"], (2, 3)))
    assert (result.fidelity, result.notes) == ("exact", ())


@pytest.mark.parametrize("wanted", [(2,), (1, 3)])
def test_a_replay_that_must_prove_itself_goes_on_to_the_next_value_of_the_record(
    project: Project, wanted: tuple[int, ...]
) -> None:
    late = SEEDED + "    ended = True\n    logql.log('late', 1)\n"
    project.write("train.py", late)
    project.run()
    head = before("w += rng", 'logql.log("head", float(w.sum()))')
    jobs = [project.job(head, ["head"], wanted, once=True) for _ in range(2)]
    (plain,), (proved,) = project.replay(jobs[0]), project.replay(jobs[1], options=Options(prove=True))
    assert (plain.fidelity, plain.compared) == ("unchecked", 0)
    assert (proved.fidelity, proved.compared) == ("exact", 1)
    assert values(proved.events, "head") == values(plain.events, "head")
    assert (proved.covered, proved.executed) == (plain.covered, plain.executed)


def test_strict_queries_have_their_values_proved(project: Project) -> None:
    project.write("train.py", SEEDED)
    project.commit()
    project.run()
    project.write("train.py", before("w += rng", 'logql.log("head", float(w.sum()))')(SEEDED))
    with closing(logql.connect(project.store)) as connection:
        cursor = connection.cursor()
        cursor.execute("SET replay_fidelity = 'strict'")
        rows = cursor.execute("SELECT head, fidelity(head) FROM logs WHERE epoch IN (1, 3)").fetchall()
    assert [fidelity for _, fidelity in rows] == ["exact", "exact"]
    assert None not in [value for value, _ in rows]


def test_nothing_to_compare_is_unchecked(project: Project) -> None:
    project.write("train.py", SEEDED.replace('    logql.log("w0", float(w[0]))\n', ""))
    project.run(every=None, LOGQL_OVERHEAD="0")
    (result,) = project.replay(project.job(after("history.append", 'logql.log("s", float(w.sum()))'), ["s"], (1,)))
    assert (result.state, result.fidelity, result.compared) == ("done", "unchecked", 0)


def test_a_checkpoint_that_execution_reaches_is_compared(project: Project) -> None:
    """The one that a replay starts from proves nothing, those that it comes to do."""
    project.write("train.py", SEEDED.replace('    logql.log("w0", float(w[0]))\n', ""))
    project.run()
    head = before("w +=", 'logql.log("s", float(w.sum()))')
    for wanted, once, expected in (((2,), True, "unchecked"), ((1, 2), False, "exact"), ((1, 3), True, "unchecked")):
        (result,) = project.replay(project.job(head, ["s"], wanted, once=once))
        assert (result.state, result.fidelity, bool(result.compared)) == ("done", expected, expected == "exact")


def test_what_is_logged_outside_of_loops_is_checked_by_the_loops_that_are_executed(project: Project) -> None:
    project.write("train.py", SEEDED + 'logql.log("last", float(w[1]))\n')
    project.run()
    job = project.job(after('logql.log("last"', 'logql.log("s", float(w.sum()))'), ["s"], (), loop=None)
    (passed,) = project.replay(job)
    assert (passed.fidelity, passed.executed, passed.compared) == ("unchecked", 0, 1)
    (executed,) = project.replay(project.without_checkpoints(job))
    assert (executed.fidelity, executed.executed, executed.compared) == ("exact", 5, 6)
    assert values(passed.events, "s") == values(executed.events, "s")


@pytest.mark.parametrize(
    "statement",
    [
        'logql.log("s", rng.normal())',
        'logql.log("s", np.random.normal() + random.random())',
        'logql.log("s", float(np.sort(w)[0]))',
    ],
)
def test_drawing_random_numbers_leaves_the_trajectory(project: Project, statement: str) -> None:
    project.write("train.py", SEEDED)
    project.run()
    (result,) = project.replay(project.job(after("history.append", statement), ["s"], (0, 2, 3)))
    assert (result.state, result.error, result.fidelity, result.notes) == ("done", None, "exact", ())


@pytest.mark.parametrize(
    ("statement", "path"),
    [
        ('logql.log("s", float(w.sort() or 0.0))', "w"),
        ('logql.log("s", history.append(0.0) or 1.0)', "history"),
    ],
)
def test_changing_the_state_is_impure(project: Project, statement: str, path: str) -> None:
    project.write("train.py", SEEDED)
    project.run()
    (result,) = project.replay(project.job(after("w +=", statement), ["s"], (2,)))
    assert result.fidelity == "impure"
    assert path in result.notes[0]


def test_impure_is_noticed_inside_a_function(project: Project) -> None:
    source = SEEDED.replace(
        "for epoch in", "def note(values):\n    total = float(values.sum())\n    return total\n\n\nfor epoch in", 1
    ).replace("    history.append(float(w[0]))\n", "    history.append(note(w))\n")
    project.write("train.py", source)
    project.run()
    statement = 'logql.log("s", float(values.sort() or 0.0))'
    (result,) = project.replay(project.job(after("total = float", statement), ["s"], (2,)))
    assert result.fidelity == "impure"


def test_guards_and_carried_lines(project: Project) -> None:
    project.write("train.py", SEEDED)
    project.run()
    edit = after(
        "history.append",
        "if epoch % 2 == 0:",
        "    import math",
        "    w2 = w**2",
        '    logql.log("s", math.sqrt(w2.sum()))',
    )
    (result,) = project.replay(project.job(edit, ["s"], (1, 2, 3)))
    assert (result.state, result.error, result.fidelity, result.notes) == ("done", None, "exact", ())
    assert list(values(result.events, "s")) == [(2,)]
    assert result.covered == (1, 2, 3)


def test_strict_isolation_of_batches_of_statements(project: Project) -> None:
    project.write("train.py", SEEDED)
    project.run()
    edit = before("history.append", 'logql.log("p", 1.0)', 'logql.log("q", 2.0)')
    (result,) = project.replay(project.job(edit, ["p", "q"], (1, 3), once=True), options=Options(workers=1))
    assert values(result.events, "p") == {(1,): 1.0, (3,): 1.0}
    assert values(result.events, "q") == {(1,): 2.0, (3,): 2.0}


@pytest.mark.parametrize(
    ("recorded", "replayed", "expected"),
    [
        (1.0, 1, "equal"),
        (float("nan"), float("nan"), "equal"),
        (1.0, 1.0 + 1e-9, "close"),
        (1.0, 1.1, "far"),
        (float("inf"), 1.0, "far"),
        (3, 4, "far"),
        ("a", "a", "equal"),
        (None, 1.0, "far"),
        ([1.0, 2.0], [1.0, 2.0 + 1e-9], "close"),
        ([1.0], [1.0, 2.0], "far"),
        ({"a": 1.0, "b": None}, {"a": 1.0}, "equal"),
        ('{"a": 1}', {"a": 1}, "equal"),
        (10**400, 10**400 + 1, "far"),
        (b"x", b"x", "equal"),
        (Misfit(2**70), 2**70, "equal"),
        (Misfit(2**70), 2**70 + 1, "far"),
        ("5", 5, "far"),
        (Misfit("n/a"), "n/a", "equal"),
        (Misfit("n/a"), 5, "far"),
        (Misfit("[1, 0.5]"), [1, 0.5 + 1e-9], "close"),
        (Misfit("01:02:03"), datetime.time(1, 2, 3), "equal"),
        ("2024-01-01", datetime.date(2024, 1, 1), "equal"),
        (datetime.datetime(2024, 1, 1), datetime.date(2024, 1, 1), "equal"),
        (datetime.datetime(2024, 1, 1), datetime.date(2024, 1, 2), "far"),
        ('{"a": "NaN", "b": "2024-01-01"}', {"a": math.nan, "b": datetime.date(2024, 1, 1)}, "equal"),
    ],
)
def test_agreement_of_values(recorded: object, replayed: object, expected: str) -> None:
    assert agree(recorded, replayed, 1e-3, 1e-5) == expected


def test_verdicts() -> None:
    tally = Tally(1e-3, 1e-5)
    assert tally.verdict() == "unchecked"
    tally.add_value((), "a", 1.0, 1.0)
    assert tally.verdict() == "unchecked"
    tally.add("equal", True, "")
    assert tally.verdict() == "exact"
    tally.add("close", True, "")
    assert tally.verdict() == "close"
    tally.add("far", False, "")
    assert tally.verdict() == "diverged"
    tally.impure = "w"
    assert tally.verdict() == "impure"


DYING = """\
import os, signal
import logql

w = 1
for epoch in logql.loop("epoch", range(4)):
    for step in logql.loop("step", range(4)):
        w = (w * 7 + step) % 101
        logql.log("loss", w)
        if epoch == 2 and step == 1 and "LOGQL_REPLAY" not in os.environ:
            logql.flush()
            os.kill(os.getpid(), signal.SIGKILL)
    logql.log("acc", w)
"""


def test_a_record_that_ends_where_the_run_died_is_not_compared_beyond(project: Project) -> None:
    project.write("train.py", DYING)
    project.run(check=False)
    with closing(logql.connect(project.store)) as connection:
        assert connection.execute("SELECT status FROM runs").fetchall() == [("killed",)]
    (result,) = project.replay(project.job(after('log("loss"', 'logql.log("a", w)'), ["a"], (1, 2)))
    assert (result.fidelity, result.notes) == ("exact", ())
    early = (after('log("loss"', 'logql.log("b", w)', 'if epoch == 2: logql.log("loss", 0)'), ["b"], (2,))
    (extra,) = project.replay(project.job(*early))
    assert (extra.fidelity, extra.notes[0]) == ("diverged", "loss at epoch=2, step=0 was not logged then")


LOSING = """\
import glob, resource
import logql

w = 1
for epoch in logql.loop("epoch", range(5)):
    if epoch == 1:
        logql.flush()
        resource.setrlimit(resource.RLIMIT_FSIZE, (64, resource.RLIM_INFINITY))
    for step in logql.loop("step", range(3)):
        w = (w * 7 + step) % 101
        logql.log("loss", w)
    logql.log("loss", w)
    logql.flush()
    if epoch == 2:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
"""


def test_values_that_no_disk_could_hold_are_told_and_not_compared(project: Project) -> None:
    project.write("train.py", LOSING)
    assert "values could not be recorded and are lost" in project.run(LOGQL_OVERHEAD="0", every=None)
    with closing(logql.connect(project.store)) as connection:
        cursor = connection.execute("SELECT status, error, run FROM runs")
        ((status, error, run),) = cursor.fetchall()
        lost = "15 values and iterations could not be recorded: [Errno 27] File too large"
        assert (status, error) == ("finished", lost)
        assert [str(told) for _, told in cursor.messages] == [f"run {run} is not whole: {error}"]
        cursor.execute(f"SELECT loss FROM logs WHERE run <> '{run}'")
        assert cursor.messages == []
    (result,) = project.replay(project.job(after('log("loss", w)', 'logql.log("a", w)'), ["a"], (4,)))
    assert (result.fidelity, result.notes, result.compared) == ("exact", (), 12)


ODD = """\
import datetime
import logql

for epoch in logql.loop("epoch", range(4)):
    logql.log("huge", 2**70 if epoch == 3 else epoch)
    logql.log("vast", [10**5000, epoch] if epoch else 10**5000)
    logql.log("exact", 2**53 + 1 if epoch else 0.5)
    logql.log("mixed", "n/a" if epoch == 1 else epoch)
    logql.log("when", datetime.datetime(2024, 1, 1) if epoch else datetime.date(2024, 1, 1))
    logql.log("at", datetime.time(1, 2, 3) if epoch else "noon")
    logql.log("known", {"a": datetime.date(2024, 1, 1), "b": float("nan")} if epoch else {})
"""


def test_values_that_do_not_fit_their_columns_are_compared_as_they_were_recorded(project: Project) -> None:
    project.write("train.py", ODD)
    project.run(every=None, LOGQL_OVERHEAD="0")
    (result,) = project.replay(project.job(after('log("mixed"', 'logql.log("a", epoch)'), ["a"], (3,)))
    assert (result.fidelity, result.notes, result.compared) == ("exact", (), 28), result.error

"""A store that this user may read and not write: it answers with a notice, and a training goes on without a record."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import traceback
from collections.abc import Callable, Iterator

import pytest

import logql
from logql.store import seal
from logql.store.snapshot import forget
from tests.store.history import Recorder, epochs, record

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user, which root alone can")
NOBODY = 65534
QUERY = "SELECT run, acc FROM logs ORDER BY run, epoch"


@pytest.fixture
def store() -> Iterator[str]:
    """A sealed run, one that ended and is not sealed, and one that goes on; readable by all."""
    project = tempfile.mkdtemp(prefix="logql-shared-")
    os.chmod(project, 0o755)  # noqa: S103
    path = os.path.join(project, ".logql")
    record(path, "0100", epochs(3, 2))
    seal.recover(path)
    record(path, "0101", epochs(2, 2, seed=1))
    recorder = Recorder(path, "0102")
    recorder.append(epochs(1, 2))
    yield path
    recorder.abandon()
    forget()
    shutil.rmtree(project)


def as_nobody(action: Callable[[], object]) -> object:
    """What `action` gives in a process of another user."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            found = json.dumps(action())
        except BaseException:
            found = json.dumps(traceback.format_exc())
        os.write(writing, found.encode())
        os._exit(0)
    os.close(writing)
    with open(reading, encoding="utf-8") as file:
        found = file.read()
    os.waitpid(child, 0)
    return json.loads(found)


def ask(store: str, read_only: bool) -> tuple[list[tuple[object, ...]], list[str]]:
    with logql.connect(store, read_only=read_only) as connection:
        cursor = connection.execute(QUERY)
        return cursor.fetchall(), [str(message) for _, message in cursor.messages or ()]


@pytest.mark.parametrize("read_only", [False, True])
def test_it_answers_and_says_that_it_cannot_be_written(store: str, read_only: bool) -> None:
    expected, _ = ask(store, True)  # as root; what is imported on the way another user may not be able to read
    forget()
    assert len(expected) == 6
    notices = [] if read_only else [f"{store} cannot be written: it is read as it is, and nothing is replayed"]
    assert as_nobody(lambda: ask(store, read_only)) == [[list(row) for row in expected], notices]


def test_recording_there_warns_and_lets_the_training_go_on(store: str, capfd: pytest.CaptureFixture[str]) -> None:
    from logql.record.recorder import recorder

    def train() -> list[object]:
        os.environ["LOGQL_STORE"] = store
        with logql.run(name="mine"):
            values = [logql.log("acc", epoch / 4) for epoch in logql.loop("epoch", range(3))]
        recorder.at_exit()
        return values

    assert as_nobody(train) == [0.0, 0.25, 0.5]
    warning = capfd.readouterr().err
    assert "this run is not recorded" in warning
    assert store in warning

"""What is logged is what is read back: any tree of loops, breaks, exceptions and logs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import logql
from logql.model import Enter, Logged
from logql.record import api, guard
from logql.store import wal

NAMES = ("epoch", "step", "eval")
Program = list[tuple[Any, ...]]


class Stop(Exception):
    """What the programs raise."""


def programs(depth: int) -> st.SearchStrategy[Program]:
    """Lists of operations; loops and blocks hold further ones."""
    log = st.tuples(
        st.just("log"), st.sampled_from(("loss", "acc/val", "läß")), st.floats() | st.integers() | st.text()
    )
    ends = st.tuples(st.sampled_from(("break", "continue", "raise")))
    if depth == 0:
        return st.lists(log | ends, max_size=3)
    body = programs(depth - 1)
    loop = st.tuples(st.just("loop"), st.sampled_from(NAMES), st.integers(0, 3), body)
    steps = st.tuples(st.just("iteration"), st.sampled_from(NAMES), st.lists(st.integers(0, 3), max_size=3), body)
    guarded = st.tuples(st.just("try"), body)
    return st.lists(log | loop | steps | guarded | ends, max_size=4)


class Oracle:
    """Keeps by itself what the recorder should find: contexts by counting, values in a plain list."""

    def __init__(self) -> None:
        self.path: tuple[tuple[str, int, int], ...] = ()
        self.entries: dict[tuple[Any, ...], int] = {}
        self.last: dict[tuple[Any, ...], tuple[int, int]] = {}
        self.events: list[tuple[Any, ...]] = []

    @contextmanager
    def inside(self, name: str, entry: int, index: int, item: object) -> Iterator[None]:
        outer, self.path = self.path, (*self.path, (name, entry, index))
        self.events.append((self.path, item))
        try:
            yield
        finally:
            self.path = outer

    def enter(self, name: str) -> int:
        entry = self.entries.get((self.path, name), 0)
        self.entries[self.path, name] = entry + 1
        return entry

    def enter_iteration(self, name: str, index: int) -> int:
        entry, last = self.last.get((self.path, name), (-1, 99))
        if index <= last:
            entry = self.enter(name)
        self.last[self.path, name] = (entry, index)
        return entry


def execute(program: Program, oracle: Oracle) -> str | None:
    """Run a program on logql and on the oracle; tells how its body ended."""
    for operation in program:
        ended = _execute_one(operation, oracle)
        if ended is not None:
            return ended
    return None


def _execute_one(operation: tuple[Any, ...], oracle: Oracle) -> str | None:
    kind = operation[0]
    if kind == "log":
        _, name, value = operation
        assert logql.log(name, value) is value
        oracle.events.append((oracle.path, name, value))
    elif kind == "loop":
        _, name, count, body = operation
        entry = None
        for index in logql.loop(name, range(count)):
            entry = oracle.enter(name) if entry is None else entry
            with oracle.inside(name, entry, index, index):
                if execute(body, oracle) == "break":
                    break
        if count == 0:
            oracle.enter(name)
    elif kind == "iteration":
        for index in operation[2]:
            entry = oracle.enter_iteration(operation[1], index)
            with logql.iteration(operation[1], index), oracle.inside(operation[1], entry, index, index):
                execute(operation[3], oracle)
    elif kind == "try":
        try:
            return execute(operation[1], oracle)
        except Stop:
            return None
    elif kind == "raise":
        raise Stop
    else:
        return str(kind)
    return None


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, value in {"LOGQL_SEAL": "0", "LOGQL_CAPTURE": "0", "LOGQL_STRICT": "1"}.items():
        monkeypatch.setenv(name, value)
    guard.forget_warnings()
    return tmp_path


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(program=programs(3))
def test_a_random_program_is_recorded_as_a_plain_list_would_have_it(project: Path, program: Program) -> None:
    oracle = Oracle()
    with logql.run() as run:
        with suppress(Stop):
            execute(program, oracle)
        assert api.context() is api.RUN_CONTEXT
    assert run.id is not None
    chunks = wal.list_chunks(str(project / ".logql"), run.id)
    events = [event for chunk in chunks for event in wal.read(chunk.path)]
    assert [event.seq for event in events] == list(range(len(oracle.events)))
    found = [_plain(event) for event in events]
    assert repr(found) == repr(oracle.events)


def _plain(event: object) -> tuple[Any, ...]:
    assert isinstance(event, (Enter, Logged))
    path = tuple(tuple(step) for step in event.path)
    return (path, event.item) if isinstance(event, Enter) else (path, event.name, event.value)

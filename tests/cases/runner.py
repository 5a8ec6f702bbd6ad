"""Runs case files: a history as traces, then statements with the rows, errors or notices that they must give.

train              a script, run for real as train.py of a git project (no blank lines in it)
commit             everything in the project is committed, with this message
source             today's train.py, which is not run
history            a trace in the notation of tests/data/rows.md, up to the next directive
statement ok       the statement below succeeds
statement error    it fails, with a message that has every line below `----`
query [sort]       its rows are those below `----`, values separated by two spaces or more; `sort`: in any order
notice             the query above also gave this notice (a part of it)

In statements, {project} is the project's directory.
"""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from logql.dbapi import Connection, Cursor
from logql.errors import Error
from tests.execute.traces import parse_traces
from tests.store.history import record

FILES = sorted(Path(__file__).parent.glob("*.test"))


@dataclass(frozen=True)
class Case:
    """One directive with its text and what is expected of it."""

    line: int
    kind: str
    text: str
    expected: tuple[str, ...]


def read_cases(path: Path) -> Iterator[Case]:
    """The directives of a file."""
    lines = path.read_text().splitlines()
    number = 0
    while number < len(lines):
        head = lines[number].strip()
        start = number + 1
        number += 1
        if not head or head.startswith("#"):
            continue
        body = []
        while number < len(lines) and (lines[number].strip() or head == "history"):
            if head == "history" and _is_directive(lines[number]):
                break
            body.append(lines[number])
            number += 1
        split = body.index("----") if "----" in body else len(body)
        yield Case(start, head, "\n".join(body[:split]), tuple(body[split + 1 :]))


def _is_directive(line: str) -> bool:
    return bool(re.match(r"(statement (ok|error)|query( sort)?|notice)$", line.strip()))


def write_history(store: str, text: str) -> None:
    """Record the traces of a `history` directive into a new store."""
    for number, trace in enumerate(parse_traces(text)):
        record(store, trace.run, trace.events[0], f"{number + 1:012d}", args=trace.args)


def change_project(project: Path, kind: str, text: str) -> None:
    """What a `train`, `source` or `commit` directive does to the project, which becomes a git repository."""
    if not (project / ".git").exists():
        subprocess.run(["git", "init", "-q"], cwd=project, check=True)
    if kind == "commit":
        who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        subprocess.run(["git", "add", "-A"], cwd=project, check=True)
        subprocess.run(["git", *who, "commit", "-q", "-m", text], cwd=project, check=True)
        return
    (project / "train.py").write_text(text + "\n")
    if kind == "train":
        root = str(Path(__file__).parent.parent.parent)
        environment = {**os.environ, "PYTHONPATH": root, "LOGQL_CHECKPOINT_EVERY": "1"}
        subprocess.run([sys.executable, "train.py"], cwd=project, check=True, env=environment)


def prepare(case: Case, project: Path) -> bool:
    """Do what a directive that asks nothing does; whether the case is one."""
    if case.kind == "history":
        write_history(str(project / ".logql"), case.text)
    elif case.kind in ("train", "source", "commit"):
        change_project(project, case.kind, case.text)
    else:
        return False
    return True


def run_case(case: Case, connection: Connection, last: Cursor | None) -> Cursor | None:
    """Check one case; returns its cursor."""
    if case.kind == "notice":
        assert last is not None
        assert any(case.text.strip() in text for _, text in last.messages), [text for _, text in last.messages]
        return last
    if case.kind == "statement error":
        with pytest.raises(Error) as raised:
            connection.execute(case.text)
        for line in case.expected:
            assert line in str(raised.value), str(raised.value)
        return None
    cursor = connection.execute(case.text)
    if case.kind.startswith("query"):
        found = ["  ".join(_text(value) for value in row) for row in cursor.fetchall()]
        expected = [re.sub(r"\s{2,}", "  ", line.strip()) for line in case.expected]
        assert (sorted(found) if "sort" in case.kind else found) == (
            sorted(expected) if "sort" in case.kind else expected
        )
    return cursor


def _text(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and not math.isnan(value):
        return str(int(value)) if value == int(value) else f"{value:.6g}"
    return str(value) if value != "" else "(empty)"

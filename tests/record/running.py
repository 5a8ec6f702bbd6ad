"""Runs scripts in processes of their own and reads back what they recorded."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path

from logql.model import Enter, Event, Line, Logged, Run
from logql.store import wal
from logql.store.catalog import Catalog

ROOT = Path(__file__).resolve().parents[2]


def write_script(directory: Path, text: str, name: str = "train.py") -> Path:
    """Write a script, unindented."""
    path = directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return path


def environment(changes: Mapping[str, str | None] | None = None) -> dict[str, str]:
    """The environment of a recorded script: logql importable, WAL left unsealed, no settings from outside."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("LOGQL_")}
    clean |= {"PYTHONPATH": str(ROOT), "LOGQL_SEAL": "0", "PYTHONDONTWRITEBYTECODE": "1"}
    for name, value in (changes or {}).items():
        if value is None:
            clean.pop(name, None)
        else:
            clean[name] = value
    return clean


def run_python(
    directory: Path, *args: str, env: Mapping[str, str | None] | None = None, stdin: str = "", expect: int | None = 0
) -> subprocess.CompletedProcess[str]:
    """Run the interpreter in `directory` and check its exit code."""
    done = subprocess.run(
        [sys.executable, *args],
        cwd=directory,
        env=environment(env),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if expect is not None:
        assert done.returncode == expect, done.stderr
    return done


def record(directory: Path, text: str, **options: object) -> subprocess.CompletedProcess[str]:
    """Write train.py and run it."""
    write_script(directory, text)
    return run_python(directory, "train.py", **options)  # type: ignore[arg-type]


def read_events(store: Path, run: str | None = None) -> list[Event]:
    """All events of a store's streams, in the order of the chunks."""
    return [event for chunk in wal.list_chunks(str(store), run) for event in wal.read(chunk.path)]


def read_logged(store: Path) -> list[tuple[tuple[tuple[str, int, int], ...], str, object]]:
    """(path, name, value) of all logged values."""
    return [
        (tuple(tuple(step) for step in event.path), event.name, event.value)  # type: ignore[misc]
        for event in read_events(store)
        if isinstance(event, Logged)
    ]


def read_values(store: Path, name: str) -> list[object]:
    """The values logged under `name`."""
    return [value for _, found, value in read_logged(store) if found == name]


def read_lines(store: Path) -> list[Line]:
    """All captured lines."""
    return [event for event in read_events(store) if isinstance(event, Line)]


def read_entered(store: Path) -> list[Enter]:
    """All iterations."""
    return [event for event in read_events(store) if isinstance(event, Enter)]


def read_runs(store: Path) -> list[Run]:
    """All runs of the catalog."""
    with Catalog.open(str(store)) as catalog:
        return catalog.runs()


def read_run(store: Path) -> Run:
    """The only run."""
    (run,) = read_runs(store)
    return run

"""`logql demo`: builds a sample project, trains its history, and tells in a few queries what logql is for."""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from logql.formats import use_colour, write_result
from logql.progress import ProgressLine
from logql.samples import Sample, build_project, load_sample

if TYPE_CHECKING:
    from logql.dbapi import Connection

_LOGGED = """
SELECT v.version, count(DISTINCT r.run) AS runs, any_value(v.message) AS message
FROM versions v JOIN runs r USING (version)
GROUP BY v.version ORDER BY min(r.started_at)
"""
_FILLS = """
SELECT count(*) AS segments, sum(executed) AS iterations, round(sum(actual_s), 1) AS seconds,
       string_agg(DISTINCT fidelity, ', ') AS fidelity
FROM fills WHERE state = 'done'
"""


def tell(name: str = "digits", directory: str | None = None) -> int:
    """Build the sample `name` in `directory` (default: a new temporary one), query it, and print the story."""
    sample = load_sample(name)
    place = Path(directory) if directory else Path(tempfile.mkdtemp(prefix="logql-demo-")) / name
    _say(f"{sample.title}: {len(sample.versions)} versions, and each of them is trained now")
    started = time.monotonic()
    build_project(sample, place, _note, LOGQL_CHECKPOINT_EVERY="1")
    runs = sum(len(version.runs) for version in sample.versions)
    _note(f"{runs} runs recorded in {time.monotonic() - started:.0f} s in {place}")
    _note("(with LOGQL_CHECKPOINT_EVERY=1: trainings as short as these earn no checkpoints by themselves)")

    from logql import dbapi

    with dbapi.connect(str(place / ".logql")) as connection:
        connection.progress = ProgressLine()
        _tell_story(connection, sample)
    _say("Go on")
    _note(f"cd {place}")
    command = _command()
    _note(f"{command}                                   # a prompt")
    _note(f'{command} sql "SELECT * FROM fills"          # every replay, with its log')
    return 0


def _command() -> str:
    """How a shell calls this very logql: by its path where its environment is not active."""
    own = Path(sys.executable).with_name("logql")
    found = shutil.which("logql")
    return str(own) if own.exists() and (found is None or Path(found).resolve() != own.resolve()) else "logql"


def _tell_story(connection: Connection, sample: Sample) -> None:
    wanted = sample.new["after"]
    _say("What was recorded")
    _ask(connection, _LOGGED)
    _say(f"Only the last version logs {wanted}. Ask for it everywhere. First, what would that cost?")
    _show_sql("EXPLAIN " + sample.query)
    _explain(connection, sample.query)
    _say("Nothing ran yet. Now the query itself")
    _show_sql(sample.query)
    seconds = _ask(connection, sample.query)
    _note(f"({seconds:.1f} s: the old code was run again, from the nearest checkpoint and for these epochs only)")
    _ask(connection, _FILLS)
    _say("The same again")
    seconds = _ask(connection, sample.query, show=False)
    _note(f"({seconds * 1000:.0f} ms: what was replayed is stored beside what was recorded)")


def _explain(connection: Connection, query: str) -> None:
    """Print logql's part of the plan; DuckDB's own stands below it in the full answer."""
    cursor = connection.cursor()
    cursor.execute("EXPLAIN " + query)
    print(cursor.fetchall()[0][1].rstrip(), flush=True)


def _ask(connection: Connection, query: str, show: bool = True) -> float:
    """Run a query, print its rows and notices; returns the seconds until the whole result was there."""
    started = time.monotonic()
    cursor = connection.cursor()
    cursor.execute(query)
    reader = cursor.fetch_record_batch()
    table = reader.read_all()
    seconds = time.monotonic() - started
    if isinstance(connection.progress, ProgressLine):
        connection.progress.clear()
    if show:
        write_result(table.to_reader(), "table", sys.stdout)
    for _, message in cursor.messages:
        _note(str(message))
    return seconds


def _say(text: str) -> None:
    title = f"\x1b[1m{text}\x1b[0m" if use_colour(sys.stdout) else text
    print(f"\n-- {title}\n", flush=True)


def _note(text: str) -> None:
    print(f"   {text}", flush=True)


def _show_sql(query: str) -> None:
    lines = query.splitlines()
    print("logql> " + "\n   ..> ".join(lines) + ";\n", flush=True)

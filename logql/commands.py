"""What the commands of `cli` do with the engine: run statements, scripts and fills, list runs, show patches."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from logql.errors import ProgrammingError
from logql.formats import BINARY_FORMATS, write_result
from logql.plotting import is_chart_file, write_chart
from logql.progress import ProgressLine

if TYPE_CHECKING:
    from logql.dbapi import Connection, Cursor

_RUNS = """
WITH newest AS (
    SELECT run, version, name, script, status, started_at, round(duration_s, 1) AS seconds, error
    FROM runs ORDER BY run DESC LIMIT {limit}
)
SELECT * FROM newest ORDER BY run
"""


def run_sql(arguments: argparse.Namespace) -> int:
    """Run the statements given as arguments, in files, or on standard input, in this order."""
    texts = [text for text in _texts(arguments) if text.strip()]
    if not texts:
        return _usage("sql: give a query, -f FILE, or statements on standard input")
    if arguments.format in BINARY_FORMATS and sys.stdout.isatty():
        return _usage(f"sql: {arguments.format} is binary: redirect the output to a file")
    if arguments.plot and not is_chart_file(arguments.plot):
        return _usage(f"sql: {arguments.plot} is no file for a chart: its name ends in .png, .svg or .html")
    cursor = None
    with connect(arguments) as connection:
        for statement in _split(texts):
            cursor = connection.cursor()
            cursor.execute(statement, _parameters(arguments.param))
            if arguments.plot and cursor.description is not None:
                cursor.arrow()  # kept whole, to be drawn when it is printed
            print_result(cursor, arguments.format)
        if arguments.plot and cursor is not None:
            write_chart(cursor.arrow(), arguments.plot)
    return 0


def run_script(arguments: argparse.Namespace) -> int:
    """Replace this process by python running the script; the script's own arguments reach it untouched."""
    own, script_arguments = _take_options(arguments.rest)
    settings = [*arguments.arg, *own["arg"]]
    if wrong := [setting for setting in settings if not setting.partition("=")[1]]:
        return _usage(f"run: {wrong[0]!r} is not NAME=VALUE")
    store = own["store"][-1] if own["store"] else arguments.store
    environment = dict(os.environ)
    environment["LOGQL_ARGS"] = " ".join([*_known_arguments(), *(shlex.quote(setting) for setting in settings)])
    if store:
        environment["LOGQL_STORE"] = os.path.abspath(store)
    module = ["-m"] if arguments.module else []
    command = [sys.executable, *module, arguments.script, *script_arguments]
    return _replace_process(command, environment)


def list_runs(arguments: argparse.Namespace) -> int:
    """Print the newest runs."""
    with connect(arguments) as connection:
        cursor = connection.cursor()
        cursor.execute(_RUNS.format(limit=max(0, arguments.limit)))
        print_result(cursor, arguments.format)
    return 0


def fill(arguments: argparse.Namespace) -> int:
    """Run FILL over the names given."""
    names = ", ".join('"' + name.replace('"', '""') + '"' for name in arguments.names)
    condition = f" WHERE {arguments.where}" if arguments.where else ""
    with connect(arguments) as connection:
        cursor = connection.cursor()
        cursor.execute(f"FILL {names}{condition}")
        print_result(cursor, "table")
    return 0


def patch(arguments: argparse.Namespace) -> int:
    """Show how the statement of a name is put into an old version; with --at, keep where it goes from now on."""
    from logql.patching import describe, keep_pin, place_in_version

    with connect(arguments) as connection:
        placing = place_in_version(connection.session, arguments.name, arguments.version, _place(arguments.at))
        print(describe(placing))
        if arguments.at and not placing.refused:
            keep_pin(connection.session, placing)
    return 1 if placing.refused else 0


def connect(arguments: argparse.Namespace) -> Connection:
    """A connection as the options ask for it, with progress shown where a person watches."""
    from logql import dbapi

    connection = dbapi.connect(arguments.store, replay=getattr(arguments, "replay", "auto"))
    connection.progress = ProgressLine()
    if getattr(arguments, "budget", None) is not None:
        connection.cursor().execute(f"SET replay_budget = {arguments.budget}")
    return connection


def print_result(cursor: Cursor, form: str) -> None:
    """Print a statement's rows, if it has any, and its notices to standard error."""
    if isinstance(cursor.connection.progress, ProgressLine):
        cursor.connection.progress.clear()
    if cursor.description is not None:
        types = [column[1] for column in cursor.description]
        write_result(cursor.fetch_record_batch(), form, sys.stdout, types)
        sys.stdout.flush()
    for _, message in cursor.messages:
        print(message, file=sys.stderr)


def _replace_process(command: list[str], environment: dict[str, str]) -> NoReturn:
    sys.stdout.flush()
    os.execve(command[0], command, environment)


def _texts(arguments: argparse.Namespace) -> Iterator[str]:
    for query in arguments.query:
        yield sys.stdin.read() if query == "-" else query
    for path in arguments.file:
        yield sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8")
    if not arguments.query and not arguments.file and not sys.stdin.isatty():
        yield sys.stdin.read()


def _split(texts: Sequence[str]) -> Iterator[str]:
    from logql.sql.split import split_statements

    for text in texts:
        yield from split_statements(text)


def _parameters(given: Sequence[str]) -> dict[str, Any] | list[Any]:
    named = {name: _value(text) for name, equals, text in (item.partition("=") for item in given) if equals}
    return named if named else [_value(item) for item in given]


def _value(text: str) -> object:
    """A parameter's value: a number, true, false, null or a "quoted text" as JSON has them, else the text itself."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return text if isinstance(value, (list, dict)) else value


def _take_options(rest: Sequence[str]) -> tuple[dict[str, list[str]], list[str]]:
    """Take logql's own options out of the arguments behind the script's name, up to a `--`; FlorDB's --kwargs, too."""
    own: dict[str, list[str]] = {"arg": [], "store": []}
    left: list[str] = []
    items = list(rest)
    while items:
        item = items.pop(0)
        if item == "--":
            return own, left + items
        if item in ("-a", "--arg", "--store") and items:
            own["store" if item == "--store" else "arg"].append(items.pop(0))
        elif item == "--kwargs":
            while items and "=" in items[0] and not items[0].startswith("-"):
                own["arg"].append(items.pop(0))
        else:
            left.append(item)
    return own, left


def _known_arguments() -> list[str]:
    return [value] if (value := os.environ.get("LOGQL_ARGS")) else []


def _place(at: str | None) -> tuple[str, int] | None:
    if at is None:
        return None
    file, _, line = at.rpartition(":")
    if not file or not line.isdigit():
        raise ProgrammingError(f"{at!r} is not FILE:LINE")
    return file, int(line)


def _usage(message: str) -> int:
    print(f"usage: logql {message}", file=sys.stderr)
    return 2

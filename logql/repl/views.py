"""Commands that tell what is in the store: relations, columns, runs, versions, fills, plans, patches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from logql.errors import ProgrammingError

if TYPE_CHECKING:
    from logql.repl.names import Name
    from logql.repl.shell import Shell

_RUNS = """
WITH newest AS (
    SELECT run, version, name, script, status, started_at, round(duration_s, 1) AS seconds, error
    FROM history.runs ORDER BY run DESC LIMIT {count}
)
SELECT * FROM newest ORDER BY run
"""
_VERSIONS = """
SELECT v.version, v.branch, v.author, v.message, v.committed_at, v.dirty, count(r.run) AS runs
FROM history.versions v LEFT JOIN (SELECT run, version FROM history.runs) r ON r.version = v.version
GROUP BY ALL ORDER BY max(r.run) DESC LIMIT {count}
"""
_FILLS = """
SELECT started_at, version, run, columns, loop, first_index, last_index, state, fidelity,
    round(actual_s, 2) AS seconds, error
FROM history.fills ORDER BY started_at DESC LIMIT {count}
"""
_ONE_NAME = """
SELECT version, level, type, recorded, hindsight, not_logged, missing, unfillable, file, line, statement, reason
FROM history.columns WHERE name = '{name}'
"""


def tables(shell: Shell, argument: str) -> None:  # noqa: ARG001
    """All relations, the history's and the user's own."""
    names = shell.backend.renew()
    rows = [(name, kind, len(names.relations.get(name, ()))) for name, kind in sorted(names.kinds.items())]
    _show(shell, ("relation", "kind", "columns"), sorted(rows, key=lambda row: _KINDS.index(row[1])))


_KINDS = ("relation", "loop", "table", "view")


def columns(shell: Shell, argument: str) -> None:
    """Columns of a relation, one logged name over the versions, or all logged names."""
    names = shell.backend.renew()
    wanted = argument.strip('"').lower().removeprefix("history.")
    relation = next((name for name in names.relations if name.lower() == wanted), None)
    if not argument:
        _show_names(shell, names.logged)
    elif relation is not None:
        _show_names(shell, names.relations[relation])
    elif name := next((name.text for name in names.logged if name.text.lower() == wanted), None):
        shell.execute(_ONE_NAME.format(name=name.replace("'", "''")))
    else:
        import difflib

        known = [*names.relations, *(name.text for name in names.logged)]
        near = difflib.get_close_matches(wanted, known, n=3)
        raise ProgrammingError(f"there is no relation or logged name {argument!r}", candidates=near)


def runs(shell: Shell, argument: str) -> None:
    """The newest runs."""
    shell.execute(_RUNS.format(count=_count(argument)))


def versions(shell: Shell, argument: str) -> None:
    """The newest versions."""
    shell.execute(_VERSIONS.format(count=_count(argument)))


def fills(shell: Shell, argument: str) -> None:
    """The newest fills."""
    shell.execute(_FILLS.format(count=_count(argument)))


def explain(shell: Shell, argument: str) -> None:
    """The plan of a query."""
    if not argument:
        raise ProgrammingError("explain needs a QUERY")
    shell.execute(f"EXPLAIN {argument}")


def patch(shell: Shell, argument: str) -> None:
    """Show how a statement is put into a version; with FILE:LINE, keep that place."""
    from logql.patching import describe, keep_pin, place_in_version

    parts = argument.split()
    if len(parts) not in (2, 3):
        raise ProgrammingError("patch needs NAME VERSION [FILE:LINE]")
    pin = _place(parts[2]) if len(parts) == 3 else None
    session = shell.backend.connection.session
    placing = place_in_version(session, parts[0], parts[1], pin)
    print(describe(placing), file=shell.out)
    if pin is not None and not placing.refused:
        keep_pin(session, placing)


def show(shell: Shell, argument: str) -> None:  # noqa: ARG001
    """How results are shown, and the settings of replays."""
    from logql.sql.parser import SETTINGS

    look = shell.look
    options = shell.backend.connection.session.options
    rows = [
        ("store", shell.backend.store),
        ("mode", look.mode),
        ("maxrows", str(look.rows or "auto")),
        ("nullvalue", look.null),
        ("timer", "on" if look.timer else "off"),
        ("pager", "on" if look.pager else "off"),
        *((name, options.show(name)) for name in SETTINGS),
    ]
    _show(shell, ("setting", "value"), rows)


def _show_names(shell: Shell, names: Sequence[Name]) -> None:
    _show(shell, ("name", "kind", "detail"), [(name.text, name.kind, name.detail) for name in names])


def _show(shell: Shell, heads: Sequence[str], rows: Sequence[tuple[object, ...]]) -> None:
    """Show rows that no statement gave, as a result."""
    from logql.execute.tables import typed

    values = list(zip(*rows, strict=True)) if rows else [() for _ in heads]
    types = ["BIGINT" if column and isinstance(column[0], int) else "VARCHAR" for column in values]
    table = typed(dict(zip(heads, values, strict=True)), dict(zip(heads, types, strict=True)))
    shell.show(table.to_reader(), types)


def _count(argument: str) -> int:
    if argument and not argument.isdigit():
        raise ProgrammingError(f"{argument!r} is no number of rows")
    return int(argument or 20)


def _place(at: str) -> tuple[str, int]:
    file, _, line = at.rpartition(":")
    if not file or not line.isdigit():
        raise ProgrammingError(f"{at!r} is not FILE:LINE")
    return file, int(line)

"""Commands that change how the prompt works or do something with results."""

from __future__ import annotations

import os
import re
import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING

from logql.errors import ProgrammingError
from logql.repl.modes import MODES, check_mode

if TYPE_CHECKING:
    from logql.repl.shell import Shell

_ROLE = re.compile(r"(x|y|by)=(\S+)\s*")
_CHART_FILE = re.compile(r"(\S+\.(?:png|svg|html))(?:\s+|\Z)")


def leave(shell: Shell, argument: str) -> None:  # noqa: ARG001
    """Leave the prompt."""
    from logql.repl.shell import Quit

    raise Quit


def mode(shell: Shell, argument: str) -> None:
    """Set the form of results, or tell it with all that there are."""
    if argument:
        shell.look.mode = check_mode(argument)
    else:
        shell.tell(f"mode is {shell.look.mode}; there are {', '.join(MODES)}")


def maxrows(shell: Shell, argument: str) -> None:
    """Set how many rows are shown of a longer result."""
    if not argument:
        shell.tell(f"maxrows is {shell.look.rows or 'auto'}")
    elif argument.lower() == "auto":
        shell.look.rows = None
    elif argument.isdigit() and int(argument) > 0:
        shell.look.rows = int(argument)
    else:
        raise ProgrammingError(f"maxrows is a positive number or auto, not {argument!r}")


def nullvalue(shell: Shell, argument: str) -> None:
    """Set how a NULL is shown."""
    shell.look.null = _word(argument) if argument else "NULL"


def timer(shell: Shell, argument: str) -> None:
    """Turn telling times on or off."""
    shell.look.timer = _switch("timer", argument, shell.look.timer)
    shell.tell(f"timer is {'on' if shell.look.timer else 'off'}")


def pager(shell: Shell, argument: str) -> None:
    """Turn the pager on or off."""
    shell.look.pager = _switch("pager", argument, shell.look.pager)
    shell.tell(f"pager is {'on' if shell.look.pager else 'off'}")


def page(shell: Shell, argument: str) -> None:  # noqa: ARG001
    """Show the last result whole."""
    if shell.last is None:
        raise ProgrammingError("there is no result, or it was too large to keep", hint=".pager on")
    table, types = shell.last
    shell.page(table.to_reader(), types)


def output(shell: Shell, argument: str) -> None:
    """Send results to a file, or to the screen again."""
    shell.send_to(_word(argument) if argument else None)


def once(shell: Shell, argument: str) -> None:
    """Send the next result to a file."""
    if not argument:
        raise ProgrammingError("once needs a FILE")
    shell.send_to(_word(argument), once=True)


def read(shell: Shell, argument: str) -> None:
    """Run a file; its first error ends it."""
    from logql.repl.shell import steps

    if not argument:
        raise ProgrammingError("read needs a FILE")
    for step in steps(Path(os.path.expanduser(_word(argument))).read_text(encoding="utf-8")):
        shell.step(step)


def open_store(shell: Shell, argument: str) -> None:
    """Go to another store."""
    if not argument:
        shell.tell(shell.backend.store)
        return
    path = os.path.abspath(os.path.expanduser(_word(argument)))
    inside = os.path.join(path, ".logql")
    on_change = shell.backend.on_change
    backend = shell.open(inside if os.path.isdir(inside) else path)
    backend.on_change = on_change
    if shell.interactive:
        backend.start()


def watch(shell: Shell, argument: str) -> None:
    """Run a query every SECONDS (2), on a cleared screen, until Ctrl-C."""
    first, _, rest = argument.partition(" ")
    seconds, query = (float(first), rest) if _is_number(first) else (2.0, argument)
    if not query.strip():
        raise ProgrammingError("watch needs a QUERY")
    if not shell.interactive:
        raise ProgrammingError("watch needs a terminal")
    try:
        while True:
            shell.out.write("\x1b[2J\x1b[H")
            shell.tell(f"every {seconds:g} s, {time.strftime('%H:%M:%S')} (Ctrl-C stops)", "time")
            shell.execute(query)
            time.sleep(seconds)
    except KeyboardInterrupt:
        return


def plot(shell: Shell, argument: str) -> None:
    """Draw the last result or a query's in the terminal, or write it to a file."""
    from logql.plotting import draw, write_chart

    roles, path, query = plot_arguments(argument)
    if query:
        cursor = shell.query(query)
        if cursor.description is None:
            raise ProgrammingError("that statement gives no result to plot")
        shell.last = (cursor.arrow(), [str(column[1]) for column in cursor.description])
        for _, message in cursor.messages:
            shell.tell(f"Notice: {message}", "notice")
    if shell.last is None:
        raise ProgrammingError(
            "there is no result, or it was too large to keep", hint=".plot SELECT epoch, loss FROM logs"
        )
    if path is not None:
        write_chart(shell.last[0], os.path.expanduser(path), roles)
        shell.tell(f"wrote {path}")
        return
    view = shell.view(shell.out)
    shell.out.write(draw(shell.last[0], roles, width=view.width or 80, height=20, colour=view.styled) + "\n")


def plot_arguments(argument: str) -> tuple[dict[str, str], str | None, str]:
    """`x=a y=b,c by=d FILE QUERY`, each optional: the roles, the file, the query."""
    roles: dict[str, str] = {}
    path = None
    rest = argument
    while True:
        if role := _ROLE.match(rest):
            roles[role.group(1)] = role.group(2)
            rest = rest[role.end() :]
        elif path is None and (file := _CHART_FILE.match(rest)):
            path = file.group(1)
            rest = rest[file.end() :]
        else:
            return roles, path, rest.strip()


def _word(argument: str) -> str:
    """The only argument of a command; quotes around it are taken off."""
    try:
        found = shlex.split(argument)
    except ValueError:
        found = [argument]
    return found[0] if len(found) == 1 else argument


def _switch(name: str, argument: str, now: bool) -> bool:
    if not argument:
        return not now
    if argument.lower() not in ("on", "off"):
        raise ProgrammingError(f"{name} is on or off, not {argument!r}")
    return argument.lower() == "on"


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).isdigit()

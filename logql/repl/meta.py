r"""Commands of the prompt: `.help` and its kin, and psql's aliases, found by name or by the start of it."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from logql.errors import ProgrammingError
from logql.repl import actions, views

if TYPE_CHECKING:
    from logql.repl.shell import Shell


@dataclass(frozen=True)
class Command:
    """A command: its name without the dot, its arguments as people read them, what it does, the function."""

    name: str
    usage: str
    text: str
    run: Callable[[Shell, str], None]


def _help(shell: Shell, argument: str) -> None:
    """Print all commands, or one."""
    chosen = [find_command(argument)] if argument else list(COMMANDS.values())
    heads = [f".{command.name} {command.usage}".strip() for command in chosen]
    width = max(map(len, heads))
    for head, command in zip(heads, chosen, strict=True):
        print(f"{head.ljust(width)}  {command.text}", file=shell.out)
    if not argument:
        print("\nSQL ends with a semicolon. Tab completes, Ctrl-R searches the history,", file=shell.out)
        print("Alt-Enter runs, Ctrl-C cancels, Ctrl-D leaves.", file=shell.out)


_ALL = (
    Command("columns", "[NAME]", "all logged names, one over the versions, or a relation's columns", views.columns),
    Command("exit", "", "leave", actions.leave),
    Command("explain", "[analyze] QUERY", "what a query would replay, and DuckDB's plan", views.explain),
    Command("fills", "[N]", "the newest N replayed segments", views.fills),
    Command("help", "[COMMAND]", "this list", _help),
    Command("maxrows", "[N|auto]", "rows shown of a longer result", actions.maxrows),
    Command("mode", "[MODE]", "the form of results", actions.mode),
    Command("nullvalue", "[TEXT]", "how a NULL is shown", actions.nullvalue),
    Command("once", "FILE", "write the next result to a file", actions.once),
    Command("open", "DIR", "go to another store", actions.open_store),
    Command("output", "[FILE]", "write results to a file, or show them again", actions.output),
    Command("page", "", "all rows of the last result, in the pager", actions.page),
    Command("pager", "[on|off]", "show every result in the pager ($PAGER)", actions.pager),
    Command("patch", "NAME VERSION [FILE:LINE]", "how a log statement goes into an old version", views.patch),
    Command(
        "plot", "[x=NAME] [y=NAME,...] [by=NAME] [FILE] [QUERY]", "draw the last result, or a query's", actions.plot
    ),
    Command("quit", "", "leave", actions.leave),
    Command("read", "FILE", "run the statements and commands of a file", actions.read),
    Command("runs", "[N]", "the newest N runs", views.runs),
    Command("show", "", "how results are shown, and the replay settings", views.show),
    Command("tables", "", "relations of the history and own tables", views.tables),
    Command("timer", "[on|off]", "tell how long statements take", actions.timer),
    Command("versions", "[N]", "the newest N versions of the code", views.versions),
    Command("watch", "[SECONDS] QUERY", "run a query again and again, until Ctrl-C", actions.watch),
)
COMMANDS: Mapping[str, Command] = {command.name: command for command in _ALL}

#: psql's names; `\d NAME` tells the columns of NAME.
ALIASES: Mapping[str, str] = {
    "?": "help",
    "d": "tables",
    "dt": "tables",
    "dv": "tables",
    "h": "help",
    "i": "read",
    "o": "output",
    "pset": "mode",
    "q": "quit",
    "timing": "timer",
    "watch": "watch",
}


def run_command(shell: Shell, text: str) -> None:
    """Run a command line; ProgrammingError where there is no such command."""
    mark, line = text.strip()[0], text.strip()[1:].rstrip(";").rstrip()
    word, _, argument = line.partition(" ")
    argument = argument.strip()
    if mark == "\\":
        word = word.removesuffix("+")
        if word in ("d", "dt", "dv") and argument:
            word = "columns"
        if word == "x":
            actions.mode(shell, "duckbox" if shell.look.mode == "line" else "line")
            return
        word = ALIASES.get(word, word)
    find_command(word).run(shell, argument)


def find_command(word: str) -> Command:
    """The command of this name, or the only one that starts with it."""
    word = word.lstrip(".").lower()
    if word in COMMANDS:
        return COMMANDS[word]
    found = [name for name in COMMANDS if word and name.startswith(word)]
    if len(found) != 1:
        names = [f".{name}" for name in found] or _near(word)
        raise ProgrammingError(f"there is no command .{word}", candidates=names, hint=".help lists them")
    return COMMANDS[found[0]]


def words(argument: str) -> list[str]:
    """The arguments of a command, quoted as in a shell."""
    try:
        return shlex.split(argument)
    except ValueError as error:
        raise ProgrammingError(f"a quote is open in {argument!r}") from error


def _near(word: str) -> list[str]:
    import difflib

    return [f".{name}" for name in difflib.get_close_matches(word, COMMANDS, n=3)]

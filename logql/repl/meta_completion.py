"""Completion of the prompt's own commands and their arguments."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping

from logql.repl.completion import Candidate, complete
from logql.repl.modes import MODES
from logql.repl.names import Names

_QUERIES = frozenset({"explain", "plot", "watch"})
_FILES = frozenset({"once", "open", "output", "read"})


def complete_command(before: str, names: Names) -> list[Candidate]:
    """Candidates for a line that starts with a dot or a backslash."""
    from logql.repl.meta import ALIASES, COMMANDS

    line = before.lstrip()
    mark, line = line[0], line[1:]
    word, space, rest = line.partition(" ")
    if not space:
        texts = {name: command.text for name, command in COMMANDS.items()} if mark == "." else ALIASES
        return [
            Candidate(mark + name, len(word) + 1, "command", text)
            for name, text in sorted(texts.items())
            if name.startswith(word.lower())
        ]
    command = ALIASES.get(word, word.lower()) if mark == "\\" else word.lower()
    if word == "d":
        command = "columns"
    if command in _QUERIES:
        return complete(rest, "", names)
    return _arguments(command, rest, names)


def _arguments(command: str, rest: str, names: Names) -> list[Candidate]:
    if command in _FILES:
        return _paths(rest)
    words = rest.split(" ")
    options = _OPTIONS[command, len(words)](names) if (command, len(words)) in _OPTIONS else ()
    last = words[-1].lower()
    return [Candidate(text, len(last), kind) for text, kind in options if text.lower().startswith(last)]


def _logged(names: Names) -> Iterable[tuple[str, str]]:
    return [(name.text, name.kind) for name in names.logged]


def _described(names: Names) -> Iterable[tuple[str, str]]:
    return [*sorted(names.kinds.items()), *_logged(names)]


def _commands(_: Names) -> Iterable[tuple[str, str]]:
    from logql.repl.meta import COMMANDS

    return [(name, "command") for name in COMMANDS]


_SWITCH = [("on", "value"), ("off", "value")]
_OPTIONS: Mapping[tuple[str, int], Callable[[Names], Iterable[tuple[str, str]]]] = {
    ("columns", 1): _described,
    ("help", 1): _commands,
    ("mode", 1): lambda _: [(mode, "mode") for mode in MODES],
    ("pager", 1): lambda _: _SWITCH,
    ("patch", 1): _logged,
    ("patch", 2): lambda names: [(version, "version") for version in names.versions],
    ("timer", 1): lambda _: _SWITCH,
}


def _paths(prefix: str) -> list[Candidate]:
    """Files and directories that start like the path at hand."""
    folder, _, start = prefix.rpartition("/")
    directory = os.path.expanduser(folder + "/" if "/" in prefix else ".")
    try:
        entries = sorted(os.scandir(directory), key=lambda entry: entry.name)
    except OSError:
        return []
    found = [entry for entry in entries if entry.name.startswith(start) and (start or entry.name[0] != ".")]
    return [
        Candidate(entry.name + ("/" if entry.is_dir() else ""), len(start), "directory" if entry.is_dir() else "file")
        for entry in found
    ]

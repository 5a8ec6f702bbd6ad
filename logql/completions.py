"""`logql completion SHELL`: scripts that complete commands, options and their values in bash, zsh and fish.

They are made from the command line's own parser, so that they name what it knows; completing starts no python.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

#: How an option's value is completed where it is none of a few words.
_PATHS = {"FILE": "file", "DIR": "directory", "DIRECTORY": "directory", "SCRIPT": "file"}


@dataclass(frozen=True)
class Option:
    """An option: its names, what it does, and its value: words, `file`, `directory`, `any`, or none."""

    names: tuple[str, ...]
    text: str
    words: tuple[str, ...] = ()
    value: str | None = None


@dataclass(frozen=True)
class Command:
    """A command: its name, what it does, its options, and the words or paths that its arguments are."""

    name: str
    text: str
    options: tuple[Option, ...]
    words: tuple[str, ...] = ()
    paths: str | None = None


def completion_script(parser: argparse.ArgumentParser, shell: str) -> str:
    """The script for one of SHELLS."""
    commands = list(_commands(parser))
    return "\n".join(_WRITERS[shell](commands, _options(parser))) + "\n"


def _commands(parser: argparse.ArgumentParser) -> Iterator[Command]:
    (action,) = [each for each in parser._actions if isinstance(each, argparse._SubParsersAction)]
    texts = {each.dest: each.help or "" for each in action._choices_actions}
    for name, each in action.choices.items():
        arguments = [one for one in each._actions if not one.option_strings]
        words = tuple(str(word) for one in arguments for word in one.choices or ())
        paths = next((kind for one in arguments if (kind := _PATHS.get(_metavar(one))) is not None), None)
        yield Command(name, texts[name], _options(each), words, paths)


def _options(parser: argparse.ArgumentParser) -> tuple[Option, ...]:
    return tuple(
        Option(
            tuple(each.option_strings),
            (each.help or "").replace("%%", "%"),
            tuple(map(str, each.choices or ())),
            None if each.nargs == 0 else _PATHS.get(_metavar(each), "any"),
        )
        for each in parser._actions
        if each.option_strings
    )


def _metavar(action: argparse.Action) -> str:
    return str(action.metavar or action.dest).upper()


def _bash(commands: list[Command], shared: tuple[Option, ...]) -> Iterator[str]:
    every = {name: option for command in commands for option in command.options for name in option.names}
    yield from _BASH_HEAD.splitlines()
    for name, option in every.items():
        if option.words:
            yield f'        {name}) COMPREPLY=($(compgen -W {_quoted(" ".join(option.words))} -- "$cur")); return ;;'
        elif option.value is not None:
            flag = {"file": "-f", "directory": "-d"}.get(option.value)
            yield f"        {name}) " + (f'COMPREPLY=($(compgen {flag} -- "$cur")); ' if flag else "") + "return ;;"
    yield "    esac"
    yield '    case "$command" in'
    names = [*(command.name for command in commands), *(name for option in shared for name in option.names)]
    yield f"        '') words={_quoted(' '.join(names))} ;;"
    for command in commands:
        words = [*(name for option in command.options for name in option.names), *command.words]
        yield f"        {command.name}) words={_quoted(' '.join(words))}; paths={command.paths or ''} ;;"
    yield from _BASH_END.splitlines()


_BASH_HEAD = """\
_logql() {
    local cur="${COMP_WORDS[COMP_CWORD]}" prev="${COMP_WORDS[COMP_CWORD - 1]}" command="" words="" paths="" i
    for ((i = 1; i < COMP_CWORD; i++)); do
        case "${COMP_WORDS[i]}" in
            --store) ((i++)) ;;
            -*) ;;
            *) command="${COMP_WORDS[i]}"; break ;;
        esac
    done
    case "$prev" in"""
_BASH_END = """\
    esac
    COMPREPLY=($(compgen -W "$words" -- "$cur"))
    if [[ $cur != -* && $paths == file ]]; then COMPREPLY+=($(compgen -f -- "$cur")); fi
    if [[ $cur != -* && $paths == directory ]]; then COMPREPLY+=($(compgen -d -- "$cur")); fi
}
complete -o filenames -F _logql logql"""


def _zsh(commands: list[Command], shared: tuple[Option, ...]) -> Iterator[str]:
    yield "#compdef logql"
    yield "_logql() {"
    yield "    local context state state_descr line"
    yield "    local -a commands"
    named = " ".join(_quoted(f"{command.name}:{command.text}") for command in commands)
    yield f"    commands=({named})"
    options = " ".join(spec for option in shared for spec in _zsh_specs(option))
    yield f"    _arguments -C {options} '1:command:->command' '*::argument:->argument'"
    yield '    case "$state" in'
    yield "        command) _describe command commands ;;"
    yield "        argument)"
    yield '            case "$words[1]" in'
    for command in commands:
        specs = " ".join(spec for option in command.options for spec in _zsh_specs(option))
        rest = f"({' '.join(command.words)})" if command.words else _ZSH_VALUES[command.paths or "any"]
        yield f"                {command.name}) _arguments {specs} {_quoted(f'*:argument:{rest}')} ;;"
    yield "            esac ;;"
    yield "    esac"
    yield "}"
    yield 'if [ "$funcstack[1]" = "_logql" ]; then _logql "$@"; else compdef _logql logql; fi'


_ZSH_VALUES = {"file": "_files", "directory": "_files -/", "any": ""}


def _zsh_specs(option: Option) -> Iterator[str]:
    text = option.text.replace("[", "\\[").replace("]", "\\]").replace(":", "\\:")
    value = f"({' '.join(option.words)})" if option.words else _ZSH_VALUES.get(option.value or "", "")
    for name in option.names:
        yield _quoted(f"*{name}[{text}]" + (f":value:{value}" if option.value is not None else ""))


def _fish(commands: list[Command], shared: tuple[Option, ...]) -> Iterator[str]:
    yield "complete -c logql -f"
    first = f"not __fish_seen_subcommand_from {' '.join(command.name for command in commands)}"
    yield from (_fish_option(option, first) for option in shared)
    for command in commands:
        seen = f"__fish_seen_subcommand_from {command.name}"
        yield f"complete -c logql -n {_quoted(first)} -a {command.name} -d {_quoted(command.text)}"
        yield from (_fish_option(option, seen) for option in command.options)
        if command.words:
            yield f"complete -c logql -n {_quoted(seen)} -a {_quoted(' '.join(command.words))}"
        if command.paths is not None:
            yield f"complete -c logql -n {_quoted(seen)} -F"


def _fish_option(option: Option, condition: str) -> str:
    parts = ["complete -c logql", f"-n {_quoted(condition)}", f"-d {_quoted(option.text)}"]
    parts += [f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in option.names]
    if option.words:
        parts.append(f"-x -a {_quoted(' '.join(option.words))}")
    elif option.value is not None:
        parts.append({"file": "-r -F", "directory": "-x -a '(__fish_complete_directories)'"}.get(option.value, "-x"))
    return " ".join(parts)


def _quoted(text: str) -> str:
    """A text in single quotes, as all three shells read it."""
    return "'" + text.replace("'", "’") + "'"


_WRITERS: Mapping[str, Callable[[list[Command], tuple[Option, ...]], Iterator[str]]] = {
    "bash": _bash,
    "fish": _fish,
    "zsh": _zsh,
}
SHELLS = tuple(_WRITERS)

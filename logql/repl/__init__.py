"""The interactive prompt: `logql` on a terminal, or a script of statements and commands on its standard input.

`prompt` is what the person types into, `shell` what is done with it, `meta` the commands, `runner` keeps Ctrl-C and
progress alive while a statement runs, `backend` loads the engine and the names for completion behind the prompt.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from logql.repl.shell import Shell

__all__ = ["main"]


def main(store: str | None = None) -> int:
    """Talk with a person, or run standard input where that is no terminal; the exit code."""
    from logql.repl.shell import Shell

    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return _script(Shell(store))
    shell = Shell(store, ask=input)
    try:
        return _talk(shell)
    finally:
        shell.close()


def _script(shell: Shell) -> int:
    try:
        shell.run(sys.stdin.read())
        return 1 if shell.failed else 0
    finally:
        shell.close()


def _talk(shell: Shell) -> int:
    """Read and run until the person is done."""
    from logql.repl.prompt import make_session

    session = make_session(shell)
    while True:
        try:
            text = session.prompt()
        except KeyboardInterrupt:
            continue
        except EOFError:
            return 0
        try:
            if not shell.run(text):
                return 0
        except KeyboardInterrupt:
            shell.tell("Interrupted", "notice")

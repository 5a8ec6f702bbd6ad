"""The command `logql`: parses its arguments and hands on; results go to stdout, all else to stderr.

Exit codes: 0 done, 1 an error, 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

import logql
from logql.errors import Error, NotSupportedError
from logql.formats import FORMATS

_EXAMPLES = """\
examples:
  logql demo                                            the whole story on a small project, in a minute
  logql run train.py -a lr=0.1 -a epochs=20             train, overriding what logql.arg gives
  logql sql "SELECT version, epoch, loss FROM logs"     ask; values that were never logged are replayed
  logql sql -f report.sql --format csv > report.csv     a query from a file
  logql                                                 an interactive prompt
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    try:
        arguments = _parser().parse_args(argv)
    except SystemExit as stop:
        return int(stop.code or 0)
    try:
        return int(arguments.handler(arguments) or 0)
    except KeyboardInterrupt:
        print("Interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    except Error as error:
        print(error, file=sys.stderr)
        return 130 if type(error).__name__ == "Interrupted" else 1
    except (OSError, UnicodeDecodeError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    except Exception as error:
        if os.environ.get("LOGQL_STRICT") == "1":
            raise
        print(f"Internal Error: {type(error).__name__}: {error}", file=sys.stderr)
        print("Hint: a defect of logql's own; LOGQL_STRICT=1 shows where", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="logql",
        description="Ask in SQL for values that your past training runs never logged.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"logql {logql.__version__}")
    _add_store(parser, default=None)
    parser.set_defaults(handler=_repl)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for add in (
        _add_sql,
        _add_run,
        _add_demo,
        _add_runs,
        _add_fill,
        _add_patch,
        _add_sharing,
        _add_upkeep,
        _add_completion,
    ):
        add(commands)
    return parser


def _command(
    commands: Any, name: str, handler: Callable[[argparse.Namespace], int | None], text: str, example: str
) -> Any:
    parser = commands.add_parser(
        name,
        help=text,
        description=text[0].upper() + text[1:] + ".",
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_store(parser, default=argparse.SUPPRESS)
    parser.set_defaults(handler=handler)
    return parser


def _add_store(parser: argparse.ArgumentParser, default: str | None) -> None:
    parser.add_argument(
        "--store", metavar="DIR", default=default, help="the store, where it is not the project's .logql"
    )


def _add_format(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--format", choices=FORMATS, default="table", help="form of the result (default: table)")


def _add_sql(commands: Any) -> None:
    example = """logql sql 'SELECT version, epoch, grad_norm FROM logs WHERE epoch < $n' --param n=3"""
    parser = _command(
        commands, "sql", _handler("commands", "run_sql"), "run SQL statements and print their results", example
    )
    parser.add_argument("query", nargs="*", help="one or more statements; `-` reads them from standard input")
    parser.add_argument("-f", "--file", action="append", default=[], metavar="FILE", help="read statements from a file")
    parser.add_argument(
        "--param", action="append", default=[], metavar="[NAME=]VALUE", help="value for $NAME, or for the next ?"
    )
    parser.add_argument("--replay", choices=("auto", "off"), default="auto", help="whether missing values are replayed")
    parser.add_argument(
        "--budget", type=float, metavar="SECONDS", help="most replay time a query may be estimated to cost"
    )
    parser.add_argument("--plot", metavar="FILE", help="draw the last result as a chart: a .png, .svg or .html file")
    _add_format(parser)


def _add_run(commands: Any) -> None:
    parser = _command(
        commands,
        "run",
        _handler("commands", "run_script"),
        "run a training script, with arguments for logql.arg",
        "logql run train.py -a lr=0.1 -- --flag-of-the-script",
    )
    parser.usage = "logql run [-h] [--store DIR] [-a NAME=VALUE] (SCRIPT | -m MODULE) [ARGS ...]"
    parser.add_argument(
        "-a", "--arg", action="append", default=[], metavar="NAME=VALUE", help="value that logql.arg returns"
    )
    parser.add_argument("-m", "--module", action="store_true", help="SCRIPT is a module's name, as in python -m")
    parser.add_argument("script", help="the script, as one would give it to python")
    parser.add_argument(
        "rest", nargs=argparse.REMAINDER, metavar="ARGS", help="the script's own arguments (-a works here, too)"
    )


def _add_demo(commands: Any) -> None:
    from logql.samples import sample_names

    parser = _command(
        commands, "demo", _demo, "build a sample project, train its history, and ask it something", "logql demo"
    )
    parser.add_argument(
        "name", nargs="?", default="digits", help=f"one of {', '.join(sample_names())} (default: digits)"
    )
    parser.add_argument("directory", nargs="?", help="where to build it (default: a new temporary directory)")


def _add_runs(commands: Any) -> None:
    parser = _command(
        commands,
        "runs",
        _handler("commands", "list_runs"),
        "list the recorded runs, newest last",
        "logql runs --limit 5 --format json",
    )
    parser.add_argument("--limit", type=int, default=50, metavar="N", help="at most the N newest (default: 50)")
    _add_format(parser)


def _add_fill(commands: Any) -> None:
    example = """logql fill grad_norm --where "version = '3f2a90c1d4e5'" """.rstrip()
    parser = _command(
        commands, "fill", _handler("commands", "fill"), "replay missing values ahead of any query", example
    )
    parser.add_argument("names", nargs="+", metavar="NAME", help="logged names to fill")
    parser.add_argument(
        "--where", metavar="CONDITION", help="only the rows of `logs` for which this SQL condition holds"
    )
    parser.add_argument("--budget", type=float, metavar="SECONDS", help="most replay time it may be estimated to cost")


def _add_patch(commands: Any) -> None:
    example = "logql patch grad_norm 3f2a90c1d4e5 --at train.py:41"
    parser = _command(
        commands, "patch", _handler("commands", "patch"), "show how a log statement is put into an old version", example
    )
    parser.add_argument("name", metavar="NAME", help="the logged name")
    parser.add_argument("version", metavar="VERSION", help="a version's id, or its first digits")
    parser.add_argument("--at", metavar="FILE:LINE", help="put it before this line from now on")


def _add_sharing(commands: Any) -> None:
    parser = _command(
        commands, "publish", _publish, "write a Parquet snapshot of all relations", "logql publish /data/runs"
    )
    parser.add_argument("directory", metavar="DIR", help="where; a snapshot that is there already is replaced")
    parser = _command(commands, "serve", _serve, "let BI tools query over MySQL's protocol", "logql serve --port 3306")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine alone)")
    parser.add_argument("--port", type=int, default=3306, help="port to listen on (default: 3306; 0: any)")
    parser.add_argument("--user", metavar="NAME", help="who may connect, with the password in LOGQL_SERVE_PASSWORD")
    parser.add_argument("--tls-cert", metavar="FILE", help="certificate, to offer TLS")
    parser.add_argument("--tls-key", metavar="FILE", help="the certificate's key")
    parser.add_argument("--replay", choices=("auto", "off"), default="off", help="whether missing values are replayed")
    parser.add_argument("--budget", type=float, metavar="SECONDS", help="most replay time of a query")
    parser.add_argument("--timeout", type=float, metavar="SECONDS", help="most time of a query (default: 300; 0: any)")
    parser.add_argument("--max-rows", type=int, metavar="N", help="most rows of a result (default: 1000000)")
    parser.add_argument("--max-queries", type=int, metavar="N", help="most queries at once (default: 4)")
    parser.add_argument("--memory", metavar="SIZE", help="most memory that queries use, such as 4GB")


def _add_upkeep(commands: Any) -> None:
    parser = _command(
        commands, "compact", _handler("upkeep", "compact"), "merge the store's small files", "logql compact"
    )
    _add_dry_run(parser)
    parser = _command(
        commands, "gc", _handler("upkeep", "gc"), "remove what nothing needs any more", "logql gc --dry-run"
    )
    _add_dry_run(parser)
    parser = _command(commands, "du", _handler("upkeep", "du"), "tell what takes how much space", "logql du")
    _add_format(parser)
    parser = _command(
        commands, "doctor", _handler("upkeep", "doctor"), "check the store, and mend it", "logql doctor --rebuild"
    )
    parser.add_argument("--rebuild", action="store_true", help="make the catalog anew from the recorded files")
    parser.add_argument("--repair", action="store_true", help="mend what can be mended")
    _add_dry_run(parser)
    parser = _command(commands, "rm", _handler("upkeep", "rm"), "delete runs", "logql rm 01JC8Y3Q0V --yes")
    parser.add_argument("runs", nargs="+", metavar="RUN", help="a run's id, or a version's, or its first characters")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    _add_dry_run(parser)


def _add_dry_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dry-run", action="store_true", help="only tell what would be done")


def _add_completion(commands: Any) -> None:
    example = "logql completion bash > ~/.local/share/bash-completion/completions/logql"
    parser = _command(
        commands, "completion", _completion, "print a script that completes this command line in a shell", example
    )
    parser.add_argument("shell", choices=("bash", "fish", "zsh"), help="the shell")


def _completion(arguments: argparse.Namespace) -> int:
    from logql.completions import completion_script

    print(completion_script(_parser(), arguments.shell), end="")
    return 0


def _repl(arguments: argparse.Namespace) -> int:
    repl = _part("logql.repl", "the interactive prompt", 'logql sql "SELECT ..."')
    return int(repl.main(arguments.store) or 0)


def _demo(arguments: argparse.Namespace) -> int:
    from logql import demo

    return demo.tell(arguments.name, arguments.directory)


def _publish(arguments: argparse.Namespace) -> int:
    part = _part("logql.publish", "publishing", "COPY (SELECT ...) TO 'file.parquet'")
    return int(part.publish(arguments.store, arguments.directory) or 0)


def _serve(arguments: argparse.Namespace) -> int:
    part = _part("logql.serve", "serving", "logql.connect() from Python")
    return int(part.serve(arguments) or 0)


def _handler(module: str, name: str) -> Callable[[argparse.Namespace], int]:
    """The function `name` of a module of logql, imported when it is called: most commands need little of logql."""

    def handle(arguments: argparse.Namespace) -> int:
        return int(getattr(importlib.import_module(f"logql.{module}"), name)(arguments) or 0)

    return handle


def _part(module: str, what: str, instead: str) -> Any:
    """A part of logql by its module's name; NotSupportedError where this version does not have it."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        raise NotSupportedError(
            f"{what} is not part of logql {logql.__version__} yet", hint=f"use {instead}"
        ) from error

"""What the prompt does with a text: statements and commands run, results shown, errors told; no terminal needed."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, cast

from logql.errors import Error, Interrupted
from logql.formats import use_colour, write_result
from logql.repl.backend import Backend
from logql.repl.grid import View, cut_lines
from logql.repl.live import LiveDisplay
from logql.repl.modes import FITTED, write
from logql.repl.runner import Runner
from logql.sql.split import is_complete, split_statements, tokens

if TYPE_CHECKING:
    import pyarrow as pa

    from logql.dbapi import Cursor
    from logql.plan.segments import FillPlan
    from logql.replay.job import Progress

#: Rows shown of a longer result, unless the terminal is higher.
_ROWS = 40
#: Rows that the pager shows of a longer result.
_PAGED_ROWS = 100_000
_STYLES = {"error": "\x1b[31m", "notice": "\x1b[33m", "time": "\x1b[2m"}
_PLAIN = "\x1b[0m"
_QUIT_WORDS = frozenset({"quit", "exit", ".quit", ".exit"})


@dataclass
class Look:
    """How results are shown; `rows` of None follows the terminal."""

    mode: str = "duckbox"
    rows: int | None = None
    null: str = "NULL"
    timer: bool = True
    pager: bool = False


class Quit(Exception):
    """Raised when the person is done."""


class Shell:
    """Runs texts on one store. `ask` puts a question to the person and gives the answer, where there is one."""

    def __init__(
        self,
        store: str | None,
        *,
        out: TextIO | None = None,
        err: TextIO | None = None,
        ask: Callable[[str], str] | None = None,
    ) -> None:
        self.out = out or sys.stdout
        self.err = err or sys.stderr
        self.ask = ask
        self.interactive = ask is not None
        self.look = Look(timer=self.interactive)
        self.backend = self.open(store)
        self.last: tuple[pa.Table, list[str]] | None = None
        self._files = ExitStack()
        self._file: TextIO | None = None
        self._once = False
        self.failed = False

    def open(self, store: str | None) -> Backend:
        """Take another store from now on. Raises StoreError where there is none, and keeps the old one then."""
        found = Backend(store, "ask" if self.interactive else "auto")
        if (old := getattr(self, "backend", None)) is not None:
            old.close()
        self.backend = found
        return found

    def close(self) -> None:
        """Give back files and the connection."""
        self._files.close()
        self.backend.close()

    # -- texts

    def run(self, text: str) -> bool:
        """Run all of a text; false where the person is done. Errors are told, and what follows them runs, too."""
        for step in steps(text):
            try:
                self.step(step)
            except Quit:
                return False
            except BrokenPipeError:
                raise
            except Exception as error:
                self.tell_error(error)
                if not self.interactive:
                    return True
        return True

    def step(self, step: str) -> None:
        """Run one statement or command; raises its error."""
        from logql.repl.meta import run_command

        if step.lower().rstrip("; ") in _QUIT_WORDS:
            raise Quit
        if is_command(step):
            run_command(self, step)
        else:
            self.execute(step)

    def execute(self, sql: str) -> Cursor:
        """Run a statement, show its result and what is to be known about it."""
        started = time.monotonic()
        cursor = self.query(sql)
        seconds = time.monotonic() - started
        if cursor.description is not None:
            types = [str(column[1]) for column in cursor.description]
            whole = cursor.rowcount >= 0
            self.last = (cursor.arrow(), types) if whole else None
            self.show(cursor.arrow().to_reader() if whole else self._large(cursor), types)
            seconds = seconds if whole else time.monotonic() - started
        elif cursor.rowcount >= 0:
            self.tell(f"{cursor.rowcount} row{'' if cursor.rowcount == 1 else 's'} changed")
        for _, message in cursor.messages:
            self.tell(f"Notice: {message}", "notice")
        if self.look.timer:
            self.tell(f"Run time: {seconds:.3f} s", "time")
        return cursor

    def query(self, sql: str) -> Cursor:
        """The cursor of a statement that was run; Ctrl-C cancels it, progress is drawn, questions are asked."""
        connection = self.backend.connection
        display = LiveDisplay(self.err, self.backend.fills)
        watched = self.err.isatty() and self.interactive

        def draw(event: object) -> None:
            if watched:
                display.draw(cast("Progress", event))

        def decide(plan: object) -> bool:
            display.clear()
            return self._decide(cast("FillPlan", plan))

        runner = Runner(connection.interrupt, draw, decide)
        connection.progress = runner.report
        connection.session.ask = runner.ask if self.interactive else None
        cursor = connection.cursor()
        try:
            runner.run(lambda: cursor.execute(sql))
        finally:
            display.clear()
        return cursor

    def _large(self, cursor: Cursor) -> pa.RecordBatchReader:
        """A reader of a large result that Ctrl-C cancels between its rows, too."""
        import pyarrow as pa

        rows = cursor.fetch_record_batch()
        runner = Runner(self.backend.connection.interrupt, lambda _: None, lambda _: False)
        batches = iter(lambda: runner.run(lambda: next(rows, None)), None)
        return pa.RecordBatchReader.from_batches(rows.schema, batches)

    def _decide(self, plan: FillPlan) -> bool:
        """Whether to replay what a plan says: y, n, or its details first."""
        from logql.explaining import describe_plan

        assert self.ask is not None
        many = "a segment" if len(plan.segments) == 1 else f"{len(plan.segments)} segments"
        while True:
            answer = self.ask(f"Replay {many}, about {plan.seconds:.0f} s? [y/N/details] ").strip().lower()
            if not answer.startswith("d"):
                return answer in ("y", "yes")
            self.tell(describe_plan(self.backend.connection.session, plan))

    # -- what is shown

    def show(self, reader: pa.RecordBatchReader, types: list[str]) -> None:
        """Show a result where and how the person wants it."""
        stream = self._file or self.out
        if reader.schema.names == ["explain_key", "explain_value"]:
            plans = io.StringIO()
            write_result(reader, "table", plans)
            stream.write(cut_lines(plans.getvalue(), self.view(stream).width))
        elif self.look.pager and self.out.isatty() and stream is self.out:
            self.page(reader, types)
        else:
            write(reader, types, self.look.mode, stream, self.view(stream))
        stream.flush()
        if self._once:
            self.send_to(None)

    def view(self, stream: TextIO) -> View:
        """What results have to fit: the terminal, or nothing where they go to a file."""
        if not stream.isatty():
            return View(None, self.look.rows, False, self.look.null)
        size = shutil.get_terminal_size()
        return View(size.columns, self.look.rows or max(_ROWS, size.lines - 8), use_colour(stream), self.look.null)

    def page(self, reader: pa.RecordBatchReader, types: list[str]) -> None:
        """Show all rows of a result in the pager, up to _PAGED_ROWS."""
        command = os.environ.get("PAGER") or ("less -SRXF" if shutil.which("less") else "")
        view = View(None, _PAGED_ROWS, use_colour(self.out), self.look.null)
        mode = self.look.mode if self.look.mode in FITTED else "duckbox"
        if not command:
            write(reader, types, mode, self.out, view)
            return
        with subprocess.Popen(command, shell=True, stdin=subprocess.PIPE, text=True) as pager:
            assert pager.stdin is not None
            try:
                write(reader, types, mode, pager.stdin, view)
                pager.stdin.close()
            except (BrokenPipeError, KeyboardInterrupt):
                pass
            _wait(pager)

    def send_to(self, path: str | None, once: bool = False) -> None:
        """Write results to a file, the next one only or all from now on; None shows them again."""
        self._files.close()
        self._file, self._once = None, False
        if path is not None:
            file = Path(path).expanduser().open("w", encoding="utf-8")
            self._file = self._files.enter_context(file)
            self._once = once

    def tell(self, text: str, style: str = "") -> None:
        """Tell the person something that is no result."""
        code = _STYLES.get(style, "") if use_colour(self.err) else ""
        print(f"{code}{text}{_PLAIN}" if code else text, file=self.err, flush=True)

    def tell_error(self, error: Exception) -> None:
        """Tell what went wrong, without a traceback."""
        self.failed = True
        if isinstance(error, Interrupted):
            self.tell(f"Interrupted: {error.message}", "notice")
        elif isinstance(error, Error):
            self.tell(str(error), "error")
        elif isinstance(error, (OSError, UnicodeDecodeError)):
            self.tell(f"Error: {error}", "error")
        elif os.environ.get("LOGQL_STRICT") == "1":
            raise error
        else:
            self.tell(f"Internal Error: {type(error).__name__}: {error}", "error")
            self.tell("Hint: a defect of logql's own; LOGQL_STRICT=1 shows where")


def is_command(text: str) -> bool:
    """Whether a text is a command of the prompt, not SQL."""
    start = text.lstrip()
    return start[:1] == "\\" or (start[:1] == "." and start[1:2].isalpha())


def steps(text: str) -> Iterator[str]:
    """The statements and commands of a text; a command is a line of its own, where no statement is open."""
    pending = ""
    for line in text.splitlines(keepends=True):
        if is_command(line) and not any(tokens(pending)):
            yield line.strip()
            continue
        pending += line
        if ";" in line and is_complete(pending):
            yield from split_statements(pending)
            pending = ""
    yield from split_statements(pending)


def _wait(process: subprocess.Popen[str]) -> None:
    """Wait for the pager, which hears Ctrl-C itself."""
    while True:
        try:
            process.wait()
            return
        except KeyboardInterrupt:
            continue

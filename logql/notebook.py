"""Notebooks: `%load_ext logql` gives `%logql` and `%%logql`, whose results are DataFrames, and charts with --plot."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING, Any

from logql.errors import Error, NotSupportedError, ProgrammingError
from logql.progress import ProgressLine, describe

if TYPE_CHECKING:
    from logql.dbapi import Connection, Cursor
    from logql.replay.job import Progress


class Magics:
    """What the magics do, for one kernel: one connection, opened at its first use."""

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._connection: Connection | None = None
        self._store: str | None = None

    def line(self, line: str) -> Any:
        """`%logql [--store DIR] [--plot] QUERY`."""
        return self.cell(line, "")

    def cell(self, line: str, cell: str) -> Any:
        """`%%logql [--store DIR] [--plot] [NAME <<]`, the query below; `NAME <<` keeps the result in a variable."""
        try:
            return self._run(line, cell)
        except Error as error:
            print(error, file=sys.stderr)
            return None

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _run(self, line: str, cell: str) -> Any:
        options, rest = _options(line)
        if options.get("store"):
            self.close()
            self._store = options["store"]
        name, arrow, query = rest.partition("<<")
        query = f"{query if arrow else rest}\n{cell}".strip()
        if not query:
            return None
        if arrow and not name.strip().isidentifier():
            raise ProgrammingError(f"{name.strip()!r} is no name of a variable")
        cursor = self._execute(query)
        if cursor.description is None:
            return None
        result = self._chart(cursor) if "plot" in options else _frame(cursor)
        if not arrow:
            return result
        self._shell.user_ns[name.strip()] = result
        return None

    def _execute(self, query: str) -> Cursor:
        from logql import dbapi

        if self._connection is None:
            self._connection = dbapi.connect(self._store)
        progress = _NotebookProgress()
        self._connection.progress = progress
        cursor = self._connection.cursor()
        try:
            cursor.execute(query)
        finally:
            progress.clear()
        for _, message in cursor.messages:
            print(f"Notice: {message}", file=sys.stderr)
        return cursor

    def _chart(self, cursor: Cursor) -> Any:
        from logql.plotting import choose_series
        from logql.plotting.charts import build_chart

        return build_chart(choose_series(cursor.arrow()))


class _NotebookProgress:
    """Shows how far a replay is: one output that is updated in a notebook, a line in a terminal."""

    def __init__(self) -> None:
        self._line = ProgressLine()
        self._handle: Any = None

    def __call__(self, progress: Progress) -> None:
        if sys.stderr.isatty():
            self._line(progress)
            return
        from IPython.display import display

        text = {"text/plain": describe(progress)}
        if self._handle is None:
            self._handle = display(text, raw=True, display_id=True)
        else:
            self._handle.update(text, raw=True)

    def clear(self) -> None:
        """Remove what was shown."""
        self._line.clear()
        if self._handle is not None:
            self._handle.update({"text/plain": "replayed"}, raw=True)


def load_ipython_extension(shell: Any) -> None:
    """Called by `%load_ext logql`."""
    magics = Magics(shell)
    shell.register_magic_function(magics.line, "line", "logql")
    shell.register_magic_function(magics.cell, "cell", "logql")
    shell._logql_magics = magics


def unload_ipython_extension(shell: Any) -> None:
    """Called by `%unload_ext logql`."""
    magics = getattr(shell, "_logql_magics", None)
    if magics is not None:
        magics.close()


def _frame(cursor: Cursor) -> Any:
    """The result as a pandas DataFrame, else as polars has it, else as an Arrow table."""
    for read in (cursor.df, cursor.pl):
        try:
            return read()
        except NotSupportedError:
            continue
    return cursor.arrow()


def _options(line: str) -> tuple[dict[str, str], str]:
    """The options at the head of a line, and what follows them."""
    found: dict[str, str] = {}
    rest = line.strip()
    while rest.startswith("--"):
        word, _, rest = rest.partition(" ")
        rest = rest.strip()
        name, equals, value = word.removeprefix("--").partition("=")
        if name == "store" and not equals:
            value = shlex.split(rest)[0] if rest else ""
            rest = rest.partition(" ")[2].strip()
        if name not in ("store", "plot"):
            raise ProgrammingError(f"there is no option --{name}", candidates=("--store DIR", "--plot"))
        found[name] = value
    return found, rest

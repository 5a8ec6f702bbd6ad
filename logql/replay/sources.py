"""The sources of a version as a worker compiles them: instrumented where they hold main loops or inserted statements.

Cached bytecode is never used for files of the project: it may be another version's.
"""

from __future__ import annotations

import ast
import functools
import os
import re
from importlib import machinery
from types import CodeType

from logql.errors import ReplayError
from logql.model import MainLoop
from logql.replay.instrument import LineMap, instrument, let_jumps_pass, map_lines, new_names
from logql.replay.spec import WorkerSpec

_CATCHES_ALL = re.compile(rb"\bexcept\s*:|\bBaseException\b")


def loop_key(loop: MainLoop) -> str:
    """What injected statements call the `for` statement of a main loop; its executions share it."""
    return f"{loop.file}:{loop.line}"


class Sources:
    """Compiles the project's files; tells which line of the version's own source a line is."""

    def __init__(self, spec: WorkerSpec) -> None:
        self._spec = spec
        self._project = os.path.realpath(spec.project)
        self._maps: dict[str, LineMap] = {}
        self._own = frozenset(spec.files) | frozenset(spec.patched)
        self._loops: dict[str, dict[int, str]] = {}
        self._cut: dict[str, set[int]] = {}
        #: variables that inserted statements bind; no part of the recorded program's state
        self.inserted_names: frozenset[str] = frozenset()
        for loop in spec.loops:
            if loop.file is not None and loop.line is not None:
                self._loops.setdefault(loop.file, {})[loop.line] = loop_key(loop)
                if (loop.loop, loop.entry) == (spec.segment.loop, spec.segment.entry):
                    self._cut.setdefault(loop.file, set()).add(loop.line)

    def install(self) -> None:
        """Have every import of a file of the project go through here."""
        original = machinery.SourceFileLoader.get_code

        def get_code(loader: machinery.SourceFileLoader, fullname: str) -> CodeType | None:
            path = self.relative(loader.get_filename(fullname))
            if path is None:
                return original(loader, fullname)
            return self.compile(loader.get_filename(fullname), path)

        machinery.SourceFileLoader.get_code = get_code  # type: ignore[method-assign,assignment]

    def relative(self, filename: str) -> str | None:
        """The path in the project where a file belongs to the version."""
        directory, name = os.path.split(filename)
        path = os.path.join(_real(os.path.join(os.getcwd(), directory)), name)
        if os.path.islink(path):
            path = os.path.realpath(path)
        inside = path.removeprefix(os.path.join(self._project, ""))
        return inside if inside in self._own else None

    def compile_main(self, script: str) -> CodeType:
        """Code of the script. Raises ReplayError where it is not there, SyntaxError where it is none."""
        if not os.path.isfile(script):
            raise ReplayError(f"the script {self._spec.run.script} is not there")
        return self.compile(script, self.relative(script) or "")

    def compile(self, filename: str, path: str) -> CodeType:
        """Code of one file, instrumented where needed."""
        with open(filename, "rb") as file:
            data = file.read()
        loops, patched = self._loops.get(path, {}), path in self._spec.patched
        if not loops and not patched:
            return compile(self._without_traps(data, filename), filename, "exec", dont_inherit=True)
        text = decode(data)
        lines = self._map(path, text)
        return instrument(text, filename, lines, loops, self._cut.get(path, ()), self._spec.names)

    def _without_traps(self, data: bytes, filename: str) -> bytes | ast.Module:
        """A source in which nothing catches the exception that ends a main loop's iteration."""
        if not self._cut or not _CATCHES_ALL.search(data):
            return data
        tree = ast.parse(data, filename)
        let_jumps_pass(tree)
        return tree

    def own_place(self, filename: str, line: int) -> tuple[str, int]:
        """File (in the project, where it is) and line in the version's own source."""
        path = self.relative(filename)
        if path is None:
            return filename, line
        return path, self._maps[path].own(line) if path in self._maps else line

    def is_placed(self, filename: str, line: int) -> bool:
        """Whether a line is one that the version's own source does not have."""
        lines = self._maps.get(self.relative(filename) or "")
        return lines is not None and line in lines.inserted | lines.replaced

    def _map(self, path: str, text: str) -> LineMap:
        if path not in self._maps:
            own = text
            source = os.path.join(self._spec.root, path)
            if path in self._spec.patched and os.path.isfile(source):
                with open(source, "rb") as file:
                    own = decode(file.read())
            self._maps[path] = map_lines(own, text)
            self.inserted_names |= new_names(own, text)
        return self._maps[path]


#: Symbolic links do not change while a script imports from them.
_real = functools.lru_cache(maxsize=None)(os.path.realpath)


def decode(data: bytes) -> str:
    """A source's text by its declared encoding."""
    from importlib.util import decode_source

    return decode_source(data)

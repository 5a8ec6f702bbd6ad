"""Virtual columns that CREATE VIRTUAL COLUMN made: log statements that stand in no source file."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass

from logql.errors import BindError


@dataclass(frozen=True)
class Made:
    """`logql.log(name, expression)` after or before the only line that holds `anchor`, in `file` if that is given."""

    expression: str
    position: str
    anchor: str
    file: str | None

    def to_json(self) -> dict[str, object]:
        """As the store keeps it."""
        return {"expression": self.expression, "position": self.position, "anchor": self.anchor, "file": self.file}

    def check(self, name: str, files: Mapping[str, str]) -> None:
        """Raise BindError unless the statement can be written into `files`."""
        try:
            ast.parse(self.expression, mode="eval")
        except SyntaxError as error:
            raise BindError(f"{self.expression!r} is no Python expression: {error.msg}") from error
        places = self._places(files)
        if len(places) != 1:
            where = f"in {self.file}" if self.file else "in the project's files"
            count = "nowhere" if not places else f"{len(places)} times"
            raise BindError(
                f"the text {self.anchor!r} stands {count} {where}", hint="name a text that stands once, or IN 'file'"
            )
        if self.write_into(name, files) is None:
            raise BindError(f"no statement can stand {self.position.lower()} {self.anchor!r}")

    def write_into(self, name: str, files: Mapping[str, str]) -> dict[str, str] | None:
        """`files` with the statement in, or None where its place is not there exactly once."""
        places = self._places(files)
        if len(places) != 1:
            return None
        path, number = places[0]
        statement = _insert(files[path], number, f"logql.log({name!r}, {self.expression})", self.position)
        if statement is None:
            return None
        return {**files, path: _with_import(statement)}

    def _places(self, files: Mapping[str, str]) -> list[tuple[str, int]]:
        return [
            (path, number)
            for path, text in files.items()
            if self.file is None or path == self.file or path.endswith("/" + self.file)
            for number, line in enumerate(text.splitlines())
            if self.anchor in line
        ]


def made_from(value: object) -> Made:
    """What `to_json` gave."""
    assert isinstance(value, dict)
    return Made(value["expression"], value["position"], value["anchor"], value["file"])


def _insert(source: str, number: int, statement: str, position: str) -> str | None:
    """`source` with a line added behind or before the whole statement at line `number` (from 0)."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return None
    around = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.stmt) and node.lineno - 1 <= number < (node.end_lineno or node.lineno)
    ]
    if not around:
        return None
    node = max(around, key=lambda found: (found.lineno, found.col_offset))
    lines = source.splitlines(keepends=True)
    at = (node.end_lineno or node.lineno) if position == "AFTER" else node.lineno - 1
    indent = lines[node.lineno - 1][: node.col_offset]
    if position == "AFTER" and _has_body(node):
        body: list[ast.stmt] = node.body  # type: ignore[attr-defined]
        at, indent = body[0].lineno - 1, lines[body[0].lineno - 1][: body[0].col_offset]
    if indent.strip():
        return None
    lines.insert(at, f"{indent}{statement}\n")
    return "".join(lines)


def _has_body(node: ast.stmt) -> bool:
    return isinstance(node, ast.For | ast.While | ast.With | ast.If | ast.FunctionDef)


def _with_import(source: str) -> str:
    """`source`, which may call logql under another name, with a plain `import logql` in its first line of code."""
    tree = ast.parse(source)
    if any(isinstance(n, ast.Import) and any(a.name == "logql" and not a.asname for a in n.names) for n in tree.body):
        return source
    lines = source.splitlines(keepends=True)
    first = next((n for n in tree.body if isinstance(n, ast.Import | ast.ImportFrom)), None)
    future = first is not None and isinstance(first, ast.ImportFrom) and first.module == "__future__"
    at = (first.end_lineno or first.lineno) if first is not None and future else first.lineno - 1 if first else 0
    lines.insert(at, "import logql\n")
    return "".join(lines)

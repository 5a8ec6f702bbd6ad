"""Log statements in source: calls of `logql.log`, under whatever name, and of wrappers around it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import lru_cache

from logql.model import LogStatement
from logql.propagate.names import all_arguments, dotted
from logql.propagate.outline import Item, Outline, end_line_of, read_outline, start_of

MODULE = "logql"


@dataclass
class Api:
    """How a file calls logql: the names of the module and of functions imported from it."""

    modules: set[str] = field(default_factory=set)
    functions: dict[str, str] = field(default_factory=dict)

    def function(self, call: ast.AST) -> str | None:
        """Which of logql's functions a call calls (`log`, `loop`, ...), or None."""
        if not isinstance(call, ast.Call):
            return None
        path = dotted(call.func)
        if path is None:
            return None
        if len(path) == 1:
            return self.functions.get(path[0])
        return path[1] if len(path) == 2 and path[0] in self.modules else None


def api_of(outline: Outline) -> Api:
    """Every name that an import anywhere in the file gives to logql or its functions; a star may bring the module."""
    api = Api()
    for item in outline.items:
        if isinstance(item.node, ast.Import):
            api.modules |= {alias.asname or MODULE for alias in item.node.names if alias.name == MODULE}
        elif isinstance(item.node, ast.ImportFrom) and item.node.module == MODULE and not item.node.level:
            api.functions |= {alias.asname or alias.name: alias.name for alias in item.node.names}
        elif isinstance(item.node, ast.ImportFrom) and item.node.names[0].name == "*":
            api.modules.add(MODULE)
    return api


@dataclass(frozen=True)
class Wrapper:
    """A function of the project that logs under the name that it is given as argument `position` (`keyword`)."""

    name: str
    position: int
    keyword: str


def find_statements(files: Mapping[str, str]) -> list[LogStatement]:
    """The log statements of a project's files, by file and line; files that do not parse have none."""
    outlines = read_outlines(files)
    wrappers = {wrapper.name: wrapper for outline in outlines for wrapper in find_wrappers(outline)}
    found = [
        LogStatement(name, outline.path, start_of(item.node)[0], _header_end(item), _header_text(outline, item))
        for outline in outlines
        for item, name in statements_of(outline, wrappers)
    ]
    return sorted(found, key=lambda statement: (statement.file, statement.line))


def statements_of(outline: Outline, wrappers: Mapping[str, Wrapper]) -> Iterator[tuple[Item, str | None]]:
    """Items that log, with the literal name or None for a pattern; the insides of wrappers are left out."""
    api = api_of(outline)
    for item in outline.items:
        for call in calls_in(item.node):
            first = logged_name(call, api, wrappers)
            if first is None or _is_parameter(first, item, wrappers):
                continue
            yield item, _text_of(first)


@lru_cache(maxsize=64)
def find_wrappers(outline: Outline) -> tuple[Wrapper, ...]:
    """Functions of a file that pass one of their parameters on as the name of a log call."""
    api = api_of(outline)
    found = []
    for unit in outline.units:
        if not isinstance(unit.node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        arguments = [argument.arg for argument in all_arguments(unit.node.args)]
        for item in unit.items:
            for call in calls_in(item.node):
                first = logged_name(call, api, {})
                if isinstance(first, ast.Name) and first.id in arguments:
                    position = arguments.index(first.id) - (arguments[0] in ("self", "cls"))
                    found.append(Wrapper(unit.node.name, position, first.id))
    return tuple(found)


def logged_name(call: ast.Call, api: Api, wrappers: Mapping[str, Wrapper]) -> ast.expr | None:
    """The expression of the name under which a call logs, or None if it does not log."""
    if api.function(call) == "log":
        return _argument(call, 0, "name")
    path = dotted(call.func)
    wrapper = wrappers.get(path[-1]) if path and (len(path) == 1 or path[0] != MODULE) else None
    return _argument(call, wrapper.position, wrapper.keyword) if wrapper is not None else None


def logged_value(call: ast.Call) -> ast.expr | None:
    return _argument(call, 1, "value")


def calls_in(node: ast.AST) -> Iterator[ast.Call]:
    """Calls of a simple statement or of a compound one's header, in the order of the source."""
    stack = [node]
    while stack:
        current = stack.pop()
        if isinstance(current, ast.Call):
            yield current
        for name in reversed(current._fields):
            value = getattr(current, name)
            if isinstance(value, list):
                if value and isinstance(value[0], ast.stmt | ast.excepthandler | ast.match_case):
                    continue
                stack.extend(child for child in reversed(value) if isinstance(child, ast.AST))
            elif isinstance(value, ast.AST):
                stack.append(value)


def glob_of(statement: LogStatement) -> str:
    """The names that a statement can log: its literal name, or a pattern in which `*` stands for anything."""
    if statement.name is not None:
        return statement.name
    tree = _parse_text(statement.text)
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        for argument in [*call.args[:1], *[keyword.value for keyword in call.keywords if keyword.arg == "name"]]:
            path = dotted(call.func)
            if path and path[-1] == "log" and not _is_text(argument):
                return _glob(argument)
    return "*"


def names_logged(files: Mapping[str, str]) -> set[str]:
    """Names that the files log: literal ones, and patterns as globs."""
    return {glob_of(statement) for statement in find_statements(files)}


def logs_name(files: Mapping[str, str], name: str) -> bool:
    """Whether some statement of the files can log under this name."""
    return any(name == glob or ("*" in glob and fnmatchcase(name, glob)) for glob in names_logged(files))


def read_outlines(files: Mapping[str, str]) -> list[Outline]:
    found = []
    for path, source in files.items():
        try:
            found.append(read_outline(source, path))
        except SyntaxError:
            continue
    return found


def _header_end(item: Item) -> int:
    return start_of(item.node)[0] if item.compound else end_line_of(item.node)


def _header_text(outline: Outline, item: Item) -> str:
    text = outline.text(item.node)
    return text.split("\n", 1)[0] if item.compound else text


def _glob(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(_glob(part) if isinstance(part, ast.Constant) else "*" for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return (_glob(node.left) + _glob(node.right)).replace("**", "*")
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod):
        return re.sub(r"%[-#0 +]*\d*(?:\.\d+)?[a-zA-Z]", "*", _text_of(node.left) or "*")
    return "*"


def _parse_text(text: str) -> ast.AST:
    for source in (text, text + " pass", "async def _():\n " + text):
        try:
            return ast.parse(source)
        except SyntaxError:
            continue
    return ast.Module([], [])


def _argument(call: ast.Call, position: int, keyword: str) -> ast.expr | None:
    if position < len(call.args):
        return None if any(isinstance(a, ast.Starred) for a in call.args[: position + 1]) else call.args[position]
    return next((given.value for given in call.keywords if given.arg == keyword), None)


def _text_of(node: ast.AST) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def _is_text(node: ast.AST) -> bool:
    return _text_of(node) is not None


def _is_parameter(first: ast.expr, item: Item, wrappers: Mapping[str, Wrapper]) -> bool:
    node = item.unit.node
    if not isinstance(first, ast.Name) or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return False
    return node.name in wrappers and any(first.id == argument.arg for argument in all_arguments(node.args))

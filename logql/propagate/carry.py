"""What a statement may bring along: imports, pure helpers, and the lines that exist only to feed it."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from logql.propagate.installed import is_installed
from logql.propagate.names import header_uses, parameters, scope_chain, uses_of
from logql.propagate.outline import Item, Unit, read_outline
from logql.propagate.purity import is_pure_expression, is_pure_function, is_quiet, is_report
from logql.propagate.statements import api_of, calls_in


@dataclass(frozen=True)
class Import:
    """One imported name: of `module` itself, or its `member`."""

    name: str
    module: str
    level: int
    member: str | None

    @property
    def text(self) -> str:
        base = "." * self.level + self.module
        if self.member is not None:
            alias = "" if self.member == self.name else f" as {self.name}"
            return f"from {base} import {self.member}{alias}"
        return f"import {base}" if self.module.split(".")[0] == self.name else f"import {base} as {self.name}"

    def installed(self, project: Iterable[str]) -> bool:
        return self.level == 0 and is_installed(self.module, project)

    def alias_in(self, node: ast.AST) -> str | None:
        """The name under which an import statement of the old version binds the same thing."""
        whole = ".".join(part for part in (self.module, self.member) if part)
        if isinstance(node, ast.Import) and not self.level:
            for alias in node.names:
                if alias.name == whole and (alias.asname or "." not in alias.name):
                    return alias.asname or alias.name
        elif isinstance(node, ast.ImportFrom) and node.level == self.level:
            for alias in node.names:
                if ".".join(part for part in (node.module, alias.name) if part) == whole:
                    return alias.asname or alias.name
        return None


def find_import(name: str, unit: Unit) -> Import | None:
    """The import that binds a name where the unit reads it, if an import does."""
    for scope in scope_chain(unit):
        if scope is not unit and not scope.is_function and scope.header is not None:
            continue
        binding = [item.node for item in scope.items if name in header_uses(item.node).writes]
        for node in binding:
            found = _import_of(name, node)
            if found is not None:
                return found
        if binding:
            return None
    return None


def _import_of(name: str, node: ast.AST) -> Import | None:
    if isinstance(node, ast.Import):
        for alias in node.names:
            if (alias.asname or alias.name.split(".")[0]) == name:
                return Import(name, alias.name, 0, None)
    elif isinstance(node, ast.ImportFrom):
        for alias in node.names:
            if (alias.asname or alias.name) == name:
                return Import(name, node.module or "", node.level, alias.name)
    return None


def find_helper(name: str, path: str, files: Mapping[str, str]) -> Item | None:
    """A pure function or a constant that a file of the new version defines once, at module level."""
    try:
        outline = read_outline(files[path], path)
    except (KeyError, SyntaxError):
        return None
    found = [item for item in outline.units[0].items if name in header_uses(item.node).writes]
    if len(found) != 1 or found[0].parent is not None:
        return None
    node = found[0].node
    api = api_of(outline)
    logs = frozenset(id(call) for call in ast.walk(node) if isinstance(call, ast.Call) and api.function(call) == "log")
    if isinstance(node, ast.FunctionDef):
        return found[0] if is_pure_function(node, allowed=logs) else None
    if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
        return found[0] if is_pure_expression(node.value) and not _reassigned(name, outline.units) else None
    return None


def _reassigned(name: str, units: Sequence[Unit]) -> bool:
    return any(name in header_uses(item.node).globals for unit in units for item in unit.items)


class Feeders:
    """Finds the statements before one, or before a guard that goes along, that exist only for it."""

    def __init__(self, statement: Item, guards: Sequence[Item]) -> None:
        self.statement = statement
        self.brought = [statement, *guards]
        self.found: list[Item] = []

    def for_name(self, name: str) -> list[Item] | None:
        """The statements of the same block that make up `name`, if nothing else reads what they bind; else None."""
        wanted, lines = {name}, []
        while wanted:
            current = wanted.pop()
            writers = self._writers(current)
            if writers is None:
                return None
            for writer in writers:
                if writer in lines:
                    continue
                lines.append(writer)
                wanted |= uses_of(writer.node).writes - {current}
        together = [*self.brought, *self.found, *lines]
        if not all(self._only_read_by(written, together) for line in lines for written in uses_of(line.node).writes):
            return None
        if not all(self._may_move(line, lines) for line in lines):
            return None
        self.found += lines
        return sorted(lines, key=lambda item: item.index)

    def _writers(self, name: str) -> list[Item] | None:
        """Siblings before the statement that bind a name, where they are all that bind it in the scope."""
        unit = self.statement.unit
        siblings = [sibling for item in self.brought for sibling in item.block[: item.position]]
        found = []
        for item in unit.items:
            if name not in header_uses(item.node).writes or self._inside(item, self.brought[:1]):
                continue
            owner = next((sibling for sibling in siblings if sibling.index <= item.index < sibling.end), None)
            if owner is None:
                return None
            if owner not in found:
                found.append(owner)
        if not found or name in parameters(unit):
            return None
        return found if all(self._quiet(item) for item in found) else None

    def _quiet(self, item: Item) -> bool:
        simple = isinstance(item.node, ast.Assign | ast.AugAssign | ast.AnnAssign | ast.For | ast.If | ast.With)
        return simple and is_quiet(item.node) and _binds_plain_names(item.node)

    def _inside(self, item: Item, owners: Iterable[Item]) -> bool:
        return any(owner.index <= item.index < owner.end for owner in owners)

    def _only_read_by(self, name: str, readers: Sequence[Item]) -> bool:
        unit = self.statement.unit
        scopes = [other for other in unit.outline.units if any(scope is unit for scope in scope_chain(other))]
        for scope in scopes:
            for item in scope.items:
                uses = header_uses(item.node)
                if name in uses.reads | uses.late | uses.globals and not self._inside(item, readers):
                    return False
        return True

    def _may_move(self, line: Item, lines: Sequence[Item]) -> bool:
        """Whether nothing between a line and the statement changes what the line reads."""
        reads = uses_of(line.node).reads
        target = next(item for item in self.brought if item.block is line.block)
        for between in line.block[line.position + 1 : target.position]:
            if between in lines or between in self.found or is_report(between.node):
                continue
            uses = uses_of(between.node)
            if uses.writes & reads or (uses.reads & reads and not is_quiet(between.node)):
                return False
            if not is_quiet(between.node) and any(True for _ in calls_in(line.node)):
                return False
        return True


def _binds_plain_names(node: ast.AST) -> bool:
    """Only names of its own are bound: no attribute or item of something else is assigned."""
    own = uses_of(node).writes
    for inside in ast.walk(node):
        if isinstance(inside, ast.Attribute) and not isinstance(inside.ctx, ast.Load):
            return False
        stored = isinstance(inside, ast.Subscript) and not isinstance(inside.ctx, ast.Load)
        if stored and not (isinstance(inside.value, ast.Name) and inside.value.id in own):  # type: ignore[attr-defined]
            return False
    return True

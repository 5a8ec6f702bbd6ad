"""What a statement may bring along: imports, pure helpers, and the lines that exist only to feed it."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from logql.propagate.installed import is_installed
from logql.propagate.names import header_uses, scope_chain, uses_of
from logql.propagate.outline import Item, Outline, Unit, read_outline
from logql.propagate.purity import (
    changed_names,
    is_pure,
    is_pure_expression,
    is_pure_function,
    is_report,
    mode_of,
)
from logql.propagate.purpose import logs, makes_names, read_by_logs
from logql.propagate.reaching import below, reaching
from logql.propagate.statements import api_of


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
        return found[0] if is_pure_expression(node.value) and not _changed(name, outline) else None
    return None


def _changed(name: str, outline: Outline) -> bool:
    """Whether a file gives a global another value, or puts something into it."""
    return any(name in header_uses(item.node).globals for item in outline.items) or any(
        name in changed_names(item.node) for item in outline.items
    )


@dataclass(frozen=True)
class Lines:
    """Statements that make up a value, and the definitions that they leave behind of names with which they go on."""

    items: tuple[Item, ...]
    taken: Mapping[str, frozenset[Item]]


class Feeders:
    """Finds the statements before one, or before a guard that goes along, that exist only for it."""

    def __init__(self, statement: Item, guards: Sequence[Item], matched: Mapping[Item, Item]) -> None:
        self.statement, self.matched = statement, matched
        self.brought = [statement, *guards]
        #: what is brought and the new `with` around it, before all of which lines that feed may stand
        self.around = [*self.brought, *_wrappers(self.brought[-1], matched)]
        self.found: list[Item] = []
        self._api = api_of(statement.unit.outline)

    def for_name(self, name: str, reader: Item) -> Lines | None:
        """The statements that make up `name` for a reader, if nothing but log statements reads it; else None."""
        lines: list[Item] = []
        left: set[tuple[str, Item]] = set()
        wanted = [(name, reader)]
        while wanted:
            current, at = wanted.pop()
            owners = {item: self._owner(item) for item in reaching(current, at)}
            if at is reader and not any(owners.values()):
                return None
            left |= {(current, item) for item, owner in owners.items() if owner is None}
            for owner in owners.values():
                if owner is not None and owner not in lines:
                    lines.append(owner)
                    wanted += [(read, inner) for inner in below([owner]) for read in _reads_of(inner, owner)]
        ordered = tuple(sorted(lines, key=lambda item: item.index))
        if not read_by_logs(ordered, [*self.brought, *self.found]):
            return None
        self.found += [line for line in ordered if line not in self.found]
        return Lines(ordered, {name: frozenset(item for other, item in left if other == name) for name, _ in left})

    def staying(self) -> list[Item]:
        """Of what was found, the lines that another time would give another value: they, and what comes before them.

        What acts between them and the statement (`train(model)`) may change what they read.
        """
        found = sorted(self.found, key=lambda item: item.index)
        last = max((number for number, line in enumerate(found) if not self._may_move(line)), default=-1)
        return found[: last + 1]

    def modes(self) -> list[Item] | None:
        """The new `model.eval()` lines before the statement that decide over what is computed; None if they differ."""
        readers = [item for item in (*self.found, self.statement) if not (is_pure(item.node) or _tells(item.node))]
        set_before = [self._modes_before(reader) for reader in readers]
        wanted: set[Item] = set()
        for path in {path for modes in set_before for path in modes}:
            found = {modes.get(path) for modes, reader in zip(set_before, readers, strict=True) if _reads(path, reader)}
            if len(found) > 1:
                return None
            if found != {None} and any(reader in self.staying() for reader in readers):
                return None
            wanted.update(item for item in found if item is not None)
        return sorted(wanted, key=lambda item: item.index)

    def _modes_before(self, reader: Item) -> dict[tuple[str, ...], Item | None]:
        """What put which object last into which mode, where that is new and not the mode of training; else None."""
        modes: dict[tuple[str, ...], Item | None] = {}
        siblings = (sibling for item in self.around for sibling in item.block[: item.position])
        for item in sorted(siblings, key=lambda item: item.index):
            mode = mode_of(item.node) if item.index < reader.index else None
            if mode is not None:
                modes[mode[0]] = None if mode[1] or item in self.matched else item
        return modes

    def _owner(self, definition: Item) -> Item | None:
        """The statement before what is brought that a definition is (a part of), if that may come along."""
        siblings = (sibling for item in self.around for sibling in item.block[: item.position])
        owner = next((one for one in siblings if one.index <= definition.index < one.end), None)
        return owner if owner is not None and owner not in self.matched and self._may_come(owner) else None

    def _may_come(self, line: Item) -> bool:
        return makes_names(line) and not any(logs(item, self._api) for item in below([line]))

    def _may_move(self, line: Item) -> bool:
        """Whether nothing between a line and the statement can change what the line gives."""
        reads = uses_of(line.node).reads
        siblings = (sibling for item in self.around for sibling in item.block[: item.position])
        for between in (sibling for sibling in siblings if sibling.index > line.index):
            pure = is_pure(between.node) or _tells(between.node)
            if between not in self.matched and mode_of(between.node) is not None:
                continue
            if between not in self.found and (uses_of(between.node).writes & reads or (reads and not pure)):
                return False
        return True


def _reads(path: tuple[str, ...], item: Item) -> bool:
    """Whether a statement reads the name that a path begins with."""
    return path[0] in uses_of(item.node).reads


def _tells(node: ast.AST) -> bool:
    """Whether a statement only reports values, and computes them by nothing that might act."""
    return is_report(node) and all(is_pure_expression(part) for part in node.value.args)  # type: ignore[attr-defined]


def _wrappers(item: Item, matched: Mapping[Item, Item]) -> Iterator[Item]:
    """The `with` statements around one that only the new version has, from the inside out."""
    while (around := item.parent) is not None and around not in matched and isinstance(around.node, ast.With):
        yield around
        item = around


def _reads_of(item: Item, owner: Item) -> set[str]:
    """Names that a statement reads and the one that it is a part of binds."""
    return header_uses(item.node).reads & uses_of(owner.node).writes

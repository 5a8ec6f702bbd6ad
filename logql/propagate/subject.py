"""What has to be inserted for a statement: it alone, or with the guard that exists only for logging."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from logql.propagate.loops import Project
from logql.propagate.names import header_uses, uses_of
from logql.propagate.outline import Item, child_blocks
from logql.propagate.purity import is_quiet, mode_of
from logql.propagate.reaching import below, reaching
from logql.propagate.statements import Api, Wrapper, api_of, calls_in, logged_name


@dataclass(frozen=True)
class Subject:
    """The statement and the guards around it that contain only logging, from the inside out."""

    statement: Item
    guards: tuple[Item, ...]
    call: ast.Call | None

    @property
    def plain(self) -> bool:
        """Whether the log call is the whole statement, or all of a comprehension that is (or there is none)."""
        if self.call is None:
            return True
        value = self.statement.node.value if isinstance(self.statement.node, ast.Expr) else None
        if isinstance(value, ast.ListComp | ast.SetComp) and all(is_quiet(part) for part in value.generators):
            value = value.elt
        return value is self.call


def read_subject(statement: Item, wrappers: Mapping[str, Wrapper]) -> Subject:
    """Find the log call of a statement, and the guards that would travel along with it."""
    api = api_of(statement.unit.outline)
    call = next((c for c in calls_in(statement.node) if logged_name(c, api, wrappers) is not None), None)
    if call is None:
        return Subject(statement, (), None)
    guards = []
    project = Project([statement.unit.outline])
    item = statement.parent
    while item is not None and item is not statement.unit.header and _is_guard(item, project, api, wrappers):
        guards.append(item)
        item = item.parent
    return Subject(statement, tuple(guards), call)


def _is_guard(item: Item, project: Project, api: Api, wrappers: Mapping[str, Wrapper]) -> bool:
    node = item.node
    if isinstance(node, ast.If):
        if node.orelse or item.slot == "orelse" or not is_quiet(node.test):
            return False
    elif isinstance(node, ast.With):
        if not all(is_quiet(part.context_expr) for part in node.items):
            return False
    elif not isinstance(node, ast.For) or node.orelse or project.loop_name(item) is not None or not is_quiet(node.iter):
        return False
    return all(_only_logs(child, api, wrappers) for child in node.body) and not _read_elsewhere(item, api, wrappers)


def _read_elsewhere(guard: Item, api: Api, wrappers: Mapping[str, Wrapper]) -> bool:
    """Whether what statements under a guard bind is read by others that do more than log."""
    inside = below([guard])
    bound = {name for item in inside if item is not guard for name in header_uses(item.node).writes}
    others = (item for item in guard.unit.items if item not in inside and not _logs(item.node, api, wrappers))
    return any(inside & reaching(name, item) for item in others for name in bound & header_uses(item.node).reads)


def _logs(node: ast.AST, api: Api, wrappers: Mapping[str, Wrapper]) -> bool:
    call = node.value if isinstance(node, ast.Expr) else None
    return isinstance(call, ast.Call) and logged_name(call, api, wrappers) is not None


def _only_logs(node: ast.AST, api: Api, wrappers: Mapping[str, Wrapper]) -> bool:
    """A log statement, a quiet assignment to plain names, a change of mode for these, or a guard of such."""
    if mode_of(node) is not None:
        return True
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        return _logs(node, api, wrappers)
    if isinstance(node, ast.If | ast.For | ast.With):
        return all(_only_logs(child, api, wrappers) for _, block in child_blocks(node) for child in block)
    return (
        isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign) and is_quiet(node) and bool(uses_of(node).writes)
    )


def matching_guard(guard: Item, matched: Mapping[Item, Item], renamed: Sequence[tuple[bytes, bytes]] = ()) -> bool:
    """Whether the old version has the guard: the same condition, letter by letter after renaming."""
    other = matched.get(guard)
    if other is None:
        return False
    names = dict(renamed)
    return tuple(names.get(token, token) for token in guard.tokens) == other.tokens

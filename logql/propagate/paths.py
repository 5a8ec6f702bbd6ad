"""Paths of attributes and of items under literal keys: what renames are told in."""

from __future__ import annotations

import ast
import re


def spelled(node: ast.AST) -> tuple[str, ...] | None:
    """Like `dotted`, with items under a literal key as parts: `a.b["c"]` is ("a", "b", '["c"]')."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute | ast.Subscript):
        if isinstance(node, ast.Attribute):
            parts.append(node.attr)
        elif isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, str):
            parts.append(f'["{node.slice.value}"]' if '"' not in node.slice.value else f"[{node.slice.value!r}]")
        else:
            return None
        node = node.value
    return (node.id, *reversed(parts)) if isinstance(node, ast.Name) else None


def member(part: str) -> str:
    """The bare name of an attribute or of an item under a literal key."""
    return part[2:-2] if part.startswith("[") else part


def join_path(path: tuple[str, ...]) -> str:
    """How a path of attributes and items is written."""
    return path[0] + "".join(part if part.startswith("[") else f".{part}" for part in path[1:])


def pattern_of(path: tuple[str, ...]) -> str:
    """A regular expression for a path as source spells it, in either style of quoting."""
    text = re.escape(join_path(path)).replace('"', "[\"']")
    return rf"(?<![\w.]){text}(?!\w)"


def spelled_paths(node: ast.AST) -> set[tuple[str, ...]]:
    """Paths that are read of attributes, but for called ones, and of items under literal keys."""
    called = {id(inside.func) for inside in ast.walk(node) if isinstance(inside, ast.Call)}
    members = (n for n in ast.walk(node) if isinstance(n, ast.Attribute | ast.Subscript) and id(n) not in called)
    return {path for n in members if isinstance(n.ctx, ast.Load) and (path := spelled(n)) is not None}


def paths_from(name: str, node: ast.AST) -> set[tuple[str, ...]] | None:
    """The longest paths of attributes and items that begin with a name; None if it is also read by itself or bound."""
    found: set[tuple[str, ...]] = set()
    stack = [node]
    while stack:
        current = stack.pop()
        path = spelled(current)
        if path is None:
            stack.extend(ast.iter_child_nodes(current))
        elif path[0] == name:
            if len(path) == 1:
                return None
            found.add(path)
    return found

"""Which files of a project a script imports, and where an imported name comes from."""

from __future__ import annotations

import ast
import posixpath
from collections.abc import Iterator, Mapping

from logql.propagate.outline import Outline, read_outline


def reachable(files: Mapping[str, str], script: str) -> dict[str, str]:
    """The script and the files of the project that it imports, directly or through others; the script comes first."""
    found: dict[str, str] = {}
    waiting = [script] if script in files else []
    roots = import_roots(script)
    while waiting:
        path = waiting.pop(0)
        if path in found:
            continue
        found[path] = files[path]
        try:
            outline = read_outline(files[path], path)
        except SyntaxError:
            continue
        waiting += [target for target in imported_files(outline, files, roots) if target not in found]
    return found


def import_roots(script: str) -> list[str]:
    """Folders in which absolute imports of a project's files are looked for: the script's, its parents, `src`."""
    folder = posixpath.dirname(script)
    roots = [folder]
    while folder:
        folder = posixpath.dirname(folder)
        roots.append(folder)
    return [*roots, "src"]


def imported_files(outline: Outline, files: Mapping[str, str], roots: list[str]) -> Iterator[str]:
    """Files that the imports of one file (at any depth) load, packages' `__init__` included."""
    for item in outline.items:
        if isinstance(item.node, ast.Import):
            for alias in item.node.names:
                yield from _module_files(alias.name, 0, outline.path, files, roots)
        elif isinstance(item.node, ast.ImportFrom):
            base = item.node.module or ""
            yield from _module_files(base, item.node.level, outline.path, files, roots)
            for alias in item.node.names:
                name = f"{base}.{alias.name}" if base else alias.name
                yield from _module_files(name, item.node.level, outline.path, files, roots)


def module_file(
    module: str, level: int, path: str, files: Mapping[str, str], roots: list[str] | None = None
) -> str | None:
    """The project's file that `module` names in an import of `path`, or None if it is none of the project's."""
    found = list(_module_files(module, level, path, files, roots if roots is not None else import_roots(path)))
    last = found[-1] if found else None
    stem = module.replace(".", "/")
    if last is None or (stem and not last.removesuffix(".py").removesuffix("/__init__").endswith(stem)):
        return None
    return last


def _module_files(module: str, level: int, path: str, files: Mapping[str, str], roots: list[str]) -> Iterator[str]:
    if level:
        folder = posixpath.dirname(path)
        for _ in range(level - 1):
            folder = posixpath.dirname(folder)
        roots = [folder]
    parts = module.split(".") if module else []
    for root in roots:
        found = list(_along(root, parts, files))
        if found:
            yield from found
            return


def _along(root: str, parts: list[str], files: Mapping[str, str]) -> Iterator[str]:
    """Package files on the way to a module, then the module; nothing if the way does not lead to a file."""
    if not parts:
        package = posixpath.join(root, "__init__.py")
        if package in files:
            yield package
        return
    here = root
    for number, part in enumerate(parts):
        here = posixpath.join(here, part)
        package, single = posixpath.join(here, "__init__.py"), f"{here}.py"
        if package in files:
            yield package
        elif single in files and number == len(parts) - 1:
            yield single
        elif not any(name.startswith(f"{here}/") for name in files):
            return

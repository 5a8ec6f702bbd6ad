"""Files of git repositories along their first-parent histories, parsed, with their statements by normal form."""

from __future__ import annotations

import ast
import copy
import hashlib
import random
import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

BLOCKS = ("body", "orelse", "finalbody", "handlers", "cases")
SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
#: Share of the smaller file's statements that a file and its copy have in common.
_FORKED = 0.4


@dataclass(frozen=True, eq=False)
class Place:
    """A statement where it stands: the scope's qualified name, its block and its normal form."""

    node: ast.stmt
    block: list[ast.stmt]
    scope: str
    dump: str

    @property
    def position(self) -> int:
        return next(number for number, node in enumerate(self.block) if node is self.node)


@dataclass(frozen=True, eq=False)
class Version:
    """A file at a commit; `ordinal` counts the repository's commits."""

    commit: str
    ordinal: int
    source: str
    tree: ast.Module
    places: list[Place]

    @cached_property
    def by_dump(self) -> dict[str, list[Place]]:
        found = defaultdict(list)
        for place in self.places:
            found[place.dump].append(place)
        return dict(found)

    @cached_property
    def scopes(self) -> dict[str, list[Place]]:
        """Statements by scope, definitions of inner scopes left out."""
        found = defaultdict(list)
        for place in self.places:
            if not isinstance(place.node, SCOPES):
                found[place.scope].append(place)
        return dict(found)

    @cached_property
    def scope_names(self) -> frozenset[str]:
        return frozenset({""} | {f"{p.scope}.{p.node.name}" for p in self.places if isinstance(p.node, SCOPES)})

    @cached_property
    def loads(self) -> Counter[str]:
        """How often each name is read."""
        return Counter(n.id for n in ast.walk(self.tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load))

    @cached_property
    def stores(self) -> Counter[str]:
        """How often each name is bound: by assignments, parameters, imports and definitions."""
        return Counter(name for node in ast.walk(self.tree) for name in _bound(node))


def _bound(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Name):
        return [] if isinstance(node.ctx, ast.Load) else [node.id]
    if isinstance(node, ast.arg):
        return [node.arg]
    if isinstance(node, ast.alias):
        return [(node.asname or node.name).split(".")[0]]
    return [node.name] if isinstance(node, SCOPES) else []


class History:
    """The versions of one file along a repository's first-parent history, oldest first."""

    def __init__(self, repository: str, path: str, commits: Sequence[tuple[int, str]]) -> None:
        self.repository, self.path, self.commits = repository, path, commits
        self._cache: dict[int, Version | None] = {}

    def version(self, number: int) -> Version | None:
        if number not in self._cache:
            ordinal, commit = self.commits[number]
            self._cache[number] = read_version(self.repository, commit, self.path, ordinal)
        return self._cache[number]

    def forget(self) -> None:
        self._cache.clear()


def git(repository: str, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", repository, *arguments], capture_output=True, check=True)
    return done.stdout.decode("utf-8", "replace")


def read_version(repository: str, commit: str, path: str, ordinal: int) -> Version | None:
    """A file as it was at a commit; None where it was not there or is no Python 3."""
    command = ["git", "-C", repository, "show", f"{commit}:{path}"]
    try:
        source = subprocess.run(command, capture_output=True, check=True).stdout.decode("utf-8")
        tree = ast.parse(source)
    except (subprocess.CalledProcessError, UnicodeDecodeError, SyntaxError, ValueError):
        return None
    places: list[Place] = []
    _collect(tree, "", source.encode().splitlines(keepends=True), places)
    return Version(commit, ordinal, source, tree, places)


def normal_form(node: ast.stmt) -> str:
    """What a statement says, whatever its layout; of a compound one, its header."""
    inner = [name for name in BLOCKS if isinstance(getattr(node, name, None), list)]
    if not inner:
        return ast.dump(node)
    header = copy.copy(node)
    for name in inner:
        setattr(header, name, [])
    return ast.dump(header)


def _form_in(lines: Sequence[bytes], node: ast.stmt) -> str:
    """The normal form; that of a simple statement is kept by its text, which most versions of a file share."""
    if any(isinstance(getattr(node, name, None), list) for name in BLOCKS):
        return normal_form(node)
    first, last = node.lineno - 1, (node.end_lineno or node.lineno) - 1
    text = b"".join([*lines[first:last], lines[last][: node.end_col_offset]])[node.col_offset :]
    if text not in _FORMS:
        _FORMS[text] = normal_form(node)
    return _FORMS[text]


_FORMS: dict[bytes, str] = {}


def _collect(node: ast.AST, scope: str, lines: Sequence[bytes], into: list[Place]) -> None:
    for name in BLOCKS:
        block = getattr(node, name, None)
        if not isinstance(block, list):
            continue
        for child in block:
            if isinstance(child, ast.stmt):
                into.append(Place(child, block, scope, _form_in(lines, child)))
            inner = f"{scope}.{child.name}" if isinstance(child, SCOPES) else scope
            _collect(child, inner, lines, into)


def histories(repository: str, folder: str, half: str) -> Iterator[History]:
    """Histories of at least two versions of the Python files in a folder of a repository, of one half of its files."""
    order = git(repository, "log", "--first-parent", "--reverse", "--format=%H").split()
    ordinals = {commit: number for number, commit in enumerate(order)}
    log = git(repository, "log", "--first-parent", "--reverse", "--name-only", "--format=@%H", "--", folder or ".")
    touched: dict[str, list[tuple[int, str]]] = defaultdict(list)
    commit = ""
    for line in log.splitlines():
        if line.startswith("@"):
            commit = line[1:]
        elif line.endswith(".py"):
            touched[line].append((ordinals[commit], commit))
    for path, commits in sorted(touched.items()):
        if len(commits) > 1 and half in ("all", half_of(repository, path)):
            yield History(repository, path, commits)


def half_of(repository: str, path: str) -> str:
    """`develop` or `held`, by a hash of the repository's name and the path."""
    digest = hashlib.sha256(f"{repository.rstrip('/').split('/')[-2]}:{path}".encode()).digest()[0]
    return "develop" if digest % 2 == 0 else "held"


def draw_fork(newer: History, others: Sequence[History], random_: random.Random) -> tuple[Version, Version] | None:
    """A version of a script, and an older one of another of which it is a copy that went its own way."""
    older = random_.choice(others)
    new = newer.version(random_.randrange(len(newer.commits)))
    if new is None:
        return None
    before = [number for number, (ordinal, _) in enumerate(older.commits) if ordinal < new.ordinal]
    old = older.version(random_.choice(before)) if before else None
    if old is None or not old.places or not new.places:
        return None
    mine, theirs = (Counter(place.dump for place in version.places) for version in (new, old))
    shared = sum((mine & theirs).values())
    return (new, old) if shared >= _FORKED * min(mine.total(), theirs.total()) else None

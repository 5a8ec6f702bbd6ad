"""What a version's script imports before it does anything else: installed modules that can be loaded ahead of it.

Imports are followed through the project's own files, in the order of their execution, up to the first statement that
could have an effect: what comes behind it may depend on that (`os.environ[...] = ...`, `matplotlib.use(...)`).
"""

from __future__ import annotations

import ast
import contextlib
import itertools
import os
import sys
from collections.abc import Iterable, Sequence

from logql.replay.checkout import Tree

#: What an interpreter reads in the directory that it is started in, when packages are imported.
_READ_AT_IMPORT = ("matplotlibrc", ".numba_config.yaml")
#: What packages load by themselves later on, and the word in a script that tells of it: torch's optimizers take as long
#: to load as torch itself.
_LATER = {"torch": (b"optim", "torch._dynamo")}
#: Words of scripts that may change what is loaded later: by variables of the environment.
_SETTING = (b"environ", b"putenv")
_MOST_FILES = 200
#: A module, and the names taken from it (none: the module itself), which may be modules as well.
Import = tuple[str, tuple[str, ...]]


class _EffectError(Exception):
    """Raised at the first statement that may do more than import and define."""


def leading_imports(tree: Tree, project: str, script: str, first: str) -> tuple[Import, ...]:
    """The installed modules that `script` loads first; `first` is the directory that imports look into before others.

    Both are relative to the project. Nothing where that cannot be told.
    """
    scan = _Scan(tree, project, first)
    with contextlib.suppress(_EffectError, OSError, ValueError, SyntaxError, RecursionError):
        scan.run(script, "")
    return tuple(dict.fromkeys(scan.found))


def later_imports(tree: Tree, imports: Iterable[Import]) -> tuple[Import, ...]:
    """What the packages among `imports` will load in the middle of the version's script, where that can be told."""
    packages = {module.partition(".")[0] for module, _ in imports}
    expected = [item for package, item in _LATER.items() if package in packages]
    sources = [path for path in tree.files if path.endswith(".py")] if expected else []
    text = b""
    for path in sources[:_MOST_FILES]:
        with open(os.path.join(tree.root, path), "rb") as file:
            text += file.read()
    if len(sources) > _MOST_FILES or any(word in text for word in _SETTING):
        return ()
    return tuple((module, ()) for word, module in expected if word in text)


def in_turn(imports: Iterable[Import]) -> tuple[Import, ...]:
    """The same imports, one module or name at a time, each behind the packages that it is in; logql is always there."""
    found: dict[Import, None] = {}
    for module, names in imports:
        parts = module.split(".")
        found |= {(".".join(parts[:length]), ()): None for length in range(1, len(parts) + 1)}
        found |= {(module, (name,)): None for name in names}
    return tuple(item for item in found if _top(item) != "logql")


def common_start(one: Sequence[Import], other: Sequence[Import]) -> tuple[Import, ...]:
    """What two scripts both load, of Python's own and of the installed packages up to the first that differs."""
    pairs = zip(_packages(one), _packages(other), strict=False)
    same = {first for first, _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs)}
    return tuple(item for item in one if item in other and (_is_standard(item) or _top(item) in same))


def serves(loaded: Sequence[Import], wanted: Sequence[Import]) -> bool:
    """Whether a process that has loaded some modules is as one that begins with others, and lacks no package."""
    return common_start(loaded, wanted) == tuple(loaded) and _packages(wanted) == _packages(loaded)


def _packages(imports: Iterable[Import]) -> list[str]:
    """Installed packages in the order in which they are loaded."""
    return list(dict.fromkeys(_top(item) for item in imports if not _is_standard(item)))


def _is_standard(item: Import) -> bool:
    return _top(item) in sys.stdlib_module_names


def _top(item: Import) -> str:
    return item[0].partition(".")[0]


def own_modules(tree: Tree, project: str, first: str) -> frozenset[str]:
    """Names that an import would find in the script's directory, whatever else is installed under them."""
    inside = os.path.join(first, "") if first else ""
    own = {path[len(inside) :].split(os.sep)[0] for path in tree.files if path.startswith(inside)}
    with contextlib.suppress(OSError):
        own.update(os.listdir(os.path.join(project, first)))
    return frozenset(name.partition(".")[0] for name in own)


def reads_at_import(project: str, cwd: str, tree: Tree) -> bool:
    """Whether packages would find a file of settings where the run was started."""
    paths = [os.path.relpath(os.path.join(cwd, name), project) for name in _READ_AT_IMPORT]
    return any(path in tree.files or os.path.exists(os.path.join(project, path)) for path in paths)


class _Scan:
    """Collects imports in the order in which they are executed."""

    def __init__(self, tree: Tree, project: str, first: str) -> None:
        self._tree = tree
        self._first = first
        self._own = own_modules(tree, project, first)
        self._seen: set[str] = set()
        self.found: list[Import] = []

    def run(self, path: str, package: str) -> None:
        """Go through a file of the version, in the order of its execution."""
        with open(os.path.join(self._tree.root, path), "rb") as file:
            body = ast.parse(file.read()).body
        for statement in body:
            if isinstance(statement, ast.Import):
                for alias in statement.names:
                    self._load(alias.name, ())
            elif isinstance(statement, ast.ImportFrom):
                self._load_from(statement, package)
            elif not _only_defines(statement):
                raise _EffectError

    def _load_from(self, statement: ast.ImportFrom, package: str) -> None:
        module = statement.module or ""
        if statement.level:
            parents = package.split(".")[: len(package.split(".")) - statement.level + 1] if package else []
            if not parents:
                raise _EffectError
            module = ".".join([*parents, module] if module else parents)
        self._load(module, tuple(alias.name for alias in statement.names))

    def _load(self, module: str, names: Sequence[str]) -> None:
        top = module.partition(".")[0]
        if top in self._own:
            self._enter(module)
            for name in names:
                if self._file(f"{module}.{name}") is not None:
                    self._enter(f"{module}.{name}")
        elif top != "__future__":
            self.found.append((module, tuple(names)))

    def _enter(self, module: str) -> None:
        """Go through a module of the project, and before it through the packages that it is in."""
        parts = module.split(".")
        for length in range(1, len(parts) + 1):
            name = ".".join(parts[:length])
            path = self._file(name)
            if path is None:
                raise _EffectError
            if name not in self._seen:
                self._seen.add(name)
                self.run(path, name if path.endswith("__init__.py") else name.rpartition(".")[0])

    def _file(self, module: str) -> str | None:
        base = os.path.join(self._first, *module.split("."))
        paths = (os.path.join(base, "__init__.py"), f"{base}.py")
        return next((path for path in paths if path in self._tree.files), None)


def _only_defines(statement: ast.stmt) -> bool:
    """Whether a statement gives names to functions, classes and plain values, and does nothing else."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
        given = [*statement.args.defaults, *filter(None, statement.args.kw_defaults), *statement.decorator_list]
        return _is_plain(given)
    if isinstance(statement, ast.ClassDef):
        head = [*statement.bases, *statement.keywords, *statement.decorator_list]
        return _is_plain(head) and all(map(_only_defines, statement.body))
    if isinstance(statement, ast.Assign):
        return all(isinstance(target, ast.Name) for target in statement.targets) and _is_plain([statement.value])
    if isinstance(statement, ast.AnnAssign):
        return isinstance(statement.target, ast.Name) and (statement.value is None or _is_plain([statement.value]))
    return isinstance(statement, ast.Pass) or (isinstance(statement, ast.Expr) and _is_plain([statement.value]))


def _is_plain(values: Iterable[ast.AST]) -> bool:
    """Whether evaluating expressions calls nothing."""
    calls = (ast.Call, ast.Await, ast.Yield, ast.YieldFrom, ast.NamedExpr)
    return not any(isinstance(node, calls) for value in values for node in ast.walk(value))

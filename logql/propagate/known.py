"""What the old version knows of attributes, parameters and modules' members."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from functools import cached_property, lru_cache

from logql.propagate.imports import module_file
from logql.propagate.locate import Spot
from logql.propagate.names import all_arguments, binding_kind, dotted, star_imports, unit_bindings
from logql.propagate.outline import Outline, Unit, read_outline
from logql.propagate.statements import read_outlines

#: What these attributes hold has no attributes of the project's own: `weight.grad.norm` is an array's.
_ARRAYS = frozenset(("grad", "data", "weight", "bias"))
#: What every array has, whatever else the project calls so: `output.std()` means nothing of a class's `self.std`.
_OF_ARRAYS = frozenset((
    "abs", "all", "any", "argmax", "argmin", "clone", "cpu", "data", "detach", "device", "dim", "dtype", "exp",
    "float", "flatten", "grad", "item", "log", "max", "mean", "median", "min", "ndim", "norm", "numel", "numpy",
    "pow", "prod", "reshape", "round", "shape", "size", "softmax", "sqrt", "std", "sum", "tolist", "var", "view",
))  # fmt: skip


class Knowledge:
    """Compares what two versions define: an attribute that only the new one defines is missing in the old one."""

    def __init__(self, new: Outline, old: Outline, new_files: Mapping[str, str], old_files: Mapping[str, str]) -> None:
        self.new, self.old = new, old
        self.new_files, self.old_files = new_files, old_files

    @cached_property
    def _new_attributes(self) -> frozenset[str]:
        return frozenset().union(*(attributes_defined(outline) for outline in self._outlines(self.new_files, self.new)))

    @cached_property
    def _old_attributes(self) -> frozenset[str]:
        """Attributes that the old version gives to something, or reads of something that is no module."""
        outlines = self._outlines(self.old_files, self.old)
        return frozenset().union(*(attributes_defined(outline) | attributes_read(outline) for outline in outlines))

    @cached_property
    def old_words(self) -> frozenset[str]:
        """Words of all files of the old version."""
        return frozenset().union(*(outline.words for outline in self._outlines(self.old_files, self.old)))

    @cached_property
    def starred(self) -> frozenset[str]:
        """Names that the old file has from files of the project of which it imports everything."""
        found: set[str] = set()
        for module in star_imports(self.old):
            level = len(module) - len(module.lstrip("."))
            path = module_file(module[level:], level, self.old.path, self.old_files)
            if path is not None:
                found |= defined_names(self.old_files[path], path)
        return frozenset(name for name in found if not name.startswith("_"))

    def _outlines(self, files: Mapping[str, str], own: Outline) -> list[Outline]:
        return [own, *(outline for outline in read_outlines(files) if outline.path != own.path)]

    def lacks(self, path: tuple[str, ...], spot: Spot) -> bool:
        """Whether the old version has nothing under this dotted path, while the newer version defines it."""
        name = path[-1]
        if len(path) == 2 and binding_kind(path[0], spot.unit) == "import":
            return self._module_lacks(path, spot)
        if path[-2] in _ARRAYS or (name in _OF_ARRAYS and path[0] != "self"):
            return False
        if self._objects_lack(name):
            return True
        if name in self.old.words:
            return False
        return name in self._new_attributes and name not in self.old_words

    def _objects_lack(self, name: str) -> bool:
        """Whether only the new version gives its objects this attribute, whatever else the old one calls so."""
        return name in self._new_attributes and name not in self._old_attributes

    def _module_lacks(self, path: tuple[str, ...], spot: Spot) -> bool:
        for item in spot.unit.outline.units[0].items + spot.unit.items:
            if isinstance(item.node, ast.Import):
                for alias in item.node.names:
                    if (alias.asname or alias.name) == path[0]:
                        return self._file_lacks(module_file(alias.name, 0, self.old.path, self.old_files), path[1])
            elif isinstance(item.node, ast.ImportFrom):
                for alias in item.node.names:
                    if (alias.asname or alias.name) == path[0]:
                        module = ".".join(part for part in (item.node.module, alias.name) if part)
                        found = module_file(module, item.node.level, self.old.path, self.old_files)
                        return self._file_lacks(found, path[1])
        return False

    def _file_lacks(self, path: str | None, member: str) -> bool:
        if path is None or path.endswith("__init__.py"):
            return False
        names = defined_names(self.old_files[path], path)
        return member not in names and "*" not in names and "__getattr__" not in names

    def attributes_of(self, root: str) -> list[str]:
        """Attributes that the old code reads or sets on a name."""
        found = set()
        for item in self.old.items:
            tokens = item.tokens
            for number in range(len(tokens) - 2):
                if tokens[number] == root.encode() and tokens[number + 1] == b".":
                    found.add(tokens[number + 2].decode("utf-8", "replace"))
        return sorted(found)

    def bad_calls(self, node: ast.AST, spot: Spot) -> Iterator[str]:
        """Keyword arguments that the old version's own functions do not take."""
        for call in ast.walk(node):
            if isinstance(call, ast.Call) and call.keywords and isinstance(call.func, ast.Name):
                accepted = self._parameters(call.func.id, spot.unit)
                for keyword in call.keywords:
                    if accepted is not None and keyword.arg is not None and keyword.arg not in accepted:
                        yield f"`{call.func.id}` takes no argument `{keyword.arg}` in this version"

    def _parameters(self, name: str, unit: Unit) -> set[str] | None:
        """Parameters of a function defined once, at module level, in the old file; None where that is not known."""
        found = [item.node for item in self.old.units[0].items if getattr(item.node, "name", None) == name]
        if len(found) != 1 or (name in unit_bindings(unit) and unit.header is not None):
            return None
        node = found[0]
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or node.decorator_list or node.args.kwarg:
            return None
        return {argument.arg for argument in all_arguments(node.args)}


@lru_cache(maxsize=64)
def attributes_defined(outline: Outline) -> frozenset[str]:
    """Names that a file gives to attributes: assigned ones, members of classes, options of argparse."""
    found: set[str] = set()
    for node in ast.walk(outline.tree):
        if isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load):
            found.add(node.attr)
        elif isinstance(node, ast.Call):
            found |= _options(node)
    for unit in outline.units:
        if isinstance(unit.node, ast.ClassDef):
            found |= unit_bindings(unit)
            for item in unit.body:
                if isinstance(item.node, ast.AnnAssign) and isinstance(item.node.target, ast.Name):
                    found.add(item.node.target.id)
    return frozenset(found)


@lru_cache(maxsize=64)
def attributes_read(outline: Outline) -> frozenset[str]:
    """Attributes that a file reads of anything but a module: what is made elsewhere may have them."""
    modules = {alias.asname or alias.name.partition(".")[0] for node in _imports(outline) for alias in node.names}
    nodes = (node for node in ast.walk(outline.tree) if isinstance(node, ast.Attribute))
    return frozenset(node.attr for node in nodes if (dotted(node) or ("",))[0] not in modules)


def _imports(outline: Outline) -> Iterator[ast.Import | ast.ImportFrom]:
    return (item.node for item in outline.items if isinstance(item.node, ast.Import | ast.ImportFrom))


def _options(call: ast.Call) -> set[str]:
    """`add_argument("--lr-scheduler")` and `Namespace(lr=...)` give attributes to what they return."""
    path = dotted(call.func)
    last = path[-1] if path else getattr(call.func, "attr", "")
    if last == "add_argument":
        texts = [argument.value for argument in call.args if isinstance(argument, ast.Constant)]
        texts += [k.value.value for k in call.keywords if k.arg == "dest" and isinstance(k.value, ast.Constant)]
        return {text.lstrip("-").replace("-", "_") for text in texts if isinstance(text, str)}
    if last in ("Namespace", "SimpleNamespace", "namedtuple"):
        return {keyword.arg for keyword in call.keywords if keyword.arg}
    return set()


@lru_cache(maxsize=64)
def defined_names(source: str, path: str) -> frozenset[str]:
    """Names bound at a file's module level; `*` if it imports everything from somewhere; empty if it does not parse."""
    try:
        outline = read_outline(source, path)
    except SyntaxError:
        return frozenset()
    return frozenset(unit_bindings(outline.units[0]) | ({"*"} if star_imports(outline) else set()))

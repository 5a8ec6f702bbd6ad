"""Which names a statement reads and binds, and which are bound at a place."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from logql.propagate.outline import Item, Outline, Unit, child_blocks

BUILTINS = frozenset(dir(builtins)) | {"__file__", "__name__", "__doc__", "__package__", "__spec__", "__loader__"}


@dataclass
class Uses:
    """Names read before they are bound here (`reads`), bound here (`writes`), and attribute paths read (`paths`)."""

    reads: set[str] = field(default_factory=set)
    writes: set[str] = field(default_factory=set)
    paths: set[tuple[str, ...]] = field(default_factory=set)
    late: set[str] = field(default_factory=set)
    globals: set[str] = field(default_factory=set)


class _Collector(ast.NodeVisitor):
    """Collects uses in the order of evaluation; inner scopes are folded in as free names."""

    def __init__(self) -> None:
        self.uses = Uses()
        self.local: list[set[str]] = []
        self.deferred = 0

    def read(self, name: str) -> None:
        if any(name in scope for scope in self.local):
            return
        if name in self.uses.writes and name not in self.uses.globals:
            return
        (self.uses.late if self.deferred else self.uses.reads).add(name)

    def write(self, name: str) -> None:
        if self.local:
            self.local[-1].add(name)
        else:
            self.uses.writes.add(name)

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load):
            self.read(node.id)
        elif isinstance(node.ctx, ast.Store):
            self.write(node.id)
        else:
            self.read(node.id)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        path = dotted(node)
        if path and not any(path[0] in scope for scope in self.local):
            loaded = path if isinstance(node.ctx, ast.Load) else path[:-1]
            if len(loaded) > 1:
                self.uses.paths.add(loaded)
        self.visit(node.value)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if isinstance(node.target, ast.Name):
            self.read(node.target.id)
        self.visit(node.value)
        self.visit(node.target)

    def visit_Assign(self, node: ast.Assign) -> None:
        self.visit(node.value)
        for target in node.targets:
            self.visit(target)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)
        self.visit(node.annotation)
        if node.value is not None or not isinstance(node.target, ast.Name):
            self.visit(node.target)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self.visit(node.value)
        self.visit(node.target)

    def visit_For(self, node: ast.For | ast.AsyncFor) -> None:
        self.visit(node.iter)
        self.visit(node.target)
        for child in [*node.body, *node.orelse]:
            self.visit(child)

    visit_AsyncFor = visit_For  # noqa: N815

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self.write(alias.asname or alias.name.split(".")[0])

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        for alias in node.names:
            self.write(alias.asname or alias.name)

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if node.type is not None:
            self.visit(node.type)
        if node.name:
            self.write(node.name)
        for child in node.body:
            self.visit(child)

    def visit_MatchAs(self, node: ast.MatchAs) -> None:
        self.generic_visit(node)
        if node.name:
            self.write(node.name)

    def visit_MatchStar(self, node: ast.MatchStar) -> None:
        if node.name:
            self.write(node.name)

    def visit_MatchMapping(self, node: ast.MatchMapping) -> None:
        self.generic_visit(node)
        if node.rest:
            self.write(node.rest)

    def visit_Global(self, node: ast.Global | ast.Nonlocal) -> None:
        self.uses.globals.update(node.names)

    visit_Nonlocal = visit_Global  # noqa: N815

    def _comprehension(self, node: ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp) -> None:
        self.local.append(set())
        for generator in node.generators:
            self.visit(generator.iter)
            self.visit(generator.target)
            for test in generator.ifs:
                self.visit(test)
        for part in ("elt", "key", "value"):
            child = getattr(node, part, None)
            if child is not None:
                self.visit(child)
        self.local.pop()

    visit_ListComp = visit_SetComp = _comprehension  # noqa: N815
    visit_DictComp = visit_GeneratorExp = _comprehension  # noqa: N815

    def visit_Lambda(self, node: ast.Lambda) -> None:
        for default in [*node.args.defaults, *node.args.kw_defaults]:
            if default is not None:
                self.visit(default)
        self.local.append({argument.arg for argument in all_arguments(node.args)})
        self.visit(node.body)
        self.local.pop()

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        for part in [*node.decorator_list, *node.args.defaults, *node.args.kw_defaults, node.returns]:
            if part is not None:
                self.visit(part)
        for argument in all_arguments(node.args):
            if argument.annotation is not None:
                self.visit(argument.annotation)
        self.write(node.name)
        scope = {argument.arg for argument in all_arguments(node.args)} | stored_names(node.body)
        self.local.append(scope)
        self.deferred += 1
        for child in node.body:
            self.visit(child)
        self.deferred -= 1
        self.local.pop()

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        for part in [*node.decorator_list, *node.bases, *[keyword.value for keyword in node.keywords]]:
            self.visit(part)
        self.write(node.name)
        self.local.append(set())
        for child in node.body:
            self.visit(child)
        self.local.pop()


def all_arguments(arguments: ast.arguments) -> list[ast.arg]:
    found = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return found + [extra for extra in (arguments.vararg, arguments.kwarg) if extra is not None]


def dotted(node: ast.AST) -> tuple[str, ...] | None:
    """`a.b.c` as ("a", "b", "c"), or None for anything else."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return None
    parts.append(node.id)
    return tuple(reversed(parts))


def stored_paths(node: ast.AST) -> set[tuple[str, ...]]:
    """Attributes that a statement sets, as dotted paths."""
    stored = (n for n in ast.walk(node) if isinstance(n, ast.Attribute) and not isinstance(n.ctx, ast.Load))
    return {path for path in map(dotted, stored) if path is not None}


def uses_of(node: ast.AST) -> Uses:
    """Uses of a whole statement or expression, bodies included; kept with the node."""
    known: Uses | None = getattr(node, "_uses", None)
    if known is None:
        collector = _Collector()
        collector.visit(node)
        known = collector.uses
        vars(node)["_uses"] = known
    return known


def header_uses(node: ast.AST) -> Uses:
    """Uses of a compound statement's header alone, or of a simple statement; kept with the node."""
    known: Uses | None = getattr(node, "_header_uses", None)
    if known is None:
        known = _read_header(node)
        vars(node)["_header_uses"] = known
    return known


def _read_header(node: ast.AST) -> Uses:
    bodies = {id(child) for _, children in child_blocks(node) for child in children}
    if not bodies:
        return uses_of(node)
    collector = _Collector()
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        collector.write(node.name)
        parts: list[ast.AST] = [*node.decorator_list]
        if isinstance(node, ast.ClassDef):
            parts += [*node.bases, *[keyword.value for keyword in node.keywords]]
        else:
            parts += [part for part in [*node.args.defaults, *node.args.kw_defaults] if part is not None]
        for part in parts:
            collector.visit(part)
        return collector.uses
    if isinstance(node, ast.ExceptHandler) and node.name:
        collector.write(node.name)
    if isinstance(node, ast.For | ast.AsyncFor):
        collector.visit(node.iter)
        collector.visit(node.target)
        return collector.uses
    for child in ast.iter_child_nodes(node):
        if id(child) not in bodies:
            collector.visit(child)
    return collector.uses


def stored_names(body: Iterable[ast.AST]) -> set[str]:
    """Names that the statements of a scope bind in it (nested scopes left out)."""
    found: set[str] = set()
    outside: set[str] = set()
    for node in body:
        uses = uses_of(node)
        found |= uses.writes
        outside |= uses.globals
    return found - outside


def parameters(unit: Unit) -> set[str]:
    node = unit.node
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return {argument.arg for argument in all_arguments(node.args)}
    return set()


def attributes_of_self(unit: Unit) -> set[str]:
    """Attributes that the methods of the class around a method assign to `self`; none outside of methods."""
    header = unit.parent
    while header is not None and not isinstance(header.node, ast.ClassDef):
        header = header.parent
    if header is None:
        return set()
    return {
        node.attr
        for node in ast.walk(header.node)
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Store)
        and isinstance(node.value, ast.Name)
        and node.value.id == "self"
    }


def star_imports(outline: Outline) -> set[str]:
    """Modules of which everything is imported at module level."""
    found = set()
    for item in outline.units[0].items:
        if isinstance(item.node, ast.ImportFrom) and any(alias.name == "*" for alias in item.node.names):
            found.add("." * item.node.level + (item.node.module or ""))
    return found


def writes_of(item: Item) -> set[str]:
    """Names that the item itself binds (for a compound statement: its header)."""
    return header_uses(item.node).writes


def item_names(item: Item) -> set[str]:
    """Every name that the item itself reads or binds."""
    uses = header_uses(item.node)
    return uses.reads | uses.late | uses.writes


def scope_chain(unit: Unit) -> Iterator[Unit]:
    current: Unit | None = unit
    while current is not None:
        yield current
        current = current.parent


def unit_bindings(unit: Unit) -> set[str]:
    """Every name that is bound anywhere in this scope itself."""
    found = parameters(unit)
    outside: set[str] = set()
    for item in unit.items:
        uses = header_uses(item.node)
        found |= uses.writes
        outside |= uses.globals
    return found - outside


def global_writes(outline: Outline) -> set[str]:
    """Module globals that functions bind through `global`."""
    found: set[str] = set()
    for unit in outline.units[1:]:
        for item in unit.items:
            if isinstance(item.node, ast.Global | ast.Nonlocal):
                found.update(item.node.names)
    return found


def bound_before(unit: Unit, index: int) -> set[str]:
    """Names of the scope itself that some statement before item `index` (of the outline) binds."""
    found = parameters(unit)
    for item in unit.items:
        if item.index >= index:
            break
        found |= writes_of(item)
    return found


def is_bound(name: str, unit: Unit, index: int) -> bool:
    """Whether `name` may be read by a statement put before item `index` of the unit's file."""
    own = unit_bindings(unit)
    if name in own:
        return name in bound_before(unit, index)
    for outer in scope_chain(unit):
        if outer is unit or (not outer.is_function and outer.header is not None):
            continue
        if name in unit_bindings(outer):
            return True
    return name in BUILTINS or name in global_writes(unit.outline)


def binding_kind(name: str, unit: Unit) -> str | None:
    """What binds a name where the unit reads it: variable, function, class, import; None if nothing does.

    `model = model.Net()` makes a variable of the module that the name was.
    """
    for scope in scope_chain(unit):
        if scope is not unit and not scope.is_function and scope.header is not None:
            continue
        if name in parameters(scope):
            return "variable"
        nodes = [item.node for item in scope.items if name in writes_of(item)]
        if nodes:
            kind = _kind(nodes[0])
            rebound = kind == "import" and any(_kind(node) == "variable" and not _stands_in(node) for node in nodes)
            return "variable" if rebound else kind
    return None


def _stands_in(node: ast.AST) -> bool:
    """Whether it is the `name = None` for a module that may not be installed."""
    return isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)


def _kind(node: ast.AST) -> str:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return "function"
    if isinstance(node, ast.ClassDef):
        return "class"
    if isinstance(node, ast.Import | ast.ImportFrom):
        return "import"
    return "variable"

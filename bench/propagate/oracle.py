"""What is known of statements by their text alone, without propagation's own rules: the judge of its answers."""

from __future__ import annotations

import ast
import sys
from collections import Counter

from bench.propagate.histories import SCOPES, normal_form


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_PURE_BUILTINS = _words(
    "abs all any bool dict enumerate float getattr hasattr int isinstance len list max min range repr reversed round "
    "set sorted str sum tuple type zip"
)
_PURE_MODULES = frozenset(("math", "np", "numpy", "torch", "F"))
_PURE_METHODS = _words(
    "chunk cpu detach endswith flatten float format get item items join keys lower mean numpy permute reshape shape "
    "size split squeeze startswith strip sum to transpose unsqueeze upper values view"
)
_IMPURE = _words("rand randn randint randperm manual_seed save load seed random choice normal no_grad")


def same(got: str, wanted: str) -> bool:
    """Whether two texts have equal syntax trees."""
    return ast.dump(ast.parse(got)) == ast.dump(ast.parse(wanted))


def equivalent(got: str, wanted: str) -> bool:
    """Whether the texts differ by moving statements within their block over others that they do not touch."""
    mine, theirs = _blocks(ast.parse(got)), _blocks(ast.parse(wanted))
    if len(mine) != len(theirs):
        return False
    return all(_same_order(one, other) for one, other in zip(mine, theirs, strict=True))


def same_beside_header(got: str, wanted: str) -> bool:
    """`equivalent`, wherever among the imports and definitions of the module the carried ones stand."""
    mine, theirs = _split_header(ast.parse(got)), _split_header(ast.parse(wanted))
    return mine[0] == theirs[0] and equivalent(ast.unparse(mine[1]), ast.unparse(theirs[1]))


def _split_header(tree: ast.Module) -> tuple[Counter[str], ast.Module]:
    """Imports, constants and functions at module level, in no order; and everything else."""
    header = [node for node in tree.body if _is_header(node)]
    dumps = Counter(text for node in header for text in _parts(node))
    return dumps, ast.Module([node for node in tree.body if not _is_header(node)], [])


def _is_header(node: ast.stmt) -> bool:
    constant = isinstance(node, ast.Assign) and is_pure(node.value) and not _calls(node)
    return constant or isinstance(node, ast.Import | ast.ImportFrom | ast.FunctionDef)


def _parts(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.ImportFrom):
        return [f"{node.level} {node.module} {alias.name} {alias.asname}" for alias in node.names]
    if isinstance(node, ast.Import):
        return [f"{alias.name} {alias.asname}" for alias in node.names]
    return [ast.dump(node)]


def _blocks(tree: ast.Module) -> list[list[ast.stmt]]:
    found = []
    for node in ast.walk(tree):
        for name in ("body", "orelse", "finalbody"):
            block = getattr(node, name, None)
            if isinstance(block, list) and block:
                found.append(block)
    return sorted(found, key=lambda block: (block[0].lineno, block[0].col_offset))


def _same_order(one: list[ast.stmt], other: list[ast.stmt]) -> bool:
    """Whether a block is another but for statements that changed places and commute; inner blocks are apart."""
    mine, theirs = [normal_form(node) for node in one], [normal_form(node) for node in other]
    if sorted(mine) != sorted(theirs):
        return False
    left = list(zip(mine, one, strict=True))
    for text in theirs:
        at = next(number for number, (dump, _) in enumerate(left) if dump == text)
        if not all(commute(left[at][1], node) for _, node in left[:at]):
            return False
        left.pop(at)
    return True


def commute(one: ast.stmt, other: ast.stmt) -> bool:
    """Neither binds what the other reads or binds, and at most one of them acts on the world."""
    options = [_options(node) for node in (one, other)]
    if all(options):
        return not options[0] & options[1]
    reads_one, writes_one, acts_one = effects(one)
    reads_other, writes_other, acts_other = effects(other)
    if writes_one & (reads_other | writes_other) or writes_other & reads_one:
        return False
    return not (acts_one and acts_other)


def _options(node: ast.stmt) -> set[str]:
    """The options that `parser.add_argument("--lr", ...)` declares: their order shows in the help alone."""
    call = node.value if isinstance(node, ast.Expr) else None
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute) or call.func.attr != "add_argument":
        return set()
    names = [argument.value for argument in call.args if isinstance(argument, ast.Constant)]
    found = {name for name in names if isinstance(name, str) and name.startswith("-")}
    plain = len(found) == len(call.args) and all(keyword.arg not in ("dest", None) for keyword in call.keywords)
    return found if plain and all(is_pure(keyword.value) for keyword in call.keywords) else set()


def effects(node: ast.stmt) -> tuple[set[str], set[str], bool]:
    """Names read, names (or roots of what is assigned to) bound, and whether it may do anything else."""
    reads = {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
    inner = {id(n) for each in ast.walk(node) if isinstance(each, ast.comprehension) for n in ast.walk(each.target)}
    stored = (n for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store))
    writes = {n.id for n in stored if id(n) not in inner}
    jumps = ast.Await | ast.Yield | ast.YieldFrom | ast.Return | ast.Raise | ast.Break | ast.Continue
    acts = any(isinstance(n, jumps) for n in ast.walk(node)) or not all(_pure_call(call) for call in _calls(node))
    for inside in ast.walk(node):
        if isinstance(inside, ast.Attribute | ast.Subscript) and isinstance(inside.ctx, ast.Store):
            base: ast.expr = inside
            while isinstance(base, ast.Attribute | ast.Subscript):
                base = base.value
            writes.add(base.id if isinstance(base, ast.Name) else "*")
        elif isinstance(inside, ast.Import | ast.ImportFrom):
            writes |= {(alias.asname or alias.name).split(".")[0] for alias in inside.names}
        elif isinstance(inside, SCOPES):
            writes.add(inside.name)
    return reads, writes, acts


def is_pure(node: ast.AST) -> bool:
    """Nothing is awaited, yielded or bound in it, and only functions that are known to be pure are called."""
    if any(isinstance(inside, ast.Await | ast.Yield | ast.YieldFrom | ast.NamedExpr) for inside in ast.walk(node)):
        return False
    return all(_pure_call(call) for call in _calls(node))


def _calls(node: ast.AST) -> list[ast.Call]:
    return [inside for inside in ast.walk(node) if isinstance(inside, ast.Call)]


def _pure_call(call: ast.Call) -> bool:
    if isinstance(call.func, ast.Name):
        return call.func.id in _PURE_BUILTINS
    if not isinstance(call.func, ast.Attribute):
        return False
    path = ast.unparse(call.func).split(".")
    if path[:2] == ["os", "path"]:
        return True
    if path[0] in _PURE_MODULES:
        return not _IMPURE.intersection(path) and not path[-1].endswith("_")
    return call.func.attr in _PURE_METHODS


def is_standard(module: str) -> bool:
    return module.split(".")[0] in sys.stdlib_module_names

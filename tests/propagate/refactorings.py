"""Refactorings that keep what a program does: each changes a function's tree in place, or says that it cannot.

The statement that must be found again has the attribute `marked`. It never stands at a seam (the edge of what is
wrapped or extracted, next to what is added), on either side of which it would do the same.
"""

from __future__ import annotations

import ast
import random
from collections.abc import Callable, Iterator

from bench.propagate.oracle import commute

Function = ast.FunctionDef
Refactoring = Callable[[ast.Module, Function, random.Random], bool]
_JUMPS = (ast.Return, ast.Yield, ast.YieldFrom, ast.Await, ast.Break, ast.Continue, ast.Global, ast.Nonlocal)


def functions(tree: ast.AST) -> Iterator[Function]:
    """Functions that are large enough to be changed."""
    for node in ast.walk(tree):
        if isinstance(node, Function) and len(node.body) > 3:
            yield node


def local_names(function: Function) -> list[str]:
    arguments = {argument.arg for argument in ast.walk(function) if isinstance(argument, ast.arg)}
    outside = {n for node in ast.walk(function) if isinstance(node, ast.Global | ast.Nonlocal) for n in node.names}
    return sorted(names_of(function, ast.Store) - arguments - outside)


def names_of(node: ast.AST, context: type[ast.expr_context]) -> set[str]:
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, context)}


def blocks(function: Function) -> list[list[ast.stmt]]:
    """Lists of statements of a function, its docstring left out."""
    found = []
    for node in ast.walk(function):
        for slot in ("body", "orelse", "finalbody"):
            block = getattr(node, slot, None)
            if isinstance(block, list) and block and isinstance(block[0], ast.stmt):
                found.append(block)
    return found


def seams(block: list[ast.stmt], *edges: int) -> bool:
    """Whether the marked statement stands on either side of one of these places in a block."""
    at = next((number for number, node in enumerate(block) if getattr(node, "marked", False)), None)
    return at is not None and any(at in (edge - 1, edge) for edge in edges)


def only_format(_: ast.Module, __: Function, ___: random.Random) -> bool:
    return True


def rename_variable(_: ast.Module, function: Function, draw: random.Random) -> bool:
    names = [name for name in local_names(function) if name in names_of(function, ast.Load)]
    inner = any(isinstance(n, Function | ast.Lambda | ast.ClassDef) for n in ast.walk(function) if n is not function)
    if not names or inner:
        return False
    old = draw.choice(names)
    for node in ast.walk(function):
        if isinstance(node, ast.Name) and node.id == old:
            node.id = f"renamed_{old}"
    return True


def rename_function(tree: ast.Module, function: Function, _: random.Random) -> bool:
    old = function.name
    if old.startswith("__"):
        return False
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id == old:
            node.id = f"renamed_{old}"
        elif isinstance(node, ast.Attribute) and node.attr == old:
            node.attr = f"renamed_{old}"
    function.name = f"renamed_{old}"
    return True


def wrap_in_with(_: ast.Module, function: Function, draw: random.Random) -> bool:
    first = 1 if ast.get_docstring(function) else 0
    start = draw.randrange(first, len(function.body))
    end = draw.randrange(start + 1, len(function.body) + 1)
    if seams(function.body, start, end):
        return False
    call = ast.Call(ast.Name("timer", ast.Load()), [], [])
    function.body[start:end] = [ast.With([ast.withitem(call, None)], function.body[start:end])]
    return True


def wrap_in_try(_: ast.Module, function: Function, __: random.Random) -> bool:
    first = 1 if ast.get_docstring(function) else 0
    if seams(function.body, first):
        return False
    function.body[first:] = [ast.Try(function.body[first:], [], [], [ast.Pass()])]
    return True


def wrap_iterable(_: ast.Module, function: Function, draw: random.Random) -> bool:
    loops = [node for node in ast.walk(function) if isinstance(node, ast.For)]
    if not loops:
        return False
    loop = draw.choice(loops)
    name = draw.choice(["enumerate", "tqdm"])
    loop.iter = ast.Call(ast.Name(name, ast.Load()), [loop.iter], [])
    if name == "enumerate":
        loop.target = ast.Tuple([ast.Name("number_of_turn", ast.Store()), loop.target], ast.Store())
    return True


def move_to_the_end(tree: ast.Module, function: Function, _: random.Random) -> bool:
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and function in body and len(body) > 1:
            body.remove(function)
            body.append(function)
            return True
    return False


def add_statements(_: ast.Module, function: Function, draw: random.Random) -> bool:
    for number in range(3):
        text = f"counter_{number} = compute(number={number}, label='x{number}')"
        places = [at for at in range(1, len(function.body) + 1) if not seams(function.body, at)]
        function.body.insert(draw.choice(places), ast.parse(text).body[0])
    return True


def reorder_independent(_: ast.Module, function: Function, draw: random.Random) -> bool:
    """Two neighbours that do not touch each other change places."""
    pairs = [
        (block, number)
        for block in blocks(function)
        for number in range(1 if block is function.body else 0, len(block) - 1)
        if commute(block[number], block[number + 1])
        and not any(getattr(node, "marked", False) for node in block[number : number + 2])
        and not any(isinstance(n, _JUMPS) for node in block[number : number + 2] for n in ast.walk(node))
    ]
    if not pairs:
        return False
    block, at = draw.choice(pairs)
    block[at], block[at + 1] = block[at + 1], block[at]
    return True


def extract_function(tree: ast.Module, function: Function, draw: random.Random) -> bool:
    """Statements of a block become a function of their own, which takes what they read and returns what they bind."""
    outside = {n for node in ast.walk(function) if isinstance(node, ast.Global | ast.Nonlocal) for n in node.names}
    inside = {argument.arg for argument in ast.walk(function.args) if isinstance(argument, ast.arg)}
    inside |= names_of(function, ast.Store)
    choices = [
        (block, start, end)
        for block in blocks(function)
        for start in range(1 if block is function.body else 0, len(block) - 2)
        for end in range(start + 3, len(block) + 1)
        if end - start < len(block) and not _leaves(block[start:end]) and not seams(block, start, end)
    ]
    if not choices or outside or any(isinstance(n, Function | ast.Lambda) for b in function.body for n in ast.walk(b)):
        return False
    block, start, end = draw.choice(choices)
    part = ast.Module(block[start:end], [])
    taken = sorted(names_of(part, ast.Load) & inside)
    given = sorted(names_of(part, ast.Store))
    name = "extracted_part"
    call = ast.Call(ast.Name(name, ast.Load()), [ast.Name(n, ast.Load()) for n in taken], [])
    result: ast.stmt = ast.Expr(call)
    returned: list[ast.stmt] = []
    if given:
        target = ast.Tuple([ast.Name(n, ast.Store()) for n in given], ast.Store())
        result = ast.Assign([target], call)
        returned = [ast.Return(ast.Tuple([ast.Name(n, ast.Load()) for n in given], ast.Load()))]
    arguments = ast.arguments([], [ast.arg(n) for n in taken], None, [], [], None, [])
    extracted = ast.FunctionDef(name, arguments, [*block[start:end], *returned], [])
    block[start:end] = [result]
    tree.body.append(extracted)
    return True


def _leaves(statements: list[ast.stmt]) -> bool:
    return any(isinstance(n, (*_JUMPS, ast.Try)) for node in statements for n in ast.walk(node))


REFACTORINGS: list[Refactoring] = [
    only_format,
    rename_variable,
    rename_function,
    wrap_in_with,
    wrap_in_try,
    wrap_iterable,
    move_to_the_end,
    add_statements,
    reorder_independent,
    extract_function,
]

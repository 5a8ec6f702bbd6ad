"""What a place means for a query: its levels, how often it runs, and the fingerprint of what stands there."""

from __future__ import annotations

import ast
import hashlib
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence

from logql.model import RUN_LEVEL, Level
from logql.propagate.locate import Spot
from logql.propagate.loops import Project
from logql.propagate.outline import Item, Outline, Unit
from logql.propagate.statements import MODULE, Api, api_of, read_outlines

_LOOPS = (ast.For, ast.AsyncFor, ast.While)
_INNER = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
#: What stands in these runs when somebody calls them.
_LATER = (ast.Lambda, ast.FunctionDef, ast.AsyncFunctionDef)
_REPEATING = (*_LOOPS, *_INNER, *_LATER)


def levels_of(spot: Spot, added: Item, old_files: Mapping[str, str]) -> tuple[Level, ...]:
    """The levels that `added` can log at there, through the calls of the functions around it; in a lambda, any."""
    if not any(MODULE in text for text in old_files.values()):
        return (RUN_LEVEL,)
    outlines = [spot.unit.outline] + [
        outline for outline in read_outlines(old_files) if outline.path != spot.unit.outline.path
    ]
    project = Project(outlines)
    if _around_logs(added.node, _LATER, api_of(added.unit.outline)):
        return project.all_levels
    return project.possible_levels(spot.unit, spot.parent)


def runs_once(spot: Spot, added: Item, inserted: str, files: Mapping[str, str]) -> bool:
    """Whether `added`, `inserted` in `files` with what decides over it, logs at most once per iteration or per run.

    Nothing but `if`, `with` and `try` may be around the log call up to the named loop, or, at run level, the module.
    """
    if not all(_logs_singly(node, added, files) for node in (added.node, *_parsed(inserted))):
        return False
    project = Project([spot.unit.outline])
    item: Item | None = spot.parent
    slot = spot.slot
    while item is not None and item is not spot.unit.header:
        if slot == "body" and project.loop_name(item) is not None:
            return True
        if isinstance(item.node, _LOOPS) and (slot == "body" or project.loop_name(item) is None):
            return False
        slot, item = item.slot, item.parent
    return spot.unit.header is None


def leads(spot: Spot, old_files: Mapping[str, str]) -> bool:
    """Whether the work of a named loop's iteration lies behind the place, in another named loop.

    Ahead of the place, the iteration has no loop and calls none of the project's functions that has one; behind it
    there is a named loop, or a call of a function that has one.
    """
    project = Project([spot.unit.outline])
    around = spot.parent
    while around is not None and project.loop_name(around) is None:
        around = None if around is spot.unit.header else around.parent
    if around is None or spot.index <= around.index:
        return False
    reached = _Reached([spot.unit.outline, *read_outlines(old_files)])
    items = spot.unit.outline.items
    ahead, behind = items[around.index + 1 : spot.index], items[spot.index : around.end]
    return not any(isinstance(item.node, _LOOPS) for item in reached.by(ahead)) and any(
        project.loop_name(item) is not None for item in reached.by(behind)
    )


class _Reached:
    """Finds what statements run: themselves, and those of functions that they call by name."""

    def __init__(self, outlines: Iterable[Outline]) -> None:
        self._functions: dict[tuple[bool, bytes], dict[int, Unit]] = {}
        for unit in (unit for outline in outlines for unit in outline.units if unit.is_function):
            method = unit.parent is not None and isinstance(unit.parent.node, ast.ClassDef)
            name = unit.name.rpartition(".")[2].encode()
            self._functions.setdefault((method, name), {})[id(unit)] = unit

    def by(self, items: Iterable[Item]) -> Iterator[Item]:
        """All of these and what they call, each function once."""
        left, seen = list(items), set[tuple[bool, bytes]]()
        while left:
            item = left.pop()
            yield item
            calls = zip((b"", *item.tokens), item.tokens, item.tokens[1:], strict=False)
            called = {(dot == b".", name) for dot, name, then in calls if then == b"("} & self._functions.keys()
            for call in called - seen:
                left += [inner for unit in self._functions[call].values() for inner in unit.items]
            seen |= called


def _logs_singly(node: ast.AST, added: Item, files: Mapping[str, str]) -> bool:
    """Whether a statement logs no name twice: in calls of its own, or by one in all the functions that it calls."""
    api = api_of(added.unit.outline)
    if _around_logs(node, _REPEATING, api):
        return False
    names = [_constant(call) for call in _log_calls(node, api)]
    if names:
        return len(names) == 1 or (None not in names and len(set(names)) == len(names))
    reached = _Reached(read_outlines(files)).by([added])
    units = {id(item.unit): item.unit for item in reached if item is not added}.values()
    bodies = [(ast.Module(getattr(unit.node, "body", []), []), api_of(unit.outline)) for unit in units]
    once = sum(len(_log_calls(body, own)) for body, own in bodies) == 1
    return once and not any(_around_logs(body, _REPEATING, own) for body, own in bodies)


def _parsed(text: str) -> list[ast.Module]:
    """What is inserted as a tree, if it is one by itself."""
    try:
        return [ast.parse(textwrap.dedent(text))]
    except SyntaxError:
        return []


def _log_calls(node: ast.AST, api: Api) -> list[ast.Call]:
    return [part for part in ast.walk(node) if isinstance(part, ast.Call) and api.function(part) == "log"]


def _around_logs(node: ast.AST, kinds: tuple[type[ast.AST], ...], api: Api) -> bool:
    """Whether a log call below a node (if it has none, any call: it may be a wrapper) stands within one of `kinds`."""
    calls = _log_calls(node, api) or [part for part in ast.walk(node) if isinstance(part, ast.Call)]
    wanted = set(map(id, calls))
    around = (part for part in ast.walk(node) if isinstance(part, kinds))
    return any(id(child) in wanted for part in around for child in ast.walk(part))


def _constant(call: ast.Call) -> object:
    """The literal name of a log call, None for any other."""
    name = call.args[0] if call.args else None
    return name.value if isinstance(name, ast.Constant) else None


def fingerprint_of(texts: Sequence[str], spot: Spot, others: Sequence[tuple[Spot, str]] = ()) -> str:
    """Hash of the inserted text and of its place: the blocks around it and the statements next to it.

    `others` are texts that come along, each with a place of its own.
    """
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode("utf-8", "surrogatepass") + b"\0")
    digest.update(f"{spot.unit.outline.path}\0{spot.unit.name}\0".encode())
    item = spot.parent
    while item is not None:
        digest.update(item.slot.encode() + b"\0" + item.key + b"\0")
        item = item.parent
    _add_neighbours(digest, spot)
    for place, text in others:
        digest.update(text.encode("utf-8", "surrogatepass") + b"\0")
        _add_neighbours(digest, place)
    return digest.hexdigest()[:16]


def _add_neighbours(digest: hashlib._Hash, spot: Spot) -> None:
    for neighbour in (spot.before, spot.after):
        digest.update((neighbour.key if neighbour is not None else b"-") + b"\0")

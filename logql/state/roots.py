"""Where a state begins: the variables that the body of the main loop can reach, and the random states."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import FrameType
from typing import Any, Final, Literal

from logql.state.devices import is_used
from logql.state.iterables import Progress, iterable_refusal, reachable_iterable
from logql.state.liveness import Use, leaves_by_break, uses_after, variables
from logql.state.select import Selection, lies_in

NO_ITEM: Final = object()

#: What a restore does with a root: bind it, write it into its module, or nothing because writing in place is all.
Role = Literal["local", "global", "caller", "named", "random", "iterable", "item"]


@dataclass(frozen=True, slots=True, eq=False)
class Root:
    """A variable (`variable` in `module`, where that applies) or another beginning of the graph.

    `use` says what the code still does with it: a `needed` root must be saved, one that is only `kept` stays as the
    prologue made it where it cannot be saved, and a `dead` one is then unbound.
    """

    name: str
    role: Role
    value: object
    variable: str = ""
    module: str = ""
    use: Use = "needed"


@dataclass(slots=True, eq=False)
class Roots:
    """All roots at one instant. `namespaces` are the module dicts that a restore writes into, by module name.

    `broken` tells that the loop's frame stands in a `break`, so that the code behind the loop runs next.
    """

    selection: Selection
    roots: list[Root]
    namespaces: dict[str, dict[str, Any]]
    names: list[str]
    reason: str | None = None
    progress: Progress | None = None
    broken: bool = False


def collect(
    frame: FrameType,
    project: str,
    named: Mapping[str, object],
    *,
    iterable: object = None,
    alongside: tuple[object, ...] = (),
    item: object = NO_ITEM,
) -> Roots:
    """Roots of the state at a boundary of the main loop that `frame` runs (the frame of the `for` statement).

    Give `iterable` (what the loop runs over), what it takes items from `alongside`, and, where the body comes next,
    `item` (the one about to be yielded): they are part of the same graph, and what the body overwrites unread need not
    be saved. Cheap: it lists variables and copies nothing. `Roots.reason` says why no state of such a loop can be
    saved, if so; `save` then refuses.
    """
    selection = _selection(project)
    roots = Roots(selection, [], {}, [], _refuse_frame(frame))
    to_body = item is not NO_ITEM
    roots.broken = leaves_by_break(frame.f_code, frame.f_lasti)
    roots.roots += _frame_roots(frame, roots, to_body)
    roots.roots += _module_roots(selection, frame, roots.namespaces, to_body)
    roots.roots += [Root(f"checkpointing.{name}", "named", value) for name, value in named.items()]
    if iterable is not None:
        roots.reason = roots.reason or iterable_refusal(iterable)
        roots.progress = Progress(iterable, *alongside)
        iterable = reachable_iterable(iterable)
    if iterable is not None:
        roots.roots.append(Root("<iterable>", "iterable", iterable))
    if item is not NO_ITEM:
        roots.roots.append(Root("<item>", "item", item))
    roots.roots += random_roots()
    order = {"needed": 0, "kept": 1, "dead": 2}
    roots.roots.sort(key=lambda root: order[root.use])
    roots.roots += [Root(f"<alongside {i}>", "iterable", other) for i, other in enumerate(alongside)]
    return roots


def random_roots(*, every_device: bool = False) -> list[Root]:
    """The global random generators of every library that the program has loaded.

    Of GPUs those that it has used, or all that it sees: one that holds nothing has drawn nothing, and a replay that is
    given a single GPU of many lacks the others.
    """
    found: list[tuple[str, object]] = []
    if "random" in sys.modules:
        found.append(("random", sys.modules["random"]._inst))
    if "numpy" in sys.modules:
        mtrand: Any = importlib.import_module("numpy.random.mtrand")  # numpy itself does so late, at the first use
        found.append(("numpy.random", mtrand._rand))
    torch: Any = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "default_generator"):
        found.append(("torch.random", torch.default_generator))
        if torch.cuda.is_available() and torch.cuda.is_initialized():
            generators = enumerate(torch.cuda.default_generators)
            used = [(i, generator) for i, generator in generators if every_device or is_used(torch, i)]
            found += [(f"torch.cuda.random[{i}]", generator) for i, generator in used]
    return [Root(f"<{name}>", "random", value) for name, value in found]


@lru_cache(maxsize=8)
def _selection(project: str) -> Selection:
    return Selection(project)


def _refuse_frame(frame: FrameType) -> str | None:
    flags = frame.f_code.co_flags
    if flags & (inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR):
        return "the main loop runs in a generator, whose consumer has state of its own"
    if flags & inspect.CO_COROUTINE:
        return "the main loop runs in a coroutine"
    if not _is_function(frame) and frame.f_locals is not frame.f_globals:
        return "the main loop runs in the body of a class"
    return None


def _is_function(frame: FrameType) -> bool:
    return bool(frame.f_code.co_flags & inspect.CO_OPTIMIZED)


def read_locals(frame: FrameType) -> dict[str, object]:
    """A function's variables, without leaving references to them behind in the frame."""
    seen = frame.f_locals
    found = dict(seen)
    if sys.version_info < (3, 13):
        seen.clear()
    return found


def frame_variables(frame: FrameType) -> dict[str, object]:
    """The variables of the code that a frame runs: a function's own, or its module's."""
    return read_locals(frame) if _is_function(frame) else frame.f_locals


def _frame_roots(frame: FrameType, roots: Roots, to_body: bool) -> Iterator[Root]:
    if _is_function(frame):
        roots.names = [*variables(frame.f_code)]
        uses = uses_after(frame.f_code, frame.f_lasti, in_loop=True, to_body=to_body)
        for name, value in read_locals(frame).items():
            yield Root(name, "local", value, variable=name, use=uses.get(name, "dead"))
    depth = 0
    caller = frame.f_back
    while caller is not None:
        if _is_function(caller) and lies_in(caller.f_code.co_filename, roots.selection.project):
            depth += 1
            for name, value in read_locals(caller).items():
                yield Root(f"caller{depth}.{name}", "caller", value, variable=name, use="kept")
        caller = caller.f_back


def _module_roots(
    selection: Selection, frame: FrameType, namespaces: dict[str, dict[str, Any]], to_body: bool
) -> Iterator[Root]:
    for name in selection.project_modules():
        module = sys.modules.get(name)
        if module is not None:
            namespaces[name] = vars(module)
    own = str(frame.f_globals.get("__name__", "__main__"))
    namespaces[own] = frame.f_globals
    running = _module_frames(frame, to_body)
    for name, names in namespaces.items():
        uses = running.get(id(names))
        for variable, value in list(names.items()):
            if variable.startswith("__") and variable.endswith("__"):
                continue
            use = uses.get(variable, "dead") if uses is not None else "needed"
            yield Root(f"{name}.{variable}", "global", value, variable=variable, module=name, use=use)


def _module_frames(frame: FrameType | None, to_body: bool) -> dict[int, Mapping[str, Use]]:
    """How module-level code that is running now uses its variables, by id of the module's dict."""
    found: dict[int, Mapping[str, Use]] = {}
    loop_frame = frame
    while frame is not None:
        if not _is_function(frame) and frame.f_locals is frame.f_globals and id(frame.f_globals) not in found:
            own = frame is loop_frame
            found[id(frame.f_globals)] = uses_after(frame.f_code, frame.f_lasti, in_loop=own, to_body=own and to_body)
        frame = frame.f_back
    return found

"""Stands in for recorder and replay: a `loop` that saves at every boundary, or restores at one and runs on.

Scripts import it as `rig`; it is driven by environment variables and writes what was logged as JSON.
"""

from __future__ import annotations

import ast
import atexit
import json
import os
import sys
import types
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from logql.state.digest import compare
from logql.state.inject import inject
from logql.state.injected import Injected
from logql.state.prologue import Prologue
from logql.state.restore import load, restore
from logql.state.roots import collect
from logql.state.save import Refused, save
from logql.store.blobs import Blobs

MODE = os.environ.get("RIG_MODE", "record")
WHERE = Path(os.environ.get("RIG_STORE", "."))
AT = int(os.environ.get("RIG_AT", "0"))
TARGET = int(os.environ.get("RIG_LOOP", "0"))
events: list[list[Any]] = []
problems: list[str] = []
index: dict[str, Any] = {"manifests": {}, "refused": {}}
state = {"loops": 0, "now": None, "live": MODE == "record"}
runtime = Injected()


def log(name: str, value: Any) -> Any:
    if state["live"]:
        plain = value.tolist() if hasattr(value, "tolist") else value
        events.append([state["now"], name, repr(plain)])
    return value


def loop(name: str, iterable: Any) -> Iterator[Any]:
    """The main loop `name`, recorded or replayed."""
    ordinal = state["loops"]
    index.setdefault("names", []).append(name)
    state["loops"] += 1
    project = os.path.dirname(os.path.abspath(sys.argv[0]))
    frame = sys._getframe(1)
    if MODE == "record":
        yield from _record(ordinal, iterable, frame, project)
    else:
        yield from _replay(ordinal, iterable, frame, project)


def _keep(key: str, roots: Any, prologue: Prologue, **more: Any) -> None:
    result = save(roots, prologue, **more)
    if isinstance(result, Refused):
        index["refused"][key] = [result.reason, result.path]
    else:
        index["manifests"][key], _ = result.write(Blobs(str(WHERE)))


def _record(ordinal: int, iterable: Any, frame: Any, project: str) -> Iterator[Any]:
    prologue = Prologue(collect(frame, project, {}, iterable=iterable))
    exhausted = False
    try:
        for k, item in enumerate(iterable):
            _keep(f"{ordinal}:{k}", collect(frame, project, {}, iterable=iterable, item=item), prologue)
            state["now"] = f"{ordinal}:{k}"
            yield item
        exhausted = True
    finally:
        state["now"] = f"{ordinal}:exit"
        _keep(f"{ordinal}:exit", collect(frame, project, {}), prologue, exhausted=exhausted)


def _replay(ordinal: int, iterable: Any, frame: Any, project: str) -> Iterator[Any]:
    blobs, manifests = Blobs(str(WHERE)), json.loads((WHERE / "index.json").read_text())["manifests"]
    key = f"line {frame.f_lineno}"
    prologue = Prologue(collect(frame, project, {}, iterable=iterable), keep=True)
    if ordinal < TARGET:
        loaded = load(blobs, manifests[f"{ordinal}:exit"])
        bindings = restore(loaded, collect(frame, project, {}), prologue)
        runtime.arm(key, "exit", bindings, exhausted=loaded.exhausted)
        return
    first = AT if ordinal == TARGET else 0
    loaded = load(blobs, manifests[f"{ordinal}:{first}"])
    if ordinal == TARGET:
        loaded.set_random_states(prologue)
    iterator = iter(iterable)
    exhausted = False
    checking = Prologue(collect(frame, project, {}, iterable=iterable))
    try:
        for k, item in enumerate(iterator):
            if k < first:
                continue
            if k == first and ordinal == TARGET:
                bindings = restore(loaded, collect(frame, project, {}, iterable=iterable, item=item), prologue)
                runtime.arm(key, "body", bindings)
                item = bindings.item
                state["live"] = True
            else:
                _check(f"{ordinal}:{k}", collect(frame, project, {}, iterable=iterable, item=item), checking, manifests)
            state["now"] = f"{ordinal}:{k}"
            yield item
        exhausted = True
    finally:
        state["now"] = f"{ordinal}:exit"
        _check(f"{ordinal}:exit", collect(frame, project, {}), checking, manifests, exhausted=exhausted)


def _check(key: str, roots: Any, prologue: Prologue, manifests: dict[str, str], **more: Any) -> None:
    result = save(roots, prologue, **more)
    if isinstance(result, Refused):
        problems.append(f"{key}: refused {result.reason} {result.path}")
        return
    if key in manifests:
        found = compare(result, load(Blobs(str(WHERE)), manifests[key]), 0.0, 0.0)
        if not found.equal:
            problems.append(f"{key}: {found.path}")


def _finish() -> None:
    WHERE.mkdir(parents=True, exist_ok=True)
    name = "index.json" if MODE == "record" else "replay.json"
    (WHERE / name).write_text(json.dumps({**index, "events": events, "problems": problems}))


def lines_of_loops(tree: ast.Module) -> Sequence[int]:
    found = [n for n in ast.walk(tree) if isinstance(n, ast.For) and "rig.loop(" in ast.unparse(n.iter)]
    return sorted(n.iter.lineno for n in found)


def main() -> None:
    """Run a script as __main__, with restoring statements where a replay needs them."""
    script = sys.argv[1]
    sys.argv = sys.argv[1:]
    sys.path[0] = os.path.dirname(os.path.abspath(script))
    text = Path(script).read_text()
    tree = ast.parse(text, script)
    if MODE != "record":
        runtime.install()
        tree = inject(tree, {line: f"line {line}" for line in lines_of_loops(tree)})
    module = types.ModuleType("__main__")
    module.__file__ = os.path.abspath(script)
    sys.modules["__main__"] = module
    atexit.register(_finish)
    exec(compile(tree, os.path.abspath(script), "exec"), module.__dict__)

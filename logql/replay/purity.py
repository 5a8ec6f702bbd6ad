"""Keeps inserted statements from changing the trajectory, and notices where one does.

Around each execution, random states, training modes and buffers that a forward pass updates are put back. Until it
has logged once in a segment, the state that it can reach is digested before and after.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator
from inspect import CO_OPTIMIZED
from types import BuiltinFunctionType, FrameType, FunctionType, ModuleType, TracebackType
from typing import Any

from logql.state.roots import read_locals

Undo = Callable[[], None]
#: Compares the state now with that of an earlier call; see `Guard`.
Digester = Callable[[FrameType, tuple[str, ...]], Callable[[], str | None] | None]
_DEPTH = 3
#: Nothing in these is drawn from, or it is a library's own.
_PLAIN = (int, float, str, bytes, type, ModuleType, FunctionType, BuiltinFunctionType)


class Guard:
    """What instrumented code calls: `with __logql_inserted__(line, names, calls):` around inserted statements."""

    def __init__(self, digester: Digester, impure: Callable[[str], None], done: Callable[[], None]) -> None:
        self._digester = digester
        self._impure = impure
        self._done = done
        self._checked: set[tuple[str, int]] = set()
        #: depth of inserted statements being executed, and how many wanted values were logged
        self.active = 0
        self.logged = 0

    def __call__(self, line: int, names: tuple[str, ...], calls: bool) -> _Inserted:
        """Begin inserted statements at `line`, which use `names`."""
        frame = sys._getframe(1)
        key = frame.f_code.co_filename, line
        check = None
        if calls and key not in self._checked:
            check = self._digester(frame, names)
        return _Inserted(self, protect(frame, names), check, key)

    def report(self, path: str) -> None:
        """Note that an inserted statement changed the object at `path`."""
        self._impure(path)

    def checked(self, key: tuple[str, int]) -> None:
        """Note that the inserted statements of a place were looked at when they logged, which is enough."""
        self._checked.add(key)

    def leave(self, well: bool) -> None:
        """Inserted statements are done; what follows may be of no interest."""
        self.active -= 1
        if well and not self.active:
            self._done()


class _Inserted:
    def __init__(
        self, guard: Guard, undo: list[Undo], check: Callable[[], str | None] | None, key: tuple[str, int]
    ) -> None:
        self._guard = guard
        self._undo = undo
        self._check = check
        self._key = key
        self._logged = guard.logged

    def __enter__(self) -> None:
        self._guard.active += 1

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        for undo in reversed(self._undo):
            undo()
        if self._check is not None and kind is None:
            if self._guard.logged > self._logged:
                self._guard.checked(self._key)
            path = self._check()
            if path is not None:
                self._guard.report(path)
        self._guard.leave(kind is None)


def protect(frame: FrameType, names: tuple[str, ...]) -> list[Undo]:
    """Functions that put back what may be drawn from or switched by statements in `frame` that use `names`."""
    undo = [*_global_random_states()]
    seen: set[int] = set()
    variables = read_locals(frame) if frame.f_code.co_flags & CO_OPTIMIZED else frame.f_globals
    for name in names:
        value = variables.get(name, frame.f_globals.get(name))
        undo += _protect_object(value, seen, _DEPTH)
    return undo


def _global_random_states() -> Iterator[Undo]:
    state = random.getstate()
    yield lambda: random.setstate(state)
    numpy = sys.modules.get("numpy.random")
    if numpy is not None:
        legacy = numpy.get_state()
        yield lambda: numpy.set_state(legacy)
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "get_rng_state"):
        cpu = torch.get_rng_state()
        yield lambda: torch.set_rng_state(cpu)
        if torch.cuda.is_initialized():
            devices = torch.cuda.get_rng_state_all()
            yield lambda: torch.cuda.set_rng_state_all(devices)


def _protect_object(value: Any, seen: set[int], depth: int) -> Iterator[Undo]:
    """Protect a generator, a module of a network, or such held by an object's attributes or by a small container."""
    if value is None or isinstance(value, _PLAIN) or id(value) in seen:
        return
    seen.add(id(value))
    found = _protector(value)
    if found is not None:
        yield from found(value)
        return
    if depth == 0 or callable(getattr(value, "__array__", None)):
        return
    for inner in _parts(value):
        yield from _protect_object(inner, seen, depth - 1)


def _protector(value: Any) -> Callable[[Any], Iterator[Undo]] | None:
    if isinstance(value, random.Random):
        return _python_generator
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.random.Generator | numpy.random.RandomState):
        return _numpy_generator
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "nn"):
        if isinstance(value, torch.Generator):
            return _torch_generator
        if isinstance(value, torch.nn.Module):
            return _torch_module
    return None


def _python_generator(value: random.Random) -> Iterator[Undo]:
    try:
        state = value.getstate()
    except NotImplementedError:
        return
    yield lambda: value.setstate(state)


def _numpy_generator(value: Any) -> Iterator[Undo]:
    bits = getattr(value, "bit_generator", None) or value._bit_generator
    state = bits.state

    def put_back() -> None:
        bits.state = state

    yield put_back


def _torch_generator(value: Any) -> Iterator[Undo]:
    state = value.get_state()
    yield lambda: value.set_state(state)


def _torch_module(value: Any) -> Iterator[Undo]:
    """Training flags, and the buffers that a forward pass in training mode updates."""
    torch = sys.modules["torch"]
    modes = [(module, module.training) for module in value.modules()]
    kept = [(buffer, buffer.detach().clone()) for buffer in value.buffers()]

    def put_back() -> None:
        for module, training in modes:
            if module.training != training:
                module.training = training
        with torch.no_grad():
            for buffer, content in kept:
                if not torch.equal(buffer, content):  # writing needlessly would invalidate a pending backward pass
                    buffer.copy_(content)

    yield put_back


def _parts(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())[:64]
    if isinstance(value, list | tuple):
        return list(value)[:64]
    return list(getattr(value, "__dict__", {}).values())[:64] if not callable(value) else []

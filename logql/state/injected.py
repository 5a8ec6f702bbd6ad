"""The object that restoring statements talk to; a replay worker puts one into `builtins` under `NAME`.

How a replay enters a main loop at iteration k (all in the generator that stands in for `logql.loop`):
1. at its first `next()`: `prologue = Prologue(collect(...), keep=True)`, `loaded.set_random_states(prologue)`,
   `iterator = iter(iterable)`, then advance the iterator k+1 times;
2. `bindings = restore(loaded, collect(...), prologue)`: objects and module variables are now as they were;
3. `runtime.arm(key, "body", bindings)` and yield `bindings.item` (or the item of step 1 if `has_item` is false): the
   `for` binds its targets, then the statements at the head of the body bind all other variables of the function.
A skipped loop: the same with the exit's state and `arm(key, "exit", bindings, exhausted=loaded.exhausted)`, then return
from the generator: the statements right after the loop (or at the head of its `else`) bind the variables.
A `for` statement that does not run over `logql.loop` alone (`enumerate` around it, or a `range` with blocks in its
body) has `steps` around all that it runs over: what came so far is taken again and dropped.
A block, `with logql.iteration(...)`, restores at the head of its body. A restore where it begins writes all that the
loop around it has: the code on the way there ran for nothing.
"""

from __future__ import annotations

import builtins
from collections.abc import Iterable
from typing import Literal

from logql.state.restore import Bindings

NAME = "__logql_state__"
Place = Literal["body", "exit"]


class Steps:
    """The items of a `for` statement's iterable, without those that are to be dropped on the way to an iteration."""

    def __init__(self, runtime: Injected, key: str, iterable: Iterable[object]) -> None:
        self._runtime = runtime
        self._key = key
        self._items = iter(iterable)

    def __iter__(self) -> Steps:
        return self

    def __next__(self) -> object:
        item = next(self._items)
        while self._runtime.drops(self._key):
            item = next(self._items)
        return item


class Injected:
    """Holds the bindings of at most one restore until the loop's own frame takes them."""

    def __init__(self) -> None:
        self._key: str | None = None
        self._place: Place = "body"
        self._bindings = Bindings()
        self._unbound: frozenset[str] = frozenset()
        self._exhausted = True
        self._drop: dict[str, int] = {}

    def install(self) -> None:
        """Make this the object that injected statements find."""
        setattr(builtins, NAME, self)

    def arm(self, key: str, place: Place, bindings: Bindings, *, exhausted: bool | None = True) -> None:
        """Have the loop `key` take `bindings` at the head of its body, or right behind it."""
        self._key, self._place, self._bindings = key, place, bindings
        self._unbound = frozenset(bindings.unbound)
        self._exhausted = exhausted is not False

    def steps(self, key: str, iterable: Iterable[object]) -> Steps:
        """What a `for` statement runs over whose items `drop` can leave out."""
        self._drop[key] = 0
        return Steps(self, key, iterable)

    def has_steps(self, key: str) -> bool:
        """Whether the items of the loop `key` go through `steps`."""
        return key in self._drop

    def drop(self, key: str, count: int) -> None:
        """Leave out the next `count` items that come to the loop `key`."""
        self._drop[key] = count

    def drops(self, key: str) -> bool:
        """Whether the item that just came is to be left out; counts it."""
        left = self._drop[key]
        self._drop[key] = max(left - 1, 0)
        return left > 0

    def pending(self, key: str, place: str) -> bool:
        """Whether the statements at this place have something to do."""
        return self._key == key and self._place == place

    def completes(self, key: str) -> bool:
        """Whether the loop's `else` is to run: always, but for a skipped loop that was left by `break`."""
        return self._exhausted or not self.pending(key, "exit")

    def bound(self, name: str) -> bool:
        """Whether a variable is to be assigned."""
        return name in self._bindings.locals

    def value(self, name: str) -> object:
        """What a variable is to be assigned."""
        return self._bindings.locals[name]

    def unbound(self, name: str) -> bool:
        """Whether a variable is to be deleted."""
        return name in self._unbound

    def done(self) -> None:
        """The frame has taken everything."""
        self._key, self._bindings, self._unbound = None, Bindings(), frozenset()
        self._exhausted = True

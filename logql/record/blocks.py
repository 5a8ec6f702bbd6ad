"""Entries and indices of loops that are `with logql.iteration(...)` blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from logql.record import api

if TYPE_CHECKING:
    from logql.record.api import Context, Entry

_REMEMBERED = 4096


class Block:
    """One execution of such a loop, and its latest index."""

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self.index = -1
        #: what the recorder knows of it where it is a main loop
        self.main: Any = None


class Blocks:
    """The latest execution of each such loop in each context."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, str], Block] = {}

    def enter(self, name: str, index: object, outer: Context) -> Block:
        """Begin the next iteration: of the same execution if the index grows, else of another one."""
        usable = type(index) is int and 0 <= index < 1 << api.INDEX_BITS
        block = self._known.get((outer[0], name))
        number: int = index if usable else 0 if block is None else block.index + 1  # type: ignore[assignment]
        if block is None or number <= block.index:
            if len(self._known) >= _REMEMBERED:
                self._forget(api.contexts_around(outer))
            block = self._known[outer[0], name] = Block(api.begin_entry(name, outer))
        block.index = number
        return block

    def _forget(self, kept: set[int]) -> None:
        """Forget the older half: executions in contexts that are over."""
        for key in list(self._known)[: _REMEMBERED // 2]:
            if key[0] not in kept:
                self._known.pop(key, None)

    def find(self, entry: Entry) -> Block | None:
        """The execution with that entry, if it is still the latest."""
        block = self._known.get((entry[3][0], entry[1]))
        return block if block is not None and block.entry is entry else None

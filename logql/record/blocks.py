"""Entries and indices of loops that are `with logql.iteration(...)` blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from logql.record import api

if TYPE_CHECKING:
    from logql.record.api import Context, Entry
    from logql.record.mainloops import Main

_REMEMBERED = 4096


class Block:
    """One execution of such a loop, and its latest index."""

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self.index = -1
        #: what the recorder knows of it where it is a main loop
        self.main: Main | None = None


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

    def positions(self) -> dict[str, tuple[int, int]]:
        """Entry and latest index of each main loop made of blocks."""
        outermost = api.RUN_CONTEXT[0]
        return {name: (one.entry[2], one.index) for (key, name), one in self._known.items() if key == outermost}

    def move(self, positions: Mapping[str, Sequence[int]]) -> None:
        """Bring main loops made of blocks to positions that were noted in another process."""
        for name, (entry, index) in positions.items():
            block = self._known.get((api.RUN_CONTEXT[0], name))
            if block is None or block.entry[2] != entry:
                block = Block((api.next_number(), name, entry, api.RUN_CONTEXT))
                self._known[api.RUN_CONTEXT[0], name] = block
            block.index = index

    def find(self, entry: Entry) -> Block | None:
        """The execution with that entry, if it is still the latest."""
        block = self._known.get((entry[3][0], entry[1]))
        return block if block is not None and block.entry is entry else None

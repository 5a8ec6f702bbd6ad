"""Word of values that a replayed script logged in processes that it started: nobody receives them."""

from __future__ import annotations

import os
from collections.abc import Collection

from logql.record import processes


class Children:
    """A file in the segment's scratch directory that children write names to, and that the worker looks for."""

    def __init__(self, scratch: str, wanted: Collection[str]) -> None:
        self._pid = os.getpid()
        self._path = os.path.join(scratch, "children")
        self._wanted = wanted

    def tell_spawned(self) -> None:
        """Have children that do not inherit this object leave word, too."""
        processes.tell_spawned(self._path)

    def is_child(self) -> bool:
        """Whether this is a process that the worker forked."""
        return os.getpid() != self._pid

    def note(self, name: str) -> None:
        """Leave word of a value, if it is wanted."""
        if name in self._wanted:
            processes.note_name(self._path, (None, name))

    def refusal(self) -> str | None:
        """Why the replay must not go on, if a child logged a wanted value: it would look as if it was not logged."""
        if not os.path.exists(self._path):
            return None
        with open(self._path, encoding="utf-8") as file:
            name = next((line for line in map(str.rstrip, file) if line in self._wanted), None)
        return (
            name and f"{name} is logged in a process that the script starts, and replays keep only what their own logs"
        )

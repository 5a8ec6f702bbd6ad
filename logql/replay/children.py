"""Word of values that a replayed script logged in processes that it forked, whose values nobody receives."""

from __future__ import annotations

import os


class Children:
    """A file in the segment's scratch directory that children write to and the worker looks for."""

    def __init__(self, scratch: str) -> None:
        self._pid = os.getpid()
        self._path = os.path.join(scratch, "children")

    def is_child(self) -> bool:
        """Whether this is a process that the worker forked."""
        return os.getpid() != self._pid

    def note(self, name: str) -> None:
        """Leave word of a wanted value."""
        with open(self._path, "a", encoding="utf-8") as file:
            file.write(f"{name}\n")

    def refusal(self) -> str | None:
        """Why the replay must not go on, if a child left word: its values would look as if they were not logged."""
        if not os.path.exists(self._path):
            return None
        with open(self._path, encoding="utf-8") as file:
            name = file.readline().rstrip()
        return f"{name} is logged in a process that the script starts, and replays keep only what their own logs"

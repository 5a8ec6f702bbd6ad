"""What a driver needs of the running program, whose state is restored, compared and kept (see `replay.states`)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from types import FrameType
from typing import Any, Protocol

from logql.errors import ReplayError
from logql.model import Checkpoint, MainLoop

#: Packages that hand on what they iterate.
_PASSING = frozenset(("logql", "tqdm", "rich", "alive_progress", "progressbar", "fastprogress"))
#: Loop and entry.
Place = tuple[str, int]


class States(Protocol):
    """The state of the program at the boundaries of its main loops."""

    on_exit: Callable[[FrameType], None]

    def install(self) -> None: ...
    def begin_loop(self, place: Place, frame: FrameType, iterable: object) -> None: ...
    def begin_block(self, loop: MainLoop, frame: FrameType) -> None: ...
    def is_at(self, loop: MainLoop, frame: FrameType) -> bool: ...
    def notes_of(self, checkpoint: Checkpoint) -> Mapping[str, Any]: ...
    def start_iterating(self, checkpoint: Checkpoint | None) -> None: ...
    def drop(self, loop: MainLoop, count: int) -> bool: ...
    def restore_in_body(self, loop: MainLoop, checkpoint: Checkpoint, frame: FrameType, item: Any) -> Any: ...
    def restore_at_exit(self, loop: MainLoop, checkpoint: Checkpoint, frame: FrameType) -> None: ...
    def has_time_to_compare(self) -> bool: ...
    def compare(self, frame: FrameType, checkpoint: Checkpoint, where: str, *item: object) -> None: ...
    def offer(self, frame: FrameType, loop: MainLoop, index: int, seq: int, item: object) -> None: ...
    def digest(self, frame: FrameType, names: Collection[str]) -> Callable[[], str | None] | None: ...


def caller(frame: FrameType | None) -> FrameType:
    """The frame that runs the `for` of a main loop: the first one that is neither ours nor a progress bar's."""
    while frame is not None:
        package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if package not in _PASSING:
            return frame
        frame = frame.f_back
    raise ReplayError("the frame that runs a main loop was not found")

"""How a replay worker takes over the recorder: the script runs as it did, and its events go to a `Driver`.

The recorder's side keeps contexts, entries and values exactly as in recording; the driver counts `seq` (see "record" in
docs/architecture.md) and decides how main loops are iterated. Nothing touches the store.
"""

from __future__ import annotations

import atexit
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import FrameType
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from logql.model import Path, Run, Step
from logql.record import api
from logql.record.arguments import override
from logql.record.blocks import Block, Blocks
from logql.record.names import NameRules
from logql.record.values import NoValueYetError, convert

if TYPE_CHECKING:
    from logql.record.api import Context, Entry

T = TypeVar("T")

_INDEX_MASK = (1 << api.INDEX_BITS) - 1


@dataclass(frozen=True)
class Arrival:
    """Which iteration a block is, and its item; `notes` are those of the checkpoint that was restored there, if any."""

    index: int
    item: object
    notes: Mapping[str, Any] = field(default_factory=dict)


class Driver(Protocol):
    """What a replay worker implements."""

    def arg(self, name: str, default: object) -> object:
        """The value of a hyper-parameter, as it was recorded."""

    def iterate(self, loop: str, entry: int, iterable: Iterable[T], enter: Callable[[int, T], None]) -> Iterator[T]:
        """Yield the items of a main loop, after `enter(index, item)` for each whose body is to run."""

    def enter_block(self, loop: str, entry: int, index: int, item: object, frame: FrameType) -> Arrival:
        """A `with logql.iteration(...)` block outside of other loops begins in `frame`: as which iteration."""

    def entered(self, path: Path, item: object) -> None:
        """An iteration began, of whatever loop."""

    def left(self, path: Path) -> None:
        """A `with logql.iteration(...)` block ended."""

    def logged(self, path: Path, name: str, value: object, *, repeated: bool = False) -> None:
        """A value was logged, as it would be stored."""

    def untold(self, path: Path, name: str, reason: str) -> None:
        """A log call whose value cannot be told."""

    def run_ended(self) -> None:
        """The script closed the run that is replayed."""

    def finish(self) -> None:
        """The script ended."""


def install(driver: Driver, run: Run) -> None:
    """Send the events of this process that belong to `run` to `driver`; call it before the script starts."""
    stand_in = _Replaying(driver, run)
    api.replace_recorder(stand_in)
    api.send_events_to(stand_in.take_event)
    atexit.register(driver.finish)


def path_of(context: Context) -> Path:
    """The path of a context of the hot path."""
    steps: list[Step] = []
    here: Context | None = context
    while here is not None and here[1][3] is not None:
        _, loop, entry, outer = here[1]
        steps.append(Step(loop, entry, here[0] & _INDEX_MASK))
        here = outer
    return tuple(reversed(steps))


class _Replaying:
    """Implements `api.Recording` over a driver.

    Of the runs that the process had, one after the other, the driver gets the one that is replayed. Those before it run
    as they did, and nobody listens.
    """

    def __init__(self, driver: Driver, run: Run) -> None:
        self._driver = driver
        self._blocks = Blocks()
        self._rules = NameRules(run, 0, run.args)
        before, overrides = run.environment.get("runs_before"), run.environment.get("overrides")
        self._wanted = before if isinstance(before, int) else 0
        self._overrides: Mapping[str, str] = overrides if isinstance(overrides, dict) else {}
        self._run = -1
        self._open = False

    def _is_wanted(self) -> bool:
        """Whether what happens now belongs to the run that is replayed; opens a run where none is open."""
        if not self._open:
            self._begin()
        return self._run == self._wanted

    def _begin(self) -> None:
        self._run += 1
        self._open = True
        if self._run:
            api.forget_entries()
            self._blocks = Blocks()
        if self._run > self._wanted:
            self._driver.run_ended()

    def take_event(self, event: tuple[Any, ...]) -> None:
        context, kind, value, _ = event
        if not self._is_wanted():
            return
        if kind is api.ENTER:
            self._rules.add_loop(context[1][1])
            self._driver.entered(path_of(context), _stored_item(context[2]))
        elif kind is not api.LINE:
            plain, name = value[0] if type(value) is tuple else value, api.as_text(kind)
            repeated = self._rules.clashes(name) and self._rules.repeats(context, name, plain)
            self._driver.logged(path_of(context), name, plain, repeated=repeated)

    def open(self) -> None:
        """Nothing to open."""

    def log_object(self, name: str, value: object) -> None:
        try:
            plain = convert(value)
        except NoValueYetError as error:
            if self._is_wanted():
                self._driver.untold(path_of(api.context()), name, str(error))
            return
        api.put((api.context(), name, plain if type(plain) is float else (plain,), 0.0))

    def arg(self, name: str, default: Any) -> Any:
        if self._is_wanted():
            return self._driver.arg(name, default)
        return override(name, self._overrides[name], default) if name in self._overrides else default

    def iterate_main(self, name: str, iterable: Iterable[T]) -> Iterator[T]:
        wanted = self._is_wanted()
        entry = api.begin_entry(name, api.RUN_CONTEXT)
        key = entry[0] << api.INDEX_BITS

        def enter(index: int, item: T) -> None:
            here = (key | index, entry, api.plain_item(item))
            api.set_context(here)
            api.put((here, api.ENTER, 0.0, 0.0))

        try:
            if wanted:
                yield from self._driver.iterate(name, entry[2], iterable, enter)
                return
            for index, item in enumerate(iterable):
                enter(index, item)
                yield item
        finally:
            api.end_entry(entry)

    def enter_iteration(self, name: str, index: object, value: object) -> tuple[Entry | None, object]:
        outer = api.context()
        wanted = self._is_wanted()
        item = index if value is None else value
        block = self._blocks.enter(name, index, outer)
        if wanted and outer is api.RUN_CONTEXT:
            arrival = self._driver.enter_block(name, block.entry[2], block.index, item, sys._getframe(2))
            block, item = self._arrive(block, arrival)
        here = (block.entry[0] << api.INDEX_BITS | block.index, block.entry, api.plain_item(item))
        api.set_context(here)
        api.put((here, api.ENTER, 0.0, 0.0))
        return block.entry, item

    def _arrive(self, block: Block, arrival: Arrival) -> tuple[Block, object]:
        """Count loops on from where the run was, if the driver restored that."""
        if arrival.notes:
            api.set_main_loops(arrival.notes["loops"])
            self._blocks.move(arrival.notes["blocks"])
        block.index = arrival.index
        return block, arrival.item

    def leave_iteration(self, entry: Entry | None) -> None:
        if entry is None:
            return
        block = self._blocks.find(entry)
        if block is not None and self._is_wanted():
            self._driver.left(path_of((entry[0] << api.INDEX_BITS | block.index, entry, None)))
        api.end_entry(entry)

    def begin_run(self, name: str | None, tags: tuple[str, ...]) -> str | None:  # noqa: ARG002
        self._begin()
        return None

    def end_run(self, error: BaseException | None) -> None:
        """With the run that is replayed, the replay ends, unless an error ends both."""
        ended, self._open = self._open and self._run == self._wanted, False
        if ended and error is None:
            self._driver.run_ended()

    def flush(self) -> None:
        """Nothing is buffered."""


def _stored_item(item: object) -> object:
    return None if item is None else convert(item)

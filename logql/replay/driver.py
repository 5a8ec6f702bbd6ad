"""The recorder's stand-in inside a worker: hands out recorded arguments, moves through main loops, collects values.

Main loops before the wanted one are passed by restoring the state at their exit; the wanted one begins at the
checkpoint before its first wanted iteration and ends with the last.
"""

from __future__ import annotations

import builtins
import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from types import FrameType
from typing import Any, NoReturn, TypeVar

from logql.errors import ReplayError
from logql.model import Checkpoint, MainLoop, Path
from logql.record import driver as recorder
from logql.record.values import convert
from logql.replay import instrument
from logql.replay.children import Children
from logql.replay.gathering import Send, Values
from logql.replay.program import Place, States, caller
from logql.replay.purity import Guard
from logql.replay.route import Route, Station
from logql.replay.spec import WorkerSpec

T = TypeVar("T")


class Jump(BaseException):
    """Raised after the last wanted statement of an iteration, to go on with the next wanted one."""


class ReplayDriver:
    """Drives one segment; see `record.driver.Driver`."""

    def __init__(
        self,
        spec: WorkerSpec,
        states: States,
        send: Send,
        leave: Callable[[], NoReturn],
        cpu_seconds: Callable[[], float] = time.process_time,
    ) -> None:
        self._spec = spec
        self._states = states
        self._send = send
        self._leave = leave
        self._cpu_seconds = cpu_seconds
        self._route = Route(spec)
        self._values = Values(spec, send)
        self._children = Children(spec.scratch, self._values.wanted)
        #: whether a replay may end although nothing in the main loop was compared with the record
        self._proved = not spec.prove
        self._jumping = False
        #: wanted loops that have begun, and those of which all that was wanted is done
        self._begun: set[Place] = set()
        self._passed: set[Place] = set()
        self._current: tuple[MainLoop, int] | None = None
        #: the wanted loop and its last iteration, once it was left by `break`, `return` or an exception
        self._left: tuple[MainLoop, int] | None = None
        #: the main-loop iteration that is a `with logql.iteration(...)` block, and main loops that are iterated
        self._block: tuple[MainLoop, int] | None = None
        self._iterated: set[Place] = set()
        #: how often the statement of each main loop of blocks was reached
        self._reached: dict[Place, int] = {}
        states.on_exit = self.behind_loop
        self._guard = Guard(states.digest, lambda path: send("impure", text=path), self.after_inserted)

    def install(self) -> None:
        """Take over the recorder and give instrumented code what it calls."""
        setattr(builtins, instrument.GUARD, self._guard)
        setattr(builtins, instrument.JUMP, Jump)
        self._states.install()
        self._children.tell_spawned()
        recorder.install(self, self._spec.run)

    @property
    def seq(self) -> int:
        """The number of the next event in the record."""
        return self._values.seq

    # What the recorder calls

    def arg(self, name: str, default: object) -> object:
        """The recorded value, as the type that the default has where JSON has no such type."""
        args = self._spec.run.args
        if name not in args:
            return default
        recorded = args[name]
        if convert(default) == recorded and type(convert(default)) is type(recorded):
            return default
        return tuple(recorded) if isinstance(default, tuple) and isinstance(recorded, list) else recorded

    def iterate(self, loop: str, entry: int, iterable: Iterable[T], enter: Callable[[int, T], None]) -> Iterator[T]:
        """Iterate a main loop: the wanted one from a checkpoint, an earlier one not at all or as it was."""
        self._go_on()
        self._iterated.add((loop, entry))
        frame = caller(sys._getframe(1))
        self._states.begin_loop((loop, entry), frame, iterable)
        known = self._route.find(loop, entry)
        station = self._route.station(known) if known is not None else None
        if known is not None and station is not None:
            self._begun.add((loop, entry))
            return self._iterate_target(known, station, iterable, enter)
        passed = self._route.exit_of(known) if known is not None else None
        if known is not None and passed is not None:
            self._states.restore_at_exit(known, passed, frame)
            self._values.go_to(passed.seq)
            return iter(())
        return self._iterate_whole(known, loop, entry, iterable, enter)

    def enter_block(self, loop: str, entry: int, index: int, item: object, frame: FrameType) -> recorder.Arrival:
        """A block of a main loop begins: the one at hand, or one of a checkpoint nearer to the next wanted one."""
        self._go_on()
        known = self._route.find(loop, entry)
        if known is None or known.line is None:
            return recorder.Arrival(index, item)
        if (loop, entry) not in self._reached:
            self._reached[loop, entry] = 0
            self._states.begin_block(known, frame)
            self._states.start_iterating(self._route.any_of(known))
        elif not self._states.is_at(known, frame):
            return recorder.Arrival(index, item)
        station = self._route.station(known)
        jump = station.next_jump(index, cut=False) if station is not None else None
        if jump is None or jump.index is None:
            item = self._arrive(known, index, None, frame, item)
            self._reached[loop, entry] += 1
            return recorder.Arrival(index, item)
        notes = self._states.notes_of(jump)
        self._states.drop(known, notes["reached"] - self._reached[loop, entry])
        self._reached[loop, entry] = notes["reached"] + 1
        return recorder.Arrival(jump.index, self._arrive(known, jump.index, jump, frame, item), notes)

    def entered(self, path: Path, item: object) -> None:  # noqa: ARG002
        """An iteration began: it has a number in the record."""
        if len(path) == 1 and path[0][:2] not in self._iterated:
            self._enter_block(*path[0])
        self._values.count_event()

    def left(self, path: Path) -> None:
        """An iteration that is a block of its own ended; with the last wanted one the replay does."""
        if self._block is None or len(path) != 1:
            return
        loop, index = self._block
        self._block = None
        station = self._route.station(loop)
        if station is None:
            self._send("complete", loop=loop.loop, entry=loop.entry, index=index)
            self._values.flush()
            return
        self._finish_iteration(loop, index)
        if index >= station.last:
            self._pass(loop, station)

    def logged(self, path: Path, name: str, value: object, *, repeated: bool = False) -> None:
        """A value: a wanted one is kept, unless its row has it anyway; another one goes to the comparison."""
        if self._children.is_child():
            self._children.note(name)
            return
        if self._jumping:
            raise Jump
        self._go_on()
        if name in self._values.wanted:
            self._guard.logged += 1
            if self._values.add_wanted(path, name, value, repeated) and not self._guard.active:
                self.after_inserted()
            return
        self._values.add_recorded(path, name, value)
        if path and not self._proved:
            self._proved = True
            self.after_inserted()

    def _refuse_children(self) -> None:
        reason = self._children.refusal()
        if reason is not None:
            self._values.flush()
            self._send("error", text=reason, placed=True)
            os._exit(1)

    def untold(self, path: Path, name: str, reason: str) -> None:  # noqa: ARG002
        """A log call whose value cannot be told: the record lacks it, too, but a wanted one fails."""
        if name in self._values.wanted:
            raise ReplayError(f"{name} cannot be told: {reason}")

    def run_ended(self) -> None:
        """The run is over before its script: so is the replay."""
        reason = self.ended("the run ended")
        if reason is not None:
            self._send("error", text=reason)
            os._exit(1)
        self._leave()

    def finish(self) -> None:
        """Nothing is left to do: `ended` is called by the worker."""

    # What the worker and instrumented code call

    def ended(self, how: str) -> str | None:
        """The script came to its end; the reason why that is too early, or None."""
        with contextlib.suppress(ReplayError):  # what follows says the same of the whole script
            self._go_on()
        self._values.flush()
        self._refuse_children()
        for segment in (*self._spec.along, self._spec.segment):
            if segment.loop is None or (segment.loop, segment.entry) in self._passed:
                continue
            if (segment.loop, segment.entry) in self._begun:
                return f"{how} before the wanted iterations of the loop {segment.loop!r} were done"
            return f"{how} before the loop {segment.loop!r} (entry {segment.entry}) began"
        return None

    def after_inserted(self) -> None:
        """Inserted statements are done: end the iteration or the replay if all that was wanted is there."""
        if not self._values.is_complete() or threading.current_thread() is not threading.main_thread():
            return
        if self._spec.segment.loop is None:
            self._end()
        if self._current is None:
            return
        loop, index = self._current
        station = self._route.station(loop)
        if station is None or (index == station.last and not self._proved):
            return
        if index == station.last:
            self._send("covered", loop=loop.loop, entry=loop.entry, index=index)
            self._end()
        if self._block is None and station.may_jump(index):
            self._jumping = True
            raise Jump

    def behind_loop(self, frame: FrameType) -> None:
        """The code right behind a main loop is reached."""
        if self._left is not None:
            self._pass_exit(self._left[0], frame)
            self._go_on()

    # Iterating

    def _iterate_target(
        self, loop: MainLoop, station: Station, iterable: Iterable[T], enter: Callable[[int, T], None]
    ) -> Iterator[T]:
        start = station.start()
        self._states.start_iterating(start or self._route.any_of(loop))
        items = iter(iterable)
        index = 0
        jump: Checkpoint | None = start
        while index <= station.last or (station.onward and not _died_in(loop, index)):
            if jump is not None and jump.index is not None:
                yield from self._pass_over(items, index, jump.index, loop)
                index = jump.index
            frame = caller(sys._getframe(1))
            try:
                item = next(items)
            except StopIteration:
                self._pass_exit(loop, frame)
                if index > station.last:
                    self._pass(loop, station)
                return
            item = self._arrive(loop, index, jump, frame, item)
            self._begin(loop, index)
            enter(index, item)
            try:
                yield item
            except GeneratorExit:
                self._left = loop, index
                raise
            cut = self._finish_iteration(loop, index)
            index += 1
            jump = station.next_jump(index, cut)
        self._check_beyond(loop, index, items, caller(sys._getframe(1)))
        self._end()

    def _pass_over(self, items: Iterator[T], index: int, target: int, loop: MainLoop) -> Iterator[T]:
        """Move an iterator on without the loop's body; what stands around it in the header gets the items to drop."""
        for at in range(index, target):
            try:
                item = next(items)
            except StopIteration:
                raise ReplayError(f"the loop {loop.loop!r} has only {at} iterations in the replay") from None
            if self._states.drop(loop, 1):
                yield item
        self._states.drop(loop, 0)

    def _iterate_whole(
        self, known: MainLoop | None, loop: str, entry: int, iterable: Iterable[T], enter: Callable[[int, T], None]
    ) -> Iterator[T]:
        """Run a loop as it was: nothing restores its end. One that the run died in ends the replay where it died."""
        if known is not None:
            self._states.start_iterating(self._route.any_of(known))
        for index, item in enumerate(iterable):
            if known is not None and _died_in(known, index):
                self._end()
            if known is not None and index:
                item = self._arrive(known, index, None, caller(sys._getframe(1)), item)
            self._send("executed", loop=loop, entry=entry, index=index)
            enter(index, item)
            yield item
            self._send("complete", loop=loop, entry=entry, index=index)
            self._values.flush()
        if known is not None:
            self._pass_exit(known, caller(sys._getframe(1)))

    def _enter_block(self, loop: str, entry: int, index: int) -> None:
        """A main loop's iteration that nothing hands out: it is run as it was, from the beginning of the script."""
        self._go_on()
        known = self._route.find(loop, entry)
        if known is None:
            return
        self._block = known, index
        station = self._route.station(known)
        if station is None:
            self._send("executed", loop=loop, entry=entry, index=index)
            return
        self._begun.add((loop, entry))
        if index > station.last:
            self._pass(known, station)
        self._begin(known, index)

    def _arrive(self, loop: MainLoop, index: int, restored: Checkpoint | None, frame: FrameType, item: Any) -> Any:
        """At a boundary: restore, or compare with the checkpoint that is there, or take one where there is none."""
        if restored is not None and restored.index == index:
            self._values.go_to(restored.seq)
            return self._states.restore_in_body(loop, restored, frame, item)
        known = self._route.checkpoint_at(loop, index)
        if known is not None:
            if not self._proved or self._states.has_time_to_compare():
                self._states.compare(frame, known, f"{loop.loop}={index}", item)
            self._proved = True
        elif index and (loop.loop, loop.entry) not in self._reached:
            self._states.offer(frame, loop, index, self._values.seq, item)
        return item

    def _begin(self, loop: MainLoop, index: int) -> None:
        self._jumping = False
        self._values.begin_iteration()
        self._current = loop, index
        self._send("executed", loop=loop.loop, entry=loop.entry, index=index)

    def _finish_iteration(self, loop: MainLoop, index: int) -> bool:
        """Report an iteration; whether it was cut short."""
        cut, self._jumping = self._jumping, False
        self._current = None
        self._values.flush()
        self._refuse_children()
        if not cut:
            self._send("complete", loop=loop.loop, entry=loop.entry, index=index)
        self._send("covered", loop=loop.loop, entry=loop.entry, index=index)
        return cut

    def _go_on(self) -> None:
        """If a wanted loop was left in an iteration, that one is done, and with it the loop."""
        if self._left is None:
            return
        loop, index = self._left
        self._left = None
        station = self._route.station(loop)
        if station is None or index < station.last:
            raise ReplayError(f"the loop {loop.loop!r} was left in iteration {index}, before the last wanted one")
        self._finish_iteration(loop, index)
        self._pass(loop, station)

    def _pass(self, loop: MainLoop, station: Station) -> None:
        """All that was wanted of a loop is done: the replay is, too, unless it goes on to the end of the script."""
        if not station.onward:
            self._end()
        if (loop.loop, loop.entry) not in self._passed:
            self._passed.add((loop.loop, loop.entry))
            self._values.flush()
            self._send("passed", loop=loop.loop, entry=loop.entry, at=time.time(), cpu_s=self._cpu_seconds())

    def _check_beyond(self, loop: MainLoop, index: int, items: Iterator[Any], frame: FrameType) -> None:
        """Compare the state behind the last wanted iteration with the checkpoint there, if there is one."""
        known = self._route.checkpoint_at(loop, index)
        if known is None and index < loop.iterations:
            return
        try:
            item = next(items)
        except StopIteration:
            self._pass_exit(loop, frame)
            return
        if known is not None:
            self._states.compare(frame, known, f"{loop.loop}={index}", item)

    def _pass_exit(self, loop: MainLoop, frame: FrameType) -> None:
        known = self._route.exit_of(loop)
        if known is not None:
            self._states.compare(frame, known, f"the end of {loop.loop}")

    def _end(self) -> NoReturn:
        self._values.flush()
        self._leave()


def _died_in(loop: MainLoop, index: int) -> bool:
    """Whether the run ended in a loop before this iteration."""
    return not loop.finished and index >= loop.iterations

"""Main loops: where their statements stand, how often and how long they ran, and their boundaries."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from time import monotonic
from time import time as clock
from types import CodeType, FrameType
from typing import TYPE_CHECKING, TypeVar

from logql import settings
from logql.model import MainLoop, Run
from logql.record import api, guard, identity, loading
from logql.record.blockplaces import find_block
from logql.record.checkpoints import Checkpointer
from logql.record.clock import process_age, work_time
from logql.record.flusher import Flusher
from logql.record.forloops import find_for_loop
from logql.record.framemark import FrameMark
from logql.record.places import Place
from logql.store.catalog import Catalog

if TYPE_CHECKING:
    from logql.record.api import Entry
    from logql.record.blocks import Block, Blocks
    from logql.state.prologue import Prologue

T = TypeVar("T")

#: Modules whose generators pass a loop's items on one by one, so that the `for` is in the frame around them.
_PASSING = ("tqdm", "rich", "alive_progress", "progressbar", "fastprogress")


class Main:
    """One execution of an outermost loop, as it goes."""

    def __init__(self, entry: Entry, ordinal: int, since: float, *, is_block: bool) -> None:
        self.is_block = is_block
        self.loop = entry[1]
        self.entry = entry[2]
        self.ordinal = ordinal
        self.iterations = 0
        self.finished = False
        #: when whatever came before ended, the first iteration began, and the last one ended; what checkpoints took of
        #: it: all by the clock of the thread that runs the loop, so that no other process's work counts
        self.thread = threading.get_native_id()
        self.since = since
        self.started_at = self.ended_at = work_time()
        self.stalled = 0.0
        #: seconds of loading modules up to then (see `record.loading`)
        self.loaded: float | None = None
        self.saved: MainLoop | None = None
        #: what others of the same time have counted of it already (see `Checkpointer.begin`)
        self.counted = 0.0
        #: the `for` statement: its code, the instruction that asks for the next item, and the frame that runs it; or
        #: the `with` statement of a block, how often it was reached, and what tells its frame from others
        self.place: Place | None = None
        self.code: CodeType | None = None
        self.instruction = -1
        self.frame_id = 0
        self.mark: FrameMark | None = None
        self.reached = 0
        #: what checkpoints need, for as long as the loop runs; the frame only while one is taken
        self.iterable: object = None
        self.alongside: tuple[object, ...] = ()
        self.prologue: Prologue | None = None
        self.frame: FrameType | None = None
        #: boundaries are of no interest before this time
        self.due = 0.0
        #: why no checkpoints are taken
        self.refused: str | None = None

    def start(self) -> None:
        """The first iteration begins."""
        self.started_at = self.ended_at = work_time()

    def forget(self) -> None:
        """Take no more checkpoints, and keep nothing for them."""
        self.due = float("inf")
        self.prologue = self.iterable = self.mark = None
        self.alongside = ()

    def touch(self) -> None:
        """Note that the loop ran until now."""
        self.ended_at = work_time(self.thread)


class MainLoops:
    """The main loops of one run, in the order of their beginning."""

    def __init__(
        self,
        run: Run,
        location: settings.Location,
        catalog: Catalog,
        ranks: identity.Ranks,
        flusher: Flusher,
        on_first: Callable[[], None],
    ) -> None:
        """`on_first` is called when the first loop begins."""
        self._run = run
        self._on_first = on_first
        self._project = location.project
        self._catalog = catalog
        self._writes = ranks.rank == 0
        self._loops: list[Main] = []
        self._last_end = _process_start()
        self._checkpointer = Checkpointer(run, location, catalog, ranks, flusher)

    def iterate(self, name: str, iterable: Iterable[T]) -> Iterator[T]:
        """Yield the items of an outermost loop, with a boundary before the body of each."""
        entry = api.begin_entry(name, api.RUN_CONTEXT)
        main = self._begin(entry, iterable, sys._getframe(1))
        key = entry[0] << api.INDEX_BITS
        try:
            for item in iterable:
                if monotonic() >= main.due:
                    self._checkpointer.boundary(main, sys._getframe(1), item, main.iterations)
                main.iterations += 1
                here = (key, entry, item if type(item) in api.PLAIN_ITEMS else api.plain_item(item))
                api.set_context(here)
                api.put((here, api.ENTER, 0.0, clock()))
                yield item
                key += 1
            self._end(main, sys._getframe(1), exhausted=True)
        except GeneratorExit:
            self._end(main, sys._getframe(1), exhausted=False)
            raise
        finally:
            if not main.finished:
                main.touch()
            main.finished = True
            main.forget()
            api.end_entry(entry)

    @property
    def loading(self) -> dict[str, object] | None:
        """What was loaded when the first loop began, and in which time; None as long as none has."""
        seconds = self._loops[0].loaded if self._loops else None
        return None if seconds is None else {"seconds": round(seconds, 4), "packages": loading.packages()}

    def leave_out(self, seconds: float) -> None:
        """Have what the recorder itself took before the next loop not count as the script's."""
        self._last_end += seconds

    def enter_block(self, block: Block, blocks: Blocks, frame: FrameType, item: object) -> None:
        """An iteration of a main loop that is made of blocks begins: `frame` runs the `with` statement."""
        main = block.main
        if main is None:
            main = block.main = self._begin_block(block.entry, frame)
        if main.mark is not None and frame.f_lasti == main.instruction:
            if not main.mark.is_on(frame):
                main.mark = None
                self._checkpointer.refuse(main, "its iterations go on in another call of its function")
            elif monotonic() >= main.due:
                notes = {"reached": main.reached, "loops": api.count_main_loops(), "blocks": blocks.positions()}
                self._checkpointer.boundary(main, frame, item, block.index, notes)
            main.reached += 1
        main.iterations += 1

    def save(self) -> None:
        """Bring the catalog's rows up to date with what changed."""
        for main in list(self._loops):
            if self._writes:
                self._save(main)

    def close(self) -> None:
        """Wait for checkpoints that are being written; loops still open end with the run."""
        for main in self._loops:
            if not main.finished and not main.is_block:
                main.touch()
            main.finished = True
        self._checkpointer.close()

    def abandon(self) -> None:
        """Take no checkpoints of loops that go on in a forked child: there is nobody to write them."""
        for main in self._loops:
            main.forget()

    def _begin(self, entry: Entry, iterable: object, frame: FrameType) -> Main:
        main = self._add(entry)
        caller: FrameType | None = frame
        while caller is not None and _is_passing(caller):
            caller = caller.f_back
        main.iterable = iterable
        self._note(main, caller, find_for_loop)
        return main

    def _begin_block(self, entry: Entry, frame: FrameType) -> Main:
        main = self._add(entry, is_block=True)
        self._note(main, frame, find_block)
        if main.prologue is not None:
            main.mark = FrameMark(frame, main.forget)
        return main

    def _note(self, main: Main, frame: FrameType | None, find: Callable[..., Place]) -> None:
        """Note the statement that runs a loop and what is there as it begins."""
        try:
            if frame is not None:
                main.code, main.instruction, main.frame_id = frame.f_code, frame.f_lasti, id(frame)
                place = find(frame.f_code, frame.f_lasti, self._project, frame)
                main.place, main.alongside = replace(place, alongside=()), place.alongside
                main.frame = frame
            self._checkpointer.begin(main, self._loops)
        except Exception as exc:
            main.due = float("inf")
            guard.failed("checkpoint", "no checkpoints are taken in this loop", exc)
        main.frame = None
        main.loaded = loading.seconds()

    def _add(self, entry: Entry, *, is_block: bool = False) -> Main:
        if not self._loops:
            self._on_first()
        main = Main(entry, len(self._loops), self._last_end, is_block=is_block)
        self._loops.append(main)
        return main

    def _end(self, main: Main, frame: FrameType, *, exhausted: bool) -> None:
        try:
            main.touch()
            main.finished = True
            self._last_end = main.ended_at
            self._checkpointer.exit(main, frame, exhausted)
            self._last_end = work_time()
        except Exception as exc:
            guard.failed("checkpoint", f"the loop {main.loop!r} has no checkpoint at its exit", exc)

    def _save(self, main: Main) -> None:
        place = main.place or Place(None, None, None, None)
        ended = main.ended_at if main.finished or main.is_block else work_time(main.thread)
        row = MainLoop(
            run=self._run.id,
            loop=main.loop,
            entry=main.entry,
            file=place.file,
            line=place.line,
            function=place.function,
            iterations=main.iterations,
            finished=main.finished,
            seconds=max(0.0, ended - main.started_at - main.stalled),
            setup_seconds=max(0.0, main.started_at - main.since),
            ordinal=main.ordinal,
        )
        if main.saved is not None and main.saved.finished and (main.saved.iterations == row.iterations):
            return
        try:
            self._catalog.put_main_loop(row)
            main.saved = row
        except Exception as exc:
            guard.failed("store", "the catalog lacks main loops", exc)


def _is_passing(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0] in _PASSING


def _process_start() -> float:
    """When this process began, as `work_time` of its main thread counts; now, where the system does not tell."""
    age = process_age()
    return work_time() if age is None else monotonic() - age

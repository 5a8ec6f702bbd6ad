"""The recorder of this process: opens a run at the first event, closes it at exit, and guards every public call."""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from logql import settings
from logql.record import api, arguments, guard, identity, loading, opens, processes
from logql.record.blocks import Blocks
from logql.record.clock import work_time
from logql.record.ending import ending
from logql.record.open_run import OpenRun, Wanted, open_run
from logql.record.processes import ChildRun
from logql.record.values import capture_tensor, convert, is_tensor

if TYPE_CHECKING:
    from logql.record.api import Entry

T = TypeVar("T")


class Recorder:
    """Implements `api.Recording` for a training process and its children."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._run: OpenRun | ChildRun | None = None
        self._parent: processes.Parent | None = processes.find_parent()
        self._blocks = Blocks()
        self._opened_runs = 0
        self._exited = False

    def open(self) -> None:
        """Open the run that the first event belongs to, or stop listening where nothing is to be recorded."""
        with self._lock:
            if self._run is None:
                self._open(None, (), explicit=False)

    def begin_run(self, name: str | None, tags: tuple[str, ...]) -> str | None:
        """Close the run under way, if any, and open another."""
        with self._lock:
            self.end_run(None)
            self._open(name, tags, explicit=True)
            return self._run.run.id if isinstance(self._run, OpenRun) else None

    def end_run(self, error: BaseException | None) -> None:
        """Close the run; the next event opens another."""
        with self._lock:
            run, self._run = self._run, None
            if isinstance(run, OpenRun):
                self._close(run, error)
                api.send_events_to(None)
                processes.untell_children()
            elif run is not None:
                self._run = run
                run.flush()

    def log_object(self, name: str, value: object) -> None:
        """Record a value that is no plain one."""
        try:
            plain = capture_tensor(value) if is_tensor(value) else convert(value)
            boxed = plain if type(plain) is float else (plain,)
            api.put((api.context(), name, boxed, time.time()))
        except Exception as exc:
            guard.failed(f"log {name}", f"a value of {name!r} is not recorded", exc)

    def arg(self, name: str, default: Any) -> Any:
        """The override of a hyper-parameter, else its default."""
        try:
            self.open()
            if isinstance(self._run, OpenRun):
                return self._run.arg(name, default)
            overrides = arguments.read_overrides()
            return arguments.override(name, overrides[name], default) if name in overrides else default
        except Exception as exc:
            guard.failed(f"arg {name}", f"the argument {name!r} is not recorded", exc)
            return default

    def iterate_main(self, name: str, iterable: Iterable[T]) -> Iterator[T]:
        """Iterate an outermost loop, with checkpoints where this process takes them."""
        run = self._opened()
        if run is None:
            return api._iterate(name, iterable, api.RUN_CONTEXT)
        return run.main_loops.iterate(name, iterable)

    def enter_iteration(self, name: str, index: object, value: object) -> tuple[Entry | None, object]:
        """Enter one iteration of a loop that is no iterable; the second is what the block's `as` gets."""
        item = index if value is None else value
        try:
            outer = api.context()
            run = self._opened() if outer is api.RUN_CONTEXT else None
            block = self._blocks.enter(name, index, outer)
            if run is not None:
                run.main_loops.enter_block(block, self._blocks, sys._getframe(2), item)
            here = (block.entry[0] << api.INDEX_BITS | block.index, block.entry, api.plain_item(item))
            api.set_context(here)
            api.put((here, api.ENTER, 0.0, time.time()))
            return block.entry, item
        except Exception as exc:
            guard.failed(f"iteration {name}", f"iterations of {name!r} are not recorded", exc)
            return None, item

    def leave_iteration(self, entry: Entry | None) -> None:
        """Go back to the context around an iteration."""
        if entry is None:
            return
        api.end_entry(entry)
        block = self._blocks.find(entry)
        if block is not None and block.main is not None:
            block.main.touch()

    def flush(self) -> None:
        """Return when everything logged so far is on disk."""
        try:
            if self._run is not None:
                self._run.flush()
        except Exception as exc:
            guard.failed("store", "what was logged may not have reached the disk", exc)

    def drain(self) -> None:
        """Hand what was logged to the operating system now, as the flusher does periodically."""
        if self._run is not None:
            self._run.flusher.drain()

    def _opened(self) -> OpenRun | None:
        if self._run is None and api.put is not api.discard:
            self.open()
        return self._run if isinstance(self._run, OpenRun) else None

    def _open(self, name: str | None, tags: tuple[str, ...], *, explicit: bool) -> None:
        began, loaded = work_time(), loading.seconds()
        replay = processes.find_replay()
        if replay is not None:
            api.send_events_to(lambda event: processes.note_name(replay, event))
            return
        try:
            with opens.Hidden():
                run = None if self._exited else self._make_run(name, tags, explicit)
            if run is None:
                api.send_events_to(api.discard)
                return
            self._blocks = Blocks()
            self._run = run
            run.start()
            processes.tell_children(run)
            ending.watch()
            if isinstance(run, OpenRun):
                run.main_loops.leave_out(work_time() - began)
                loading.set_back(loaded)
        except Exception as exc:
            self._run = None
            api.send_events_to(api.discard)
            guard.failed("store", "this run is not recorded", exc)

    def _make_run(self, name: str | None, tags: tuple[str, ...], explicit: bool) -> OpenRun | ChildRun | None:
        if self._parent is not None:
            return ChildRun(self._parent)
        script = identity.find_script() or (identity.stand_in_script() if explicit else None)
        if script is None:
            if not identity.has_main_file():
                guard.warn("no script", "nothing is recorded without a script file; `with logql.run():` asks for it")
            return None
        wanted = Wanted(script, settings.locate(script.directory), name, tags, before=self._opened_runs)
        self._opened_runs += 1
        return open_run(wanted)

    def _close(self, run: OpenRun, error: BaseException | None, *, note_exit_code: bool = False) -> None:
        try:
            if error is None:
                run.close("finished", None, note_exit_code=note_exit_code)
            else:
                run.close("failed", describe_error(error))
        except Exception as exc:
            guard.failed("store", "the end of the run is not recorded", exc)

    def at_exit(self) -> None:
        """Close what is open when the interpreter ends; nothing is recorded after that."""
        with self._lock:
            self._exited = True
            run, self._run = self._run, None
            if isinstance(run, OpenRun):
                self._close(run, ending.error(), note_exit_code=ending.is_unknown())
            elif run is not None:
                run.close()
            ending.forget()
            api.send_events_to(api.discard)

    def become_child(self) -> None:
        """After a fork: what the parent has not written yet is the parent's; this process gets a stream of its own."""
        self._lock = threading.RLock()
        run, self._run = self._run, None
        if run is not None:
            self._parent = processes.Parent.of(run)
            run.abandon()
            api.send_events_to(None)
        api.events.clear()


def describe_error(error: BaseException) -> str:
    """The last line of a traceback."""
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


recorder = Recorder()
atexit.register(recorder.at_exit)
os.register_at_fork(after_in_child=recorder.become_child)

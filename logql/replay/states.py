"""The state of the replayed program: restored at boundaries, compared with the record, digested for purity."""

from __future__ import annotations

import contextlib
import functools
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from types import FrameType
from typing import Any

from logql.errors import ReplayError
from logql.model import Checkpoint, MainLoop
from logql.record import api, opens
from logql.replay.sources import Sources, loop_key
from logql.replay.spec import WorkerSpec
from logql.replay.untouched import Untouched
from logql.state.digest import compare
from logql.state.injected import Injected
from logql.state.iterables import reachable_iterable
from logql.state.prologue import Prologue
from logql.state.restore import Bindings, Loaded, load, restore
from logql.state.roots import NO_ITEM, Roots, collect, random_roots
from logql.state.save import Refused, Saved, save
from logql.store.blobs import Blobs

#: A checkpoint that a replay adds must have saved this many times its own cost since the last one.
_WORTH = 20.0
_LEAST_S = 1.0
#: Of the checkpoints that a replay passes, so many are compared that it takes this much CPU time, and this share of it.
_COMPARING_S = 2.0
_COMPARING_SHARE = 0.2


class _Runtime(Injected):
    """Also tells when the code right behind a main loop is reached and has nothing to restore."""

    def __init__(self, states: ProgramStates) -> None:
        super().__init__()
        self._states = states

    def pending(self, key: str, place: str) -> bool:
        found = super().pending(key, place)
        if place == "exit" and not found:
            self._states.on_exit(sys._getframe(1))
        return found


@dataclass(frozen=True)
class _Begun:
    """What was there when a main loop began; for one of blocks, also the frame and instruction of its statement."""

    prologue: Prologue
    frame: FrameType | None = None
    instruction: int = -1


class ProgramStates:
    """States of one program at the boundaries of its main loops; one loop at a time."""

    def __init__(self, spec: WorkerSpec, sources: Sources, spool: str, send: Callable[..., None]) -> None:
        self._spec = spec
        self._sources = sources
        self._blobs = Blobs(spec.store)
        self._spool = Blobs(spool)
        self._send = send
        self._runtime = _Runtime(self)
        self._untouched = Untouched(lambda text: send("unproved", text=text))
        #: told when the code behind a main loop is reached
        self.on_exit: Callable[[FrameType], None] = lambda _: None
        #: told before a state is restored, and when it is
        self.on_restore: Callable[[Checkpoint], None] = lambda _: None
        self.on_restored: Callable[[], None] = lambda: None
        self._frame: FrameType | None = None
        self._begun: dict[tuple[str, int], _Begun] = {}
        self._iterable: object = None
        self._loaded: dict[str, Loaded] = {}
        self._offering = True
        self._cost = 0.0
        self._comparing = 0.0
        self._since = time.monotonic()

    def install(self) -> None:
        """Make restoring statements find us."""
        self._runtime.install()

    def begin_loop(self, place: tuple[str, int], frame: FrameType, iterable: object) -> None:
        """Note what is there before `iter()` of a main loop's iterable; the loop before it has ended."""
        self._frame = frame
        self._iterable = reachable_iterable(iterable)
        self._begun = {one: begun for one, begun in self._begun.items() if begun.frame is not None}
        self._begun[place] = _Begun(self._prologue(frame))
        self._since = time.monotonic()

    def begin_block(self, loop: MainLoop, frame: FrameType) -> None:
        """Note what is there before the first block of a main loop of blocks, whose end nobody sees."""
        self._frame = frame
        self._iterable = None
        self._begun[loop.loop, loop.entry] = _Begun(self._prologue(frame), frame, frame.f_lasti)

    def is_at(self, loop: MainLoop, frame: FrameType) -> bool:
        """Whether the statement of a main loop of blocks is reached where it was at its first block."""
        begun = self._begun[loop.loop, loop.entry]
        return begun.frame is frame and begun.instruction == frame.f_lasti

    def notes_of(self, checkpoint: Checkpoint) -> Mapping[str, Any]:
        """What the recorder noted with a checkpoint."""
        with self._restoring():
            return self._load(checkpoint).notes

    def drop(self, loop: MainLoop, count: int) -> bool:
        """Have the next `count` items left out that come to the `for` of a loop; False where they do not pass us."""
        key = loop_key(loop)
        if self._runtime.has_steps(key):
            self._runtime.drop(key, count)
        return self._runtime.has_steps(key)

    def start_iterating(self, checkpoint: Checkpoint | None) -> None:
        """Right before `iter()`, or the first block: give the random generators the states that they had there."""
        if checkpoint is not None:
            with self._restoring():
                self._load(checkpoint).set_random_states(self._prologue_of(checkpoint))

    def restore_in_body(self, loop: MainLoop, checkpoint: Checkpoint, frame: FrameType, item: Any) -> Any:
        """Restore the state before the body of an iteration; returns the item that the loop is to yield."""
        _, bindings = self._restore(checkpoint, frame)
        self._runtime.arm(loop_key(loop), "body", bindings)
        self._since = time.monotonic()
        return bindings.item if bindings.has_item else item

    def restore_at_exit(self, loop: MainLoop, checkpoint: Checkpoint, frame: FrameType) -> None:
        """Restore the state behind a loop; the generator is then to end without an item."""
        loaded, bindings = self._restore(checkpoint, frame)
        self._runtime.arm(loop_key(loop), "exit", bindings, exhausted=loaded.exhausted)

    def _restore(self, checkpoint: Checkpoint, frame: FrameType) -> tuple[Loaded, Bindings]:
        self.on_restore(checkpoint)
        with self._restoring():
            loaded = self._load(checkpoint)
            bindings = restore(loaded, self._collect(frame), self._prologue_of(checkpoint))
        self.on_restored()
        return loaded, bindings

    @contextlib.contextmanager
    def _restoring(self) -> Iterator[None]:
        """Tell that a checkpoint is of no use here: the segment can still be replayed from the beginning."""
        try:
            yield
        except Exception as exc:
            self._send("unrestorable", text=f"{type(exc).__name__}: {exc}")
            raise

    def has_time_to_compare(self) -> bool:
        """Whether comparisons took little enough of this process: what differs at one boundary shows at the next."""
        return self._comparing < _COMPARING_S + _COMPARING_SHARE * time.process_time()

    def compare(self, frame: FrameType, checkpoint: Checkpoint, where: str, *item: object) -> None:
        """Compare the state here with a recorded one, and tell."""
        began = time.process_time()
        try:
            self._compare(frame, checkpoint, where, *item)
        finally:
            self._comparing += time.process_time() - began

    def _compare(self, frame: FrameType, checkpoint: Checkpoint, where: str, *item: object) -> None:
        saved = self._save(checkpoint, frame, *item)
        if isinstance(saved, Refused):
            self._send("note", text=f"the state at {where} could not be compared: {saved.path}: {saved.reason}")
            return
        found = compare(saved, self._load(checkpoint), self._spec.rtol, self._spec.atol)
        agreement = "equal" if found.equal else "close" if found.close else "far"
        self._send("digest", agreement=agreement, path=found.path, compared=found.compared, where=where)

    def offer(self, frame: FrameType, loop: MainLoop, index: int, seq: int, item: object) -> None:
        """Take a checkpoint where none is, if it has become worth it."""
        waited = time.monotonic() - self._since
        if not self._offering or loop.line is None or waited < max(_LEAST_S, _WORTH * self._cost):
            return
        began = time.monotonic()
        saved = self._save(loop, frame, item)
        if isinstance(saved, Refused):
            self._offering = False
            return
        manifest, size = saved.write(self._spool)
        self._cost = time.monotonic() - began
        self._since = time.monotonic()
        made = Checkpoint(
            run=loop.run,
            rank=0,
            loop=loop.loop,
            entry=loop.entry,
            index=index,
            seq=seq,
            manifest=manifest,
            bytes=size,
            seconds=self._cost,
            by="replay",
            taken_at=time.time(),
        )
        self._send("checkpoint", checkpoint=asdict(made))

    def digest(self, frame: FrameType, names: Collection[str]) -> Callable[[], str | None] | None:
        """Note the state that statements in `frame` can reach; the result tells what they changed in it.

        It is seen from `frame` and from the main loop's frame, where variables live that `frame` no longer needs.
        """
        frames = [frame] if self._frame is None or self._frame is frame else [frame, self._frame]
        return self._untouched.begin([functools.partial(self._collect, one) for one in frames], names)

    def _save(self, place: Checkpoint | MainLoop, frame: FrameType, *item: object) -> Saved | Refused:
        with opens.Hidden():
            return save(self._collect(frame, *item), self._prologue_of(place))

    def _collect(self, frame: FrameType, *item: object) -> Roots:
        given = item[0] if item else NO_ITEM
        roots = collect(frame, self._spec.project, api.named_state, iterable=self._iterable, item=given)
        inserted = self._sources.inserted_names
        roots.roots = [root for root in roots.roots if root.variable not in inserted]
        roots.names = [name for name in roots.names if name not in inserted]
        return roots

    def _prologue(self, frame: FrameType) -> Prologue:
        """What is there as a loop begins. GPUs are woken, whose random generators a checkpoint may know by then."""
        roots = self._collect(frame)
        torch: Any = sys.modules.get("torch")
        if torch is not None and self._spec.run.environment.get("accelerators") and torch.cuda.is_available():
            torch.cuda.init()
            known = {root.name for root in roots.roots}
            roots.roots += [root for root in random_roots(every_device=True) if root.name not in known]
        return Prologue(roots, keep=True)

    def _prologue_of(self, place: Checkpoint | MainLoop) -> Prologue:
        begun = self._begun.get((place.loop, place.entry))
        if begun is None:
            raise ReplayError(f"the loop {place.loop!r} has not begun")
        return begun.prologue

    def _load(self, checkpoint: Checkpoint) -> Loaded:
        """The state of a checkpoint; only the latest is kept in memory."""
        manifest = checkpoint.manifest or ""
        if manifest not in self._loaded:
            self._loaded.clear()
            self._loaded[manifest] = load(self._blobs, manifest)
        return self._loaded[manifest]

"""Gives a replayed script the files that its run read, as they were then, at the paths where it opens them.

They are placed in the replay's private view: at the start, after a jump over main-loop iterations, and right before
each open. What a file held is looked up by the event that the replay has come to, and how often it was opened since.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from typing import NoReturn, Protocol

from logql.errors import Error
from logql.model import Input, Run, inputs_of
from logql.replay.spec import WorkerSpec
from logql.store.blobs import Blobs

#: Where links to files of today wait that the run itself wrote, below the segment's scratch directory.
OWN = "own"

#: Time and size of a file, None where there is none.
_Look = tuple[int, int] | None


class Fail(Protocol):
    """Ends the replay; where a state was restored, one from the beginning may still do."""

    def __call__(self, text: str, *, restored: bool) -> NoReturn: ...


class PlacedInputs:
    """The inputs of one run in one replay; `seq` tells the number of the next event."""

    def __init__(self, spec: WorkerSpec, seq: Callable[[], int], fail: Fail) -> None:
        self._project = os.path.join(os.path.realpath(spec.project), "")
        self._blobs = Blobs(spec.store)
        self._fail = fail
        self._seq = seq
        self._own = os.path.join(spec.scratch, OWN)
        self._inputs = by_path(spec.run)
        #: what was put at each path, and how often each was opened since the last event
        self._placed: dict[str, str | None] = {}
        self._opened: dict[str, tuple[int, int]] = {}
        #: the times and sizes with which files were found; what differs since is what the replay itself wrote
        self._found: dict[str, _Look] = {}
        self._restored = False
        self._placing = False

    def arrive(self, seq: int, moment: float) -> None:
        """Have the files there that the run would find at event `seq`, which happened at the time `moment`."""
        self._reveal(moment)
        for read in self._inputs.values():
            coming = next((one for one in read if one.seq >= seq), None)
            if coming is not None and coming.mtime_ns / 1e9 <= moment:
                self._place(coming)
        self._look_at_all()

    def arrived(self) -> None:
        """A state is restored: what changes from now on is what the script writes."""
        self._look_at_all()
        self._restored = True

    def opened(self, name: str) -> None:
        """The script is about to open a file for reading."""
        if self._placing or not self._inputs:
            return
        path = os.path.realpath(name)
        read = self._inputs.get(path[len(self._project) :]) if path.startswith(self._project) else None
        if read is None:
            return
        here = self._seq()
        seq, earlier = self._opened.get(path, (here, 0))
        earlier = earlier if seq == here else 0
        self._opened[path] = here, earlier + 1
        known = [one for one in read if (one.seq, one.earlier) <= (here, earlier)]
        if known:
            self._have(path, known[-1])

    def _have(self, path: str, wanted: Input) -> None:
        """Have a file there as it was, or end the replay; what was not kept may be what the replay itself wrote."""
        if wanted.digest is None and not _is_there(path, wanted) and not self._was_written(path):
            text = f"{wanted.path}, which the run read, was not kept and has changed: {wanted.reason}"
            self._fail(text, restored=self._restored)
        try:
            if wanted.digest is not None:
                self._place(wanted)
        except (Error, OSError) as exc:
            text = f"{wanted.path}, which the run read, cannot be put in its place: {exc}"
            self._fail(text, restored=self._restored)

    def _look_at_all(self) -> None:
        self._found = {path: _look(path) for path in (os.path.join(self._project, one) for one in self._inputs)}

    def _was_written(self, path: str) -> bool:
        """Whether the replay wrote a file since it arrived here."""
        now = _look(path)
        return now is not None and now != self._found.get(path)

    def _place(self, wanted: Input) -> None:
        """Write the content that a file had, with its time; an empty one stands for what was not kept."""
        path = os.path.join(self._project, wanted.path)
        if _is_there(path, wanted) and self._placed.get(path, wanted.digest) == wanted.digest:
            return
        self._placing = True
        self._placed[path] = wanted.digest
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            if os.path.islink(path):
                os.unlink(path)
            with open(path, "wb") as file:  # in place: the script may have it open for appending
                file.write(b"" if wanted.digest is None else self._blobs.get(wanted.digest))
            os.utime(path, ns=(wanted.mtime_ns, wanted.mtime_ns))
            self._found[path] = _look(path)
        finally:
            self._placing = False

    def _reveal(self, moment: float) -> None:
        """Show files of today that the run itself had finished writing by then."""
        for directory, _, names in os.walk(self._own):
            for name in names:
                kept = os.path.join(directory, name)
                path = os.path.join(self._project, os.path.relpath(kept, self._own))
                if os.stat(kept).st_mtime <= moment and not os.path.exists(path):
                    os.makedirs(os.path.dirname(path), exist_ok=True)
                    shutil.copy2(kept, path)


def by_path(run: Run) -> dict[str, list[Input]]:
    """A run's inputs by path, each in the order of reading."""
    found: dict[str, list[Input]] = {}
    for one in inputs_of(run):
        found.setdefault(one.path, []).append(one)
    return found


def _is_there(path: str, wanted: Input) -> bool:
    return _look(path) == (wanted.mtime_ns, wanted.size)


def _look(path: str) -> _Look:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size

"""Gives a replayed script the files that its run read, as they were then, at the paths where it opens them.

They are placed in the replay's private view: at the start, after a jump over main-loop iterations, and right before
each open. What a file held is looked up by the event that the replay has come to.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from typing import NoReturn

from logql.errors import Error
from logql.model import Input, Run, inputs_of, training_since
from logql.replay.spec import WorkerSpec
from logql.store.blobs import Blobs

#: Where links to files of today wait that the run itself wrote, below the segment's scratch directory.
OWN = "own"


class PlacedInputs:
    """The inputs of one run in one replay; `seq` tells the number of the next event, `fail` ends the replay."""

    def __init__(self, spec: WorkerSpec, seq: Callable[[], int], fail: Callable[[str], NoReturn]) -> None:
        self._project = os.path.join(os.path.realpath(spec.project), "")
        self._blobs = Blobs(spec.store)
        self._fail = fail
        self._seq = seq
        self._own = os.path.join(spec.scratch, OWN)
        self._inputs = by_path(spec.run)
        self._since = training_since(spec.run) or 0.0
        self._placing = False

    def arrive(self, seq: int, moment: float) -> None:
        """Have the files there that the run would find at event `seq`, which happened at the time `moment`."""
        self._reveal(moment)
        for read in self._inputs.values():
            coming = next((one for one in read if one.seq >= seq), None)
            if coming is not None and coming.mtime_ns / 1e9 <= moment:
                self._place(coming)

    def opened(self, name: str) -> None:
        """The script is about to open a file for reading."""
        if self._placing or not self._inputs:
            return
        path = os.path.realpath(name)
        read = self._inputs.get(path[len(self._project) :]) if path.startswith(self._project) else None
        known = [one for one in read or () if one.seq <= self._seq()]
        if known:
            self._have(known[-1])

    def _have(self, wanted: Input) -> None:
        """Have a file there as it was, or end the replay; what the run itself wrote, the replay may have, too."""
        if wanted.digest is None and wanted.mtime_ns / 1e9 >= self._since:
            return
        if wanted.digest is None and not _is_there(os.path.join(self._project, wanted.path), wanted):
            self._fail(f"{wanted.path}, which the run read, was not kept and has changed: {wanted.reason}")
        try:
            self._place(wanted)
        except (Error, OSError) as exc:
            self._fail(f"{wanted.path}, which the run read, cannot be put in its place: {exc}")

    def _place(self, wanted: Input) -> None:
        """Write the content that a file had, with its time; an empty one stands for what was not kept."""
        path = os.path.join(self._project, wanted.path)
        if _is_there(path, wanted):
            return
        self._placing = True
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            if os.path.islink(path):
                os.unlink(path)
            with open(path, "wb") as file:  # in place: the script may have it open for appending
                file.write(b"" if wanted.digest is None else self._blobs.get(wanted.digest))
            os.utime(path, ns=(wanted.mtime_ns, wanted.mtime_ns))
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
    try:
        status = os.stat(path)
    except OSError:
        return False
    return (status.st_mtime_ns, status.st_size) == (wanted.mtime_ns, wanted.size)

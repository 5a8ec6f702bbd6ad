"""Two queries that want the same cells at once: one replays, the other waits for it."""

from __future__ import annotations

import os.path
import time
from collections.abc import Iterable
from dataclasses import replace

from logql.model import Fill, Segment
from logql.replay.job import Job, claim_of
from logql.store.catalog import Catalog
from logql.store.liveness import Lock, hold_claims

_RETRY_S = 0.3


class Waiting:
    """A job whose cells others are filling."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.next_look = time.monotonic() + _RETRY_S


class Claims:
    """Claims of one pool on cells, kept in the catalog as running fills.

    They count as long as a lock on a file is held, which the system drops when this process dies.
    """

    def __init__(self, store: str) -> None:
        self._store = store
        self._catalog: Catalog | None = None
        self._lock: Lock | None = None
        self._held: dict[str, Job] = {}
        with Catalog.open(store) as catalog:
            self._made = catalog.change_counter()

    def take(self, job: Job) -> bool:
        """Claim a job's cells; False, and nothing claimed, where others hold some of them."""
        if self._lock is None:
            self._lock = hold_claims(self._store)
        for one in job.each:
            self._held[one.id] = one
            if self._open().claim(claim_of(one), os.path.basename(self._lock.path)):
                self.release_all(job, "another query fills these cells")
                return False
        return True

    def is_own(self, job: Job) -> bool:
        """Whether another job of this pool has taken some of the same cells: to wait for oneself has no end."""
        return any(_share_cells(one.segment, other.segment) for one in job.each for other in self._held.values())

    def release_all(self, job: Job, reason: str) -> None:
        """Give back the claims of a job and of those along its way."""
        for one in [one for one in job.each if one.id in self._held]:
            self.release(one, reason)

    def release(self, job: Job, reason: str) -> None:
        """Give a claim back; cells are missing again until somebody fills them."""
        self._held.pop(job.id, None)
        claim = claim_of(job)
        self._open().put_fill(
            replace(claim, state="cancelled", first_index=None, last_index=None, covered=None, error=reason)
        )

    def over(self, waiting: Waiting) -> bool:
        """Whether the others are done; asks the catalog a few times a second only."""
        if time.monotonic() < waiting.next_look:
            return False
        waiting.next_look = time.monotonic() + _RETRY_S
        free = self.take(waiting.job)
        if free:
            self.release_all(waiting.job, "another query filled these cells")
        return free

    def settled(self, job: Job) -> bool:
        """Whether others have filled all of a job's cells, or failed to, since this pool was made."""
        return all(self._settled(one) for one in job.each)

    def _settled(self, job: Job) -> bool:
        segment = job.segment
        place = segment.run, segment.loop, segment.entry
        left = set(segment.wanted)
        for fill in self._open().fills_since(self._made, segment.run):
            if fill.state not in ("done", "failed"):
                continue
            if (fill.run, fill.loop, fill.entry) == place and segment.names.items() <= fill.names.items():
                left.difference_update(_covered(fill))
                if not left:
                    return True
        return False

    def close(self) -> None:
        """Give back claims on what nobody wrote a fill for, and close the catalog; a later call opens it again."""
        if self._held:
            running = self._open().running_fills()
            for job in [job for job in self._held.values() if job.id in running]:
                self.release(job, "its result was not kept")
            self._held.clear()
        if self._catalog is not None:
            self._catalog.close()
            self._catalog = None
        if self._lock is not None:
            self._lock.release(unlink=True)
            self._lock = None

    def _open(self) -> Catalog:
        if self._catalog is None:
            self._catalog = Catalog.open(self._store)
        return self._catalog


def _share_cells(one: Segment, other: Segment) -> bool:
    if (one.run, one.loop, one.entry) != (other.run, other.loop, other.entry):
        return False
    return bool(one.names.keys() & other.names.keys()) and (one.loop is None or bool({*one.wanted} & {*other.wanted}))


def _covered(fill: Fill) -> Iterable[int]:
    if fill.covered is not None or fill.first_index is None or fill.last_index is None:
        return fill.covered or ()
    return range(fill.first_index, fill.last_index + 1)

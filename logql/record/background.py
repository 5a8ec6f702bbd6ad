"""A thread for work that the training need not wait for."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable


class Background:
    """One thread that does one job after another, started when first needed; `pending` counts what is not done."""

    def __init__(self, name: str, most: int) -> None:
        self._name = name
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._slots = threading.Semaphore(most)
        self.pending = 0

    def put(self, job: Callable[[], None]) -> None:
        """Do `job`, which must not raise, on the thread; waits while too many others are pending."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()
        self._slots.acquire()
        self.pending += 1
        self._jobs.put(job)

    def close(self) -> None:
        """Return when all jobs are done."""
        if self._thread is not None:
            self._jobs.put(None)
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                job()
            finally:
                self.pending -= 1
                self._slots.release()

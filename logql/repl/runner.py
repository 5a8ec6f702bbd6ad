"""Runs statements on a thread of their own, so that Ctrl-C is heard, progress drawn and questions asked meanwhile."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar, cast

from logql.errors import Interrupted

T = TypeVar("T")
#: Seconds after which the waiting thread looks again whether it was interrupted.
_POLL_S = 0.2
_CANCELLED = "the query was cancelled; what was filled is kept"


@dataclass
class _Done(Generic[T]):
    value: T | None = None
    error: BaseException | None = None


@dataclass
class _Question:
    subject: object
    answer: queue.SimpleQueue[bool] = field(default_factory=queue.SimpleQueue)


class Runner:
    """Runs one call at a time; `report` and `ask` are what the running call uses, from its own thread.

    `on_report` and `on_question` run on the thread that waits. `interrupt` makes the call end soon.
    """

    def __init__(
        self,
        interrupt: Callable[[], None],
        on_report: Callable[[object], None],
        on_question: Callable[[object], bool],
    ) -> None:
        self._interrupt = interrupt
        self._on_report = on_report
        self._on_question = on_question
        self._cancelled = threading.Event()
        self._inbox: queue.SimpleQueue[object] = queue.SimpleQueue()

    def run(self, call: Callable[[], T]) -> T:
        """The value of `call()`, or its error; Interrupted after Ctrl-C."""
        self._cancelled.clear()
        inbox: queue.SimpleQueue[object] = queue.SimpleQueue()
        self._inbox = inbox
        threading.Thread(target=_work, args=(call, inbox), name="logql-statement", daemon=True).start()
        while True:
            try:
                event = inbox.get(timeout=_POLL_S)
                if isinstance(event, _Done):
                    return self._finish(cast("_Done[T]", event))
                self._handle(event)
            except queue.Empty:
                if self._cancelled.is_set():
                    self._interrupt()
            except KeyboardInterrupt:
                self._cancelled.set()
                self._interrupt()

    def report(self, event: object) -> None:
        """Pass an event on. Raises Interrupted once the call was cancelled: a replay stops by that."""
        if self._cancelled.is_set():
            raise Interrupted(_CANCELLED)
        self._inbox.put(event)

    def ask(self, subject: object) -> bool:
        """Ask the person and wait for the answer."""
        question = _Question(subject)
        self._inbox.put(question)
        answer = question.answer.get()
        if self._cancelled.is_set():
            raise Interrupted(_CANCELLED)
        return answer

    def _handle(self, event: object) -> None:
        if not isinstance(event, _Question):
            self._on_report(event)
            return
        answer = False
        try:
            answer = self._on_question(event.subject)
        except KeyboardInterrupt:
            self._cancelled.set()
        finally:
            event.answer.put(answer)

    def _finish(self, done: _Done[T]) -> T:
        if done.error is None:
            return cast("T", done.value)
        if self._cancelled.is_set():
            raise Interrupted(_CANCELLED) from done.error
        raise done.error


def _work(call: Callable[[], T], inbox: queue.SimpleQueue[object]) -> None:
    """Make the call and put what came of it into the inbox."""
    done: _Done[T] = _Done()
    try:
        done.value = call()
    except BaseException as error:
        done.error = error
    inbox.put(done)

"""Statements on a thread of their own: values, errors, reports, questions, and Ctrl-C by a real signal."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from logql.errors import Interrupted, ProgrammingError
from logql.repl.runner import Runner


def ignore(_: object) -> None:
    """For events that a test does not look at."""


def yes(_: object) -> bool:
    return True


def interrupt_soon() -> None:
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()


def test_values_and_errors() -> None:
    runner = Runner(lambda: None, ignore, yes)
    assert runner.run(lambda: 42) == 42
    with pytest.raises(ProgrammingError, match="wrong"):
        runner.run(fail)


def fail() -> None:
    raise ProgrammingError("wrong")


def test_reports_come_in_order_on_the_waiting_thread() -> None:
    seen: list[tuple[object, bool]] = []
    main = threading.main_thread()
    runner = Runner(lambda: None, lambda event: seen.append((event, threading.current_thread() is main)), yes)
    runner.run(lambda: [runner.report(i) for i in range(3)])
    assert seen == [(0, True), (1, True), (2, True)]


def test_questions_are_answered() -> None:
    runner = Runner(lambda: None, ignore, lambda subject: subject == "easy")
    assert runner.run(lambda: (runner.ask("easy"), runner.ask("hard"))) == (True, False)


def test_ctrl_c_interrupts_what_hears_it() -> None:
    heard = threading.Event()
    runner = Runner(heard.set, ignore, yes)
    interrupt_soon()
    with pytest.raises(Interrupted):
        runner.run(lambda: heard.wait(20) and fail())
    assert runner.run(lambda: "next") == "next"


def test_ctrl_c_stops_what_reports() -> None:
    runner = Runner(lambda: None, ignore, yes)

    def work() -> None:
        for _ in range(400):
            runner.report("on the way")
            time.sleep(0.05)

    interrupt_soon()
    started = time.monotonic()
    with pytest.raises(Interrupted):
        runner.run(work)
    assert time.monotonic() - started < 10


def test_ctrl_c_at_a_question_cancels() -> None:
    def ask(_: object) -> bool:
        raise KeyboardInterrupt

    runner = Runner(lambda: None, ignore, ask)
    with pytest.raises(Interrupted):
        runner.run(lambda: runner.ask("really?"))

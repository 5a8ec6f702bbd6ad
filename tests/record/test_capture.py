"""Captured output: each line once, with its context; the terminal shows what it would have shown."""

from __future__ import annotations

from pathlib import Path

from tests.record.running import read_lines, record, run_python, write_script


def fields(store: Path) -> list[tuple[str, str | None, str | None, str]]:
    return [(line.stream, line.logger, line.level, line.text) for line in read_lines(store)]


SCRIPT = """
    import logging, sys
    {head}
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    log = logging.getLogger("train")
    {loop}
        print("epoch", epoch)
        print("half ", end="")
        print("line")
        log.info("acc %d", epoch)
        log.debug("hidden")
        sys.stderr.write("warn\\nmore\\n")
        for i in range(5):
            sys.stderr.write(f"\\r{{i}}/5")
        sys.stderr.write("\\n")
        sys.stdout.buffer.write(b"")
    print("no end", end="")
    """


def test_lines_have_contexts_and_the_terminal_is_the_same(tmp_path: Path) -> None:
    with_logql = SCRIPT.format(head="import logql", loop="for epoch in logql.loop('epoch', range(2)):")
    done = record(tmp_path, with_logql)
    write_script(tmp_path, SCRIPT.format(head="", loop="for epoch in range(2):"), "plain.py")
    plain = run_python(tmp_path, "plain.py")
    assert (done.stdout, done.stderr) == (plain.stdout, plain.stderr)
    expected: list[tuple[str, str | None, str | None, str]] = []
    for epoch in range(2):
        expected += [
            ("stdout", None, None, f"epoch {epoch}"),
            ("stdout", None, None, "half line"),
            ("stderr", "train", "INFO", f"INFO acc {epoch}"),
            ("stderr", None, None, "warn"),
            ("stderr", None, None, "more"),
            ("stderr", None, None, "4/5"),
        ]
    assert fields(tmp_path / ".logql") == [*expected, ("stdout", None, None, "no end")]
    indices = [[step.index for step in line.path] for line in read_lines(tmp_path / ".logql")]
    assert indices == [[0]] * 6 + [[1]] * 6 + [[]]


def test_nested_progress_bars_leave_their_last_states(tmp_path: Path) -> None:
    record(
        tmp_path,
        """
        import sys, logql
        logql.log("x", 1)
        write = sys.stderr.write
        for epoch in range(2):
            write(f"\\repochs {epoch}/2")
            for step in range(3):
                write("\\n")
                write(f"\\rsteps {step}/3")
                write("\\x1b[A")
        write("\\repochs 2/2")
        write("\\n")
        print()
        """,
    )
    assert [text for *_, text in fields(tmp_path / ".logql")] == ["epochs 0/2", "epochs 1/2", "epochs 2/2", ""]


def test_records_that_no_stream_shows_are_recorded(tmp_path: Path) -> None:
    record(
        tmp_path,
        """
        import logging, logql
        logql.log("x", 1.0)
        log = logging.getLogger("quiet")
        log.propagate = False
        log.addHandler(logging.FileHandler("out.log"))
        log.error("only %s", "in a file")
        """,
    )
    assert fields(tmp_path / ".logql") == [("logging", "quiet", "ERROR", "only in a file")]


def test_capture_can_be_turned_off(tmp_path: Path) -> None:
    done = record(tmp_path, "import logql\nlogql.log('x', 1)\nprint('a')\n", env={"LOGQL_CAPTURE": "0"})
    assert done.stdout == "a\n"
    assert read_lines(tmp_path / ".logql") == []


def test_streams_stay_the_same_objects_and_are_given_back(tmp_path: Path) -> None:
    record(
        tmp_path,
        """
        import contextlib, io, logging, logql, sys
        out, handlers = sys.stdout, logging.Logger.callHandlers
        with logql.run():
            assert sys.stdout is out and not out.isatty()
            with contextlib.redirect_stdout(io.StringIO()) as hidden:
                print("hidden")
            assert hidden.getvalue() == "hidden\\n"
        assert "write" not in vars(out) and logging.Logger.callHandlers is handlers
        """,
    )
    assert read_lines(tmp_path / ".logql") == []


def test_what_is_kept_is_bounded(tmp_path: Path) -> None:
    done = record(
        tmp_path,
        """
        import logql
        from logql.record import capture
        capture.MAX_BYTES = 1000
        logql.log("x", 1)
        for i in range(100):
            print("x" * 100)
        """,
    )
    assert len(done.stdout) == 10_100
    assert done.stderr.count("logql:") == 1
    assert len(read_lines(tmp_path / ".logql")) == 10

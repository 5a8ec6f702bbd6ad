"""The process in which an old version's script runs again: made to look like the original, with a driver installed.

Standard library and the recorder's side of logql only: it may run in another interpreter than the engine's.
"""

from __future__ import annotations

import builtins
import os
import resource
import sys
import traceback
from types import ModuleType
from typing import NoReturn

from logql.errors import Error
from logql.record import opens
from logql.replay import namespaces
from logql.replay.clocks import mark_readings
from logql.replay.driver import ReplayDriver
from logql.replay.inputs import PlacedInputs
from logql.replay.opened import OpenedFiles
from logql.replay.sources import Sources
from logql.replay.spec import WorkerSpec
from logql.replay.states import ProgramStates
from logql.replay.trackers import silence_trackers
from logql.replay.wire import encode_frame, write_all

#: What ends an iteration; it is sent with what comes next at once, mostly the beginning of another.
_ENDING = frozenset(("complete", "covered", "events", "digest"))
_GATHER_BYTES = 1 << 16


class Channel:
    """Sends frames to the pool, in order; nothing is sent from processes that the script forked."""

    def __init__(self, descriptor: int, cpu_before: float = 0.0) -> None:
        self._descriptor = descriptor
        self._cpu_before = cpu_before
        self._pid = os.getpid()
        self._gathered = bytearray()

    def send(self, kind: str, **fields: object) -> None:
        """Send one frame, an iteration's end with the frame that follows."""
        if os.getpid() != self._pid:
            return
        self._gathered += encode_frame(kind, **fields)
        if kind not in _ENDING or len(self._gathered) >= _GATHER_BYTES:
            data, self._gathered = self._gathered, bytearray()
            write_all(self._descriptor, data)

    def cpu_seconds(self) -> float:
        """What this replay has used of CPUs so far: its start, this process, and children that have ended."""
        used = [resource.getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return self._cpu_before + sum(one.ru_utime + one.ru_stime for one in used)


def run(spec: WorkerSpec, results: int, spool: str, cpu_before: float) -> int:
    """Replay the segment; the exit code is 0 where everything wanted was done. Checkpoints are left in `spool`.

    `cpu_before` counts the CPU seconds of this process's start, to tell what the whole segment took.
    """
    channel = Channel(results, cpu_before)
    try:
        script = os.path.normpath(os.path.join(spec.project, spec.run.script))
        if spec.isolation == "weak":
            from logql.replay import private_copy, redirect  # load what only copies need

            private_copy.refuse_writes_outside([spec.scratch])
            redirect.redirect_files(spec.origin, spec.project, spec.store)
        sources = Sources(spec)
        sources.install()
        silence_trackers()
        mark_readings(spec.project)
        _resemble(spec, script)
        states = ProgramStates(spec, sources, spool, channel.send)
        own = frozenset(os.path.join(spec.project, path) for path in spec.files)
        opened = OpenedFiles(spec.run, own, spec.store)
        driver = ReplayDriver(spec, states, channel.send, lambda: leave(channel, opened), channel.cpu_seconds)
        _watch_opens(spec, states, driver, opened, channel)
    except (Error, OSError) as exc:
        channel.send("error", text=exc.message if isinstance(exc, Error) else str(exc))
        return 1
    code = _execute(spec, script, sources, driver, channel)
    if code == 0:
        leave(channel, opened)
    return code


def _watch_opens(
    spec: WorkerSpec, states: ProgramStates, driver: ReplayDriver, opened: OpenedFiles, channel: Channel
) -> None:
    """Put what the run read in its place, now and whenever the script gets on; note what it opens."""

    def fail(text: str, *, restored: bool) -> NoReturn:
        if restored:
            channel.send("unrestorable", text=text)
        channel.send("error", text=text)
        os._exit(1)

    inputs = PlacedInputs(spec, lambda: driver.seq, fail)
    inputs.arrive(0, spec.run.started_at)
    states.on_restore = lambda checkpoint: inputs.arrive(checkpoint.seq, checkpoint.taken_at)
    states.on_restored = inputs.arrived

    def see(path: str, _: float, writes: bool) -> None:
        if not writes:
            inputs.opened(path)
            opened.note(path)

    opens.watch()
    opens.send_to(see)


def _execute(spec: WorkerSpec, script: str, sources: Sources, driver: ReplayDriver, channel: Channel) -> int:
    try:
        module = spec.run.environment.get("module")
        main = _fresh_main(script, is_module=isinstance(module, str))
        driver.install()
        if isinstance(module, str):
            _run_module(module)
        else:
            exec(sources.compile_main(script), main.__dict__)
    except SystemExit as exc:
        return _ended(driver, channel, f"the script exited ({exc.code!r})")
    except BaseException as exc:
        if _failed_then(spec, exc):
            return _ended(driver, channel, "the script failed")
        text = explain(exc, sources)
        print(text, file=sys.stderr, flush=True)
        places = traceback.walk_tb(exc.__traceback__)
        placed = any(sources.is_placed(frame.f_code.co_filename, line) for frame, line in places)
        channel.send("error", text=text, placed=placed)
        return 1
    return _ended(driver, channel, "the script ended")


def _failed_then(spec: WorkerSpec, exc: BaseException) -> bool:
    """Whether the original run ended with the same error: the replay then came as far as it did."""
    return spec.run.status == "failed" and type(exc).__name__ in (spec.run.error or "")


def _ended(driver: ReplayDriver, channel: Channel, how: str) -> int:
    """The script ran to its end: right where code outside of main loops was wanted."""
    reason = driver.ended(how)
    if reason is None:
        return 0
    channel.send("error", text=reason)
    return 1


def leave(channel: Channel, opened: OpenedFiles) -> NoReturn:
    """End this process at once, with everything that it printed in the log; exit handlers do not run."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            continue
    namespaces.flush_c_output()
    changed = opened.changed()
    channel.send("done", cpu_s=channel.cpu_seconds(), changed=changed)
    os._exit(0)


def explain(exc: BaseException, sources: Sources) -> str:
    """The traceback as far as it is the user's, with the lines of the version's own source."""
    shown = traceback.TracebackException.from_exception(exc, limit=None)
    own = [frame for frame in shown.stack if not frame.filename.startswith((_ENGINE, "<frozen "))]
    lines = ["Traceback (most recent call last):\n"] if own else []
    for frame in own:
        name, line = sources.own_place(frame.filename, frame.lineno or 0)
        lines.append(f'  File "{name}", line {line}, in {frame.name}\n')
        if frame.line:
            lines.append(f"    {frame.line.strip()}\n")
    lines += list(shown.format_exception_only())
    return "".join(lines).rstrip()


_ENGINE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


def _resemble(spec: WorkerSpec, script: str) -> None:
    """Arguments, directory and import path as the original process had them."""
    argv = list(spec.run.argv) or [script]
    sys.argv = [_moved(spec, argv[0]), *argv[1:]] if spec.project != spec.origin else argv
    os.chdir(_moved(spec, spec.run.cwd))
    recorded = spec.run.environment.get("path0")
    first = recorded if isinstance(recorded, str) else os.path.dirname(script)
    while sys.path and sys.path[0] in ("", _ROOT):
        del sys.path[0]
    sys.path[:] = [_moved(spec, path) for path in sys.path]
    sys.path.insert(0, _moved(spec, first))
    if _ROOT not in sys.path:
        sys.path.append(_ROOT)
    sys.dont_write_bytecode = True
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]


_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def _moved(spec: WorkerSpec, path: str) -> str:
    """A path of the original process where the project is now; relative ones and those elsewhere stay."""
    for root in (spec.run.project, os.path.realpath(spec.run.project), spec.origin):
        if path == root or path.startswith(root + os.sep):
            return os.path.join(spec.project, os.path.relpath(path, root)) if path != root else spec.project
    return path


def _run_module(module: str) -> None:
    """What the interpreter does for `python -m`, so that the callers of the module's code are the same."""
    import runpy

    runpy._run_module_as_main(module, alter_argv=True)  # type: ignore[attr-defined]


def _fresh_main(script: str, *, is_module: bool) -> ModuleType:
    """`__main__` as the interpreter makes it before it runs anything in it."""
    from importlib.machinery import SourceFileLoader

    main = sys.modules["__main__"]
    main.__dict__.clear()
    main.__dict__.update(
        __name__="__main__",
        __doc__=None,
        __package__=None,
        __loader__=None if is_module else SourceFileLoader("__main__", script),
        __spec__=None,
        __annotations__={},
        __builtins__=builtins,
    )
    if not is_module:
        main.__dict__.update(__file__=script, __cached__=None)
    return main

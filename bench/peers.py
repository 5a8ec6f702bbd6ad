"""What a logged value costs in other trackers, each in a process of its own; `bench/record.py --peers PYTHON` runs it.

    PYTHON bench/peers.py TOOL [COUNT]

prints microseconds per value as JSON: of the wall clock until the last call returned, and of the CPU (all threads and
child processes, the closing of the run included). A tool that is not installed ends with exit code 3.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
#: Logs one value: (value, step).
Log = Callable[[float, int], object]


@contextmanager
def floor() -> Iterator[Log]:
    """A function that appends name, value and clock to a list."""
    rows: list[tuple[str, float, float]] = []
    append, clock = rows.append, time.time

    def log(value: float, step: int) -> None:  # noqa: ARG001
        append(("loss", value, clock()))

    yield log


@contextmanager
def logql() -> Iterator[Log]:
    """An iteration of a loop, and a value in it."""
    sys.path.insert(0, str(ROOT))
    import logql as engine

    with engine.run():
        steps = iter(engine.loop("step", range(1 << 40)))

        def log(value: float, step: int) -> None:  # noqa: ARG001
            next(steps)
            engine.log("loss", value)

        yield log


@contextmanager
def tensorboardX() -> Iterator[Log]:  # noqa: N802
    from tensorboardX import SummaryWriter

    with SummaryWriter("tb") as writer:
        yield lambda value, step: writer.add_scalar("loss", value, step)


@contextmanager
def mlflow() -> Iterator[Log]:
    """In batches of 1,000, to its SQLite store."""
    import mlflow as tracker
    from mlflow.entities import Metric

    tracker.set_tracking_uri("sqlite:///mlflow.db")
    client, pending = tracker.MlflowClient(), []
    with tracker.start_run() as run:

        def flush() -> None:
            client.log_batch(run.info.run_id, metrics=pending)
            pending.clear()

        def log(value: float, step: int) -> None:
            pending.append(Metric("loss", value, int(time.time() * 1000), step))
            if len(pending) == 1000:
                flush()

        yield log
        flush()


@contextmanager
def trackio() -> Iterator[Log]:
    os.environ["TRACKIO_DIR"] = os.getcwd()
    import trackio as tracker

    tracker.init(project="bench")
    yield lambda value, step: tracker.log({"loss": value}, step=step)
    tracker.finish()


@contextmanager
def aim() -> Iterator[Log]:
    from aim import Run

    run = Run(repo=".", capture_terminal_logs=False, system_tracking_interval=None)
    yield lambda value, step: run.track(value, name="loss", step=step)
    run.close()


@contextmanager
def wandb() -> Iterator[Log]:
    os.environ |= {"WANDB_MODE": "offline", "WANDB_SILENT": "true"}
    import wandb as tracker

    run = tracker.init(project="bench")
    yield lambda value, step: run.log({"loss": value}, step=step)
    run.finish()


@contextmanager
def flordb() -> Iterator[Log]:
    """In a loop of its own, as that is how its values get their step; it wants a git repository."""
    commit = ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "a"]
    for arguments in (["init", "-q"], commit):
        subprocess.run(["git", *arguments], check=True)
    import flordb as flor

    steps: Any = iter(flor.loop("step", range(1 << 40)))

    def log(value: float, step: int) -> None:  # noqa: ARG001
        next(steps)
        flor.log("loss", value)

    yield log
    flor.commit()


TOOLS: dict[str, Callable[[], AbstractContextManager[Log]]] = {
    "floor": floor,
    "logql": logql,
    "trackio": trackio,
    "tensorboardX": tensorboardX,
    "mlflow": mlflow,
    "wandb": wandb,
    "aim": aim,
    "flordb": flordb,
}


def cpu_seconds() -> float:
    """Of this process and of the children that have ended."""
    used = [resource.getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def count_for(tool: str) -> int:
    """Values to log: so many that what closing a run costs once hardly counts, where a value costs next to nothing."""
    return 1_000_000 if tool in ("floor", "logql") else 20_000


def measure(tool: str, count: int) -> dict[str, float]:
    """Microseconds per value; the run is open, and a thousand values are logged, before the clocks start."""
    with contextlib.ExitStack() as stack:
        log = stack.enter_context(TOOLS[tool]())
        for step in range(1000):
            log(0.5, step)
        cpu, wall = cpu_seconds(), time.perf_counter()
        for step in range(1000, 1000 + count):
            log(0.25 * step, step)
        wall = time.perf_counter() - wall
    return {"wall_us": wall / count * 1e6, "cpu_us": (cpu_seconds() - cpu) / count * 1e6}


def main() -> int:
    """Measure one tool in an empty directory."""
    tool, count = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else count_for(sys.argv[1])
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as directory:
        os.chdir(directory)
        try:
            with contextlib.redirect_stdout(sys.stderr):
                found = measure(tool, count)
        except ImportError as exc:
            print(exc, file=sys.stderr)
            return 3
        finally:
            os.chdir("/")
    print(json.dumps(found), flush=True)
    os._exit(0)  # some do more at exit, in a directory that is gone


if __name__ == "__main__":
    sys.exit(main())

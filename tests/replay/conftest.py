"""A real project, recorded by real processes, and replays of it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from logql.model import Logged, Segment
from logql.replay import cleaning
from logql.replay.job import Job, Options, Result
from logql.replay.pool import LocalPool
from logql.store import snapshot
from logql.store.catalog import Catalog
from logql.versions import history

ROOT = str(Path(__file__).parents[2])
Edit = Callable[[str], str]


@dataclass
class Project:
    """A directory with a script, in git, with a store beside it."""

    path: Path
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def store(self) -> str:
        return str(self.path / ".logql")

    def write(self, name: str, text: str) -> None:
        target = self.path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def commit(self, message: str = "change") -> None:
        for command in (["add", "-A"], ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", message]):
            subprocess.run(["git", *command], cwd=self.path, check=True, capture_output=True)

    def run(self, *arguments: str, cwd: str = "", check: bool = True, every: int | None = 1, **extra: str) -> str:
        """Run a script as a user would; returns what it printed."""
        environment = {**os.environ, "PYTHONPATH": ROOT, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        environment |= {"LOGQL_STRICT": "0", **self.environment, **extra}
        if every is not None:
            environment["LOGQL_CHECKPOINT_EVERY"] = str(every)
        done = subprocess.run(
            [sys.executable, *(arguments or ("train.py",))],
            cwd=self.path / cwd,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0 or not check, done.stderr
        return done.stdout + done.stderr

    def job(
        self,
        edit: Edit | None,
        names: Sequence[str],
        wanted: Sequence[int],
        *,
        file: str = "train.py",
        loop: str | None = "epoch",
        entry: int = 0,
        once: bool = False,
        run: int = -1,
        timeout_s: float = 60.0,
    ) -> Job:
        """A job over the sources of a recorded run, edited as propagation would."""
        with Catalog.open(self.store) as catalog:
            found = catalog.runs()[run]
            version = next(one for one in catalog.versions() if one.id == found.version)
            loops, checkpoints = catalog.main_loops(found.id), catalog.checkpoints(found.id)
        source = history.read_files(self.store, found.project, version)[file]
        files = {} if edit is None else {file: edit(source)}
        assert edit is None or files[file] != source
        segment = Segment(found.id, version.id, loop, entry, tuple(wanted), dict.fromkeys(names, "print"))
        recorded = frozenset[str]()
        return Job(
            segment, found, version, tuple(loops), tuple(checkpoints), files, once, recorded, timeout_s=timeout_s
        )

    def replay(self, *jobs: Job, options: Options | None = None) -> list[Result]:
        """The results in the order of the jobs, after those of what each has along its way."""
        pool = LocalPool(self.store, str(self.path), options or Options())
        for job in jobs:
            pool.submit(job)
        found = {item.id: item for item in pool.results() if isinstance(item, Result)}
        cleaning.wait()
        return [found[one.id] for job in jobs for one in job.each]

    def log(self, result: Result) -> str:
        return Path(self.store, result.log).read_text()

    def without_checkpoints(self, job: Job) -> Job:
        return replace(job, checkpoints=())


def after(line: str, *inserted: str) -> Edit:
    """Insert lines behind the one that holds `line`, at its indentation."""

    def edit(source: str) -> str:
        lines = source.splitlines(keepends=True)
        at = next(number for number, text in enumerate(lines) if line in text)
        indent = lines[at][: len(lines[at]) - len(lines[at].lstrip())]
        return "".join([*lines[: at + 1], *(f"{indent}{one}\n" for one in inserted), *lines[at + 1 :]])

    return edit


def before(line: str, *inserted: str) -> Edit:
    """Insert lines above the one that holds `line`, at its indentation."""

    def edit(source: str) -> str:
        lines = source.splitlines(keepends=True)
        at = next(number for number, text in enumerate(lines) if line in text)
        indent = lines[at][: len(lines[at]) - len(lines[at].lstrip())]
        return "".join([*lines[:at], *(f"{indent}{one}\n" for one in inserted), *lines[at:]])

    return edit


def values(events: Sequence[Logged], name: str) -> dict[tuple[int, ...], object]:
    """Values of a name by the indices of their contexts."""
    return {tuple(step.index for step in event.path): event.value for event in events if event.name == name}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """An empty project in a fresh git repository."""
    path = tmp_path / "project"
    path.mkdir()
    subprocess.run(["git", "init", "-q", str(path)], check=True, capture_output=True)
    (path / ".gitignore").write_text("data/\nout/\n")
    return Project(path)


@pytest.fixture(autouse=True)
def _close_readers() -> object:
    yield
    snapshot.forget()

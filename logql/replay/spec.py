"""The order that a worker process reads: a job with the paths, limits and modes that its pool decided on, as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, is_dataclass
from typing import Any

from logql.model import Checkpoint, MainLoop, Run, Segment
from logql.replay.job import Isolation


@dataclass(frozen=True)
class WorkerSpec:
    """What a worker needs to know. Paths are absolute, but for `patched` and `hidden`, which are in the project.

    `root` is the checkout of the version's own files, `project` the directory that the script sees as its project:
    the real one under a private view, a copy in weak isolation; `origin` is always the real one. `along` holds segments
    of main loops to do on the way, where `segment` is what is outside of them.
    """

    segment: Segment
    run: Run
    loops: tuple[MainLoop, ...]
    checkpoints: tuple[Checkpoint, ...]
    once: bool
    store: str
    scratch: str
    root: str
    project: str
    origin: str
    isolation: Isolation
    patched: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    memory_bytes: int | None = None
    disk_bytes: int | None = None
    max_tasks: int = 16384
    prove: bool = False
    rtol: float = 1e-3
    atol: float = 1e-5
    environment: Mapping[str, str] = field(default_factory=dict)
    along: tuple[Segment, ...] = ()

    @property
    def names(self) -> frozenset[str]:
        """The names wanted anywhere."""
        return frozenset(name for segment in (*self.along, self.segment) for name in segment.names)

    def to_json(self) -> str:
        """Text that `from_json` reads; a run's environment travels only as far as a worker needs it."""
        return json.dumps(vars(self), default=_plain)

    @classmethod
    def from_json(cls, text: str) -> WorkerSpec:
        """The order written by `to_json`."""
        data = json.loads(text)
        data["segment"] = _segment(data["segment"])
        data["along"] = tuple(map(_segment, data["along"]))
        data["run"] = _run(data["run"])
        data["loops"] = tuple(MainLoop(**one) for one in data["loops"])
        data["checkpoints"] = tuple(Checkpoint(**one) for one in data["checkpoints"])
        for name in ("patched", "files", "hidden"):
            data[name] = tuple(data[name])
        return cls(**data)


def _plain(value: object) -> object:
    """A dataclass by its fields, without the copies that `asdict` makes; whatever else JSON lacks by its text."""
    return vars(value) if is_dataclass(value) else str(value)


def _segment(data: dict[str, Any]) -> Segment:
    return Segment(**{**data, "wanted": tuple(data["wanted"])})


def _run(data: dict[str, Any]) -> Run:
    return Run(**{**data, "argv": tuple(data["argv"]), "tags": tuple(data["tags"])})

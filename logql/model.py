"""The words of logql as types: contexts, events, runs, segments, fills. Knows no engine, no git, no file format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

#: Names of a context's loops from the outside in; () is the run itself.
Level = tuple[str, ...]

RUN_LEVEL: Level = ()
#: The level of captured lines; no loop can have this name (it is not a level of contexts).
OUTPUT_LEVEL = "output"

#: Columns of `logs` that every row has, whatever was logged.
SYSTEM_COLUMNS = ("run", "version", "rank", "ts", "script", "status", "name")

#: What else a row of `runs` tells of its run. An arg called like one of these, or like a system column, gets a `_`.
RUN_COLUMNS = (
    "argv", "started_at", "ended_at", "duration_s", "host", "user", "python", "tags", "error", "comment",
)  # fmt: skip

Fidelity = Literal["exact", "close", "diverged", "unchecked", "impure"]
RunStatus = Literal["running", "finished", "failed", "killed"]


def level_text(level: Level) -> str:
    """`epoch.step` for ("epoch", "step"), `run` for ()."""
    return ".".join(level) if level else "run"


class Step(NamedTuple):
    """One stage of a context's path: the `index`-th iteration (0-based) of the `entry`-th execution of a loop."""

    loop: str
    entry: int
    index: int  # type: ignore[assignment]  # hides tuple.index, which no path needs


#: A context is the path of its steps from the run (the empty path) inwards.
Path = tuple[Step, ...]


class Enter(NamedTuple):
    """An iteration began. `item` is the loop's item where it is an int, str, bool or date, else None."""

    path: Path
    item: object
    seq: int
    ts: float


class Logged(NamedTuple):
    """A value was logged in the context `path`. `sub` orders hindsight values behind the recorded event `seq`."""

    path: Path
    name: str
    value: object
    seq: int
    sub: int
    ts: float


class Line(NamedTuple):
    """A line that the script printed or sent to `logging`, in the context `path`."""

    path: Path
    stream: str
    logger: str | None
    level: str | None
    text: str
    seq: int
    ts: float


Event = Enter | Logged | Line


@dataclass(frozen=True)
class Version:
    """The exact code that ran. `id` is the 12 first hex digits of `commit`; `dirty` means a snapshot, not HEAD."""

    id: str
    commit: str
    parents: tuple[str, ...] = ()
    branch: str | None = None
    author: str | None = None
    message: str | None = None
    committed_at: float | None = None
    dirty: bool = False
    ordinal: int = 0


@dataclass(frozen=True)
class Run:
    """One execution of a version, as the catalog knows it. Times are seconds since the epoch, UTC."""

    id: str
    version: str
    script: str
    argv: tuple[str, ...]
    status: RunStatus
    started_at: float
    project: str
    cwd: str
    key: int = 0
    name: str | None = None
    ended_at: float | None = None
    host: str | None = None
    user: str | None = None
    pid: int | None = None
    python: str | None = None
    tags: tuple[str, ...] = ()
    error: str | None = None
    ranks: int = 1
    args: Mapping[str, object] = field(default_factory=dict)
    #: environment, thread counts, hardware, packages, interpreter: what the numbers depend on
    environment: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Input:
    """A file that a run opened for reading and that a training had written; `path` is relative to the project.

    It had these bytes (the blob `digest`) from the event `seq` on, until the next one with that path; `earlier` counts
    how often it was opened before that within `seq`. `digest` is None where they were not kept; `reason` says why.
    """

    path: str
    seq: int
    size: int
    mtime_ns: int
    digest: str | None = None
    reason: str | None = None
    earlier: int = 0


def inputs_of(run: Run) -> list[Input]:
    """What the recorder kept of a run's inputs, in the order of reading."""
    found = run.environment.get("inputs")
    return [Input(*row) for row in found] if isinstance(found, (list, tuple)) else []


def training_since(run: Run) -> float | None:
    """When the run's first main loop began; None where there was none (yet)."""
    found = run.environment.get("training_since")
    return float(found) if isinstance(found, (int, float)) else None


def process_since(run: Run) -> float:
    """When the run's process began; when the run did, where that is not known."""
    found = run.environment.get("process_since")
    return float(found) if isinstance(found, (int, float)) else run.started_at


@dataclass(frozen=True)
class MainLoop:
    """One execution of an outermost loop of a run.

    `line` is that of its statement (a `for`, or an `iteration`'s `with`) in `file` (relative to the project) of the
    version's own source, or None where the loop cannot be entered anew (a comprehension). `iterations` counts the
    begun ones; `first_seq` and `last_seq` bound its events. `seconds` is the time spent in all of them,
    `setup_seconds` that from the start of the process (or the previous loop's end) to the first iteration: both
    without waiting for a processor, opening the run and taking checkpoints, as a replay on an idle machine takes them.
    """

    run: str
    loop: str
    entry: int
    file: str | None
    line: int | None
    function: str | None
    iterations: int
    finished: bool
    seconds: float
    setup_seconds: float
    ordinal: int = 0


@dataclass(frozen=True)
class Checkpoint:
    """State before the body of iteration `index` of a main loop, or at its exit (`index` is None).

    `manifest` names a content-addressed blob, or is None where no checkpoint could be taken: then `reason` says why.
    `seq` is the run's event counter there, so that a replay goes on counting where the run was.
    """

    run: str
    rank: int
    loop: str
    entry: int
    index: int | None
    seq: int
    manifest: str | None
    bytes: int
    seconds: float
    reason: str | None = None
    by: Literal["training", "replay"] = "training"
    taken_at: float = 0.0


@dataclass(frozen=True)
class Shape:
    """What a run logged where: per level its names with their types (DuckDB's names of types), and where repeats are.

    `repeats` holds, per level, the names that some context of that level logged more than once.
    `loops` holds the type of each loop's item column. Runs of one script mostly share a shape.
    """

    levels: Mapping[Level, Mapping[str, str]]
    loops: Mapping[str, str]
    repeats: Mapping[Level, frozenset[str]]
    ranks: int = 1


@dataclass(frozen=True)
class LogStatement:
    """A log statement in source: `name` is None for a pattern (f-string, loop over a dict)."""

    name: str | None
    file: str
    line: int
    end_line: int
    text: str


@dataclass(frozen=True)
class Placement:
    """Where a statement goes in an older source. `source` (or `files`) is None where it was refused; `reason` says why.

    `line` is that of the inserted statement in the new text of `file`. `levels` holds the static levels that its place
    can have (loops around it, through calls); `once` tells that it runs at most once per iteration of its level,
    `leads` that it does so before the loops in which that iteration does its work.
    `fingerprint` identifies the inserted text and its place (DESIGN section 2).
    """

    source: str | None
    reason: str | None
    confidence: float
    diff: str
    files: Mapping[str, str] | None = None
    file: str | None = None
    line: int | None = None
    fingerprint: str | None = None
    levels: tuple[Level, ...] = ()
    once: bool = False
    leads: bool = False
    candidates: tuple[tuple[str, int], ...] = ()
    carried: tuple[str, ...] = ()


@dataclass(frozen=True)
class Segment:
    """Consecutive iterations of one main loop of one run, to be replayed from one checkpoint in one process.

    `wanted` holds the indices whose cells are demanded, ascending; `loop` is None for the code outside of main loops
    (the whole script is then passed, main loops through their exit checkpoints). `names` maps each wanted name to the
    fingerprint of its placement. `onward`: the process goes on to the end of the script, which serves the run's segment
    outside of main loops.
    """

    run: str
    version: str
    loop: str | None
    entry: int
    wanted: tuple[int, ...]
    names: Mapping[str, str]
    estimated_s: float = 0.0
    onward: bool = False


@dataclass(frozen=True)
class Fill:
    """A segment that was replayed, or failed: one row of `fills`, and the coverage of its cells."""

    id: str
    query: str
    run: str
    version: str
    names: Mapping[str, str]
    loop: str | None
    entry: int
    first_index: int | None
    last_index: int | None
    state: Literal["running", "done", "failed", "cancelled"]
    executed: int = 0
    compared: int = 0
    estimated_s: float = 0.0
    actual_s: float = 0.0
    fidelity: Fidelity | None = None
    error: str | None = None
    log: str | None = None
    started_at: float = 0.0
    #: indices really covered, where the segment has gaps; None means first_index..last_index
    covered: tuple[int, ...] | None = None
    #: levels at which each name was logged in the replay
    levels: Mapping[str, tuple[Level, ...]] = field(default_factory=dict)

    @property
    def failure(self) -> str | None:
        """`error` in one line: of a traceback, what was raised, and where."""
        if self.error is None or not self.error.startswith("Traceback "):
            return self.error.strip().partition("\n")[0] if self.error else self.error
        lines = self.error.splitlines()
        frames = [number for number, line in enumerate(lines) if line.startswith('  File "')] or [0]
        raised = next((line for line in lines[frames[-1] + 1 :] if not line.startswith(" ")), lines[-1])
        place = lines[frames[-1]].removeprefix('  File "').partition(", in ")[0].replace('", line ', ":")
        return f"{raised} ({place})"

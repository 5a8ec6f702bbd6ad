"""Histories from the traces of tests/data/rows.md, as snapshots of Arrow tables."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pyarrow as pa

from logql.model import Enter, Event, Fill, Logged, MainLoop, Path, Run, Shape, Step, Version
from logql.store import parquet
from logql.store.levels import Builder, build, shape_of
from logql.store.shapes import merge_shapes
from logql.store.snapshot import Piece, Snapshot


@dataclass
class Trace:
    """What one run did: events per rank, args, main loops."""

    run: str = "A"
    version: str = ""
    status: str = "finished"
    args: dict[str, object] = field(default_factory=dict)
    events: dict[int, list[Event]] = field(default_factory=lambda: {0: []})

    @property
    def main_loops(self) -> list[MainLoop]:
        """One per entry of an outermost loop."""
        counts: dict[tuple[str, int], int] = {}
        for events in self.events.values():
            for event in events:
                if isinstance(event, Enter) and len(event.path) == 1:
                    step = event.path[0]
                    counts[step.loop, step.entry] = max(counts.get((step.loop, step.entry), 0), step.index + 1)
        return [
            MainLoop(self.run, loop, entry, "train.py", 1, None, count, True, 1.0, 0.1, number)
            for number, ((loop, entry), count) in enumerate(counts.items())
        ]


_LOOP = re.compile(r"(\S+) (\d+)(?: entry (\d+))?$")
_VALUE = re.compile(r"(\S+) = (.+)$")


def parse_traces(text: str) -> list[Trace]:
    """Traces in the notation of rows.md."""
    traces: list[Trace] = []
    trace, rank, seq = Trace(), 0, 0
    started = False
    stack: list[tuple[int, Path]] = []
    for line in text.splitlines():
        if not line.strip():
            continue
        indent, body = len(line) - len(line.lstrip()), line.strip()
        if body.startswith("run ") and "=" not in body:
            if started:
                traces.append(trace)
            trace, rank, seq, stack = Trace(body[4:]), 0, 0, []
            started = True
            continue
        started = True
        if body.startswith("rank ") and "=" not in body:
            rank, seq, stack = int(body[5:]), 0, []
            trace.events.setdefault(rank, [])
            continue
        while stack and stack[-1][0] >= indent:
            stack.pop()
        path = stack[-1][1] if stack else ()
        if body.startswith("arg "):
            name, value = body[4:].split(" = ")
            trace.args[name] = _value(value)
            continue
        loop, logged = _LOOP.match(body), _VALUE.match(body)
        if loop:
            path = (*path, Step(loop[1], int(loop[3] or 0), int(loop[2])))
            stack.append((indent, path))
            trace.events[rank].append(Enter(path, int(loop[2]), seq, seq + 1.0))
        elif logged:
            trace.events[rank].append(Logged(path, logged[1], _value(logged[2]), seq, 0, seq + 1.0))
        else:
            raise ValueError(body)
        seq += 1
    return [*traces, trace]


def _value(text: str) -> object:
    if text == "None":
        return None
    return float(text) if "." in text else int(text)


def snapshot_of(traces: Iterable[Trace], fills: Iterable[tuple[Fill, list[Logged]]] = (), counter: int = 1) -> Snapshot:
    """A snapshot in which all rows are Arrow tables."""
    levels: dict[str, list[Piece]] = {}
    runs: list[Run] = []
    loops: list[MainLoop] = []
    shapes: dict[str, Shape] = {}
    versions: dict[str, Version] = {}
    for number, trace in enumerate(traces):
        version = trace.version or f"v{trace.run}"
        versions.setdefault(version, Version(version, version * 3, ordinal=len(versions)))
        found = []
        for rank, events in trace.events.items():
            tables = build(trace.run, version, rank, events)
            found.append(shape_of(tables))
            for level, table in tables.items():
                levels.setdefault(level, []).append(piece(level, table))
        shapes[trace.run] = merge_shapes(found, len(found))
        loops += trace.main_loops
        runs.append(
            Run(trace.run, version, "train.py", (), trace.status, 1000.0 + number, "/p", "/p", number + 1,  # type: ignore[arg-type]
                ranks=len(trace.events), args=trace.args, ended_at=2000.0)
        )  # fmt: skip
    hindsight: dict[str, list[Piece]] = {}
    kept = []
    for fill, events_ in fills:
        kept.append(fill)
        for level, table in fill_tables(fill, events_, shapes[fill.run]).items():
            hindsight.setdefault(level, []).append(piece(level, table))
    return Snapshot(
        counter, tuple(versions.values()), tuple(runs), tuple(loops), (), tuple(kept),
        {level: tuple(pieces) for level, pieces in levels.items()},
        {level: tuple(pieces) for level, pieces in hindsight.items()}, shapes,
    )  # fmt: skip


def fill_tables(fill: Fill, events: list[Logged], shape: Shape) -> Mapping[str, pa.Table]:
    """Sidecar tables as store.fills makes them; events of names that the fill does not have are places."""
    builder = Builder(fill.run, fill.version, 0, sidecar=True, ordered=frozenset(shape.repeats))
    builder.add(event for event in events if event.name in fill.names)
    builder.add(event._replace(value=None) for event in events if event.name not in fill.names)
    found = {}
    for level, table in builder.tables().items():
        table = table.drop_columns(
            [name for name in builder.logged() if name in table.column_names and name not in fill.names]
        )
        found[level] = table.append_column("_fill", pa.array([fill.id] * table.num_rows, pa.string()))
    return found


def places_beside(events: Sequence[Logged], recorded: Sequence[Event]) -> list[Logged]:
    """Recorded values in contexts of `events` that log some name again: a replay tells where they stand."""
    relogged = [event for event in recorded if isinstance(event, Logged)]
    counts = Counter((one.path, one.name) for one in (*events, *relogged))
    often = {path for (path, _), count in counts.items() if count > 1} & {one.path for one in events}
    return [one for one in relogged if one.path in often]


def piece(level: str, table: pa.Table) -> Piece:
    """An Arrow table as a piece."""
    return Piece(level, None, table, parquet.schema_of(table), table.num_rows, (0, 0))


def renamed(trace: Trace, run: str, version: str) -> Trace:
    """The same trace as another run."""
    return replace(trace, run=run, version=version)

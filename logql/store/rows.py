"""Rows of the catalog as the types of `logql.model`, and back."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from logql.errors import CorruptFile
from logql.model import Checkpoint, Fill, Level, MainLoop, Run, Shape, Version
from logql.store import types

Row = tuple[Any, ...]
_T = TypeVar("_T")

VERSION_COLUMNS = "id, commit_id, parents, branch, author, message, committed_at, dirty, ordinal"
RUN_COLUMNS = (
    "id, version, script, argv, status, started_at, project, cwd, key, name, ended_at, host, user, pid, python, tags, "
    "error, ranks, args, environment"
)
LOOP_COLUMNS = "run, loop, entry, file, line, function, iterations, finished, seconds, setup_seconds, ordinal"
CHECKPOINT_COLUMNS = "run, rank, loop, entry, idx, seq, manifest, bytes, seconds, reason, by_, taken_at"
FILL_COLUMNS = (
    "id, query, run, version, names, loop, entry, first_index, last_index, state, executed, compared, estimated_s, "
    "actual_s, fidelity, error, log, started_at, covered, levels"
)

#: Index of the checkpoint at a loop's exit, in the table.
EXIT = -1
#: Values of an environment whose JSON is longer than this are kept once for all runs that share them.
SHARED_FROM = 200


class Texts:
    """Decodes JSON texts, each distinct one once; its results are shared and not to be changed."""

    def __init__(self) -> None:
        self._shared: dict[int, str] = {}
        self.decoded: Mapping[str, Any] = (decoded := _Remembered(json.loads))
        self.strings: Mapping[str, tuple[str, ...]] = _Remembered(lambda text: tuple(self.decoded[text]))
        self.environments: Mapping[str, Mapping[str, object]] = _Remembered(self._environment)
        self._decoded = decoded

    def learn(self, texts: Iterable[tuple[int, str]]) -> None:
        """Take note of rows of the table `texts`."""
        self._shared.update(texts)

    def known(self) -> int:
        """Highest id of a text that was learned."""
        return max(self._shared, default=0)

    def text(self, key: int) -> str:
        return self._shared[key]

    def decode_all(self, texts: Iterable[str]) -> None:
        """Decode many texts at once, in half the time."""
        new = [text for text in dict.fromkeys(texts) if text not in self._decoded]
        with contextlib.suppress(ValueError):  # what is no JSON is told where it is asked for
            values = json.loads(f"[{','.join(new)}]")
            if len(values) == len(new):
                self._decoded.update(zip(new, values, strict=True))

    def _environment(self, text: str) -> Mapping[str, object]:
        packed = self.decoded[text]
        return {**packed["own"], **{name: self.decoded[self._shared[id_]] for name, id_ in packed["shared"].items()}}


class _Remembered(dict[str, _T]):
    """What a function makes of texts, each once."""

    def __init__(self, make: Callable[[str], _T]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, text: str) -> _T:
        found = self[text] = self._make(text)
        return found


def to_json(value: object) -> str:
    """JSON text of `value`; what JSON cannot hold becomes its text."""
    return json.dumps(value, ensure_ascii=False, default=str)


def version_from(row: Row, texts: Texts) -> Version:
    id_, commit, parents, branch, author, message, committed_at, dirty, ordinal = row
    return Version(id_, commit, texts.strings[parents], branch, author, message, committed_at, bool(dirty), ordinal)


def version_row(version: Version) -> dict[str, object]:
    return {
        "id": version.id,
        "ordinal": version.ordinal,
        "commit_id": version.commit,
        "parents": to_json(version.parents),
        "branch": version.branch,
        "author": version.author,
        "message": version.message,
        "committed_at": version.committed_at,
        "dirty": int(version.dirty),
    }


_RUN_FIELDS = tuple(RUN_COLUMNS.split(", "))


def run_from(row: Row, texts: Texts) -> Run:
    return runs_from([row], texts)[0]


def runs_from(found: Sequence[Row], texts: Texts) -> list[Run]:
    """Many runs at once; columns behind those of a run are passed over.

    One dictionary display a run: opening a store of 10,000 runs is mostly this loop.
    """
    for name in ("argv", "args"):
        place = _RUN_FIELDS.index(name)
        texts.decode_all([row[place] for row in found])
    strings, decoded, environments = texts.strings, texts.decoded, texts.environments
    return [
        _made(
            Run,
            {
                "id": id_, "version": version, "script": script, "argv": strings[argv], "status": status,
                "started_at": started_at, "project": project, "cwd": cwd, "key": key, "name": name,
                "ended_at": ended_at, "host": host, "user": user, "pid": pid, "python": python,
                "tags": strings[tags], "error": error, "ranks": ranks, "args": decoded[args],
                "environment": environments[environment],
            },
        )
        for id_, version, script, argv, status, started_at, project, cwd, key, name, ended_at, host, user, pid, python,
            tags, error, ranks, args, environment, *_ in found
    ]  # fmt: skip


def _made(type_: type[_T], values: dict[str, Any]) -> _T:
    """An instance without its `__init__`: a frozen class's takes 5 us, which 10,000 runs would feel."""
    found = object.__new__(type_)
    object.__setattr__(found, "__dict__", values)
    return found


def run_row(run: Run) -> dict[str, object]:
    """All columns but the key and the environment, which `Catalog` packs."""
    row = {name: getattr(run, name) for name in _RUN_FIELDS if name not in ("key", "environment")}
    return {name: encode_run_value(name, value) for name, value in row.items()}


def encode_run_value(name: str, value: object) -> object:
    return to_json(value) if name in ("argv", "tags", "args") else value


_LOOP_FIELDS = tuple(LOOP_COLUMNS.split(", "))


def loop_from(row: Row) -> MainLoop:
    values = dict(zip(_LOOP_FIELDS, row, strict=True))
    values["finished"] = bool(values["finished"])
    return _made(MainLoop, values)


def loop_row(loop: MainLoop) -> dict[str, object]:
    row = {name: getattr(loop, name) for name in LOOP_COLUMNS.split(", ")}
    return {**row, "finished": int(loop.finished)}


_CHECKPOINT_FIELDS = tuple({"idx": "index", "by_": "by"}.get(name, name) for name in CHECKPOINT_COLUMNS.split(", "))


def checkpoint_from(row: Row) -> Checkpoint:
    values = dict(zip(_CHECKPOINT_FIELDS, row, strict=True))
    if values["index"] == EXIT:
        values["index"] = None
    return _made(Checkpoint, values)


def checkpoint_row(checkpoint: Checkpoint) -> dict[str, object]:
    index = EXIT if checkpoint.index is None else checkpoint.index
    own = {"idx": index, "by_": checkpoint.by}
    return {name: own[name] if name in own else getattr(checkpoint, name) for name in CHECKPOINT_COLUMNS.split(", ")}


_FILL_FIELDS = tuple(FILL_COLUMNS.split(", "))


def fill_from(row: Row) -> Fill:
    values = dict(zip(_FILL_FIELDS, row, strict=True))
    values["names"] = json.loads(values["names"])
    values["covered"] = None if values["covered"] is None else tuple(json.loads(values["covered"]))
    levels = json.loads(values["levels"])
    values["levels"] = {name: tuple(tuple(level) for level in found) for name, found in levels.items()}
    return Fill(**values)


def fill_of(row: Mapping[str, object]) -> Fill:
    """The fill that `fill_row` told."""
    return fill_from(tuple(row[name] for name in _FILL_FIELDS))


def fill_row(fill: Fill) -> dict[str, object]:
    row = {name: getattr(fill, name) for name in _FILL_FIELDS}
    row["names"] = to_json(dict(fill.names))
    row["covered"] = None if fill.covered is None else to_json(fill.covered)
    row["levels"] = to_json(dict(fill.levels))
    return row


def shape_to_json(shape: Shape) -> str:
    return to_json(
        {
            "levels": [[list(level), dict(sorted(names.items()))] for level, names in sorted(shape.levels.items())],
            "loops": dict(sorted(shape.loops.items())),
            "repeats": [[list(level), sorted(names)] for level, names in sorted(shape.repeats.items()) if names],
            "ranks": shape.ranks,
        }
    )


def shape_from_json(text: str) -> Shape:
    found = json.loads(text)
    levels: dict[Level, Mapping[str, str]] = {tuple(level): columns_of(names) for level, names in found["levels"]}
    repeats = {tuple(level): frozenset(names) for level, names in found["repeats"]}
    return Shape(levels, columns_of(found["loops"]), repeats, found["ranks"])


def columns_of(found: Mapping[str, str]) -> Mapping[str, str]:
    """Columns with their types, as a catalog or a file has them; CorruptFile for what is no type."""
    for name, type_ in found.items():
        if not types.is_known(type_):
            raise CorruptFile(
                f"the column {name!r} has a type that cannot be: {type_!r}", hint="logql doctor --rebuild"
            )
    return found

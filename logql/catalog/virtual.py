"""Virtual columns: which names today's source logs, and where their statements go in each version.

A placement is computed once per version and statement and kept in the store.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property

from logql.catalog.made import Made, made_from
from logql.catalog.schema import UNKNOWN_TYPE, Column
from logql.catalog.status import OWN, Status
from logql.errors import StoreError
from logql.model import Level, LogStatement, Placement, Run, Version
from logql.propagate.compose import place_all
from logql.propagate.imports import reachable
from logql.propagate.statements import find_statements, glob_of, names_logged
from logql.store.catalog import Catalog
from logql.store.snapshot import Snapshot
from logql.versions.history import read_files, read_worktree

_KIND = "placement"
_PIN = "pin"

#: File and line in an old version's own text, as a person chose them.
Pin = tuple[str, int]


@dataclass(frozen=True)
class Statements:
    """The log statements of one name, all of one tree: `version` is None for today's work tree."""

    version: str | None
    files: Mapping[str, str]
    found: tuple[LogStatement, ...]

    @cached_property
    def digest(self) -> str:
        """Identifies the statements and the files that they stand in."""
        parts = [f"{s.file}:{s.line}:{s.text}\0{self.files[s.file]}" for s in self.found]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]


class ProjectSources:
    """The sources of a project's versions and of its work tree, as `status.Sources`."""

    def __init__(self, catalog: Catalog, project: str, snapshot: Snapshot) -> None:
        self._catalog = catalog
        self._project = project
        self._snapshot = snapshot
        self._statements: dict[tuple[str, str], Statements | None] = {}
        self._status: dict[tuple[str, str, str], Status] = {}
        self._trees: dict[tuple[str | None, str], Mapping[str, str]] = {}

    @cached_property
    def _versions(self) -> Mapping[str, Version]:
        return {version.id: version for version in self._snapshot.versions}

    @cached_property
    def _scripts(self) -> Mapping[str, tuple[Version, ...]]:
        """Versions that ran each script, the newest first."""
        found: dict[str, dict[str, Version]] = {}
        for run in self._snapshot.runs:
            if run.version in self._versions:
                found.setdefault(run.script, {})[run.version] = self._versions[run.version]
        return {
            script: tuple(sorted(versions.values(), key=lambda version: -version.ordinal))
            for script, versions in found.items()
        }

    @cached_property
    def _recorded(self) -> frozenset[str]:
        shapes = {id(shape): shape for shape in self._snapshot.shapes.values()}
        return frozenset(name for shape in shapes.values() for names in shape.levels.values() for name in names)

    @cached_property
    def _made(self) -> Mapping[str, Made]:
        return {name: made_from(value) for name, value in self._catalog.items("virtual").items()}

    @cached_property
    def _pins(self) -> Mapping[str, object]:
        return self._catalog.items(_PIN)

    @cached_property
    def _kept(self) -> dict[str, object]:
        return self._catalog.items(_KIND)

    def names(self) -> Mapping[str, Column]:
        """Names that today's source logs in a file that some run's script reaches, and made columns."""
        found = set(self._made)
        for script in self._scripts:
            found |= {s.name for s in find_statements(self._tree(None, script)) if s.name is not None}
        return {name: Column(name, UNKNOWN_TYPE, frozenset(), name not in self._recorded) for name in sorted(found)}

    def is_stale(self) -> bool:
        """Whether today's source has changed since it was read."""
        used = {script: files for (version, script), files in self._trees.items() if version is None}
        if not used:
            return False
        now = read_worktree(self._project)
        return any(reachable(now, script) != files for script, files in used.items())

    def prepare(self, name: str, pairs: Collection[tuple[str, str]]) -> None:
        """Keep what is computed now for all of `pairs` in one transaction."""
        before = dict(self._kept)
        for version, script in pairs:
            self.status(name, version, script)
        added = {key: value for key, value in self._kept.items() if key not in before}
        if added and not self._catalog.connection.read_only:
            self._catalog.put_all(_KIND, added)

    def status(self, name: str, version: str, script: str) -> Status:
        """What `name` is in `version` when it runs `script`."""
        key = (name, version, script)
        if key not in self._status:
            self._status[key] = self._find_status(name, version, script)
        return self._status[key]

    def _find_status(self, name: str, version: str, script: str) -> Status:
        if name not in self._made and self._logs(version, script, name):
            return OWN
        statements = self.statements(name, script)
        if statements is None:
            return OWN
        pin = self._pin(name, version, script)
        key = f"{version}:{script}:{name}:{statements.digest}" + (f":{pin[0]}:{pin[1]}" if pin else "")
        if key not in self._kept:
            self._kept[key] = _to_json(self._place(statements, version, script, pin))
        return _from_json(self._kept[key], statements)

    def _logs(self, version: str, script: str, name: str) -> bool:
        """Whether the version's own source logs the name."""
        key = f"logged:{version}:{script}"
        if key not in self._kept:
            self._kept[key] = sorted(names_logged(self._tree(version, script)))
        globs = self._kept[key]
        return isinstance(globs, list) and any(_matches(str(glob), name) for glob in globs)

    def statements(self, name: str, script: str) -> Statements | None:
        """The newest statements of `name` for `script`: made ones, today's, else those of the newest version."""
        key = (name, script)
        if key not in self._statements:
            self._statements[key] = self._find_statements(name, script)
        return self._statements[key]

    def _find_statements(self, name: str, script: str) -> Statements | None:
        made = self._made.get(name)
        for version in (None, *(version.id for version in self._scripts.get(script, ()))):
            files = self._tree(version, script)
            if made is not None:
                files = made.write_into(name, files) or {}
            found = tuple(s for s in find_statements(files) if self._can_log(s, name))
            if found:
                return Statements(version, files, found)
        return None

    def _can_log(self, statement: LogStatement, name: str) -> bool:
        """A pattern stands for a name only if some run recorded that name."""
        if statement.name is not None:
            return statement.name == name
        return name in self._recorded and _matches(glob_of(statement), name)

    def _pin(self, name: str, version: str, script: str) -> Pin | None:
        """The place that a person pinned for `name` in a version (`logql patch --at`)."""
        kept = self._pins.get(pin_key(version, script, name))
        return (str(kept["file"]), int(kept["line"])) if isinstance(kept, dict) else None

    def _place(self, statements: Statements, version: str, script: str, pin: Pin | None) -> Status:
        old = self._tree(version, script)
        if not old:
            return Status("refused", reason=f"the source of {version} has no {script}")
        pins = dict.fromkeys(statements.found, pin) if pin else None
        patched, placements = place_all(statements.files, statements.found, old, pins)
        found = [placements[statement] for statement in statements.found if statement in placements]
        refused = next((placement for placement in found if placement.reason is not None), None)
        if patched is None or refused is not None:
            reason = refused.reason if refused is not None else "its statement has no place there"
            return Status("refused", reason=reason, confidence=min((p.confidence for p in found), default=0.0))
        return _placed(found)

    def patched(self, names: Iterable[str], run: Run) -> tuple[dict[str, str] | None, str | None]:
        """The files of the run's version that differ once the statements of `names` are in, or a reason."""
        original = self._tree(run.version, run.script)
        files = dict(original)
        pins: dict[LogStatement, Pin] = {}
        for name in sorted(names):
            statements = self.statements(name, run.script)
            if statements is None:
                return None, f"no source logs {name}"
            pin = self._pin(name, run.version, run.script)
            pins |= dict.fromkeys(statements.found, pin) if pin else {}
        for tree, wanted in self._by_tree(names, run.script):
            placed, placements = place_all(tree.files, wanted, files, pins)
            if placed is None:
                reasons = [placement.reason for placement in placements.values() if placement.reason]
                return None, reasons[0] if reasons else "the statements do not fit beside each other"
            files.update(placed)
        return {path: text for path, text in files.items() if original.get(path) != text}, None

    def _by_tree(self, names: Iterable[str], script: str) -> list[tuple[Statements, list[LogStatement]]]:
        """Statements of several names, those of one tree together."""
        found: list[tuple[Statements, list[LogStatement]]] = []
        for name in sorted(names):
            statements = self.statements(name, script)
            if statements is None:
                continue
            same = next((wanted for tree, wanted in found if tree.files == statements.files), None)
            if same is None:
                same = []
                found.append((statements, same))
            same += [statement for statement in statements.found if statement not in same]
        return found

    def _read(self, version: Version) -> Mapping[str, str]:
        """The files of a version; none where its code is lost, which makes its cells unfillable."""
        try:
            return read_files(self._catalog.store, self._project, version)
        except StoreError:
            return {}

    def _tree(self, version: str | None, script: str) -> Mapping[str, str]:
        """The script and the files that it imports, in a version or (None) in today's work tree."""
        key = (version, script)
        if key not in self._trees:
            files: Mapping[str, str]
            if version is None:
                files = read_worktree(self._project)
            elif version in self._versions:
                files = self._read(self._versions[version])
            else:
                files = {}
            self._trees[key] = reachable(files, script)
        return self._trees[key]


def pin_key(version: str, script: str, name: str) -> str:
    """The key of a pin in the catalog."""
    return f"{version}:{script}:{name}"


def _placed(placements: Sequence[Placement]) -> Status:
    levels: dict[Level, None] = {}
    for placement in placements:
        levels.update(dict.fromkeys(placement.levels))
    prints = [placement.fingerprint or "" for placement in placements]
    fingerprint = prints[0] if len(prints) == 1 else hashlib.sha256("\0".join(prints).encode()).hexdigest()[:24]
    first = placements[0]
    return Status(
        "placed",
        levels=tuple(levels),
        fingerprint=fingerprint,
        once=len(placements) == 1 and first.once,
        confidence=min(placement.confidence for placement in placements),
        file=first.file,
        line=first.line,
    )


def _to_json(status: Status) -> dict[str, object]:
    return {
        "state": status.state,
        "levels": [list(level) for level in status.levels],
        "fingerprint": status.fingerprint,
        "once": status.once,
        "reason": status.reason,
        "confidence": status.confidence,
        "file": status.file,
        "line": status.line,
    }


def _from_json(value: object, statements: Statements) -> Status:
    assert isinstance(value, dict)
    levels = tuple(tuple(level) for level in value["levels"])
    return Status(**{**value, "levels": levels}, statements=statements.found, origin=statements.version)


def _matches(glob: str, name: str) -> bool:
    return glob == name or ("*" in glob and fnmatchcase(name, glob))

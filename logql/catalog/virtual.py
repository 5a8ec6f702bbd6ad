"""Virtual columns: which names today's source logs, and where their statements go in each version.

A placement is computed once per content and statement, and kept in the store per version.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import cached_property

from logql.catalog.lineage import Successor, find_successor
from logql.catalog.made import Made, made_from
from logql.catalog.placing import Pin, Placed, Placer, Statements, Target
from logql.catalog.schema import UNKNOWN_TYPE, Column
from logql.catalog.status import OWN, Status
from logql.errors import StoreError
from logql.model import LogStatement, Run, Version
from logql.propagate.compose import place_all
from logql.propagate.imports import reachable
from logql.propagate.statements import find_statements, glob_of, names_logged
from logql.store.catalog import Catalog
from logql.store.snapshot import Snapshot
from logql.versions.history import read_files, read_worktree

_KIND = "placement"
_PIN = "pin"
#: Counts changes of how statements are placed: what an older logql kept is computed anew.
_RULES = 7


class ProjectSources:
    """The sources of a project's versions and of its work tree, as `status.Sources`."""

    def __init__(self, catalog: Catalog, project: str, snapshot: Snapshot) -> None:
        self._catalog = catalog
        self._project = project
        self._snapshot = snapshot
        self._statements: dict[tuple[str, str], Statements | None] = {}
        self._status: dict[tuple[str, str, str], Status] = {}
        self._trees: dict[tuple[str | None, str], Mapping[str, str]] = {}
        self._pinned: dict[tuple[str, str], Mapping[Target, Pin]] = {}
        self._lineages: dict[str, tuple[Target, ...]] = {}
        self._successors: dict[str, Successor | None] = {}
        self._placer = Placer(self)

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
        found = {*self._made, *(self._stored[name] for name in self._logged_today)}
        return {name: Column(name, UNKNOWN_TYPE, frozenset(), name not in self._recorded) for name in sorted(found)}

    @cached_property
    def _logged_today(self) -> frozenset[str]:
        trees = map(self._tree_or_likely, self._scripts)
        return frozenset(s.name for tree in trees for s in find_statements(tree) if s.name is not None)

    @cached_property
    def _stored(self) -> Mapping[str, str]:
        """The stored names of all that was ever logged and that today's source logs (`store.names`).

        A new one that cannot keep its own is registered, so that a replay's values come under the name that was asked.
        """
        today = sorted(self._logged_today)
        found = self._catalog.stored_names(today)
        if any(found[name] != name for name in today) and not self._catalog.connection.read_only:
            found |= self._catalog.resolve_names(today)
        return found

    @cached_property
    def _logged_as(self) -> Mapping[str, str]:
        return {stored: logged for logged, stored in self._stored.items()}

    def logged_as(self, name: str) -> str:
        """Under which name statements log what is stored, and asked for, as `name`: `lr` what is `lr_`."""
        return name if name in self._made else self._logged_as.get(name, name)

    def pattern(self, name: str) -> str | None:
        """Where today's source has a statement that logs such names without telling them."""
        for script in self._scripts:
            for statement in find_statements(self._tree_or_likely(script)):
                glob = glob_of(statement)
                if statement.name is None and glob.strip("*") and _matches(glob, name):
                    return f"{statement.file}:{statement.line}"
        return None

    def is_stale(self) -> bool:
        """Whether today's source has changed since it was read."""
        used = {script: files for (version, script), files in self._trees.items() if version is None}
        if not used:
            return False
        now = read_worktree(self._project)
        return any(reachable(now, self._ends.get(script, script)) != files for script, files in used.items())

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
            return self._lost(name, script)
        key = f"{_RULES}:{version}:{script}:{name}:{statements.digest}:{self._pins_of(name, script)}"
        if key not in self._kept:
            self._kept[key] = _to_json(self._find_place(name, (version, script)))
        return _from_json(self._kept[key], statements)

    def _find_place(self, name: str, target: Target) -> Status:
        if not self.tree(*target):
            return Status("refused", reason=f"the source of {target[0]} has no {target[1]}")
        return self._placer.find(name, target)

    def _lost(self, name: str, script: str) -> Status:
        """What a name is in a script without a source for it: refused if what it likely became has one."""
        found = self.successor(script) if script in self._gone else None
        if found is None or self._likely_statements(name, script) is None:
            return OWN
        reason = (
            f"{script} is no longer there; {found.path} ({found.likeness:.0%} alike) may be what became of it: "
            f"`logql patch {name} VERSION --at {script}:LINE` says where its statement goes"
        )
        return Status("refused", reason=reason, confidence=0.0)

    def _pins_of(self, name: str, script: str) -> str:
        """Identifies the pins of a name: each counts for the versions around it."""
        pins = sorted(self.pins(name, script).items())
        return hashlib.sha256(repr(pins).encode()).hexdigest()[:12] if pins else ""

    def _logs(self, version: str, script: str, name: str) -> bool:
        """Whether the version's own source logs the name.

        Asked of versions none of whose runs recorded it: a pattern of theirs stands for it only if the newest source
        logs it by a pattern, too, and not by a statement of its own.
        """
        key = f"logged:{version}:{script}"
        if key not in self._kept:
            self._kept[key] = sorted(names_logged(self.tree(version, script)))
        globs, logged = self._kept[key], self.logged_as(name)
        if not isinstance(globs, list) or logged in globs:
            return isinstance(globs, list)
        return any(_matches(str(glob), logged) for glob in globs) and not self._is_named(name, script)

    def _is_named(self, name: str, script: str) -> bool:
        """Whether the newest statements of a name tell it literally."""
        statements = self.statements(name, script)
        return statements is not None and statements.found[0].name == self.logged_as(name)

    def statements(self, name: str, script: str) -> Statements | None:
        """The newest statements of `name` for `script`: made ones, today's, else those of the newest version."""
        key = (name, script)
        if key not in self._statements:
            self._statements[key] = self._find_statements(name, script)
        return self._statements[key]

    def _find_statements(self, name: str, script: str) -> Statements | None:
        targets: list[tuple[str | None, str]] = [(None, script), *self.lineage(script)]
        for version, path in targets:
            found = self._statements_of(name, version, self.tree(version, path))
            if found is not None:
                return found
        return self._likely_statements(name, script) if self._pins_of(name, script) else None

    def _likely_statements(self, name: str, script: str) -> Statements | None:
        """Those of what a script that is gone likely became: only for places that a person chose."""
        return self._statements_of(name, None, self._tree_or_likely(script))

    def _statements_of(self, name: str, version: str | None, files: Mapping[str, str]) -> Statements | None:
        made = self._made.get(name)
        if made is not None:
            files = made.write_into(name, files) or {}
        return self.statements_in(name, files, version)

    def statements_in(self, name: str, files: Mapping[str, str], version: str | None) -> Statements | None:
        """The statements in a tree that log a name: those that tell it literally, else patterns that can log it."""
        able = [s for s in find_statements(files) if self._can_log(s, name)]
        found = tuple(s for s in able if s.name == self.logged_as(name)) or tuple(able)
        return Statements(version, files, found) if found else None

    def _can_log(self, statement: LogStatement, name: str) -> bool:
        """A pattern stands for a name only if some run recorded that name."""
        if statement.name is not None:
            return statement.name == self.logged_as(name)
        return name in self._recorded and _matches(glob_of(statement), self.logged_as(name))

    def pins(self, name: str, script: str) -> Mapping[Target, Pin]:
        """The places that a person pinned for `name` in versions of a script (`logql patch --at`)."""
        key = (name, script)
        if key not in self._pinned:
            targets = self.lineage(script) if self._pins else ()
            kept = {target: self._pins.get(pin_key(*target, name)) for target in targets}
            self._pinned[key] = {t: (str(p["file"]), int(p["line"])) for t, p in kept.items() if isinstance(p, dict)}
        return self._pinned[key]

    def place(self, name: str, version: str, script: str, pin: Pin | None = None) -> Placed | None:
        """Where the statements of a name go in a version, pinned or not; None where no source has any."""
        if pin is None:
            return self._placer.place(name, (version, script), self.status(name, version, script).via)
        statements = self.statements(name, script) or self._likely_statements(name, script)
        return self._placer.place_pinned(name, (version, script), statements, pin) if statements is not None else None

    def patched(self, names: Iterable[str], run: Run) -> tuple[dict[str, str] | None, str | None]:
        """The files of the run's version that differ once the statements of `names` are in, or a reason."""
        target = (run.version, run.script)
        original = self.tree(*target)
        files = dict(original)
        pins: dict[LogStatement, Pin] = {}
        sources: list[Statements] = []
        for name in sorted(names):
            source = self._placer.source(name, target, self.status(name, *target).via)
            if source is None:
                return None, f"no source logs {name}"
            pin = self.pins(name, run.script).get(target)
            pins |= dict.fromkeys(source.found, pin) if pin else {}
            sources.append(source)
        for tree, wanted in _by_tree(sources):
            placed, placements = place_all(tree.files, wanted, files, pins)
            reasons = [placement.reason for placement in placements.values() if placement.reason]
            if placed is None or reasons:
                return None, reasons[0] if reasons else "the statements do not fit beside each other"
            files.update(placed)
        return {path: text for path, text in files.items() if original.get(path) != text}, None

    def _read(self, version: Version) -> Mapping[str, str]:
        """The files of a version; none where its code is lost, which makes its cells unfillable."""
        try:
            return read_files(self._catalog.store, self._project, version)
        except StoreError:
            return {}

    def tree(self, version: str | None, script: str) -> Mapping[str, str]:
        """The script and the files that it imports, in a version or (None) in the work tree, wherever it is there."""
        key = (version, script)
        if key not in self._trees:
            if version is None:
                self._trees[key] = self._today(self._ends.get(script, script))
            else:
                files = self._read(self._versions[version]) if version in self._versions else {}
                self._trees[key] = reachable(files, script)
        return self._trees[key]

    def _tree_or_likely(self, script: str) -> Mapping[str, str]:
        """Today's tree of a script, or that of what it likely became, whose names its runs can be asked for."""
        successor = self.successor(script) if script in self._gone else None
        return self.tree(None, script) if successor is None else self._today(successor.path)

    def _today(self, path: str) -> Mapping[str, str]:
        return reachable(read_worktree(self._project), path)

    @cached_property
    def _ends(self) -> Mapping[str, str]:
        """Where each script is today, or the last path under which it is surely known to have been."""
        today = read_worktree(self._project)
        found = {}
        for script in self._scripts:
            path, seen = script, {script}
            while path not in today and path in self._scripts:
                successor = self.successor(path)
                if successor is None or not successor.sure or successor.path in seen:
                    break
                path = successor.path
                seen.add(path)
            found[script] = path
        return found

    @cached_property
    def _gone(self) -> frozenset[str]:
        """Scripts of which today's work tree has no trace that is sure."""
        today = read_worktree(self._project)
        return frozenset(script for script, end in self._ends.items() if end not in today)

    def successor(self, script: str) -> Successor | None:
        """What goes on with a script: a script of later runs, or a file of today's that its last version lacks."""
        if script not in self._successors:
            self._successors[script] = self._find_successor(script)
        return self._successors[script]

    def _find_successor(self, script: str) -> Successor | None:
        if script not in self._scripts:
            return None
        last = self._scripts[script][0]
        before = self._read(last)
        if script not in before:
            return None
        after = dict(read_worktree(self._project))
        candidates = [path for path in after if path not in before]
        for other, versions in self._scripts.items():
            later = [version for version in versions if version.ordinal > last.ordinal]
            if other not in before and other not in after and later:
                after |= {path: text for path, text in self._read(later[-1]).items() if path not in after}
                candidates.append(other)
        return find_successor(script, before, [path for path in candidates if path in after], after)

    def lineage(self, script: str) -> Sequence[Target]:
        """The versions that ran the script, under whatever path, the newest first."""
        if script not in self._lineages:
            end = self._ends.get(script, script)
            found = {
                (version.id, path): version.ordinal
                for path, versions in self._scripts.items()
                if self._ends[path] == end
                for version in versions
            }
            self._lineages[script] = tuple(sorted(found, key=lambda target: -found[target]))
        return self._lineages[script]


def pin_key(version: str, script: str, name: str) -> str:
    """The key of a pin in the catalog."""
    return f"{version}:{script}:{name}"


def _by_tree(sources: Iterable[Statements]) -> list[tuple[Statements, list[LogStatement]]]:
    """Statements of several names, those of one tree together."""
    found: list[tuple[Statements, list[LogStatement]]] = []
    for source in sources:
        same = next((wanted for tree, wanted in found if tree.files == source.files), None)
        if same is None:
            same = []
            found.append((source, same))
        same += [statement for statement in source.found if statement not in same]
    return found


def _to_json(status: Status) -> dict[str, object]:
    return {
        "state": status.state,
        "levels": [list(level) for level in status.levels],
        "fingerprint": status.fingerprint,
        "once": status.once,
        "leads": status.leads,
        "reason": status.reason,
        "confidence": status.confidence,
        "file": status.file,
        "line": status.line,
        "via": list(status.via) if status.via else None,
        "hops": status.hops,
    }


def _from_json(value: object, statements: Statements) -> Status:
    assert isinstance(value, dict)
    levels = tuple(tuple(level) for level in value["levels"])
    via = tuple(value["via"]) if value["via"] else None
    return Status(**{**value, "levels": levels, "via": via}, statements=statements.found, origin=statements.version)


def _matches(glob: str, name: str) -> bool:
    return glob == name or ("*" in glob and fnmatchcase(name, glob))

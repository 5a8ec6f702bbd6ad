"""How a statement of today is put into one old version: what `logql patch` shows and keeps."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from logql.catalog.virtual import ProjectSources, pin_key
from logql.errors import Error, ProgrammingError
from logql.model import LogStatement, Placement, Version
from logql.sql.names import nearest

if TYPE_CHECKING:
    from logql.session import Session
    from logql.world import StoreWorld

_FROM_TODAY = "today's work tree"


@dataclass(frozen=True)
class Placing:
    """The statements of a name and where each of them goes in a version's script."""

    name: str
    version: Version
    script: str
    origin: str
    placements: tuple[tuple[LogStatement, Placement], ...]
    pin: tuple[str, int] | None

    @property
    def refused(self) -> bool:
        """Whether the name cannot be filled in that version."""
        return any(placement.files is None for _, placement in self.placements)


def place_in_version(session: Session, name: str, version: str, pin: tuple[str, int] | None) -> Placing:
    """Place the newest statements of `name` in a version; ProgrammingError where there are none, or no such version."""
    found = _find_version(session.world(), session, version)
    snapshot = session.history.snapshot
    script = next((run.script for run in snapshot.runs if run.version == found.id), None)
    if script is None:
        raise ProgrammingError(f"no run of version {found.id} is left")
    sources = ProjectSources(session.catalog, session.project, snapshot)
    _check(sources, name, found, script, pin)
    placed = sources.place(name, found.id, script, pin)
    if placed is None:
        raise ProgrammingError(_no_source(sources, name, found.id, script), candidates=sorted(sources.names())[:10])
    statements = placed.statements
    rows = tuple((statement, placed.placements[statement]) for statement in statements.found)
    return Placing(name, found, script, statements.version or _FROM_TODAY, rows, pin)


def _check(sources: ProjectSources, name: str, version: Version, script: str, pin: tuple[str, int] | None) -> None:
    """Raise ProgrammingError where the version logs the name itself, or has no such place."""
    if sources.status(name, version.id, script).state == "own":
        raise ProgrammingError(f"version {version.id} logs {name!r} itself")
    if pin is None:
        return
    file, line = pin
    files = sources.tree(version.id, script)
    if file not in files:
        raise ProgrammingError(f"version {version.id} has no {file}", candidates=nearest(file, files))
    lines = len(files[file].splitlines())
    if not 1 <= line <= lines + 1:
        raise ProgrammingError(f"{file} has {lines} lines in version {version.id}, and no line {line}")


def _no_source(sources: ProjectSources, name: str, version: str, script: str) -> str:
    return sources.status(name, version, script).reason or f"no source of {script} logs {name!r}"


def keep_pin(session: Session, placing: Placing) -> None:
    """Keep the pinned place of a name in a version; what was filled from another place is missing again."""
    assert placing.pin is not None
    file, line = placing.pin
    session.catalog.put("pin", pin_key(placing.version.id, placing.script, placing.name), {"file": file, "line": line})


def describe(placing: Placing) -> str:
    """The patch as text: per statement its diff and confidence, or the reason and the candidates."""
    lines = []
    for statement, placement in placing.placements:
        lines.append(
            f"# {placing.name} of {placing.origin}, {statement.file}:{statement.line}, in {placing.version.id}"
        )
        if placement.files is None:
            lines.append(f"# refused: {placement.reason}")
            lines += [f"# candidate: {file}:{line}" for file, line in placement.candidates]
            lines.append("# --at FILE:LINE decides it, where a person knows better")
        else:
            lines.append(f"# confidence {placement.confidence:.2f}")
            lines += [f"# carried along: {text}" for text in placement.carried]
            lines.append(placement.diff.rstrip("\n"))
    return "\n".join(lines)


def _find_version(world: StoreWorld, session: Session, name: str) -> Version:
    """The version with an id that begins so, else that of a commit as AT (VERSION => ...) names it."""
    versions = session.history.snapshot.versions
    found = [version for version in versions if version.id.startswith(name.lower())]
    if not found:
        with suppress(Error):
            meant = world.versions_at(name)
            found = [version for version in versions if version.id in meant]
    if len(found) != 1:
        names = [version.id for version in found or versions][:5]
        raise ProgrammingError(f"{name!r} names {len(found) or 'no'} versions", candidates=names)
    return found[0]

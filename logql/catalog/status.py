"""What a name is in a version: logged by its own source, placed into it, or refused."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from logql.catalog.schema import Column
from logql.model import Level, LogStatement


@dataclass(frozen=True)
class Status:
    """A name in a version's script.

    `own`: the version's source logs the name, so what it did not log, it did not log. `placed`: the newest statement of
    the name has a place there, at `levels`; `fingerprint` identifies the inserted text. `refused`: `reason` says why.
    """

    state: Literal["own", "placed", "refused"]
    levels: tuple[Level, ...] = ()
    fingerprint: str | None = None
    once: bool = False
    leads: bool = False
    reason: str | None = None
    confidence: float = 1.0
    statements: tuple[LogStatement, ...] = ()
    #: version id that the statements were taken from; None is today's work tree
    origin: str | None = None
    line: int | None = None
    file: str | None = None
    #: version and script whose patched source the statements were taken from, where today's own did not do
    via: tuple[str, str] | None = None
    hops: int = 0


OWN = Status("own")


class Sources(Protocol):
    """Knows the source of every version and of today's work tree, and where statements go."""

    def names(self) -> Mapping[str, Column]:
        """Names that today's source logs or CREATE VIRTUAL COLUMN made."""

    def pattern(self, name: str) -> str | None:
        """Where today's source has a statement that logs such names without telling them."""

    def status(self, name: str, version: str, script: str) -> Status:
        """What `name` is in `version` when it runs `script`."""

    def prepare(self, name: str, pairs: Collection[tuple[str, str]]) -> None:
        """Announce that the statuses of `name` in these (version, script) pairs will be asked."""


class NoSources:
    """Where no source is at hand: every version is taken to log what it logs, and nothing is virtual."""

    def names(self) -> Mapping[str, Column]:
        """None."""
        return {}

    def pattern(self, name: str) -> str | None:  # noqa: ARG002
        """Nowhere."""
        return None

    def status(self, name: str, version: str, script: str) -> Status:  # noqa: ARG002
        """Always `own`."""
        return OWN

    def prepare(self, name: str, pairs: Collection[tuple[str, str]]) -> None:
        """Nothing is to be prepared."""

"""What the binder asks of the world: the schema, own tables, what is kept in the store."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from logql.catalog.schema import Column, Schema
from logql.sql.statements import CreateKept


class World(Protocol):
    """Everything outside of a statement that decides what its names mean."""

    @property
    def schema(self) -> Schema:
        """Names, loops and args that were recorded."""

    def is_own(self, name: str) -> bool:
        """Whether a table or view of the user's own has this name."""

    def own_columns(self, relation: str) -> Sequence[str] | None:
        """Columns of what DuckDB finds under the text `relation` in a FROM; None where it finds nothing."""

    def virtual(self, name: str) -> Column | None:
        """The virtual column of this name that was recorded nowhere."""

    def virtual_names(self) -> Collection[str]:
        """All names that were recorded nowhere and can be asked for."""

    def pattern(self, name: str) -> str | None:
        """Where today's source has a statement that logs names such as this one without telling them."""

    def may_miss(self, name: str) -> bool:
        """Whether some cell of the logged name may be missing."""

    def has_rows(self, name: str, relation: str) -> bool:
        """Whether a virtual name may have values in the rows of a relation of fixed grain."""

    def kept(self, kind: str, name: str) -> CreateKept | None:
        """The view or macro of this name that the store keeps."""

    def versions_at(self, revision: str) -> frozenset[str]:
        """Versions that are the commit `revision`, or snapshots on top of it. Raises BindError where there is none."""

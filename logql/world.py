"""What a statement's names mean on one store at one instant: the binder's `World`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import cached_property

from logql.catalog.history import History
from logql.catalog.relations import FIXED_NAMES
from logql.catalog.schema import Column, Schema
from logql.errors import BindError, Error
from logql.execute.engine import Engine
from logql.sql.parser import parse_statement
from logql.sql.split import all_tokens
from logql.sql.statements import CreateKept
from logql.store.catalog import Catalog
from logql.versions.history import resolve

#: Fewest hex digits that name a version.
_SHORTEST = 7
_FUNCTIONS = frozenset({"origin", "fidelity", "reason"})


class StoreWorld:
    """Answers from a history, from what the store keeps, and from DuckDB."""

    def __init__(self, history: History, engine: Engine, catalog: Catalog, project: str) -> None:
        self._history = history
        self._engine = engine
        self._catalog = catalog
        self._project = project
        self._parsed: dict[tuple[str, str], CreateKept] = {}

    @property
    def schema(self) -> Schema:
        """The history's schema."""
        return self._history.schema

    @cached_property
    def _own(self) -> frozenset[str]:
        return self._engine.own_relations()

    @cached_property
    def _texts(self) -> dict[str, dict[str, object]]:
        return {kind: self._catalog.items(kind) for kind in ("view", "macro")}

    def is_own(self, name: str) -> bool:
        """Whether a table or view of the user's own has this name."""
        return name.lower() in self._own

    def own_columns(self, relation: str) -> Sequence[str] | None:
        """Columns of what DuckDB finds there."""
        return self._engine.own_columns(relation)

    def virtual(self, name: str) -> Column | None:
        """The virtual column of this name that was recorded nowhere."""
        return self._history.virtual(name)

    def virtual_names(self) -> Collection[str]:
        """All names that were recorded nowhere and can be asked for."""
        return [name for name, column in self._history.sources.names().items() if column.virtual]

    def pattern(self, name: str) -> str | None:
        """Where today's source logs such names without telling them."""
        return self._history.sources.pattern(name)

    def may_miss(self, name: str) -> bool:
        """Whether some cell of the logged name may be missing."""
        return self._history.may_miss(name)

    def has_rows(self, name: str, relation: str) -> bool:
        """Whether the levels at which it stands are around the relation's rows, as far as anything is known of them."""
        levels = self._history.levels_of(name)
        return not levels or any("*" in level for level in levels) or bool(levels & self.schema.levels_around(relation))

    def kept(self, kind: str, name: str) -> CreateKept | None:
        """The view or macro of this name that the store keeps."""
        key = (kind, name.lower())
        if key not in self._parsed and name.lower() in self._texts[kind]:
            found = parse_statement(str(self._texts[kind][name.lower()]))
            if isinstance(found, CreateKept):
                self._parsed[key] = found
        return self._parsed.get(key)

    def versions_at(self, revision: str) -> frozenset[str]:
        """Versions that are the commit, or snapshots on top of it."""
        versions = self._history.snapshot.versions
        named = [v for v in versions if len(revision) >= _SHORTEST and v.commit.startswith(revision.lower())]
        try:
            commit = named[0].commit if len(named) == 1 else resolve(self._project, self._catalog.store, revision)
        except Error as error:
            raise BindError(error.message, hint=error.hint) from error
        found = frozenset(v.id for v in versions if v.commit == commit or (v.dirty and commit in v.parents))
        if not found:
            raise BindError(f"no run has the commit {revision!r} ({commit[:12]})", hint="SELECT * FROM versions")
        return found

    def concerns(self, sql: str) -> bool:
        """Whether any word of `sql` could be a relation, view, macro or function of logql's."""
        found = (sql[token.start : token.end] for token in all_tokens(sql) if token.kind in _NAMES)
        words = {word.strip('"').replace('""', '"').lower() for word in found}
        loops = {loop.lower() for loop in self.schema.loops}
        return not words.isdisjoint(
            FIXED_NAMES | loops | self._texts["view"].keys() | self._texts["macro"].keys() | _FUNCTIONS | {"history"}
        )


_NAMES = frozenset({"word", "quoted"})

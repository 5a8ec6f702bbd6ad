"""A binder's world over a history, without a store."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from logql.catalog.history import History
from logql.catalog.schema import Column, Schema
from logql.errors import BindError
from logql.execute.engine import Engine
from logql.sql.statements import CreateKept


class TestWorld:
    """Answers from a history; own tables are asked of the engine."""

    __test__ = False

    def __init__(self, history: History, engine: Engine | None = None) -> None:
        self.history = history
        self.engine = engine
        self.statements: dict[tuple[str, str], CreateKept] = {}

    @property
    def schema(self) -> Schema:
        return self.history.schema

    def is_own(self, name: str) -> bool:
        return self.engine is not None and name.lower() in self.engine.own_relations()

    def own_columns(self, relation: str) -> Sequence[str] | None:
        return self.engine.own_columns(relation) if self.engine is not None else None

    def virtual(self, name: str) -> Column | None:
        return self.history.virtual(name)

    def virtual_names(self) -> Collection[str]:
        return list(self.history.sources.names())

    def pattern(self, name: str) -> str | None:
        return self.history.sources.pattern(name)

    def may_miss(self, name: str) -> bool:
        return self.history.may_miss(name)

    def has_rows(self, name: str, relation: str) -> bool:
        return bool(self.history.levels_of(name) & self.schema.levels_around(relation))

    def kept(self, kind: str, name: str) -> CreateKept | None:
        return self.statements.get((kind, name.lower()))

    def versions_at(self, revision: str) -> frozenset[str]:
        if revision not in self.history.versions:
            raise BindError(f"there is no version {revision}")
        return frozenset([revision])

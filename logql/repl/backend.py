"""What stands behind the prompt: the connection, made in the background, and names for completion, kept fresh."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from logql.repl.names import FUNCTIONS, KEYWORDS, Names
from logql.settings import locate
from logql.store.catalog import Catalog

if TYPE_CHECKING:
    from logql.dbapi import Connection
    from logql.model import Fill

_POLL_S = 2.0
#: Names are read anew at most this often.
_RENEW_S = 5.0


class Backend:
    """One store's connection and names. Loading the engine takes longer than showing a prompt, so both come later."""

    def __init__(self, store: str | None, replay: str) -> None:
        location = locate(os.getcwd(), store)
        self.store = location.store
        self.project = location.project
        self.names = Names()
        self.live_runs = 0
        self.on_change: Callable[[], None] = lambda: None
        self._given = store
        self._replay = replay
        self._connection: Connection | None = None
        self._lock = threading.Lock()
        self._renewing = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._engine: Mapping[str, tuple[str, ...]] = {}
        self._counter = -1
        self._catalog = Catalog.open(self.store)
        self._catalog.change_counter()

    def start(self) -> None:
        """Connect and keep the names fresh, in the background."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._watch, name="logql-names", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Give everything back."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=5.0)
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None
        self._catalog.close()

    @property
    def connection(self) -> Connection:
        """The connection, made at its first use."""
        with self._lock:
            if self._connection is None:
                from logql import dbapi

                self._connection = dbapi.connect(self._given, replay=self._replay)
            return self._connection

    def option(self, name: str) -> Any:
        """The value of a setting of the connection's; its default until there is one."""
        if self._connection is not None:
            return getattr(self._connection.session.options, name)
        return {"replay": self._replay, "replay_budget": 300.0}[name]

    def fills(self) -> list[Fill]:
        """The fills of the store, for any thread."""
        return self._catalog.fills()

    def renew(self) -> Names:
        """Read all names now."""
        from logql.catalog.history import History
        from logql.catalog.virtual import ProjectSources
        from logql.repl.names import engine_names, names_of, own_names
        from logql.store.snapshot import read_snapshot

        connection = self.connection
        with self._renewing:
            counter = self._catalog.change_counter()
            snapshot = read_snapshot(self.store)
            project = connection.session.project
            names = names_of(History(snapshot, ProjectSources(self._catalog, project, snapshot)))
            self._engine = self._engine or engine_names(connection)
            relations, kinds = own_names(connection)
            self.names = _merged(names, relations, kinds, self._engine)
            self._counter = counter
            self.live_runs = sum(run.status == "running" for run in snapshot.runs)
        self.on_change()
        return self.names

    def _watch(self) -> None:
        last = -_RENEW_S
        while not self._stop.is_set():
            try:
                due = time.monotonic() - last >= _RENEW_S
                if due and self._catalog.change_counter() != self._counter:
                    last = time.monotonic()
                    self.renew()
            except Exception:
                last = time.monotonic()  # completion goes on with what it knows; the next statement tells the reason
            self._stop.wait(_POLL_S)


def _merged(
    names: Names,
    relations: Mapping[str, Any],
    kinds: Mapping[str, str],
    engine: Mapping[str, tuple[str, ...]],
) -> Names:
    return replace(
        names,
        relations={**relations, **names.relations},
        kinds={**kinds, **names.kinds},
        functions=(*FUNCTIONS, *engine["functions"]),
        keywords=tuple(sorted({*KEYWORDS, *engine["keywords"]})),
        settings=(*names.settings, *engine["settings"]),
    )

"""Which replays of a pool start as forks of one process: those that import the same in the same environment."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterable

from logql.model import Run
from logql.plan.schedule import LEAST_FORKS, may_fork
from logql.replay import environment
from logql.replay.checkout import Tree
from logql.replay.job import Job, Options
from logql.replay.leading import (
    Import,
    common_start,
    in_turn,
    later_imports,
    leading_imports,
    own_modules,
    reads_at_import,
    serves,
)
from logql.replay.start import Fresh, Server, Starter

#: Servers kept at a time: each holds what it imported in memory.
_MOST = 4
_Imports = tuple[Import, ...]
#: Command, environment, and what is loaded later; then what is loaded first.
_Kind = tuple[tuple[str, ...], frozenset[tuple[str, str]], _Imports]
_Key = tuple[_Kind, _Imports]


class Servers:
    """The fork servers of one pool, each started when a second replay could use it."""

    def __init__(self, store: str, options: Options) -> None:
        self._store = store
        self._options = options
        self._fresh = Fresh()
        self._expected: Counter[str] = Counter()
        self._several = False
        self._imports: dict[tuple[str, str, str], tuple[_Imports, _Imports]] = {}
        self._asked: dict[_Kind, set[_Imports]] = {}
        #: whose servers ended while they loaded modules
        self._useless: set[_Key] = set()
        #: in the order of their last use
        self._servers: dict[_Key, Server] = {}

    def expect(self, jobs: Iterable[Job]) -> None:
        """Tell what is going to be started."""
        self._expected = Counter(job.version.id for job in jobs)
        self._several = self._expected.total() >= LEAST_FORKS

    def starter(self, job: Job, tree: Tree, project: str, strong: bool) -> tuple[Starter, frozenset[str]]:
        """What starts a job, and the modules that its script's directory shadows.

        `strong`: under a private view of the file system. Elsewhere temporary directories are each replay's own, which
        what is loaded later may remember.
        """
        first = _first_directory(job.run)
        if first is None or not self._may_share(job.run, tree, project):
            return self._fresh, frozenset()
        self._drop(key for key, server in self._servers.items() if server.ended())
        keys = (self._key(job, tree, first, later) for later in ((True, False) if strong else (False,)))
        server = next((self._server(key, job) for key in keys if key not in self._useless), None)
        return (self._fresh, frozenset()) if server is None else (server, own_modules(tree, project, first))

    def _server(self, key: _Key, job: Job) -> Server | None:
        """The server for a key, as the one used last; None as long as too few have asked for it."""
        kind, imports = key
        asked = self._asked.setdefault(kind, set())
        server = self._servers.pop(key, None)
        if server is None and (
            self._expected[job.version.id] >= LEAST_FORKS or any(serves(imports, one) for one in asked)
        ):
            self._drop(list(self._servers)[: 1 - _MOST])
            try:
                server = Server(kind[0], dict(kind[1]), (*imports, *kind[2]), self._store)
            except OSError:  # out of memory or of descriptors: one process at a time may do
                self._useless.add(key)
        asked.add(imports)
        if server is not None:
            self._servers[key] = server
        return server

    def close(self) -> None:
        """End all."""
        self._drop(self._servers)

    def _drop(self, keys: Iterable[_Key]) -> None:
        """End servers; those that had ended by themselves are not tried again."""
        for key in list(keys):
            server = self._servers.pop(key)
            if server.ended():
                self._useless.add(key)
            server.close()

    def _may_share(self, run: Run, tree: Tree, project: str) -> bool:
        """Whether a replay can be a fork here, and is as good as a fresh process then."""
        return (
            self._options.share_imports
            and self._several
            and sys.platform == "linux"
            and hasattr(os, "pidfd_open")
            and project == run.project
            and may_fork(run)
            and not reads_at_import(project, run.cwd, tree)
        )

    def _key(self, job: Job, tree: Tree, first: str, later: bool) -> _Key:
        run = job.run
        command = environment.interpreter(run), *environment.interpreter_flags(run)
        variables = environment.worker_environment(run, self._options.threads)
        place = job.version.id, run.script, first
        if place not in self._imports:
            found = leading_imports(tree, run.project, run.script, first)
            self._imports[place] = in_turn(found), later_imports(tree, found)
        imports, more = self._imports[place]
        kind = command, frozenset(variables.items()), more if later else ()
        return kind, self._shared(kind, imports)

    def _shared(self, kind: _Kind, imports: _Imports) -> _Imports:
        """What a process has to load that serves a script with such imports, and others of its kind, too."""
        there = (loaded for other, loaded in self._servers if other == kind and serves(loaded, imports))
        common = (common_start(one, imports) for one in sorted(self._asked.get(kind, ())))
        return next(there, None) or next((found for found in common if serves(found, imports)), imports)


def _first_directory(run: Run) -> str | None:
    """Where the script's imports look first, relative to the project; None where that is elsewhere."""
    recorded = run.environment.get("path0")
    script = os.path.normpath(os.path.join(run.project, run.script))
    path = os.path.relpath(recorded if isinstance(recorded, str) else os.path.dirname(script), run.project)
    return None if path.startswith("..") else "" if path == "." else path

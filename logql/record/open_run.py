"""A run under way: its row in the catalog, its WAL stream, its captured output, its main loops."""

from __future__ import annotations

import getpass
import hashlib
import os
import platform
import sys
import time
from dataclasses import dataclass

from logql import _started_in, settings
from logql.errors import StoreError
from logql.model import Run, RunStatus, Version
from logql.record import api, arguments, environment, guard, identity, opens
from logql.record.capture import Capture
from logql.record.flusher import Flusher
from logql.record.inputs import Inputs
from logql.record.mainloops import MainLoops
from logql.record.names import NameRules, Renaming
from logql.record.processes import join_group
from logql.record.sealing import Sealing
from logql.store import liveness
from logql.store.catalog import Catalog
from logql.store.connection import create
from logql.store.liveness import Lock
from logql.store.losses import describe_losses
from logql.store.wal import Writer

#: How long a training waits for another process that holds the catalog, before it goes on without (seconds).
_PATIENCE_S = 5.0


@dataclass(frozen=True)
class Wanted:
    """What a run is to be: its script and place, the name and tags it was given by hand, its place in the process."""

    script: identity.Script
    location: settings.Location
    name: str | None = None
    tags: tuple[str, ...] = ()
    #: runs that this process opened before
    before: int = 0


class OpenRun:
    """One run of this process, from `open_run` to `close`."""

    def __init__(
        self, run: Run, location: settings.Location, catalog: Catalog, ranks: identity.Ranks, locks: list[Lock]
    ) -> None:  # fmt: skip
        self.run = run
        self.location = location
        self.catalog = catalog
        self.rank = ranks.rank
        self.pid = os.getpid()
        self.args: dict[str, object] = {}
        self._saved_args: dict[str, object] = {}
        self._overrides = arguments.read_overrides()
        self._locks = locks
        self._environment = dict(run.environment)
        self._saved_environment = dict(run.environment)
        self._sealing = Sealing(location.store, run.id)
        rules = NameRules(run, ranks.rank, self.args)
        self.flusher = Flusher(Writer(location.store, run.id, ranks.rank), rules, 0, self._keep_up)
        self._renaming = Renaming(rules, catalog.guess_names)
        self._inputs = Inputs(location, catalog, run.id, self.flusher.next_seq)
        self._reads_count = ranks.size == 1
        self.main_loops = MainLoops(run, location, catalog, ranks, self.flusher, self._inputs.training_begins)
        self._capture = Capture() if settings.capture_output() else None

    def start(self) -> None:
        """Begin to record."""
        api.forget_entries()
        api.send_events_to(api.events.extend)
        if self._capture is not None:
            self._capture.start()
        if self._reads_count:
            self._inputs.start()
        self.flusher.start()

    def arg(self, name: str, default: object) -> object:
        """The override of a hyper-parameter, else `default`; noted either way."""
        from logql.record.values import convert
        from logql.store.names import arg_column

        if (column := arg_column(name)) != name and name not in self.args:
            guard.warn(f"arg {name}", f'"{name}" is a column of every run: this arg is the column "{column}"')
        value = arguments.override(name, self._overrides[name], default) if name in self._overrides else default
        self.args[name] = convert(value)
        return value

    def tick(self) -> None:
        """Bring the catalog up to date; runs on the flusher's thread, and at the end."""
        if "packages" not in self._environment:
            self._environment["packages"] = environment.packages()
        if "loading" not in self._environment and (loading := self.main_loops.loading):
            self._environment["loading"] = loading
        self._environment |= self._inputs.describe() | self.flusher.losses.describe()
        if self._environment != self._saved_environment:
            self._saved_environment = dict(self._environment)
            lost = describe_losses(self._saved_environment)
            self._save(environment=self._saved_environment, **({"error": lost} if lost else {}))
        if self.args != self._saved_args:
            args = dict(self.args)
            self._save(args=args)
            self._saved_args = args
        self._renaming.tell(self.flusher.names)
        self.main_loops.save()

    def _keep_up(self) -> None:
        """What the flusher does besides, on its thread."""
        self.tick()
        self._sealing.go_on(self.flusher.closed_chunks)

    def flush(self) -> None:
        """Return when everything logged so far is on disk."""
        self.flusher.sync()
        self.tick()
        self.catalog.sync()

    def close(self, status: RunStatus, error: str | None, *, note_exit_code: bool = False) -> None:
        """End the run: everything is on disk, the catalog knows how it ended, a process of its own seals it.

        With `note_exit_code`, who seals it learns from the exit code of this process whether it failed.
        """
        if self._capture is not None:
            self._capture.stop()
        self.main_loops.close()
        self._inputs.close()
        self.flusher.close()
        self._update_environment()
        self.tick()
        if status == "finished" and (unused := sorted(self._overrides.keys() - self.args.keys())):
            guard.warn("unused args", f"no logql.arg of this run is called {' or '.join(unused)}: given in vain")
        ending: dict[str, object] = {"status": status, "error": error, "ended_at": time.time()}
        if lost := describe_losses(self._environment):
            ending |= {"error": f"{error}; {lost}" if error else lost, "environment": self._environment}
        if self.rank == 0 or status == "failed":
            self._save(**ending)
        try:
            self.catalog.sync()
            self.catalog.close()
            if not (note_exit_code and liveness.note_exit_code(self.location.store, self.run.id)):
                for lock in self._locks:
                    lock.release()
        except Exception as exc:
            guard.failed("store", "the run may appear as killed", exc)
        self._sealing.finish()

    def abandon(self) -> None:
        """Forget the run in a forked child: all of it is the parent's."""
        opens.stop()
        self.main_loops.abandon()
        self.flusher.abandon()
        if self._capture is not None:
            self._capture.abandon()

    def _update_environment(self) -> None:
        """Note again what a script may change while it runs, such as torch.set_num_threads."""
        self._environment |= {
            "threads": environment.thread_counts(),
            "accelerators": environment.accelerators(),
            "devices": environment.devices(),
            "packages": environment.packages(),
        }

    def _save(self, **changes: object) -> None:
        try:
            self.catalog.update_run(self.run.id, **changes)
        except Exception as exc:
            guard.failed("store", f"the catalog lacks the run's {', '.join(changes)}", exc)


def open_run(wanted: Wanted) -> OpenRun:
    """Snapshot the code, enter the run in the catalog, and be ready to record. Raises what prevents that."""
    location, script = wanted.location, wanted.script
    catalog = _open_catalog(location.store)
    try:
        version = catalog.add_version(_snapshot(location, script))
        ranks = identity.find_ranks()
        described = _describe_run(wanted, version, ranks)
        # before anybody can see the run: one that nobody holds is dead, and sealed
        locks = _hold(location.store, described.id)
        alone = ranks.group is None
        run = catalog.add_run(described) if alone else join_group(catalog, location.store, described, ranks)
        if run.id != described.id:
            for lock in locks:
                lock.release(unlink=True)
            locks = _hold(location.store, run.id)
        return OpenRun(run, location, catalog, ranks, locks)
    except BaseException:
        catalog.close()
        raise


def _hold(store: str, run: str) -> list[Lock]:
    """What tells others that this process lives."""
    held = liveness.hold_run(store, run), liveness.hold_main(store, run)
    return [lock for lock in held if lock is not None]


def _open_catalog(store: str) -> Catalog:
    """Open the catalog, made if absent; where another process is just making it, wait until it has."""
    try:
        return Catalog.open(store, create=True, patience_s=_PATIENCE_S)
    except StoreError as exc:
        if "no such table" not in str(exc):
            raise
    create(store)
    return Catalog.open(store, patience_s=_PATIENCE_S)


def _describe_run(wanted: Wanted, version: Version, ranks: identity.Ranks) -> Run:
    script, project = wanted.script, wanted.location.project
    path = os.path.relpath(script.path, project) if script.path.startswith(project + os.sep) else script.path
    return Run(
        id=identity.new_run_id(),
        version=version.id,
        script=path,
        argv=tuple(getattr(sys, "argv", ())),
        status="running",
        started_at=time.time(),
        project=project,
        cwd=_started_in or os.getcwd(),
        name=wanted.name,
        host=platform.node(),
        user=_user(),
        pid=os.getpid(),
        python=platform.python_version(),
        tags=wanted.tags,
        ranks=ranks.size,
        environment={**environment.describe(script.module), **_describe_earlier(wanted.before)},
    )


def _describe_earlier(before: int) -> dict[str, object]:
    """What a replay needs to pass the runs that the process had before this one: how many, what was overridden."""
    return {"runs_before": before, "overrides": arguments.read_overrides()} if before else {}


def _snapshot(location: settings.Location, script: identity.Script) -> Version:
    """The version of the code; where that cannot be kept, a version that only names the script's content."""
    try:
        from logql.versions.snapshot import snapshot

        notices: list[str] = []
        version = snapshot(location.project, location.store, script.path, notices)
        for notice in notices:
            guard.warn(notice, notice)
        return version
    except Exception as exc:
        guard.failed("snapshot", "the code of this run is not kept, so nothing can be replayed in it", exc)
    try:
        with open(script.path, "rb") as file:
            content = file.read()
    except OSError:
        content = script.path.encode(errors="surrogateescape")
    commit = hashlib.sha1(content, usedforsecurity=False).hexdigest()
    return Version(commit[:12], commit, dirty=True)


def _user() -> str | None:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return None

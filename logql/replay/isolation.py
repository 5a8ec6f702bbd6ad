"""The private view of the file system that a replay runs in, built inside new namespaces.

The project's own path, $HOME and the temporary directories become overlays whose writes go to the segment's scratch
directory; everything else is read-only, but /proc and what is mounted below /dev. Devices can be written to.
"""

from __future__ import annotations

import errno
import os
import tempfile
import uuid
from dataclasses import dataclass

from logql.replay import namespaces
from logql.replay.composed import Composed

#: Mounts below these stay as they are.
_KEPT = ("/dev/", "/proc/")


@dataclass(frozen=True)
class Layout:
    """What to build: `scratch/project` already holds the version's files; `hidden` ones are removed from view."""

    project: str
    scratch: str
    hidden: tuple[str, ...]


def build_view(layout: Layout) -> list[str]:
    """Mount the overlays in this process's new mount namespace; returns notes on what could not be had.

    Raises OSError where the project's overlay, or making the rest read-only, is not possible.
    """
    namespaces.make_private()
    targets = _targets(os.path.realpath(layout.project))
    layers = [_layers(layout, targets, number) for number in range(len(targets))]
    mounted, notes = [], []
    for target, one in zip(targets, layers, strict=True):
        try:
            mounted += one.mount(target)
        except OSError as exc:
            if target == os.path.realpath(layout.project):
                raise
            notes.append(f"{target} is read-only in the replay: {exc.strerror}")
        finally:
            one.close()
    for target in set(mounted) & set(targets):
        _probe(target)
    _seal_rest(set(mounted))
    _hide(layout)
    return notes


def _layers(layout: Layout, targets: list[str], number: int) -> namespaces.Layers | Composed:
    target = targets[number]
    own = target == os.path.realpath(layout.project)
    upper = private_directory(layout.scratch) if own else _directory(layout.scratch, f"upper{number}")
    work = _directory(layout.scratch, f"work{number}")
    points = namespaces.mount_points()
    if any(point.startswith(target + "/") for point in points):
        return Composed(target, upper, work, points, targets)
    return namespaces.Layers(target, upper, work)


def private_directory(scratch: str) -> str:
    """Where the project's own changes go; the version's files are put here beforehand."""
    return _directory(scratch, "project")


def _targets(project: str) -> list[str]:
    """Paths to overlay, outermost first: a nested one must be mounted on what its parent shows."""
    home = os.path.expanduser("~")
    wanted = {project} | {os.path.realpath(path) for path in (home, "/tmp", "/var/tmp", tempfile.gettempdir())}  # noqa: S108
    usable = [path for path in wanted if path != "/" and os.path.isdir(path)]
    return sorted(usable, key=lambda path: (path.count("/"), path))


def _directory(scratch: str, name: str) -> str:
    path = os.path.join(scratch, name)
    os.makedirs(path, exist_ok=True)
    return path


def _probe(target: str) -> None:
    """Write, rename and remove: some kernels mount what they cannot serve."""
    if not os.access(target, os.W_OK):
        return
    name = os.path.join(target, f".logql-probe-{uuid.uuid4().hex}")
    with open(name, "w", encoding="ascii") as file:
        file.write("probe")
    os.rename(name, name + "2")
    os.unlink(name + "2")


def _seal_rest(overlays: set[str]) -> None:
    for point in set(namespaces.mount_points()) - overlays:
        if point != "/proc" and not point.startswith(_KEPT):
            try:
                namespaces.set_read_only(point)
            except (FileNotFoundError, NotADirectoryError):  # hidden by what we mounted, so nobody can reach it
                continue
            except PermissionError:
                if os.access(point, os.W_OK):
                    raise
            except OSError as exc:
                if exc.errno != errno.EINVAL:
                    raise
                raise OSError(exc.errno, f"what is mounted at {point} is not seen through an overlay") from exc


def _hide(layout: Layout) -> None:
    """Remove today's files from view, and directories that held nothing else."""
    for path in layout.hidden:
        target = os.path.join(layout.project, path)
        try:
            os.unlink(target)
            os.removedirs(os.path.dirname(target))
        except OSError:
            continue

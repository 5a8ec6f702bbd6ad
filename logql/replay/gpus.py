"""Which GPUs replays may use: one worker on each, and none on one that somebody else computes on."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from logql.model import Run

_TIMEOUT_S = 20


@dataclass(frozen=True)
class Devices:
    """GPUs of one replay: those that it has to itself, and all that it sees, in its order."""

    own: tuple[str, ...]
    seen: tuple[str, ...]


def uses_gpu(run: Run) -> bool:
    """Whether a run computed on accelerators."""
    return bool(run.environment.get("accelerators"))


def list_gpus() -> dict[str, bool]:
    """The NVIDIA GPUs that this process may use, by their UUID, and whether each is free; empty where there is none.

    Of instances of a GPU that is split (MIG) nobody tells which are in use.
    """
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return {}
    present = dict(line.split(", ", 1) for line in _ask(tool, "--query-gpu=index,uuid") if ", " in line)
    busy = set(_ask(tool, "--query-compute-apps=gpu_uuid"))
    return {uuid: uuid not in busy for uuid in _allowed(present, os.environ.get("CUDA_VISIBLE_DEVICES"))}


def _allowed(present: Mapping[str, str], visible: str | None) -> list[str]:
    """UUIDs of what CUDA_VISIBLE_DEVICES names (indices, beginnings of UUIDs), up to the first that is not there."""
    if visible is None:
        return list(present.values())
    found = []
    for name in map(str.strip, visible.split(",")):
        known = [uuid for uuid in present.values() if name.startswith("GPU-") and uuid.startswith(name)]
        uuid = name if name.startswith("MIG-") else present.get(name) or next(iter(known), None)
        if uuid is None:
            break
        found.append(uuid)
    return found


def choose(run: Run, gpus: Mapping[str, bool], taken: Collection[str]) -> Devices | None:
    """GPUs for a replay of a run: a free one that none of our workers has for each that it computed on.

    A script may name its GPUs: it sees as many as it did then, of which those it did not use may be anyone's. None
    where too few are free. Where there are fewer here than it saw, it gets these.
    """
    seen = min(_count_seen(run), len(gpus))
    used = [device for device in _used(run) if device < seen] or [0]
    free = [uuid for uuid, is_free in gpus.items() if is_free and uuid not in taken]
    if len(free) < len(used):
        return None
    own = dict(zip(used, free, strict=False))
    others = iter([uuid for uuid in gpus if uuid not in own.values()])
    return Devices(tuple(own.values()), tuple(own.get(device) or next(others) for device in range(seen)))


def _count_seen(run: Run) -> int:
    names = run.environment.get("accelerators")
    return max(1, len(names)) if isinstance(names, list | tuple) else 1


def _used(run: Run) -> list[int]:
    """The devices that a run computed on; the first where that was not recorded."""
    found = run.environment.get("devices")
    return [device for device in found if isinstance(device, int)] if isinstance(found, list | tuple) else []


def _ask(tool: str, query: str) -> list[str]:
    command = [tool, query, "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in done.stdout.splitlines() if "GPU-" in line]

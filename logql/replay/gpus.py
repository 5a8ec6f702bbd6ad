"""Which GPUs replays may use: one worker on each, and none on one that somebody else computes on."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Collection, Mapping

from logql.model import Run

_TIMEOUT_S = 20


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


def choose(gpus: dict[str, bool], taken: Collection[str | None]) -> str | None:
    """A free GPU that none of our workers has."""
    return next((uuid for uuid, free in gpus.items() if free and uuid not in taken), None)


def _ask(tool: str, query: str) -> list[str]:
    command = [tool, query, "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in done.stdout.splitlines() if "GPU-" in line]

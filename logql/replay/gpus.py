"""Which GPUs replays may use: one worker on each, and none on one that somebody else computes on."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Collection

from logql.model import Run

_TIMEOUT_S = 20


def uses_gpu(run: Run) -> bool:
    """Whether a run computed on accelerators."""
    return bool(run.environment.get("accelerators"))


def list_gpus() -> dict[str, bool]:
    """The NVIDIA GPUs here by their UUID, and whether each is free; empty where there is none."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return {}
    present = _ask(tool, "--query-gpu=uuid")
    busy = set(_ask(tool, "--query-compute-apps=gpu_uuid"))
    return {uuid: uuid not in busy for uuid in present}


def choose(gpus: dict[str, bool], taken: Collection[str | None]) -> str | None:
    """A free GPU that none of our workers has."""
    return next((uuid for uuid, free in gpus.items() if free and uuid not in taken), None)


def _ask(tool: str, query: str) -> list[str]:
    command = [tool, query, "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in done.stdout.splitlines() if line.strip().startswith("GPU-")]

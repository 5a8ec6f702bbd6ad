"""Records a script in one process, replays it from its checkpoints in others, and compares."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Recorded:
    """What a recorded run left behind."""

    project: Path
    events: list[list[Any]]
    manifests: dict[str, str]
    refused: dict[str, list[str]]

    def replay(self, key: str) -> dict[str, Any]:
        """Start the script anew, restore the state at `loop:iteration`, run to the end."""
        loop, at = key.split(":")
        _run(self.project, {"RIG_MODE": "replay", "RIG_LOOP": loop, "RIG_AT": at})
        found: dict[str, Any] = json.loads((self.project.parent / "store/replay.json").read_text())
        return found

    def expected(self, key: str) -> list[list[Any]]:
        """What was logged from that iteration on."""
        keys = [event[0] for event in self.events]
        return self.events[keys.index(key) :]


def record(tmp_path: Path, script: str, **files: str) -> Recorded:
    """Run a script once, saving at every boundary."""
    project = tmp_path / "project"
    project.mkdir()
    for name, text in {"train": script, **files}.items():
        (project / f"{name}.py").write_text(textwrap.dedent(text))
    _run(project, {"RIG_MODE": "record"})
    found = json.loads((tmp_path / "store/index.json").read_text())
    return Recorded(project, found["events"], found["manifests"], found["refused"])


def assert_exact(recorded: Recorded, *keys: str) -> None:
    """Every later value and state of each replay equals the record bit for bit."""
    assert recorded.refused == {}
    for key in keys or [key for key in recorded.manifests if not key.endswith("exit")]:
        replayed = recorded.replay(key)
        assert replayed["events"] == recorded.expected(key), key
        assert replayed["problems"] == [], key


def assert_refused(recorded: Recorded, reason: str, path: str) -> None:
    """No checkpoint exists, for this reason and this object."""
    assert recorded.manifests.keys() <= {"0:0", "0:exit"}
    reasons = [why for key, why in recorded.refused.items() if key != "0:exit"]
    assert reasons
    for why, where in reasons:
        assert reason in why
        assert where == path


def _run(project: Path, environment: dict[str, str]) -> None:
    store = project.parent / "store"
    paths = os.pathsep.join([str(ROOT), str(Path(__file__).parent)])
    done = subprocess.run(
        [sys.executable, "-c", "import rig; rig.main()", "train.py"],
        cwd=project,
        env={**os.environ, "PYTHONPATH": paths, "RIG_STORE": str(store), "PYTHONHASHSEED": "random", **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr

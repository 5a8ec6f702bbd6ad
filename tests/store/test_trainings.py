"""When runs trained, as their rows tell."""

from __future__ import annotations

from logql.model import Run, RunStatus
from logql.store.trainings import TICK, find_trainings


def run(name: str, status: RunStatus, started: float, since: float | None, ended: float | None) -> Run:
    environment = {} if since is None else {"training_since": since}
    return Run(name, "v", "train.py", (), status, started, "/p", "/p", ended_at=ended, environment=environment)


def test_trainings_end_with_their_runs_but_killed_ones() -> None:
    runs = [
        run("running", "running", 900.0, 910.0, None),
        run("finished", "finished", 100.0, 110.0, 150.0),
        run("without loops", "finished", 200.0, None, 210.0),
        run("killed", "killed", 300.0, 310.0, 350.0),
        run("failed", "failed", 500.0, 510.0, 550.0),
    ]
    assert find_trainings(runs) == {
        "finished": (110.0 - TICK, 150.0),
        "killed": (310.0 - TICK, 500.0),
        "failed": (510.0 - TICK, 550.0),
        "running": (910.0 - TICK, float("inf")),
    }
    assert find_trainings(runs, grace_s=60.0)["killed"] == (310.0 - TICK, 410.0)

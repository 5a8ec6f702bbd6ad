"""FlorDB on the same script: what replaying one epoch takes, and whether the value is the one that it had.

`bench.replay --flor-python PATH` calls this for interpreters that have FlorDB (4.0.1: no checkpoints; up to 3.4.10: at
the end of each epoch). Its replays run in the user's own checkout; it is asked as its own `replay` command asks.
"""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
import time
from dataclasses import dataclass

LOOP = "for epoch in"
NEW = '    norm = float(np.abs(w1).sum())\n    flordb.log("norm", norm)\n    print("norm", epoch, repr(norm))\n'


@dataclass(frozen=True)
class Took:
    """Seconds of the wall's clock and of processors, and the value that came out."""

    wall: float
    cpu: float
    value: float | None


class FlorProject:
    """A repository with the benchmark's script, recorded once, whose source then has the new statement."""

    def __init__(self, python: str, directory: str, script: str, steps: int) -> None:
        self.python = python
        self.version = _run(python, directory, "-c", _VERSION)[0].strip()
        self._directory = directory
        self._steps = steps
        self._write(_translated(script))
        for command in ("init -q -b main", "add -A", "commit -qm recorded", "checkout -q -b work"):
            subprocess.run(["git", *_IDENTITY, *command.split()], cwd=directory, check=True, capture_output=True)
        _run(python, directory, "train.py")
        self._write(_translated(script) + NEW)

    def replay(self, epoch: int) -> Took:
        """Replay one epoch, all of its steps."""
        if self.version.startswith("4"):
            chosen = ["--apply", "norm", "--iter", f"epoch={epoch}", "--iter", "step=all"]
        else:
            steps = ",".join(str(step) for step in range(self._steps))
            chosen = ["norm", f"epoch={epoch},", f"step={steps}"]
        began, before = time.perf_counter(), _children()
        printed, _ = _run(self.python, self._directory, "train.py", "--replay_flor", *chosen)
        return Took(time.perf_counter() - began, _children() - before, values(printed).get(epoch))

    def _write(self, text: str) -> None:
        with open(os.path.join(self._directory, "train.py"), "w", encoding="utf-8") as file:
            file.write(text)


def truth(script: str) -> dict[int, float]:
    """The value of each epoch, when the script is just run with the statement in."""
    plain = _translated(script) + NEW
    stand_in = "class flordb:\n    loop = staticmethod(lambda name, items: items)\n    log = print\n"
    plain = plain.replace("import flordb\n", stand_in).replace(_CHECKPOINTING, "if True:\n")
    return values(_run(sys.executable, os.getcwd(), "-c", plain)[0])


def values(printed: str) -> dict[int, float]:
    """What the new statement printed, by epoch."""
    return {int(epoch): float(value) for epoch, value in re.findall(r"^norm (\d+) (\S+)$", printed, re.MULTILINE)}


_CHECKPOINTING = "with flordb.checkpointing(w1=w1, w2=w2, m1=m1, m2=m2):\n"
_VERSION = "import importlib.metadata as m; print(m.version('flordb'))"
_IDENTITY = ("-c", "user.name=bench", "-c", "user.email=bench@example.org")


def _translated(script: str) -> str:
    """The script with FlorDB's calls, and the objects named that FlorDB is to save (its loop is one deeper)."""
    script = script.replace("logql", "flordb")
    head, loop, body = script.partition(LOOP)
    return f"{head}{_CHECKPOINTING}  {loop}{body}"


def _run(python: str, directory: str, *arguments: str) -> tuple[str, str]:
    names = {"GIT_AUTHOR_NAME": "bench", "GIT_AUTHOR_EMAIL": "bench@example.org"}
    names |= {"GIT_COMMITTER_NAME": "bench", "GIT_COMMITTER_EMAIL": "bench@example.org"}
    environment = {**os.environ, **names, "HOME": directory, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [python, *arguments], cwd=directory, env=environment, check=True, capture_output=True, text=True
    )
    return done.stdout, done.stderr


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime

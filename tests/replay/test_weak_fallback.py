"""Where the kernel or a container forbids namespaces, replays are isolated weakly, and say so."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from tests.replay.conftest import ROOT, Project

ASK = """\
import sys
open("/proc/sys/user/max_user_namespaces", "w").write("0")
sys.path.insert(0, {root!r})
from pathlib import Path
from tests.replay.conftest import Project, after
project = Project(Path({path!r}))
job = project.job(after('logql.log("x"', 'logql.log("y", epoch + 0.5)'), ["y"], (1,))
(result,) = project.replay(job)
print(result.state, result.error, result.notes, [event.value for event in result.events])
"""


@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs util-linux")
def test_without_namespaces_isolation_is_weak_and_says_so(project: Project) -> None:
    project.write(
        "train.py", 'import logql\nfor epoch in logql.loop("epoch", range(3)):\n    logql.log("x", epoch * 1.0)\n'
    )
    project.run()
    text = ASK.format(root=ROOT, path=str(project.path))
    done = subprocess.run(["unshare", "-Ur", sys.executable, "-c", text], capture_output=True, text=True, check=False)
    if "unshare" in done.stderr:
        pytest.skip("no user namespaces here")
    assert done.stdout.startswith("done None ('isolation is weak: unshare: "), done.stdout + done.stderr
    assert done.stdout.rstrip().endswith("[1.5]")

"""Other file systems below the project, the home directory or /tmp: replays see them, and change nothing in them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.replay.conftest import ROOT, Project

SCRIPT = """\
import logql

numbers = [float(line) for line in open("data/numbers.txt")]
for epoch in logql.loop("epoch", range(3)):
    logql.log("x", numbers[epoch])
    {writes}
"""
#: What the replay writes: over and beside what is mounted, beside the mount point's ancestors, and in new directories.
WRITES = """\
    open("data/numbers.txt", "w").write("lost"); open("data/new.txt", "w").write("x")
    open("notes.txt", "a").write("more"); open("results/deep/old.txt", "w").write("x")
    import os, tempfile; os.makedirs("fresh/deep", exist_ok=True)
    open(os.path.expanduser("~/mine.txt"), "a").write("x"); open(os.path.expanduser("~/disk/kept.txt"), "a").write("x")
    tempfile.NamedTemporaryFile().write(b"x")
"""
#: Mounts three directories, replays with them there, and tells the outcome.
ASK = """\
import subprocess, sys
sys.path.insert(0, {root!r})
for source, target in {mounts!r}:
    subprocess.run(["mount", "--bind", source, target], check=True)
from pathlib import Path
from logql.replay.job import Options
from tests.replay.conftest import Project, after
project = Project(Path({path!r}))
edit = after('logql.log("x"', 'logql.log("y", numbers[epoch] + 0.5)')
job = project.job(lambda source: edit(source).replace("    pass\\n", {writes!r}), ["y"], (0, 1, 2))
(result,) = project.replay(job, options=Options(isolation="strong"))
print(result.state, result.error, result.notes, [event.value for event in result.events if event.name == "y"])
print(*sorted(path.name for path in project.path.iterdir() if path.name[0] != "."))
"""


def _texts(*roots: Path) -> dict[str, str]:
    files = (path for root in roots for path in root.rglob("*") if path.is_file() and ".logql" not in path.parts)
    return {str(path): path.read_text("utf-8") for path in files if ".git" not in path.parts}


@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs util-linux")
def test_what_is_mounted_below_is_seen_and_kept(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, home = tmp_path / "disk", tmp_path / "home"
    for path in (disk, home / "disk", home / ".cache" / "empty", project.path / "data", project.path / "results/deep"):
        path.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    (home / "mine.txt").write_text("mine")
    (disk / "numbers.txt").write_text("1\n2\n3\n")
    (disk / "kept.txt").write_text("kept")
    (project.path / "results/deep/old.txt").write_text("old")
    (project.path / "notes.txt").write_text("notes")
    os.symlink("notes.txt", project.path / "link")
    (project.path / "data" / "numbers.txt").write_text("1\n2\n3\n")
    project.write("train.py", SCRIPT.replace("{writes}", "pass"))
    project.run()
    before = _texts(disk, home, project.path)
    mounts = [(str(disk), str(project.path / "data")), (str(disk), str(home / "disk"))]
    text = ASK.format(root=ROOT, path=str(project.path), mounts=mounts, writes=WRITES)
    done = subprocess.run(["unshare", "-Urm", sys.executable, "-c", text], capture_output=True, text=True, check=False)
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip("no user namespaces here")
    told, names = done.stdout.splitlines()
    assert told == "done None () [1.5, 2.5, 3.5]", done.stdout + done.stderr
    assert names == "data link notes.txt results train.py"
    assert _texts(disk, home, project.path) == before

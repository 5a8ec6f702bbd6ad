"""Replays where the file system is not what a private view of it needs: in a mount namespace that is made so."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from logql.replay import landlock
from tests.replay.conftest import ROOT

ASK = """\
import sys
sys.path.insert(0, {root!r})
from pathlib import Path
from tests.replay.conftest import Project, after
project = Project(Path({project!r}))
project.path.mkdir(exist_ok=True)
project.write("train.py", '''
import logql, os
for epoch in logql.loop("epoch", range(3)):
    logql.log("x", epoch * 1.0)
    if os.environ.get("LOGQL_REPLAY"):
        {statement}
''')
project.run()
{between}
(result,) = project.replay(project.job(after('logql.log("x"', 'logql.log("y", epoch + 0.5)'), ["y"], (1,)))
print(result.state, "|", result.error, "|", *result.notes)
"""


def _mounting(commands: str) -> list[str]:
    return ["unshare", "--mount", "sh", "-ec", f'{commands}\nexec "$@"', "sh"]


def _can_mount() -> bool:
    try:
        return subprocess.run([*_mounting("mount -t tmpfs none /mnt"), "true"], check=False).returncode == 0
    except OSError:
        return False


def _ask(mounts: str, project: Path, statement: str, between: str = "", **environment: str) -> str:
    text = ASK.format(root=ROOT, project=str(project), statement=statement, between=between)
    command = [*_mounting(mounts), sys.executable, "-c", text]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **environment})
    assert done.returncode == 0, done.stderr
    return done.stdout


pytestmark = pytest.mark.skipif(not _can_mount(), reason="needs the right to mount")


def test_a_project_that_no_overlay_can_lie_on_is_replayed_weakly(tmp_path: Path) -> None:
    for name in ("lower", "upper", "work", "here"):
        (tmp_path / name).mkdir()
    mounts = f"""cd {tmp_path}; mount -t tmpfs none upper; mkdir upper/upper upper/work
        mount -t overlay overlay -o lowerdir=lower,upperdir=upper/upper,workdir=upper/work here"""
    told = _ask(mounts, tmp_path / "here" / "project", "pass")
    assert told.startswith("done | None | isolation is weak: overlay on ")
    assert ("C++ code or other programs write by absolute path is not caught" in told) is not landlock.is_offered()


def test_a_home_that_cannot_be_written_to_can_be_in_a_replay(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    mounts = f"mount --bind {home} {home}; mount -o remount,ro,bind {home}"
    told = _ask(mounts, tmp_path / "project", 'open(os.path.expanduser("~/x"), "w").write("1")', HOME=str(home))
    assert told == "done | None |\n"
    assert not (home / "x").exists()


def test_a_file_where_a_directory_stands_today_beside_something_mounted(tmp_path: Path) -> None:
    between = """
import os, subprocess
(project.path / "mnt").mkdir()
for name in ("thing", "link"):
    (project.path / name).unlink()
    (project.path / name).mkdir()
    (project.path / name / "today").write_text("")
subprocess.run(["mount", "-t", "tmpfs", "none", str(project.path / "mnt")], check=True)
"""
    project = tmp_path / "project"
    project.mkdir()
    (project / "thing").write_text("then")
    (project / "link").symlink_to("thing")
    then = 'assert open("thing").read() == open("link").read() == "then"; open("mnt/x", "w").close()'
    told = _ask("true", project, then, between)
    assert told == "done | None |\n"
    assert sorted(os.listdir(project / "link")) == ["today"]


def test_a_full_disk_ends_the_replay_and_not_the_query(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    statement = 'open("big", "wb").write(bytes(30 << 20))'
    told = _ask(f"mount -t tmpfs -o size=12m none {small}", small / "project", statement)
    assert told.startswith("failed | Traceback")
    assert "File too large" in told

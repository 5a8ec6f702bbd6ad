"""Files of other users and groups, as users other than root find them in a replay's private view."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from logql.replay import foreign
from tests.replay.conftest import ROOT

USER = 12345
GROUP = 100
#: Becomes another user, makes the view of a project, and writes in it.
PROGRAM = """\
import ctypes, encodings.ascii, os, sys
sys.path.insert(0, {root!r})
from logql.replay import foreign, isolation, namespaces

os.setgroups([{group}])
os.setresgid(*3 * [{user}])
os.setresuid(*3 * [{user}])
ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # whoever changes its user may not be looked at, not even by itself
os.makedirs({scratch!r})
foreign.copy_foreign({project!r}, foreign.find_foreign({project!r}), isolation.private_directory({scratch!r}))
ready, go = os.pipe(), os.pipe()
child = os.fork()
if child:
    os.close(ready[1])
    os.read(ready[0], 1)
    namespaces.write_maps(child)
    os.write(go[1], b"x")
    os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
namespaces.unshare(namespaces.NEW_USER | namespaces.NEW_MOUNTS)
os.write(ready[1], b"x")
os.close(go[1])
os.read(go[0], 1)
isolation.build_view(isolation.Layout({project!r}, {scratch!r}, ()))
os.chdir({project!r})
with open("data/old.txt", "a") as file:
    file.write("more")
with open("data/sub/new.txt", "w") as file:
    file.write("new")
os.rename("data/sub/older.txt", "data/renamed.txt")
assert os.system("echo more >> data/renamed.txt") == 0
found = [open("data/" + name).read() for name in ("old.txt", "sub/new.txt", "renamed.txt")]
assert found == ["oldmore", "new", "oldmore\\n"], found
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs files of several users and groups")
@pytest.mark.parametrize("owner", [(0, 0), (USER, GROUP)], ids=["another user's", "another group's"])
def test_what_is_not_theirs_is_written_to_privately_by_other_users(owner: tuple[int, int]) -> None:
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
        Path(directory).chmod(0o755)
        project = Path(directory, "project")
        (project / "data/sub").mkdir(parents=True)
        for name in ("data/old.txt", "data/sub/older.txt"):
            (project / name).write_text("old")
        for path in (project, *project.rglob("*")):
            os.chown(path, *(owner if "data" in path.parts else (USER, USER)))
            path.chmod(0o777 if path.is_dir() else 0o666)
        os.chown(directory, USER, USER)
        scratch = str(Path(directory, "scratch"))
        text = PROGRAM.format(root=ROOT, user=USER, group=GROUP, project=str(project), scratch=scratch)
        environment = {**os.environ, "HOME": directory}
        done = subprocess.run(
            [sys.executable, "-c", text], capture_output=True, text=True, env=environment, check=False
        )
        if "Operation not permitted" in done.stderr and "unshare" in done.stderr:
            pytest.skip("user namespaces are not allowed here")
        assert (done.returncode, done.stderr) == (0, "")
        found = {path.relative_to(project).as_posix(): path.read_text() for path in project.rglob("*.txt")}
        assert found == {"data/old.txt": "old", "data/sub/older.txt": "old"}


def test_what_is_ours_too_large_or_not_writable_is_not_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project, into = tmp_path / "project", tmp_path / "into"
    (project / "data").mkdir(parents=True)
    (project / ".logql").mkdir()
    for name, size in (("data/a", 10), ("data/b", 90), ("data/c", 20), (".logql/d", 1)):
        (project / name).write_bytes(bytes(size))
    found = foreign.find_foreign(str(project))
    assert os.geteuid() == 0 or not found.directories
    monkeypatch.setattr(os, "geteuid", lambda: USER)
    monkeypatch.setattr(foreign, "_MOST_BYTES", 100)
    found = foreign.find_foreign(str(project))
    assert (sorted(found.directories), found.files) == ([".logql", "data"], ("data/a", "data/c"))
    (into / "data").mkdir(parents=True)
    (into / "data/c").write_text("its own")
    foreign.copy_foreign(str(project), found, str(into))
    assert (into / "data/a").read_bytes() == bytes(10)
    assert (into / "data/c").read_text() == "its own"
    assert not (into / "data/b").exists()

"""Nothing that a replay does stays, and it finds the data that is not in git."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from logql.replay.job import Isolation, Options
from tests.replay.conftest import Edit, Project, after, values

SCRIPT = """\
import os
import shutil
import sqlite3
import subprocess

import numpy as np

import logql

here = os.path.dirname(os.path.abspath(__file__))
data = np.load(os.path.join(here, "data", "numbers.npy"))
total = 0.0
for epoch in logql.loop("epoch", range(3)):
    total += float(data[epoch])
    logql.log("total", total)
    {writes}
"""

WRITES = """\
np.save("data/numbers.npy", data * 0)
    open("data/log.txt", "a").write("more")
    shutil.rmtree("data/old", ignore_errors=True)
    open(os.path.join(here, "made.txt"), "w").write("x")
    os.system("echo more >> data/log.txt; echo x > made2.txt")
    sqlite3.connect("data/base.db").executescript("create table if not exists t (x); insert into t values (1)")
    mapped = np.memmap("data/map.bin", dtype="u1", mode="r+", shape=4)
    mapped[:] = 9
    mapped.flush()
    os.makedirs(os.path.expanduser("~/.logql-test"), exist_ok=True)
    open(os.path.expanduser("~/.logql-test/f"), "w").write("x")
    open({outside!r}, "w").write("x")
"""


def _digest(root: Path) -> dict[str, str]:
    found = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if name.startswith((".logql", ".git/")):
            continue
        found[name] = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "directory"
    return found


def _make(project: Project) -> None:
    import numpy as np

    data = project.path / "data"
    (data / "old").mkdir(parents=True)
    (data / "old" / "keep.txt").write_text("keep")
    np.save(data / "numbers.npy", np.arange(3.0))
    (data / "log.txt").write_text("start")
    (data / "map.bin").write_bytes(b"1234")
    project.write("train.py", SCRIPT.replace("{writes}", "pass"))
    project.commit()
    project.run()


def _edit(writes: str) -> Edit:
    def edit(source: str) -> str:
        return source.replace("    pass\n", "    " + writes).replace(
            '    logql.log("total", total)\n', '    logql.log("total", total)\n    logql.log("twice", 2 * total)\n'
        )

    return edit


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "home"
    path.mkdir()
    (path / "mine.txt").write_text("mine")
    monkeypatch.setenv("HOME", str(path))
    return path


def test_writes_are_private_and_thrown_away(project: Project, home: Path) -> None:
    _make(project)
    outside = project.path.parent / "outside.txt"
    before, before_home = _digest(project.path), _digest(home)
    edit = _edit(WRITES.replace("{outside!r}", repr(str(outside))))
    job = project.job(edit, ["twice"], (0, 1, 2))
    (result,) = project.replay(job, options=Options(isolation="strong"))
    assert (result.state, result.error) == ("done", None)
    assert values(result.events, "twice") == {(0,): 0.0, (1,): 2.0, (2,): 6.0}
    assert _digest(project.path) == before
    assert _digest(home) == before_home
    assert not outside.exists()
    assert not list(Path(project.store, "scratch").glob("replay-*"))


def test_the_next_replay_sees_nothing_of_the_last(project: Project) -> None:
    _make(project)
    edit = _edit(WRITES.split("\n")[0] + "\n")
    for _ in range(2):
        (result,) = project.replay(project.job(edit, ["twice"], (1, 2)))
        assert values(result.events, "twice") == {(1,): 2.0, (2,): 6.0}


@pytest.mark.parametrize("target", ["/usr/logql-test.txt", "/dev/logql-test.txt"])
def test_writing_elsewhere_is_refused_with_the_reason(project: Project, target: str) -> None:
    _make(project)
    edit = _edit(f'open("/dev/null", "w").write("x"); open("{target}", "w").write("x")\n')
    (result,) = project.replay(project.job(edit, ["twice"], (1,)))
    assert result.state == "failed"
    assert "Read-only file system" in str(result.error)
    assert not os.path.exists(target)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs files of another user")
def test_files_of_another_user_can_be_overwritten_privately(project: Project) -> None:
    _make(project)
    for path in ("data/log.txt", "data"):
        os.chown(project.path / path, 1234, 1234)
    edit = _edit('open("data/log.txt", "a").write("more"); os.rename("data/log.txt", "data/moved.txt")\n')
    (result,) = project.replay(project.job(edit, ["twice"], (1,)))
    assert (result.state, result.error) == ("done", None)
    assert (project.path / "data" / "log.txt").read_text() == "start"


def test_weak_isolation_copies_and_refuses(project: Project, home: Path) -> None:
    _make(project)
    before, before_home = _digest(project.path), _digest(home)
    inside = "\n".join(WRITES.splitlines()[:9]) + "\n"
    (result,) = project.replay(
        project.job(_edit(inside), ["twice"], (1, 2)),
        options=Options(isolation="weak"),
    )
    assert (result.state, result.error) == ("done", None)
    assert values(result.events, "twice") == {(1,): 2.0, (2,): 6.0}
    for path in (str(project.path.parent / "made.txt"), str(home / "f")):
        (result,) = project.replay(
            project.job(_edit(f'open("{path}", "w").write("x")\n'), ["twice"], (1,)),
            options=Options(isolation="weak"),
        )
        assert result.state == "failed"
        assert "may not write here" in str(result.error)
    assert _digest(project.path) == before
    assert _digest(home) == before_home


def test_the_files_of_today_are_not_those_of_the_version(project: Project) -> None:
    project.write("helper.py", "FACTOR = 3\n")
    project.write(
        "train.py",
        "import importlib.util as u\nimport logql, helper\nfor epoch in logql.loop('epoch', range(2)):\n"
        "    logql.log('a', float(helper.FACTOR))\n    print('new' if u.find_spec('newer') else 'none')\n",
    )
    project.commit()
    project.run()
    project.write("helper.py", "FACTOR = 4\n")
    project.write("newer.py", "X = 1\n")
    project.write("data/seen.txt", "1")
    project.write("train.py", "raise SystemExit\n")
    project.commit()
    project.run("-c", "import helper")
    modes: tuple[Isolation, ...] = ("strong", "weak")
    for isolation in modes:
        job = project.job(after("logql.log('a'", "logql.log('b', helper.FACTOR * 2)"), ["b"], (0, 1))
        (result,) = project.replay(job, options=Options(isolation=isolation))
        assert values(result.events, "b") == {(0,): 6, (1,): 6}, isolation
        assert "new" not in project.log(result)
    status = subprocess.run(["git", "status", "--porcelain"], cwd=project.path, capture_output=True, text=True)
    assert status.stdout == ""
    assert (project.path / "newer.py").exists()

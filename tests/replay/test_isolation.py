"""Nothing that a replay does stays, and it finds the data that is not in git."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from logql.replay import landlock
from logql.replay.job import Isolation, Options
from tests.replay.conftest import Edit, Project, after, values

SCRIPT = """\
import os
import pickle
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

#: What a script does to its project; `{at}` is nothing (relative paths) or the project's own path.
WRITES = (
    'np.save("{at}data/numbers.npy", data * 0)',
    'open("{at}data/log.txt", "a").write("more")',
    'shutil.rmtree("{at}data/old", ignore_errors=True)',
    'open("{at}made.txt", "w").write("x")',
    'os.system("echo more >> {at}data/log.txt; echo x > {at}made2.txt")',
    'sqlite3.connect("{at}data/base.db").executescript("create table if not exists t (x); insert into t values (1)")',
    'mapped = np.memmap("{at}data/map.bin", dtype="u1", mode="r+", shape=4); mapped[:] = 9; mapped.flush()',
    'os.replace("{at}data/log.txt", "{at}data/moved.txt"); open("{at}data/log.txt", "w").write("again")',
    'os.chmod("{at}data/map.bin", 0o600); os.utime("{at}data/map.bin", (1, 1))',
    'pickle.dump(data, open("{at}data/model.pkl", "wb"))',
)
#: The same outside of the project; `{outside}` is a directory below /tmp.
OUTSIDE = (
    'os.makedirs(os.path.expanduser("~/.logql-test"), exist_ok=True)',
    'open(os.path.expanduser("~/mine.txt"), "a").write("x")',
    'shutil.rmtree("{outside}/kept", ignore_errors=True)',
    'open("{outside}/made.txt", "w").write("x")',
    'os.system("echo x > {outside}/made2.txt; rm ~/mine.txt")',
)


def _digest(root: Path) -> dict[str, str]:
    found = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if name.startswith((".logql", ".git/")):
            continue
        status = path.stat()
        content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "directory"
        found[name] = f"{content} {oct(status.st_mode)} {status.st_mtime_ns}"
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


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    path = tmp_path / "outside"
    (path / "kept").mkdir(parents=True)
    (path / "kept" / "mine.txt").write_text("mine")
    return path


def _statements(project: Project, outside: Path, *groups: Sequence[str], absolute: bool) -> str:
    """Lines of a loop's body; `{at}` and `{outside}` are filled in."""
    at = f"{project.path}/" if absolute else ""
    return "".join(f"    {line.format(at=at, outside=outside)}\n" for group in groups for line in group).lstrip()


@pytest.mark.parametrize("absolute", [False, True])
def test_writes_are_private_and_thrown_away(project: Project, home: Path, outside: Path, absolute: bool) -> None:
    _make(project)
    before = [_digest(path) for path in (project.path, home, outside)]
    job = project.job(_edit(_statements(project, outside, WRITES, OUTSIDE, absolute=absolute)), ["twice"], (0, 1, 2))
    (result,) = project.replay(job, options=Options(isolation="strong"))
    assert (result.state, result.error) == ("done", None)
    assert values(result.events, "twice") == {(0,): 0.0, (1,): 2.0, (2,): 6.0}
    assert [_digest(path) for path in (project.path, home, outside)] == before
    assert not list(Path(project.store, "scratch").glob("replay-*"))


def test_the_next_replay_sees_nothing_of_the_last(project: Project) -> None:
    _make(project)
    edit = _edit(WRITES[0].format(at="") + "\n")
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


@pytest.mark.parametrize("absolute", [False, True])
def test_weak_isolation_keeps_what_python_writes_in_the_project_private(
    project: Project, home: Path, outside: Path, absolute: bool
) -> None:
    """Relative paths all; absolute ones where `open` opens them: the rest of them is refused."""
    _make(project)
    before = [_digest(path) for path in (project.path, home, outside)]
    private = [line for line in WRITES if not absolute or "open(" in line.partition(";")[0] or "np." in line]
    for index, lines in enumerate([private, *([line] for line in WRITES if line not in private)]):
        job = project.job(_edit(_statements(project, outside, lines, absolute=absolute)), ["twice"], (1, 2))
        if "os.system" in lines[0] and not landlock.is_offered():
            continue  # what other processes write by absolute path is not caught
        (result,) = project.replay(job, options=Options(isolation="weak"))
        assert _digest(project.path) == before[0], lines
        if index == 0:
            assert (result.state, result.error) == ("done", None)
            assert values(result.events, "twice") == {(1,): 2.0, (2,): 6.0}
    assert [_digest(path) for path in (project.path, home, outside)] == before


@pytest.mark.skipif(not landlock.is_offered(), reason="needs a kernel with Landlock")
@pytest.mark.parametrize(
    "line", ['os.system("{}")', pytest.param('ctypes.CDLL(None).system(b"{}")', marks=pytest.mark.slow), "{}"]
)
def test_weak_isolation_refuses_what_other_code_writes_by_absolute_path(
    project: Project, outside: Path, line: str
) -> None:
    """The replay goes on, as such code is told of the refusal and the script is not."""
    _make(project)
    (project.path / "data" / "over.txt").write_text("mine")
    before = [_digest(path) for path in (project.path, outside)]
    here = project.path / "data"
    command = (
        f"echo x > {here}/over.txt; mv {here}/over.txt {here}/moved.txt; rm {here}/log.txt {outside}/kept/mine.txt"
    )
    if line == "{}":
        c = 'ctypes.CDLL(None).{}(b"{}/over.txt", {})'
        calls = [c.format("open", here, "1 | 512"), c.format("truncate", here, "0"), c.format("unlink", here, "")]
        line, command = "{}", "; ".join(calls).replace(", )", ")")
    edit = _edit("import ctypes; " + line.format(command) + "\n")
    (result,) = project.replay(project.job(edit, ["twice"], (1,)), options=Options(isolation="weak"))
    assert (result.state, values(result.events, "twice")) == ("done", {(1,): 2.0})
    assert [_digest(path) for path in (project.path, outside)] == before


@pytest.mark.parametrize("line", [line for line in OUTSIDE if "system" not in line])
def test_weak_isolation_refuses_what_python_writes_elsewhere(
    project: Project, home: Path, outside: Path, line: str
) -> None:
    _make(project)
    before = [_digest(path) for path in (project.path, home, outside)]
    job = project.job(_edit(_statements(project, outside, [line], absolute=True)), ["twice"], (1,))
    (result,) = project.replay(job, options=Options(isolation="weak"))
    assert result.state == "failed" or "ignore_errors" in line
    assert "may not write here" in str(result.error) or "ignore_errors" in line
    assert [_digest(path) for path in (project.path, home, outside)] == before


#: How C++ code writes a file by its name and reads it again, by the package that does.
WRITTEN_BY = {
    "torch": "torch.save(torch.ones(9), {0}); torch.load({0}, weights_only=True).sum().item() / 9",
    "pyarrow": "import pyarrow.parquet as q; q.write_table(pyarrow.table(dict(a=[1.0])), {0}); "
    "q.read_table({0})[0][0].as_py()",
    "polars": "polars.DataFrame(dict(a=[1.0])).write_parquet({0}); open({0}, 'rb').read(4) == b'PAR1'",
    "h5py": "h5py.File({0}, 'w')['a'] = 1.0; h5py.File({0}, 'r')['a'][()]",
    "safetensors": "import safetensors.numpy as s; s.save_file(dict(a=data[1:2]), {0}); s.load_file({0})['a'][0]",
}


_TORCH = [pytest.param("torch", isolation, marks=pytest.mark.torch) for isolation in ("strong", "weak")]
_OTHERS = [pytest.param(name, "weak", marks=pytest.mark.slow) for name in WRITTEN_BY if name != "torch"]


@pytest.mark.parametrize(("package", "isolation"), [*_TORCH, *_OTHERS])
def test_what_is_written_from_cpp_is_private_and_read_again(
    project: Project, package: str, isolation: Isolation
) -> None:
    pytest.importorskip(package)
    _make(project)
    (project.path / "data" / "model.bin").write_bytes(b"mine")
    before = _digest(project.path)
    write, _, read = WRITTEN_BY[package].format(f"'{project.path}/data/model.bin'").rpartition("; ")
    edit = _edit(f"import {package}; {write}; total = total * float({read})\n")
    (result,) = project.replay(project.job(edit, ["twice"], (1,)), options=Options(isolation=isolation))
    assert (result.state, result.error) == ("done", None)
    assert values(result.events, "twice") == {(1,): 2.0}
    assert _digest(project.path) == before


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

"""Versions read back: sources, checkouts, revisions, and today's work tree."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from logql.errors import ProgrammingError, StoreError
from logql.model import Version
from logql.versions.history import check_out, read_files, read_worktree, resolve
from logql.versions.snapshot import snapshot

from .conftest import Repo


@pytest.fixture
def version(repo: Repo) -> Version:
    script = repo.write("run.sh", "#!/bin/sh\n")
    script.chmod(0o755)
    os.symlink("pkg/model.py", repo.path / "inside.py")
    os.symlink("/etc", repo.path / "outside")
    os.symlink("../..", repo.path / "pkg" / "above")
    repo.write("ümlaut name.py", "u = 'ü'\n")
    return snapshot(str(repo.path), str(repo.path / ".logql"), "train.py")


def test_files_are_read_when_the_repository_is_gone(repo: Repo, version: Version) -> None:
    shutil.rmtree(repo.path / ".git")
    files = read_files(str(repo.path / ".logql"), str(repo.path), version)
    assert set(files) == {"train.py", "pkg/model.py", "ümlaut name.py"}
    assert files["ümlaut name.py"] == "u = 'ü'\n"


def test_checkout_has_modes_and_inner_links_only(repo: Repo, version: Version, tmp_path: Path) -> None:
    out = tmp_path / "out"
    check_out(str(repo.path / ".logql"), str(repo.path), version, str(out))
    assert (out / "run.sh").stat().st_mode & 0o777 == 0o755
    assert (out / "train.py").stat().st_mode & 0o777 == 0o644
    assert os.readlink(out / "inside.py") == "pkg/model.py"
    assert not os.path.lexists(out / "outside")
    assert not os.path.lexists(out / "pkg" / "above")
    check_out(str(repo.path / ".logql"), str(repo.path), version, str(tmp_path / "all"), outside_links=True)
    assert os.readlink(tmp_path / "all" / "outside") == "/etc"


def test_code_that_is_nowhere_is_an_error(repo: Repo) -> None:
    snapshot(str(repo.path), str(repo.path / ".logql"), "train.py")
    unknown = Version("0" * 12, "0" * 40)
    with pytest.raises(StoreError, match="neither in the store nor"):
        read_files(str(repo.path / ".logql"), str(repo.path), unknown)


def test_commit_that_only_the_repository_has(repo: Repo) -> None:
    head = repo.git("rev-parse", "HEAD")
    files = read_files(str(repo.path / ".logql"), str(repo.path), Version(head[:12], head))
    assert files["pkg/model.py"] == "SIZE = 3\n"


def test_declared_encodings_decode_and_garbage_is_left_out(repo: Repo) -> None:
    repo.write("latin.py", "# -*- coding: latin-1 -*-\nx = 'é'\n".encode("latin-1"))
    repo.write("garbage.py", b"\xff\xfe\x80 = 1\n")
    repo.commit("encodings")
    version = snapshot(str(repo.path), str(repo.path / ".logql"), "train.py")
    files = read_files(str(repo.path / ".logql"), str(repo.path), version)
    assert "é" in files["latin.py"]
    assert "garbage.py" not in files
    assert read_worktree(str(repo.path)) == files


def test_revisions_resolve(repo: Repo) -> None:
    store = str(repo.path / ".logql")
    first = repo.git("rev-parse", "HEAD")
    repo.write("train.py", "two = 2\n")
    second = repo.commit("second")
    repo.git("tag", "v2")
    repo.write("train.py", "three = 3\n")
    version = snapshot(str(repo.path), store, "train.py")
    assert resolve(str(repo.path), store, "HEAD~1") == first
    assert resolve(str(repo.path), store, "v2") == second
    assert resolve(str(repo.path), store, second[:8]) == second
    assert resolve(str(repo.path), store, version.id) == version.commit
    for wrong in ("nothing", "--all", ""):
        with pytest.raises(ProgrammingError, match="names no commit"):
            resolve(str(repo.path), store, wrong)


def test_worktree_is_read_as_it_is_now(repo: Repo) -> None:
    repo.write("data/ignored.py", "no = 1\n")
    repo.write("new.py", "n = 1\n")
    assert read_worktree(str(repo.path)) == {
        "new.py": "n = 1\n",
        "pkg/model.py": "SIZE = 3\n",
        "train.py": "import model\n",
    }
    repo.write("new.py", "n = 22\n")
    (repo.path / "train.py").unlink()
    assert read_worktree(str(repo.path)) == {"new.py": "n = 22\n", "pkg/model.py": "SIZE = 3\n"}

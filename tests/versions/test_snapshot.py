"""Snapshots of real work trees: their ids, their content, and that the user's repository stays as it was."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from logql.model import Version
from logql.versions import selection
from logql.versions.history import check_out, list_files, noted_files, read_files
from logql.versions.snapshot import snapshot

from .conftest import Repo, tree_hash


def take(repo: Repo, script: str = "train.py") -> Version:
    return snapshot(str(repo.path), str(repo.path / ".logql"), script)


def files_of(repo: Repo, version: Version) -> frozenset[str]:
    return list_files(str(repo.path / ".logql"), str(repo.path), version)


def code_git(repo: Repo, *arguments: str) -> str:
    command = ["git", "--git-dir", str(repo.path / ".logql" / "code.git"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_clean_tree_is_head(repo: Repo) -> None:
    head = repo.git("rev-parse", "HEAD")
    version = take(repo)
    assert (version.id, version.commit, version.dirty) == (head[:12], head, False)
    assert (version.branch, version.author, version.message) == ("main", "Ada <ada@example.org>", "first")
    assert code_git(repo, "show", f"{version.id}:pkg/model.py") == "SIZE = 3"


@pytest.mark.parametrize("mark", ["assume-unchanged", "skip-worktree"])
def test_files_that_git_does_not_look_at_are_looked_at(repo: Repo, mark: str) -> None:
    head = take(repo)
    repo.git("update-index", f"--{mark}", "pkg/model.py")
    assert take(repo) == head
    found = []
    for size in (4, 500):
        repo.write("pkg/model.py", f"SIZE = {size}\n")
        assert repo.git("status", "--porcelain", "--", "pkg") == ""
        version = take(repo)
        assert version.dirty
        assert code_git(repo, "show", f"{version.id}:pkg/model.py") == f"SIZE = {size}"
        found.append(version.id)
    assert len({head.id, *found}) == 3


def test_snapshot_of_changes_is_repeatable(repo: Repo, tmp_path: Path) -> None:
    head = repo.git("rev-parse", "HEAD")
    repo.write("train.py", "changed = 1\n")
    version = take(repo)
    assert version.dirty
    assert version.parents == (head,)
    assert take(repo) == version
    elsewhere = snapshot(str(repo.path), str(tmp_path / "other-store"), "train.py")
    assert elsewhere.id == version.id
    repo.write("train.py", "changed = 2\n")
    assert take(repo).id != version.id
    repo.write("train.py", "changed = 1\n")
    assert take(repo) == version
    assert f"parent {head}" in code_git(repo, "cat-file", "commit", version.id)


def test_store_is_a_sound_repository(repo: Repo) -> None:
    take(repo)
    for number in range(40):
        repo.write(f"many/part{number}.py", f"x = {number}\n" * 50)
    version = take(repo)
    repo.write("one.py", "y = 1\n")
    take(repo)
    assert code_git(repo, "fsck", "--full", "--strict") == ""
    assert code_git(repo, "show", f"{version.id}:many/part7.py").startswith("x = 7")
    code_git(repo, "gc", "-q", "--prune=now")
    assert read_files(str(repo.path / ".logql"), str(repo.path), version)["many/part7.py"] == "x = 7\n" * 50


def test_users_repository_is_untouched(repo: Repo) -> None:
    repo.write("train.py", "staged = 1\n")
    repo.git("add", "train.py")
    repo.write("train.py", "unstaged = 1\n")
    repo.write("new.py", "untracked = 1\n")
    hook = repo.write(".git/hooks/pre-commit", "#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    os.utime(repo.path / "pkg" / "model.py", (1, 1))
    before = tree_hash(repo.path)
    take(repo)
    take(repo)
    assert tree_hash(repo.path) == before


def test_untracked_code_is_taken_and_ignored_files_are_not(repo: Repo) -> None:
    repo.write("helper.py", "h = 1\n")
    repo.write("cache.pyc", "no\n")
    repo.write("weights.bin", b"\0" * 10)
    repo.write("notes", "plain text without a suffix\n")
    repo.write("blob", b"\0\1\2")
    version = take(repo)
    assert files_of(repo, version) == {".gitignore", "train.py", "pkg/model.py", "helper.py", "notes"}
    noted = noted_files(str(repo.path / ".logql"), version)
    assert noted["weights.bin"][0] == 10
    assert set(noted) == {"weights.bin", "blob"}


def test_large_untracked_text_is_only_noted(repo: Repo) -> None:
    repo.write("small.csv", "1\n" * 10)
    repo.write("large.csv", "1" * 1_000_001)
    version = take(repo)
    assert "small.csv" in files_of(repo, version)
    assert set(noted_files(str(repo.path / ".logql"), version)) == {"large.csv"}


@pytest.mark.parametrize(
    "name", [".env", "deep/server.pem", "credentials.json", "id_rsa", ".aws/config", "secrets.yaml"]
)
@pytest.mark.parametrize("tracked", [False, True])
def test_secrets_are_never_taken(repo: Repo, name: str, tracked: bool) -> None:
    repo.write(name, "password = hunter2\n")
    if tracked:
        repo.commit("oops")
    version = take(repo)
    assert name not in files_of(repo, version)
    for file in (repo.path / ".logql").rglob("*"):
        assert not file.is_file() or b"hunter2" not in file.read_bytes()


def test_bytes_are_those_on_disk(repo: Repo, tmp_path: Path) -> None:
    repo.git("config", "core.autocrlf", "true")
    repo.git("config", "filter.shout.clean", "tr a-z A-Z")
    repo.git("config", "filter.lfs.process", "git-lfs-is-not-installed")
    repo.git("config", "filter.lfs.required", "true")
    repo.write(".gitattributes", "*.txt filter=shout\n*.big filter=lfs\n*.py ident\n")
    content = {"win.py": b"a = 1\r\nb = 2\r\n# $Id$\r\n", "loud.txt": b"quiet\n", "large.big": b"version https://lfs\n"}
    for name, data in content.items():
        repo.write(name, data)
    version = take(repo)
    check_out(str(repo.path / ".logql"), str(repo.path), version, str(tmp_path / "out"))
    for name in ("win.py", "loud.txt", "large.big"):
        assert (tmp_path / "out" / name).read_bytes() == content[name]


def test_clean_tree_with_converted_lines_keeps_disk_bytes(repo: Repo, tmp_path: Path) -> None:
    repo.git("config", "core.autocrlf", "true")
    repo.write("win.py", b"a = 1\r\n")
    head = repo.commit("windows")
    version = take(repo)
    assert version.id == head[:12]
    shutil.rmtree(repo.path / ".git")
    check_out(str(repo.path / ".logql"), str(repo.path), version, str(tmp_path / "out"))
    assert (tmp_path / "out" / "win.py").read_bytes() == b"a = 1\r\n"


def test_unborn_branch(tmp_path: Path) -> None:
    repo = Repo(tmp_path / "new")
    repo.git("init", "-q", "-b", "topic")
    repo.write("train.py", "x = 1\n")
    version = take(repo)
    assert (version.dirty, version.parents, version.branch) == (True, (), "topic")
    assert files_of(repo, version) == {"train.py"}


def test_detached_head(repo: Repo) -> None:
    repo.write("train.py", "second = 1\n")
    repo.commit("second")
    repo.git("checkout", "-q", "HEAD~1")
    version = take(repo)
    assert version.id == repo.git("rev-parse", "HEAD")[:12]
    assert version.branch is None


def test_linked_work_tree(repo: Repo, tmp_path: Path) -> None:
    repo.git("worktree", "add", "-q", "-b", "side", str(tmp_path / "side"))
    side = Repo(tmp_path / "side")
    side.write("train.py", "side = 1\n")
    version = take(side)
    assert (version.branch, version.dirty) == ("side", True)


@pytest.mark.skipif(os.geteuid() != 0, reason="changing owners needs root")
def test_dubious_ownership(repo: Repo) -> None:
    head = repo.git("rev-parse", "HEAD")
    for path in [repo.path, *repo.path.rglob("*")]:
        os.chown(path, 12345, 12345)
    assert take(repo).id == head[:12]


def test_submodules_and_nested_repositories(repo: Repo, tmp_path: Path) -> None:
    library = Repo(tmp_path / "library")
    library.git("init", "-q")
    library.write("lib.py", "l = 1\n")
    library.commit()
    repo.git("submodule", "--quiet", "add", str(library.path), "vendor")
    repo.commit("with a submodule")
    clean = take(repo)
    assert clean.id == repo.git("rev-parse", "HEAD")[:12]
    assert "vendor/lib.py" in files_of(repo, clean)
    repo.write("vendor/lib.py", "l = 2\n")
    dirty = take(repo)
    assert dirty.dirty
    nested = Repo(repo.path / "nested")
    nested.git("init", "-q")
    nested.write("inner.py", "i = 1\n")
    version = take(repo)
    assert version.id != dirty.id
    assert "nested/inner.py" in files_of(repo, version)
    nested.commit()
    assert take(repo).id != version.id


def test_no_repository(tmp_path: Path) -> None:
    project = Repo(tmp_path / "plain")
    project.write("train.py", "x = 1\n")
    project.write("venv/pyvenv.cfg", "")
    project.write("venv/lib.py", "no = 1\n")
    project.write("data.npy", b"\0")
    version = take(project)
    assert (version.dirty, version.parents, len(version.id)) == (True, (), 12)
    assert files_of(project, version) == {"train.py"}
    assert take(project) == version


@pytest.mark.parametrize("git", ["missing", "broken"])
def test_without_a_working_git(repo: Repo, tmp_path: Path, git: str) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    if git == "broken":
        (folder / "git").write_text("#!/bin/sh\nexit 3\n")
        (folder / "git").chmod(0o755)
    program = (
        "import sys; from logql.versions.snapshot import snapshot; from logql.versions.history import read_files\n"
        "notices = []; v = snapshot(sys.argv[1], sys.argv[2], 'train.py', notices)\n"
        "print(v.id, len(notices), sorted(read_files(sys.argv[2], sys.argv[1], v)))"
    )
    store = str(tmp_path / "store")
    environment = os.environ | {"PATH": str(folder), "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", program, str(repo.path), store]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert done.stdout.split(maxsplit=1)[1].strip() == "1 ['pkg/model.py', 'train.py']"


def test_ignored_script_belongs_to_its_version(repo: Repo) -> None:
    repo.write("data/scratch.py", "s = 1\n")
    version = take(repo, "data/scratch.py")
    assert version.dirty
    assert "data/scratch.py" in files_of(repo, version)


def test_unreadable_file_is_skipped_with_a_notice(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    repo.write("odd.py", "x = 1\n")
    notices: list[str] = []
    monkeypatch.setattr("logql.versions.snapshot._read", _refuse_odd)  # root may read everything
    version = snapshot(str(repo.path), str(repo.path / ".logql"), "train.py", notices)
    assert "odd.py" not in files_of(repo, version)
    assert notices == ["odd.py cannot be read (Permission denied); it is not kept"]


def _refuse_odd(path: str, _item: object) -> bytes:
    if path.endswith("odd.py"):
        raise PermissionError(13, "Permission denied")
    return Path(path).read_bytes()


def test_change_of_same_size_and_time_is_seen(repo: Repo) -> None:
    path = repo.write("train.py", "value = 1\n")
    first = take(repo)
    path.write_text("value = 2\n")
    assert take(repo).id != first.id


def test_removed_files_leave_the_version(repo: Repo) -> None:
    take(repo)
    (repo.path / "pkg" / "model.py").unlink()
    version = take(repo)
    assert version.dirty
    assert "pkg/model.py" not in files_of(repo, version)


def test_store_elsewhere_serves_two_clones(repo: Repo, tmp_path: Path) -> None:
    clone = Repo(tmp_path / "clone")
    clone.git("clone", "-q", str(repo.path), ".")
    store = str(tmp_path / "store")
    clone.write("train.py", "clone = 1\n")
    first, second = (snapshot(str(each.path), store, "train.py") for each in (repo, clone))
    assert second.parents == (first.commit,)
    assert read_files(store, str(repo.path), second)["train.py"] == "clone = 1\n"


def test_environment_of_a_hook_does_not_mislead(repo: Repo, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    head = repo.git("rev-parse", "HEAD")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "nowhere"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "index"))
    assert take(repo).id == head[:12]


def test_many_processes_at_once(repo: Repo) -> None:
    for number in range(60):
        repo.write(f"part{number}.py", f"x = {number}\n")
    program = (
        "import sys; from logql.versions.snapshot import snapshot\n"
        "print(snapshot(sys.argv[1], sys.argv[1] + '/.logql', 'train.py').id)"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", program, str(repo.path)]
    started = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(6)]
    ids = {process.communicate()[0].strip() for process in started}
    assert ids == {take(repo).id}
    assert code_git(repo, "fsck", "--full", "--strict") == ""


def test_of_a_data_set_that_git_does_not_ignore_only_so_many_files_are_looked_at(
    repo: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selection, "OTHERS_LIMIT", 5)
    repo.write("train.py", "x = 1\n")
    for number in range(20):
        repo.write(f"img/{number:02}.jpg", b"x")
    repo.write("img/labels.csv", "a,b\n")
    looked_at: list[str] = []
    lstat = os.lstat
    monkeypatch.setattr(os, "lstat", lambda path: (looked_at.append(str(path)), lstat(path))[1])
    version = take(repo)
    assert {"train.py", "img/labels.csv"} <= files_of(repo, version)
    assert set(noted_files(str(repo.path / ".logql"), version)) == {f"img/{number:02}.jpg" for number in range(5)}
    assert sum(path.endswith(".jpg") for path in looked_at) == 5
    noted = json.loads(next(repo.path.glob(".logql/code.git/logql/noted/*.json")).read_text())
    assert noted["count"] == 20

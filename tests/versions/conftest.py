"""Real git repositories for the tests of versions."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest


class Repo:
    """A user's repository in a directory, driven by git's binary."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)

    def git(self, *arguments: str) -> str:
        identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "protocol.file.allow=always"]
        done = subprocess.run(["git", *identity, *arguments], cwd=self.path, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def write(self, path: str, content: str | bytes) -> Path:
        target = self.path / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content.encode() if isinstance(content, str) else content)
        return target

    def commit(self, message: str = "work") -> str:
        self.git("add", "-A")
        self.git("commit", "-q", "-m", message)
        return self.git("rev-parse", "HEAD")


def tree_hash(path: Path) -> str:
    """Hash over names, modes, times and bytes of everything below a directory, a store left out."""
    digest = hashlib.sha256()
    for directory, names, files in os.walk(path):
        names[:] = sorted(name for name in names if name != ".logql")
        for name in sorted(files) + names:
            full = os.path.join(directory, name)
            status = os.lstat(full)
            digest.update(f"{full} {status.st_mode} {status.st_mtime_ns}\n".encode())
            if os.path.islink(full):
                digest.update(os.readlink(full).encode())
            elif os.path.isfile(full):
                digest.update(Path(full).read_bytes())
    return digest.hexdigest()


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    """A repository with one commit: a script, a module and an ignored data folder."""
    made = Repo(tmp_path / "project")
    made.git("init", "-q", "-b", "main")
    made.write("train.py", "import model\n")
    made.write("pkg/model.py", "SIZE = 3\n")
    made.write(".gitignore", "data/\n*.pyc\n")
    made.write("data/x.npy", b"\0\1\2")
    made.commit("first")
    return made

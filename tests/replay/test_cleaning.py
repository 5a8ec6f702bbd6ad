"""Scratch directories go, whatever is in them."""

from __future__ import annotations

import os
from pathlib import Path

from logql.replay.cleaning import remove_tree

#: Nobody's id, where tests run as root, whom no permissions stop.
_NOBODY = 12345


def test_what_may_not_be_read_or_written_is_removed(tmp_path: Path) -> None:
    inner = tmp_path / "scratch" / "layer" / "closed" / "deep"
    inner.mkdir(parents=True)
    (inner / "file").write_text("x")
    paths = [inner / "file", *(tmp_path / "scratch").rglob("*"), tmp_path / "scratch", tmp_path]
    child = os.fork()
    if not child:
        os.chdir(tmp_path)
        if os.geteuid() == 0:
            for path in paths:
                os.chown(path, _NOBODY, _NOBODY)
            os.setuid(_NOBODY)
        for name in ("scratch/layer/closed/deep", "scratch/layer/closed", "scratch/layer"):
            os.chmod(name, 0)
        remove_tree("scratch")
        os._exit(int(os.path.exists("scratch")))
    assert os.waitpid(child, 0)[1] == 0

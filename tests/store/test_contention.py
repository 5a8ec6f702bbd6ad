"""Many recorders on one catalog at once: every commit succeeds and is there, and readers see none go back."""

from __future__ import annotations

from pathlib import Path as FilePath

import pytest

from bench.contention import storm


@pytest.mark.parametrize(
    ("recorders", "beats", "interval"), [(16, 12, 0.02), pytest.param(64, 150, 0.2, marks=pytest.mark.slow)]
)
def test_no_commit_of_many_recorders_fails(tmp_path: FilePath, recorders: int, beats: int, interval: float) -> None:
    found = storm(str(tmp_path / ".logql"), recorders, beats, interval, readers=2)
    assert found.errors == []
    assert list(found.kept.values()) == [beats] * recorders
    assert len(found.commits) == recorders * beats
    assert found.reads
    assert found.snapshots

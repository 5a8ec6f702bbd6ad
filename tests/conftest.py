"""What all tests share: an environment without the user's own settings, and sample projects built once a session."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from logql.samples import Sample, build_project, load_sample, missing_packages


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No store, arguments or settings of the user's reach a test, and no git hook's variables."""
    for name in os.environ:
        if name.startswith(("LOGQL_", "GIT_")):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def sample_project(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Sample, Path]]:
    """Builds and trains a sample's whole history at its first use; tests must not change the project."""
    built: dict[str, Path] = {}

    def build(name: str) -> tuple[Sample, Path]:
        sample = load_sample(name)
        if missing := missing_packages(sample):
            pytest.skip(f"needs {', '.join(missing)}")
        if name not in built:
            directory = tmp_path_factory.mktemp("samples") / name
            build_project(sample, directory)
            built[name] = directory
        return sample, built[name]

    return build

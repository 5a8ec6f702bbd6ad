"""What all tests share: an environment without the user's own settings, and sample projects built once a session."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from logql.samples import Sample, build_project, load_sample, missing_packages
from logql.store.snapshot import forget
from tests.store.history import epochs, record


def pytest_configure() -> None:
    """Ctrl-C interrupts, also where the tests run in the background of a shell, which has it ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No store, arguments or settings of the user's reach a test, and no git hook's variables."""
    for name in os.environ:
        if name.startswith(("LOGQL_", "GIT_")):
            monkeypatch.delenv(name)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[str]:
    """A store that holds one run of three epochs of two steps."""
    found = str(tmp_path / ".logql")
    record(found, "R1", epochs(3, 2), "1" * 12, args={"lr": 0.5})
    yield found
    forget(found)


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

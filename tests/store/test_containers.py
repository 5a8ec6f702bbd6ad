"""A store that containers share: what lives in another one has numbers that mean nothing here, and locks that do."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from logql.errors import StoreError
from logql.store import layout, leases, liveness, seal
from logql.store.catalog import Catalog
from logql.store.liveness import Lock
from logql.store.snapshot import forget, read_snapshot
from tests.store.history import epochs, record
from tests.store.test_seal import ROOT, cells

CONTAINER = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child", "--mount-proc"]
RECORDER = """
import os, sys
from tests.store.history import Recorder, epochs
recorder = Recorder(sys.argv[1], "01A", pid=os.getpid(), host=os.uname().nodename)
recorder.append(epochs(3))
print(os.getpid(), flush=True)
sys.stdin.readline()
recorder.append(epochs(5)[9:])
print("more", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[str]:
    yield str(tmp_path / ".logql")
    forget()


def can_contain() -> bool:
    try:
        return subprocess.run([*CONTAINER, "true"], check=False, capture_output=True).returncode == 0
    except OSError:
        return False


@pytest.mark.skipif(not can_contain(), reason="no user namespaces")
def test_a_run_of_another_container_is_alive_until_it_dies(store: str) -> None:
    command = [*CONTAINER, sys.executable, "-c", RECORDER, store]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as container:
        assert container.stdin is not None
        assert container.stdout is not None
        assert int(container.stdout.readline()) < 10  # a number that some process has here, too
        seal.recover(store)
        (run,) = read_snapshot(store).runs
        assert (run.status, len(cells(read_snapshot(store), "epoch", "acc"))) == ("running", 3)
        container.stdin.write("\n")
        container.stdin.flush()
        assert container.stdout.readline() == "more\n"
        assert read_snapshot(store).levels["epoch"][0].path is None
        container.kill()
    gone = Lock.take(liveness.run_lock(store, "01A"), wait=30.0)  # the container dies a moment after its starter
    assert gone is not None
    gone.release()
    seal.recover(store)
    snapshot = read_snapshot(store)
    assert [run.status for run in snapshot.runs] == ["killed"]
    assert [row[0] for row in sorted(cells(snapshot, "epoch", "epoch"))] == [0, 1, 2, 3, 4]
    assert all(piece.path for piece in snapshot.levels["epoch"])


def test_readers_whose_processes_have_one_number_have_leases_of_their_own(store: str) -> None:
    record(store, "01A", epochs(2))
    with Catalog.open(store) as catalog:
        one, other = leases.take(catalog), leases.take(catalog)
        assert one is not None
        assert other is not None
        leases.release(one)
        assert leases.oldest(store) == catalog.change_counter()
        leases.release(other)
        assert leases.oldest(store) is None


def test_a_store_on_a_network_file_system_is_refused(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    record(store, "01A", epochs(2))
    kind = layout.file_system(store)
    monkeypatch.setattr(layout, "_NETWORK", frozenset({kind}))
    for path in (store, f"{store}-new"):
        with pytest.raises(StoreError, match=rf"lies on a network file system \({kind}\)") as caught:
            Catalog.open(path, create=True)
        assert "local disk" in (caught.value.hint or "")
        with pytest.raises(StoreError, match="network"):
            read_snapshot(path)
    assert not Path(f"{store}-new").exists()

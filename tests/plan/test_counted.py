"""How little is replayed, counted in `fills`: a session with real replays over a thousand runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import logql
from logql.errors import BudgetExceeded
from logql.session import Session
from logql.store import layout, parquet, publish, seal
from logql.store.catalog import Catalog
from logql.store.snapshot import forget, read_snapshot

RUNS = 1000
#: Tables of the catalog that tell of runs, with their keys.
KEYS = {
    "runs": ("id",),
    "main_loops": ("run", "loop", "entry"),
    "checkpoints": ("run", "rank", "loop", "entry", "idx"),
}
OLD = """
import logql

for epoch in logql.loop("epoch", range(4)):
    logql.log("val_acc", 0.5 + 0.15 * epoch)
"""
NAMES = ("grad_norm", "top", "there", "best", "never")
NEW = OLD + "".join(f'    logql.log("{name}", 20.0 + epoch)\n' for name in NAMES)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One run as it was recorded, and 999 that only their ids tell from it; today's source logs more."""
    project = tmp_path_factory.mktemp("thousand")
    (project / "train.py").write_text(OLD)
    environment = {**os.environ, "PYTHONPATH": str(Path(logql.__file__).parent.parent), "LOGQL_CHECKPOINT_EVERY": "1"}
    subprocess.run([sys.executable, "train.py"], cwd=project, check=True, env=environment)
    (project / "train.py").write_text(NEW)
    found = str(project / ".logql")
    seal.recover(found)
    _multiply(found)
    yield found
    forget(found)


def _multiply(store: str) -> None:
    snapshot = read_snapshot(store)
    (run,) = snapshot.runs
    ids = [f"{run.id[:-4]}{number:04d}" for number in range(RUNS - 1)]
    with Catalog.open(store) as catalog:
        with catalog.connection.write() as txn:
            for table, keys in KEYS.items():
                columns = [row[1] for row in txn.execute(f"PRAGMA table_info({table})") if row[1] not in ("key", "rev")]
                for row in txn.execute(f"SELECT {', '.join(columns)} FROM {table}").fetchall():
                    held = dict(zip(columns, row, strict=True))
                    for id_ in ids:
                        txn.upsert(table, {**held, keys[0]: id_}, keys)
            copies = tuple(key for (key,) in txn.execute("SELECT key FROM runs WHERE id <> ?", (run.id,)))
        for level, pieces in snapshot.levels.items():
            _copy_rows(catalog, level, [str(piece.path) for piece in pieces], ids, copies)
    forget(store)


def _copy_rows(catalog: Catalog, level: str, paths: list[str], ids: list[str], keys: tuple[int, ...]) -> None:
    recorded = pa.concat_tables([pq.ParquetFile(path).read() for path in paths])
    place = recorded.column_names.index("run")
    copies = [recorded.set_column(place, "run", pa.array([id_] * recorded.num_rows)) for id_ in ids]
    table = pa.concat_tables(copies)
    path = parquet.file_path(layout.LOGS, level, (1, 1), (0, 3), "copies")
    size, checksum = parquet.write(catalog.store, path, table, {"level": level})
    schema = parquet.schema_of(table)
    written = parquet.Written(path, "log", level, table.num_rows, size, (1, 1), (0, 3), schema, checksum, keys)
    publish.publish(catalog, publish.Change("test", [written]))


@pytest.fixture
def session(store: str) -> Iterator[Session]:
    found = Session(store, str(Path(store).parent))
    yield found
    found.close()


def rows(session: Session, sql: str) -> list[tuple[object, ...]]:
    return [tuple(row.values()) for row in session.execute(sql).answer.table.to_pylist()]


def replayed(session: Session, name: str) -> list[tuple[object, ...]]:
    """The segments that were replayed for a name, and the iterations executed of each; none of them failed."""
    fills = f"FROM fills WHERE list_contains(columns, '{name}')"
    assert rows(session, f"SELECT run, state, error, log {fills} AND state <> 'done'") == []
    return rows(session, f"SELECT run, first_index, last_index, executed {fills} ORDER BY 1, 2")


def test_a_limit_stops_at_the_first_hit(session: Session) -> None:
    assert rows(session, "SELECT count(*) FROM runs") == [(RUNS,)]
    ((run,),) = rows(session, "SELECT run FROM logs WHERE grad_norm > 10 LIMIT 1")
    ((filled, first, last, executed),) = replayed(session, "grad_norm")
    assert (filled, first, last, executed) == (run, 0, 0, 1)


def test_exists_stops_at_the_first_hit(session: Session) -> None:
    assert rows(session, "SELECT EXISTS (SELECT 1 FROM logs WHERE there > 10) AS found") == [(True,)]
    ((_, first, last, executed),) = replayed(session, "there")
    assert (first, last, executed) == (0, 0, 1)


def test_an_aggregate_replays_the_epochs_that_its_filter_leaves(session: Session) -> None:
    runs = "run IN (SELECT run FROM runs ORDER BY run LIMIT 2)"
    assert rows(session, f"SELECT max(best) AS m FROM logs WHERE val_acc > 0.9 AND {runs}") == [(23.0,)]
    assert [found[1:3] for found in replayed(session, "best")] == [(3, 3), (3, 3)]


def test_top_rows_by_a_known_key_replay_what_they_show(session: Session) -> None:
    assert rows(session, "SELECT epoch, top FROM logs ORDER BY val_acc DESC, run LIMIT 2") == [(3, 23.0), (3, 23.0)]
    assert [found[1:3] for found in replayed(session, "top")] == [(3, 3), (3, 3)]


def test_what_may_stop_early_spends_its_budget_and_keeps_what_it_filled(session: Session) -> None:
    sql = "SELECT run FROM logs WHERE never > 1000 LIMIT 1"
    plan = json.loads(str(rows(session, f"EXPLAIN (FORMAT JSON) {sql}")[0][1]))
    session.execute(f"SET replay_budget = {1.5 * plan['seconds']}")
    with pytest.raises(BudgetExceeded, match="more, after what was replayed and is kept"):
        session.execute(sql)
    assert [found[1:] for found in replayed(session, "never")] == [(0, 0, 1)]

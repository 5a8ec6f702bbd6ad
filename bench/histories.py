"""Synthetic histories for benchmarks: a compacted store, and the same rows as one Parquet file per level.

Runs of thirty versions, a metric per step, two per epoch, one per run.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from logql.model import Run, Shape, Version
from logql.store import layout, parquet, publish, records, rows
from logql.store.catalog import Catalog

VERSIONS = 30
PER_FILE = 2_000_000
SHAPE = Shape(
    {
        (): {"best": "DOUBLE"},
        ("epoch",): {"acc": "DOUBLE", "val_loss": "DOUBLE"},
        ("epoch", "step"): {"loss": "DOUBLE"},
    },
    {"epoch": "BIGINT", "step": "BIGINT"},
    {},
)


def run_id(number: int) -> str:
    return f"01J{number:023d}"


def version_id(ordinal: int) -> str:
    return f"{ordinal:012x}"


def make_runs(catalog: Catalog, count: int) -> None:
    """Catalog rows of `count` runs, in one transaction."""
    for ordinal in range(1, VERSIONS + 1):
        catalog.add_version(Version(version_id(ordinal), version_id(ordinal).ljust(40, "0")))
    packages = {f"package-{number}": "1.2.3" for number in range(150)}
    first = catalog.add_run(a_run(0, count, packages))
    with catalog.connection.write() as txn:
        names = [row[1] for row in txn.execute("PRAGMA table_info(runs)") if row[1] != "key"]
        template = dict(zip(names, txn.execute(f"SELECT {', '.join(names)} FROM runs").fetchone(), strict=True))
        text = rows.shape_to_json(SHAPE)
        txn.execute("INSERT INTO texts (text) VALUES (?)", (text,))
        (shape,) = txn.execute("SELECT id FROM texts WHERE text = ?", (text,)).fetchone()
        for number in range(count):
            own = {
                **template,
                **{k: v for k, v in rows.run_row(a_run(number, count, {})).items() if k != "environment"},
            }
            own.update(shape=shape, unsealed=0)
            txn.upsert("runs", {k: v for k, v in own.items() if k != "rev"}, ("id",))
            loop = {"run": run_id(number), "loop": "epoch", "entry": 0, "file": "train.py", "line": 10, "function": "f",
                    "iterations": 100, "finished": 1, "seconds": 60.0, "setup_seconds": 1.0, "ordinal": 0}  # fmt: skip
            txn.upsert("main_loops", loop, ("run", "loop", "entry"))
            for index in range(0, 100, 10):
                checkpoint = {"run": run_id(number), "rank": 0, "loop": "epoch", "entry": 0, "idx": index, "seq": index,
                              "manifest": "a" * 40, "bytes": 10**6, "seconds": 0.1, "reason": None, "by_": "training",
                              "taken_at": 1.0}  # fmt: skip
                txn.upsert("checkpoints", checkpoint, ("run", "rank", "loop", "entry", "idx"))
    assert first.key == 1


def a_run(number: int, count: int, packages: dict[str, str]) -> Run:
    return Run(
        id=run_id(number), version=version_id(1 + number * VERSIONS // count), script="train.py", status="finished",
        argv=("train.py", "--seed", str(number)), started_at=1e9 + number, ended_at=1e9 + number + 60,
        project="/p", cwd="/p", args={"lr": 1 / (1 + number % 7), "seed": number}, environment={"packages": packages},
    )  # fmt: skip


def level_table(level: str, first: int, count: int, total: int, epochs: int, steps: int) -> pa.Table:
    """Rows of runs first .. first + count - 1 at one level."""
    per = {"run": 1, "epoch": epochs, "epoch.step": epochs * steps}[level]
    number = np.repeat(np.arange(first, first + count), per)
    place = np.tile(np.arange(per), count)
    rng = np.random.default_rng(first)
    text = pa.array([run_id(n) for n in range(first, first + count)])
    versions = pa.array([version_id(1 + n * VERSIONS // total) for n in range(first, first + count)])
    columns: dict[str, Any] = {
        "version": versions.take(pa.array(number - first)),
        "run": text.take(pa.array(number - first)),
        "rank": pa.array(np.zeros(len(number), np.int32)),
    }
    for loop, index in _loops(level, place, steps):
        columns |= {loop: index, f"{loop}_index": index, f"{loop}_entry": np.zeros(len(number), np.int32)}
    columns["ts"] = pa.array((1_000_000_000 + number) * 10**6 + place, pa.timestamp("us"))
    columns |= {"_seq": place, "_sub": np.zeros(len(number), np.int32)}
    lists = pa.nulls(len(number), pa.list_(pa.string()))
    columns |= {"_part": pa.nulls(len(number), pa.int32()), "_order": lists, "_null": lists}
    names = {"run": ["best"], "epoch": ["acc", "val_loss"], "epoch.step": ["loss"]}[level]
    columns |= {name: np.round(rng.random(len(number)) * 1024) / 1024 for name in names}
    return pa.table(columns)


def _loops(level: str, place: Any, steps: int) -> Iterator[tuple[str, Any]]:
    if level == "epoch":
        yield "epoch", place
    elif level == "epoch.step":
        yield "epoch", place // steps
        yield "step", place % steps


def make_store(store: str, plain: str, runs: int, epochs: int, steps: int) -> int:
    """A compacted store, and the same rows as one file per level in `plain`; gives the number of values."""
    values = 0
    with Catalog.open(store, create=True) as catalog:
        make_runs(catalog, runs)
        for level, per in (("run", 1), ("epoch", epochs), ("epoch.step", epochs * steps)):
            step = max(1, min(runs, PER_FILE // per))
            writer = None
            for first in range(0, runs, step):
                count = min(step, runs - first)
                table = level_table(level, first, count, runs, epochs, steps)
                values += table.num_rows * (2 if level == "epoch" else 1)
                writer = writer or pq.ParquetWriter(f"{plain}/{level}.parquet", table.schema, compression="zstd")
                writer.write_table(table, row_group_size=120_000)
                _publish(catalog, level, table, first, count, runs, 0 if level == "run" else epochs - 1)
            assert writer is not None
            writer.close()
    return values


def _publish(catalog: Catalog, level: str, table: pa.Table, first: int, count: int, runs: int, last: int) -> None:
    versions = 1 + first * VERSIONS // runs, 1 + (first + count - 1) * VERSIONS // runs
    path = parquet.file_path(layout.LOGS, level, versions, (0, last), f"c{first}")
    if level == "run":
        table = table.append_column(records.COLUMN, pa.nulls(table.num_rows, pa.string()))
    size, checksum = parquet.write(catalog.store, path, table, {"level": level})
    keys = tuple(range(first + 1, first + count + 1))
    schema = parquet.schema_of(table)
    written = parquet.Written(path, "log", level, table.num_rows, size, versions, (0, last), schema, checksum, keys)
    publish.publish(catalog, publish.Change("bench", [written]))

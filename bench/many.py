"""Replaying one epoch of each of many runs of a version: `python -m bench.many [--runs 20] [--workers 2]`.

A torch script that trains for a moment, as hundreds of runs of a sweep do: what a replay takes then is its start. Once
with every replay in an interpreter of its own, once as forks of a process that has imported what the script imports
first; wall clock, and CPU time of everything that was started. Both must give the same values.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass

from bench.steady import ENVIRONMENT
from logql.model import Segment
from logql.replay.job import Job, Options, Result
from logql.replay.pool import LocalPool
from logql.store.catalog import Catalog
from logql.versions import history

SCRIPT = """\
import argparse

import numpy as np
import torch
from torch import nn

import logql

parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int)
args = parser.parse_args()
torch.manual_seed(args.seed)
x = torch.from_numpy(np.random.default_rng(args.seed).normal(size=(256, 32))).float()
net = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Dropout(0.1), nn.Linear(64, 1))
optimizer = torch.optim.Adam(net.parameters())
for epoch in logql.loop("epoch", range(4)):
    for step in logql.loop("step", range(20)):
        loss = (net(x) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    logql.log("loss", loss)
"""
LAST = '    logql.log("loss", loss)\n'
INSERTED = '    logql.log("norm", float(sum(p.abs().sum() for p in net.parameters())))\n'
WANTED = 2


@dataclass(frozen=True)
class _Took:
    wall: float
    cpu: float
    values: tuple[object, ...]


def main(runs: int, workers: int) -> None:
    """Print what both ways take."""
    os.environ.update(ENVIRONMENT)
    with tempfile.TemporaryDirectory() as project:
        _record(project, runs)
        jobs = _jobs(project)
        _replay(project, jobs[:1], 1, shared=False)
        took = {shared: _replay(project, jobs, workers, shared) for shared in (False, True)}
    assert took[False].values == took[True].values, "the values differ"
    print(f"{runs} runs, an epoch each, {workers} workers: wall s, CPU s, each")
    for shared, text in ((False, "an interpreter each"), (True, "forks of one process")):
        one = took[shared]
        print(f"{text:24} {one.wall:7.2f} {one.cpu:7.2f} {one.wall / runs:7.3f} {one.cpu / runs:7.3f}")


def _record(project: str, runs: int) -> None:
    with open(os.path.join(project, "train.py"), "w", encoding="utf-8") as file:
        file.write(SCRIPT)
    environment = {**os.environ, "LOGQL_CHECKPOINT_EVERY": "1"}
    for seed in range(runs):
        subprocess.run([sys.executable, "train.py", "--seed", str(seed)], cwd=project, env=environment, check=True)


def _jobs(project: str) -> list[Job]:
    store = os.path.join(project, ".logql")
    with Catalog.open(store) as catalog:
        version = catalog.versions()[0]
        source = history.read_files(store, project, version)["train.py"]
        files = {"train.py": source.replace(LAST, LAST + INSERTED)}
        return [
            Job(
                Segment(run.id, version.id, "epoch", 0, (WANTED,), {"norm": "bench"}),
                run,
                version,
                tuple(catalog.main_loops(run.id)),
                tuple(catalog.checkpoints(run.id)),
                files,
                once=True,
            )
            for run in catalog.runs()
        ]


def _replay(project: str, jobs: list[Job], workers: int, shared: bool) -> _Took:
    began, worked, before = time.perf_counter(), time.process_time(), _children()
    options = Options(workers=workers, share_imports=shared)
    pool = LocalPool(os.path.join(project, ".logql"), project, options)
    for job in jobs:
        pool.submit(job)
    found = {item.id: item for item in pool.results() if isinstance(item, Result)}
    wall, children = time.perf_counter() - began, _children() - before
    results = [found[job.id] for job in jobs]
    assert all(result.state == "done" and result.fidelity == "exact" for result in results), results[0]
    cpu = time.process_time() - worked + sum(result.cpu_s for result in results) + (children if shared else 0.0)
    return _Took(wall, cpu, tuple(event.value for result in results for event in result.events))


def _children() -> float:
    """CPU seconds of processes that ended: of servers, and of their forks once more (rather twice than not at all)."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="One epoch of each of many runs of a version.")
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    main(given.runs, given.workers)

"""Checkpoints: a replay from any of them re-logs all that came later, and reaches every later state, bit for bit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from logql.model import Segment
from logql.replay.job import Job, Options, Result
from logql.replay.pool import LocalPool
from logql.samples import Sample, build_project, load_sample, missing_packages, sample_names
from logql.store.catalog import Catalog


def from_each_checkpoint(store: Path) -> list[Job]:
    """For each iteration of each main loop of each run: replay from its checkpoint to the loop's end."""
    with Catalog.open(str(store)) as catalog:
        versions = {version.id: version for version in catalog.versions()}
        found = [(run, catalog.main_loops(run.id), catalog.checkpoints(run.id)) for run in catalog.runs()]
    return [
        Job(
            Segment(run.id, run.version, loop.loop, loop.entry, tuple(range(first, loop.iterations)), {f"{first}": ""}),
            run,
            versions[run.version],
            tuple(loops),
            tuple(checkpoints),
            {},
        )
        for run, loops, checkpoints in found
        for loop in loops
        for first in range(loop.iterations)
    ]


def replayed(store: Path, project: Path, jobs: list[Job]) -> list[Result]:
    pool = LocalPool(str(store), str(project), Options())
    for job in jobs:
        pool.submit(job)
    return [item for item in pool.results() if isinstance(item, Result)]


def check(project: Path) -> None:
    store = project / ".logql"
    jobs = from_each_checkpoint(store)
    results = replayed(store, project, jobs)
    assert len(results) == len(jobs) > 0
    for result in results:
        wanted = result.segment.wanted
        what = (result.segment.version, wanted[0], result.error, result.notes)
        assert (result.state, result.fidelity, result.covered) == ("done", "exact", wanted), what
        assert result.executed == len(wanted), what
        assert result.compared > len(wanted), what


def needed(name: str) -> Sample:
    sample = load_sample(name)
    if missing := missing_packages(sample):
        pytest.skip(f"needs {', '.join(missing)}")
    return sample


def built(sample: Sample, project: Path) -> Path:
    build_project(sample, project, lambda _: None, LOGQL_CHECKPOINT_EVERY="1")
    return project


def test_every_checkpoint_of_a_run_leads_to_its_end(tmp_path: Path) -> None:
    sample = needed("digits")
    newest = replace(sample, versions=sample.versions[-1:])
    check(built(newest, tmp_path / "project"))


@pytest.mark.slow
@pytest.mark.parametrize("name", sample_names())
def test_every_checkpoint_of_every_sample_leads_to_its_end(name: str, tmp_path: Path) -> None:
    check(built(needed(name), tmp_path / "project"))

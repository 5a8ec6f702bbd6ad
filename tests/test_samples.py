"""Truth: what a replay finds in an old version equals, bit for bit, what that version logs with the statement in it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from logql import dbapi
from logql.replay import servers
from logql.samples import (
    Sample,
    build_project,
    load_sample,
    missing_packages,
    put_files,
    run_git,
    sample_names,
    train,
)

Build = Callable[[str], tuple[Sample, Path]]

#: Where a person would put each statement: (name, regex of the line, before or after it or at the end, expression).
HAND: dict[tuple[str, str], list[tuple[str, str, str, str]]] = {
    ("digits", "v1 v2"): [
        ("weight_norm", r"idx = np.random", "before", 'np.linalg.norm(w["W1"])'),
        ("grad_norm", r"_, p = forward\(w, X_val\)", "before", "np.sqrt(sum((grad**2).sum() for grad in g.values()))"),
        ("max_grad", r'log\("loss"', "after", "max(np.abs(grad).max() for grad in g.values())"),
        ("dead_units", "", "end", "int((forward(w, X_val)[0].max(axis=0) == 0).sum())"),
    ],
    ("digits", "v3"): [
        ("weight_norm", r"order = rng", "before", 'np.linalg.norm(params["W1"])'),
        (
            "grad_norm",
            r"_, probs = forward\(params, val",
            "before",
            "np.sqrt(sum((d**2).sum() for d in grads.values()))",
        ),
        ("max_grad", r'log\("loss"', "after", "max(np.abs(grad).max() for grad in grads.values())"),
        ("dead_units", "", "end", "int((forward(params, val_images)[0].max(axis=0) == 0).sum())"),
    ],
    ("digits", "v4 v5 v6 v7 v8"): [
        ("weight_norm", r"train_loss = train_epoch", "before", 'np.linalg.norm(params["W1"])'),
        ("grad_norm", r"return np.mean\(losses\)", "before", "np.sqrt(sum((d**2).sum() for d in grads.values()))"),
        ("max_grad", r'log\("loss"', "after", "max(np.abs(grad).max() for grad in grads.values())"),
        ("dead_units", "", "end", "int((forward(params, val_images)[0].max(axis=0) == 0).sum())"),
    ],
    ("sgd", "v1 v2"): [
        ("known_classes", r"order = rng", "before", 'len(getattr(clf, "classes_", ()))'),
        ("coef_norm", r'log\("acc"', "after", "np.linalg.norm(clf.coef_)"),
        ("max_coef", r'log\("chunk_acc"', "after", "np.abs(clf.coef_).max()"),
        ("updates", "", "end", "clf.t_"),
    ],
    ("sgd", "v3"): [
        ("known_classes", r"order = rng", "before", 'len(getattr(model, "classes_", ()))'),
        ("coef_norm", r'log\("acc"', "after", "np.linalg.norm(model.coef_)"),
        ("max_coef", r'log\("chunk_acc"', "after", "np.abs(model.coef_).max()"),
        ("updates", "", "end", "model.t_"),
    ],
    ("sgd", "v4"): [
        ("known_classes", r"fit_epoch\(model, features\[", "before", 'len(getattr(model, "classes_", ()))'),
        ("coef_norm", r'log\("acc"', "after", "np.linalg.norm(model.coef_)"),
        ("max_coef", r'log\("chunk_acc"', "after", "np.abs(model.coef_).max()"),
        ("updates", "", "end", "model.t_"),
    ],
    ("torch_mlp", "v1 v2"): [
        ("vector_sum", r"model.train\(\)", "before", "sum(p.sum() for p in model.parameters() if p.ndim == 1)"),
        ("weight_norm", r'log\("val_acc"', "after", "sum(p.square().sum() for p in model.parameters()).sqrt()"),
        ("grad_norm", r'log\("loss"', "after", "sum(p.grad.square().sum() for p in model.parameters()).sqrt()"),
        ("n_params", "", "end", "sum(p.numel() for p in model.parameters())"),
    ],
    ("torch_mlp", "v3 v4"): [
        (
            "vector_sum",
            r"net.train\(\)$|train_epoch\(net, train_loader, optimizer\)$",
            "before",
            "sum(p.sum() for p in net.parameters() if p.ndim == 1)",
        ),
        ("weight_norm", r'log\("val_acc"', "after", "sum(p.square().sum() for p in net.parameters()).sqrt()"),
        ("grad_norm", r'log\("loss"', "after", "sum(p.grad.square().sum() for p in net.parameters()).sqrt()"),
        ("n_params", "", "end", "sum(p.numel() for p in net.parameters())"),
    ],
}

CASES = [(sample, folder) for sample, folders in HAND for folder in folders.split()]

#: What puts the rows of each place in order: values are compared as lists.
ORDER = {
    "run": "{name}",
    "before": "epoch_entry, epoch_index",
    "after": "epoch_entry, epoch_index",
    "step": "epoch_entry, epoch_index, {inner}_index",
}


def hand_statements(sample: str, folder: str) -> list[tuple[str, str, str, str]]:
    return next(rows for (name, folders), rows in HAND.items() if name == sample and folder in folders.split())


def add_by_hand(script: Path, statements: list[tuple[str, str, str, str]]) -> None:
    lines = script.read_text().splitlines()
    for name, anchor, side, expression in statements:
        places = [i for i, line in enumerate(lines) if anchor and re.search(anchor, line) and "def " not in line]
        at = places[-1] if places else _last_main_loop_end(lines)
        indent = re.match(r" *", lines[at] if places else _main_loop(lines))
        assert indent is not None
        shift = 0 if side == "before" else 1
        lines.insert(at + (shift if places else 0), f'{indent.group()}logql.log("{name}", {expression})')
    script.write_text("\n".join(lines) + "\n")


def _main_loop(lines: list[str]) -> str:
    return next(line for line in lines if 'in logql.loop("epoch"' in line)


def _last_main_loop_end(lines: list[str]) -> int:
    """The line at which a statement stands right behind the main loop, in the block that holds it."""
    start = lines.index(_main_loop(lines))
    depth = len(lines[start]) - len(lines[start].lstrip())
    for number in range(start + 1, len(lines)):
        if lines[number].strip() and len(lines[number]) - len(lines[number].lstrip()) <= depth:
            return number
    return len(lines)


def values(
    store: Path, run: str, name: str, place: str, inner: str, workers: int | None = None
) -> list[tuple[object, str]]:
    order = ORDER[place].format(name=name, inner=inner)
    with dbapi.connect(str(store)) as connection:
        cursor = connection.cursor()
        if workers is not None:
            cursor.execute(f"SET replay_workers = {workers}")
        cursor.execute(f"SELECT {name}, origin({name}) FROM logs WHERE run = ? ORDER BY {order}", [run])
        return [(value, origin) for value, origin in cursor.fetchall()]


def runs_of(store: Path) -> list[str]:
    with dbapi.connect(str(store)) as connection:
        cursor = connection.cursor()
        cursor.execute("SELECT run FROM runs ORDER BY started_at, run")
        return [run for (run,) in cursor.fetchall()]


def fidelities(store: Path) -> set[object]:
    with dbapi.connect(str(store)) as connection:
        cursor = connection.cursor()
        cursor.execute("SELECT DISTINCT fidelity FROM fills WHERE loop IS NOT NULL AND state = 'done'")
        return {fidelity for (fidelity,) in cursor.fetchall()}


INNER = {"digits": "step", "sgd": "chunk", "torch_mlp": "step"}


def train_by_hand(
    sample: Sample, folder: str, arguments: Mapping[str, object], project: Path, into: Path, **environment: str
) -> Path:
    """Train a version with the statements put in by hand, in a project of its own; returns that one's store."""
    version = next(version for version in sample.versions if version.folder.name == folder)
    into.mkdir(parents=True, exist_ok=True)
    run_git(into, "init", "-q")
    put_files(version.folder, into)
    (into / "data").symlink_to(project / "data")
    add_by_hand(into / sample.script, hand_statements(sample.name, folder))
    train(into, sample.script, arguments, **environment)
    return into / ".logql"


def check_truth(sample: Sample, store: Path, recorded: str, truth: Path, workers: int | None = None) -> None:
    """Compare what `store` answers for a recorded run with what the run by hand logged."""
    (by_hand,) = runs_of(truth)
    for place, column in sample.new.items():
        expected = values(truth, by_hand, column, place, INNER[sample.name])
        found = values(store, recorded, column, place, INNER[sample.name], workers)
        assert expected, column
        assert [origin for _, origin in found] == ["hindsight"] * len(expected), column
        assert [value for value, _ in found] == [value for value, _ in expected], column


@pytest.mark.parametrize(("name", "folder"), CASES)
def test_hindsight_equals_the_statement_put_in_by_hand(
    name: str, folder: str, sample_project: Build, tmp_path: Path
) -> None:
    sample, project = sample_project(name)
    version = next(version for version in sample.versions if version.folder.name == folder)
    skipped = sum(len(each.runs) for each in sample.versions[: sample.versions.index(version)])
    recorded = runs_of(project / ".logql")[skipped]
    truth = train_by_hand(sample, folder, version.runs[0], project, tmp_path)
    check_truth(sample, project / ".logql", recorded, truth)


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", sample_names())
def test_truth_of_every_run_whatever_threads_and_workers(
    name: str, threads: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All runs of all versions at all levels, recorded with so many threads, filled by 1, 2 and 4 workers.

    One worker starts each replay afresh, two start each as a fork, four as it comes.
    """
    sample, project = load_sample(name), tmp_path / "project"
    if missing := missing_packages(sample):
        pytest.skip(f"needs {', '.join(missing)}")
    environment = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
    build_project(sample, project, lambda _: None, **environment)
    started = [(version.folder.name, arguments) for version in sample.versions for arguments in version.runs]
    cases = [(number, *run) for number, run in enumerate(started) if (name, run[0]) in CASES]
    truths = [
        train_by_hand(sample, folder, arguments, project, tmp_path / f"truth-{number}", **environment)
        for number, folder, arguments in cases
    ]
    for workers, least in ((1, 1_000_000), (2, 1), (4, servers.LEAST_FORKS)):
        monkeypatch.setattr(servers, "LEAST_FORKS", least)
        copy = tmp_path / f"workers-{workers}"
        shutil.copytree(project, copy, symlinks=True)
        runs = runs_of(copy / ".logql")
        for (number, _, _), truth in zip(cases, truths, strict=True):
            check_truth(sample, copy / ".logql", runs[number], truth, workers)
        assert fidelities(copy / ".logql") <= {"exact", "unchecked"}


@pytest.mark.parametrize("name", sample_names())
def test_history_is_trained_as_it_says(name: str, sample_project: Build) -> None:
    sample, project = sample_project(name)
    assert len(sample.versions) >= (7 if name == "digits" else 4)
    with dbapi.connect(str(project / ".logql")) as connection:
        cursor = connection.cursor()
        cursor.execute("SELECT v.message, r.status, v.dirty FROM runs r JOIN versions v USING (version) ORDER BY r.run")
        found = cursor.fetchall()
    assert found == [(version.message, "finished", False) for version in sample.versions for _ in version.runs]
    assert run_git(project, "status", "--porcelain") == ""


@pytest.mark.parametrize("name", sample_names())
def test_only_the_newest_version_has_the_new_names(name: str) -> None:
    sample = load_sample(name)
    for column in sample.new.values():
        holders = [
            version.folder.name
            for version in sample.versions
            if any(f'"{column}"' in path.read_text() for path in version.folder.glob("*.py"))
        ]
        assert holders == [sample.versions[-1].folder.name]

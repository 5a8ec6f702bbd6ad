"""The whole way over generated scripts: recorded, asked lazily, replayed, and compared with runs that logged it all."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import logql
from logql.errors import BindError
from tests.programs.scripts import RECORDED, VIRTUAL, make_script
from tests.replay.conftest import Project

LOOPS = ("warmup", "epoch", "step", "eval")
COMPARISONS = ("<", ">", "<=", ">=")


@dataclass
class Compared:
    """What became of one script: queries compared, answers that differ, and names that could not be filled."""

    queries: int = 0
    wrong: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    fidelity: Counter[str] = field(default_factory=Counter)


def compare(seed: int, folder: Path) -> Compared:
    """Record the old version, ask for what today's logs, and compare with runs of today's version."""
    rng, script = random.Random(f"whole {seed}"), make_script(seed)
    every, seeds = rng.choice((1, 1, 2, None)), range(1, rng.choice((2, 2, 3)))
    lacking, full = (Project(folder / name) for name in ("lacking", "full"))
    for project, text in ((lacking, script.old()), (full, script.new())):
        project.path.mkdir(parents=True)
        project.write("train.py", text)
        for number in seeds:
            project.run(every=every, check=False, LOGQL_ARGS=f"seed={number}")
    lacking.write("train.py", script.today(rng) if rng.random() < 0.5 else script.new())
    return _ask(rng, lacking, full)


def _ask(rng: random.Random, lacking: Project, full: Project) -> Compared:
    found = Compared()
    with logql.connect(lacking.store) as lazily, logql.connect(full.store, replay="off") as everything:
        for sql in _queries(rng, {row[0] for row in lazily.execute("DESCRIBE logs").fetchall()}):
            expected = _rows(everything, sql)
            if expected is None:
                continue
            answer = _rows(lazily, sql)
            found.queries += 1
            if answer != expected:
                found.wrong.append(f"{sql}\n  extra {_less(answer, expected)}\n  lacking {_less(expected, answer)}")
        for name, reason in lazily.execute(
            "SELECT name, reason FROM columns WHERE reason IS NOT NULL AND list_contains(?, name)", [list(VIRTUAL)]
        ).fetchall():
            found.refused[name] = reason
        failed = "SELECT columns, fidelity, error FROM fills"
        for columns, fidelity, error in lazily.execute(failed).fetchall():
            found.fidelity[fidelity or "none"] += 1
            if error is not None:
                found.refused |= dict.fromkeys(columns, error)
    if found.refused:
        found.wrong = [text for text in found.wrong if not any(name in text for name in found.refused)]
    return found


def _less(one: Counter[str] | None, other: Counter[str] | None) -> list[str]:
    return sorted(((one or Counter()) - (other or Counter())).elements())[:4]


def _queries(rng: random.Random, columns: set[str]) -> list[str]:
    """Some narrow queries over what was recorded and what was not, then all there is."""
    loops = [f"{loop}{part}" for loop in LOOPS if loop in columns for part in ("", "_entry")]
    names = [name for name in (*RECORDED, "best") if name in columns] or ["seed"]
    found = []
    for _ in range(3):
        shown = ", ".join(["seed", *loops, *rng.sample(VIRTUAL, rng.randint(1, 2))])
        tests = [f"{rng.choice(names)} {rng.choice(COMPARISONS)} {rng.choice((0.6, 1, 1.5))}"]
        tests += [f"{loop} {rng.choice(COMPARISONS)} {rng.randint(0, 2)}" for loop in loops[:1]]
        found.append(f"SELECT {shown} FROM logs WHERE {rng.choice(tests)}")
    found.append(f"SELECT seed, count(*) AS n, max({rng.choice(VIRTUAL)}) AS m FROM logs GROUP BY seed")
    for some in ([*names, *VIRTUAL], VIRTUAL[:1], VIRTUAL[1:]):
        found.append(f"SELECT {', '.join(['seed', *loops, *some])} FROM logs")
    return found


def _rows(connection: logql.dbapi.Connection, sql: str) -> Counter[str] | None:
    """The rows as a bag; None where a name was never logged."""
    try:
        return Counter(repr(tuple(row)) for row in connection.execute(sql).fetchall())
    except BindError:
        return None

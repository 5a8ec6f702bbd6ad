"""Judges answers and prints the tables."""

from __future__ import annotations

import math
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bench.propagate.cases import STRATA, Case
from bench.propagate.oracle import equivalent, same, same_beside_header
from logql.propagate import place

_RIGHT = ("exact", "equivalent")


@dataclass(frozen=True)
class Answer:
    """A case with the verdict (exact, equivalent, wrong, refused, inserted), the CPU time and what was said."""

    case: Case
    verdict: str
    milliseconds: float
    said: str
    diff: str

    @property
    def bad(self) -> bool:
        return self.verdict not in (("refused",) if self.case.expected is None else _RIGHT)


def judge(case: Case) -> Answer:
    """Ask propagation and compare its answer with what is right."""
    begin = time.process_time()
    result = place(case.new, case.line, case.old)
    spent = (time.process_time() - begin) * 1000
    if result.source is None:
        return Answer(case, "refused", spent, result.reason or "", "")
    if case.expected is None:
        verdict = "inserted"
    elif same(result.source, case.expected):
        verdict = "exact"
    elif equivalent(result.source, case.expected):
        verdict = "equivalent"
    else:
        beside = case.stratum == "carried" and same_beside_header(result.source, case.expected)
        verdict = "equivalent" if beside else "wrong"
    return Answer(case, verdict, spent, f"confidence {result.confidence}", result.diff)


def wilson(hits: int, total: int) -> str:
    """A share with its 95 % interval."""
    if not total:
        return "-"
    z, p = 1.96, hits / total
    middle = (p + z * z / (2 * total)) / (1 + z * z / total)
    half = z * math.sqrt(p * (1 - p) / total + z * z / (4 * total * total)) / (1 + z * z / total)
    return f"{100 * p:.1f} % ({100 * max(0, middle - half):.1f} to {100 * min(1, middle + half):.1f})"


def tell(answers: Sequence[Answer]) -> None:
    """Print the table by stratum and class, the natural frequencies, the distances and the times."""
    print("| stratum | cases | right | of it equivalent | wrong | refused |\n|---|---|---|---|---|---|")
    for name, counts in _rows(answers):
        total = sum(counts.values())
        refusal = name in ("absent", "class: refuse")
        right = counts["refused"] if refusal else counts["exact"] + counts["equivalent"]
        wrong = counts["inserted"] if refusal else counts["wrong"]
        refused = "" if refusal else wilson(counts["refused"], total)
        cells = (name, total, wilson(right, total), counts["equivalent"], wilson(wrong, total), refused)
        print("| " + " | ".join(str(cell) for cell in cells) + " |")
    _tell_natural([answer for answer in answers if answer.case.natural])
    distances = sorted(answer.case.distance for answer in answers if not answer.case.forked)
    far = sum(distance > 100 for distance in distances)
    if distances:
        print(f"\nDistances: 1 to {distances[-1]} commits, {far} cases over more than 100")
    _tell_times(answers)


def _rows(answers: Iterable[Answer]) -> list[tuple[str, Counter[str]]]:
    table: dict[str, Counter[str]] = defaultdict(Counter)
    for answer in answers:
        table[answer.case.stratum][answer.verdict] += 1
        table[class_of(answer.case)][answer.verdict] += 1
        if answer.case.forked and answer.case.expected is not None:
            table["of these: of a copy"][answer.verdict] += 1
    classes = ("class: place", "class: place and carry", "class: refuse", "of these: of a copy")
    return [(name, table[name]) for name in (*STRATA, *classes) if name in table]


def class_of(case: Case) -> str:
    """Which of the oracle's three classes a case belongs to."""
    if case.expected is None:
        return "class: refuse"
    return "class: place and carry" if case.stratum == "carried" else "class: place"


def _tell_natural(answers: Sequence[Answer]) -> None:
    right = sum(answer.verdict in _RIGHT for answer in answers)
    wrong = sum(answer.verdict == "wrong" for answer in answers)
    shares = f"right {wilson(right, len(answers))}, wrong {wilson(wrong, len(answers))}"
    print(f"\nAs they come ({len(answers)} cases): {shares}")


def _tell_times(answers: Sequence[Answer]) -> None:
    spent = [answer.milliseconds for answer in answers]
    large = [answer for answer in answers if answer.case.new.count("\n") >= 500]
    scaled = [1000 * answer.milliseconds / answer.case.new.count("\n") for answer in large]
    print(f"\nCPU ms: {_spread(spent)}; per 1,000 lines ({len(large)} files of 500 and more): {_spread(scaled)}")


def _spread(values: Sequence[float]) -> str:
    ordered = sorted(values) or [0.0]
    middle, late = ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.95)]
    return f"median {middle:.1f}, p95 {late:.1f}, max {ordered[-1]:.1f}"

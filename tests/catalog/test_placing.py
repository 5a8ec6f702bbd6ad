"""Statements reach old versions through the versions between, and through places that a person pinned."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from bench.propagate.oracle import equivalent
from logql.catalog.placing import Pin, Placer, Statements, Target
from logql.catalog.status import Status
from logql.propagate.statements import find_statements
from logql.samples import load_sample, sample_names
from tests.test_samples import CASES, add_by_hand, hand_statements

SCRIPT = "train.py"


class History:
    """Versions of one script in memory, oldest first; the last text is today's."""

    def __init__(self, trees: Sequence[Mapping[str, str]], pins: Mapping[int, Pin] | None = None) -> None:
        self.trees = {f"v{number}": tree for number, tree in enumerate(trees[:-1])}
        self.today = trees[-1]
        self.chosen = {(f"v{number}", SCRIPT): pin for number, pin in (pins or {}).items()}
        self.placer = Placer(self)
        self.known: dict[tuple[str, str], Status] = {}

    def tree(self, version: str | None, script: str) -> Mapping[str, str]:  # noqa: ARG002
        return self.today if version is None else self.trees[version]

    def statements(self, name: str, script: str) -> Statements | None:  # noqa: ARG002
        return self.statements_in(name, self.today, None)

    def statements_in(self, name: str, files: Mapping[str, str], version: str | None) -> Statements | None:
        found = tuple(statement for statement in find_statements(files) if statement.name == name)
        return Statements(version, files, found) if found else None

    def lineage(self, script: str) -> Sequence[Target]:
        return [(version, script) for version in reversed(self.trees)]

    def pins(self, name: str, script: str) -> Mapping[Target, Pin]:  # noqa: ARG002
        return self.chosen

    def status(self, name: str, version: str, script: str) -> Status:
        if (name, version) not in self.known:
            self.known[name, version] = self.placer.find(name, (version, script))
        return self.known[name, version]

    def text(self, name: str, number: int) -> str | None:
        """The script of a version with the statement in, if it has a place."""
        status = self.status(name, f"v{number}", SCRIPT)
        placed = self.placer.place(name, (f"v{number}", SCRIPT), status.via)
        assert placed is not None
        assert (placed.files is None) is (status.state == "refused")
        return placed.files[SCRIPT] if placed.files is not None else None


def trees_of(name: str) -> list[dict[str, str]]:
    """The Python files of each version of a sample."""
    folders = [version.folder for version in load_sample(name).versions]
    return [{str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*.py")} for folder in folders]


def line_of(text: str, part: str) -> str:
    return next(line for line in text.splitlines() if part in line).strip()


def line_after(text: str, part: str) -> str:
    lines = text.splitlines()
    return lines[next(number for number, line in enumerate(lines) if part in line) + 1].strip()


def test_names_that_changed_twice_are_followed_through_the_version_between() -> None:
    """`params` of today was `w` once, which only a version between the two tells."""
    history = History(trees_of("digits"))
    text = history.text("weight_norm", 0)
    assert text is not None
    assert line_of(text, "weight_norm") == 'logql.log("weight_norm", np.linalg.norm(w["W1"]))'
    assert line_after(text, "weight_norm") == "idx = np.random.permutation(len(X_train))"
    status = history.status("weight_norm", "v0", SCRIPT)
    assert status.via is not None
    assert status.hops >= 1
    assert 0 < status.confidence < 1


@pytest.mark.parametrize("name", sample_names())
def test_every_version_of_the_samples_gets_what_a_person_would_write(name: str, tmp_path: Path) -> None:
    """Renamed throughout, split into functions and files, moved under `__main__`: all reached, none elsewhere."""
    sample, trees = load_sample(name), trees_of(name)
    history = History(trees)
    for number, version in enumerate(sample.versions[:-1]):
        if (name, version.folder.name) not in CASES:
            continue
        for statement in hand_statements(name, version.folder.name):
            script = tmp_path / SCRIPT
            script.write_text(trees[number][SCRIPT])
            add_by_hand(script, [statement])
            text = history.text(statement[0], number)
            assert text is not None, history.status(statement[0], f"v{number}", SCRIPT).reason
            assert same_places(text, script.read_text()), (version.folder.name, statement[0], text)


def same_places(text: str, by_hand: str) -> bool:
    """Whether two texts log the same in the same places.

    Names of a comprehension's items are nobody's business, and a list that is only appended to is in nobody's way.
    """
    return equivalent(*(_ITEM.sub("item", each).replace("scores.append(best_acc)", "pass") for each in (text, by_hand)))


_ITEM = re.compile(r"\b(d|grad)(?=\b[^s])")


def test_no_version_between_makes_up_for_what_is_not_there() -> None:
    frame = "import logql\nfor epoch in logql.loop('epoch', range(3)):\n    loss = {}(epoch)\n    print(loss)\n"
    today = frame.format("train").replace("    print", "    logql.log('x', loss + later)\n    print")
    today = today.replace("for", "later = make()\nprint(later)\nfor", 1)
    between = frame.format("train").replace("for", "later = make()\nprint(later)\nfor", 1)
    history = History([{SCRIPT: text} for text in (frame.format("train"), between, today)])
    assert history.text("x", 1) is not None
    assert history.text("x", 0) is None
    assert "`later` is not defined" in (history.status("x", "v0", SCRIPT).reason or "")


def test_a_refusal_tells_of_todays_source_not_of_a_neighbours() -> None:
    trees = [*trees_of("digits")[:1], {SCRIPT: "import logql\nprint(1)\n"}, trees_of("digits")[-1]]
    status = History(trees).status("weight_norm", "v0", SCRIPT)
    assert status.state == "refused"
    assert status.reason
    assert status.via is None


TODAY = """import logql
def report(model, loss):
    logql.log("gap", loss - 1)
for epoch in logql.loop("epoch", range(3)):
    loss = fit(epoch)
    report(None, loss)
"""
OTHER = """import logql
for epoch in logql.loop("epoch", range(3)):
    first = prepare(epoch)
    loss = fit(first)
    second = finish(loss)
    keep(second{})
"""


def test_a_pin_helps_the_versions_around_it() -> None:
    """Where today's source says nothing, what a person said of one version is said of its neighbours."""
    trees = [{SCRIPT: OTHER.format(f", {number}")} for number in range(3)] + [{SCRIPT: TODAY}]
    alone = History(trees)
    assert [alone.text("gap", number) for number in range(3)] == [None, None, None]
    pinned = History(trees, {1: (SCRIPT, 5)})
    texts = [pinned.text("gap", number) for number in range(3)]
    for text in texts:
        assert text is not None
        assert line_after(text, "fit(first)") == 'logql.log("gap", loss - 1)'
    assert [pinned.status("gap", f"v{number}", SCRIPT).hops for number in range(3)] == [1, 0, 1]


def test_pins_of_neighbours_never_wait_for_each_other() -> None:
    trees = [{SCRIPT: OTHER.format(f", {number}")} for number in range(6)] + [{SCRIPT: TODAY}]
    pinned = History(trees, {1: (SCRIPT, 5), 3: (SCRIPT, 5), 4: (SCRIPT, 6)})
    texts = [pinned.text("gap", number) for number in range(6)]
    assert all(texts)
    assert [line_after(text or "", "logql.loop").startswith("logql.log") for text in texts] == [False] * 6


def test_equal_contents_are_placed_once() -> None:
    tree = {SCRIPT: OTHER.format("")}
    history = History([tree] * 50 + [{SCRIPT: TODAY}])
    assert all(history.text("gap", number) is None for number in (0, 25, 49))
    assert len(history.placer._known) == 1


def test_a_thousand_refusals_do_not_recurse() -> None:
    texts = [OTHER.format(f", {number % 3}") for number in range(1000)]
    history = History([{SCRIPT: text} for text in texts] + [{SCRIPT: TODAY}])
    assert history.text("gap", 0) is None


def test_what_is_found_does_not_depend_on_the_order_of_asking() -> None:
    trees = trees_of("digits")
    forward, backward = History(trees), History(trees)
    numbers = range(len(trees) - 1)
    asked = {n: forward.status("max_grad", f"v{n}", SCRIPT) for n in numbers}
    again = {n: backward.status("max_grad", f"v{n}", SCRIPT) for n in reversed(numbers)}
    assert {n: replace(s, statements=()) for n, s in asked.items()} == {
        n: replace(s, statements=()) for n, s in again.items()
    }

"""`python -m bench.propagate.walk [FILE]`: CPU time of asking for a name in a history of a thousand versions.

The history is the file (default: `dataclasses` of the standard library) with one line added or taken away from version
to version, and contents coming back as often as the column says. The one statement stands in all of them; the other
reads a variable that only today's source has, so that each version between is tried as well before it is refused.
"""

from __future__ import annotations

import ast
import dataclasses
import gc
import random
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from logql.catalog.placing import Pin, Placer, Statements, Target
from logql.catalog.status import Status
from logql.propagate.outline import read_outline
from logql.propagate.statements import find_statements

SCRIPT = "train.py"
VERSIONS = 1000


class History:
    """Versions of one script, oldest first, and today's text."""

    def __init__(self, texts: Sequence[str], today: str) -> None:
        self.trees = {f"v{number}": {SCRIPT: text} for number, text in enumerate(texts)}
        self.today = {SCRIPT: today}
        self.order = [(version, SCRIPT) for version in reversed(self.trees)]
        self.known: dict[tuple[str, str], Status] = {}
        self.newest: dict[str, Statements | None] = {}
        self.placer = Placer(self)

    def tree(self, version: str | None, script: str) -> Mapping[str, str]:  # noqa: ARG002
        return self.today if version is None else self.trees[version]

    def statements(self, name: str, script: str) -> Statements | None:  # noqa: ARG002
        if name not in self.newest:
            self.newest[name] = self.statements_in(name, self.today, None)
        return self.newest[name]

    def statements_in(self, name: str, files: Mapping[str, str], version: str | None) -> Statements | None:
        found = tuple(statement for statement in find_statements(files) if statement.name == name)
        return Statements(version, files, found) if found else None

    def lineage(self, script: str) -> Sequence[Target]:  # noqa: ARG002
        return self.order

    def pins(self, name: str, script: str) -> Mapping[Target, Pin]:  # noqa: ARG002
        return {}

    def status(self, name: str, version: str, script: str) -> Status:
        if (name, version) not in self.known:
            self.known[name, version] = self.placer.find(name, (version, script))
        return self.known[name, version]


def edited(text: str, random_: random.Random) -> str:
    """The text with a simple statement of a function taken away, or one of another text added."""
    lines = text.splitlines(keepends=True)
    functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)]
    blocks = [node.body for node in functions if len(node.body) > 2]
    block = random_.choice(blocks)
    node = random_.choice(block[1:])
    indent = lines[node.lineno - 1][: node.col_offset]
    if indent.strip() or getattr(node, "decorator_list", None):
        return text
    if isinstance(node, ast.Assign | ast.Expr) and random_.random() < 0.5:
        return "".join(lines[: node.lineno - 1] + lines[node.end_lineno :])
    added = f"{indent}number_{random_.randrange(1000)} = {random_.randrange(1000)}\n"
    return "".join([*lines[: node.lineno - 1], added, *lines[node.lineno - 1 :]])


def history_of(text: str, distinct: int, random_: random.Random) -> History:
    """The text edited again and again, in `distinct` contents; today's has two log statements in its middle."""
    texts = [text]
    while len(texts) < distinct:
        texts.append(edited(texts[-1], random_))
    lines = text.splitlines(keepends=True)
    functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef) and len(node.body) > 4]
    node = functions[len(functions) // 2].body[2]
    indent = " " * node.col_offset
    new = [
        f"{indent}later = object()\n{indent}print(later)\n",
        f'{indent}logql.log("there", 1)\n{indent}logql.log("gone", later)\n',
    ]
    today = "".join(["import logql\n", *lines[: node.lineno - 1], *new, *lines[node.lineno - 1 :]])
    return History([texts[number * distinct // VERSIONS] for number in range(VERSIONS)], today)


def measure(history: History, name: str) -> tuple[float, int]:
    """CPU seconds of finding the name's place in all versions, and in how many it has one."""
    read_outline.cache_clear()
    gc.collect()
    begin = time.process_time()
    states = [history.status(name, version, SCRIPT).state for version in history.trees]
    return time.process_time() - begin, states.count("placed")


def main(argv: Sequence[str]) -> int:
    path = Path(argv[0]) if argv else Path(dataclasses.__file__)
    text = path.read_text(encoding="utf-8")
    print(f"{path.name}, {text.count(chr(10))} lines, {VERSIONS} versions\n")
    print("| distinct contents | has a place: CPU s | placed in | has none: CPU s | placed in |\n|---|---|---|---|---|")
    for distinct in (10, 100, 1000):
        history = history_of(text, distinct, random.Random(1))
        cells = [cell for name in ("there", "gone") for cell in measure(history, name)]
        print(f"| {distinct} | {cells[0]:.1f} | {cells[1]} | {cells[2]:.1f} | {cells[3]} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""The examples of tests/data/rows.md: traces, queries and the rows that they must have."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROWS = Path(__file__).parent.parent / "data" / "rows.md"


@dataclass(frozen=True)
class Example:
    """One query of one section over that section's traces."""

    section: str
    trace: str
    query: str
    note: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def __str__(self) -> str:
        return f"{self.section}: {self.query}"


def read_examples() -> Iterator[Example]:
    """All examples in their order."""
    for part in re.split(r"^## ", ROWS.read_text(), flags=re.MULTILINE)[1:]:
        section = part.split("\n", 1)[0]
        traces: list[str] = []
        query, note = None, ""
        for text, block in re.findall(r"((?:(?!```).)*?)```\n(.*?)```", part, re.DOTALL):
            found = re.findall(r"`(SELECT .*?)`(.*)", text)
            if not found:
                traces.append(block)
                continue
            query, note = found[-1]
            lines = [line.split() for line in block.splitlines() if line.strip()]
            yield Example(
                section, "\n".join(traces), query, note, tuple(lines[0]), tuple(tuple(line) for line in lines[1:])
            )

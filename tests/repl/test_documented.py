"""The manual names every command and mode of the prompt, and no others."""

from __future__ import annotations

import re
from pathlib import Path

from logql.repl.meta import ALIASES, COMMANDS
from logql.repl.modes import MODES

PAGE = (Path(__file__).resolve().parent.parent.parent / "docs" / "repl.md").read_text(encoding="utf-8")


def test_commands() -> None:
    assert set(re.findall(r"`\.([a-z]+)", PAGE)) - {"png", "svg", "html"} == set(COMMANDS)


def test_aliases() -> None:
    assert set(re.findall(r"\\([a-z?]+)", PAGE)) <= {*ALIASES, "x"}


def test_modes() -> None:
    row = next(line for line in PAGE.splitlines() if line.startswith("| `.mode"))
    assert set(re.findall(r"`([a-z]+)`", row)) == set(MODES)

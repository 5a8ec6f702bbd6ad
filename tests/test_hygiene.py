"""The house rules that a machine can check: light imports, sizes, docstrings, nothing of anybody's machine."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MODULES = sorted((ROOT / "logql").rglob("*.py"))
HEAVY = {"duckdb", "git", "numpy", "pandas", "prompt_toolkit", "pyarrow", "sqlglot", "torch"}


def loaded_by(statement: str) -> set[str]:
    program = f"import sys; before = set(sys.modules); {statement}; print(*sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "module",
    [
        "logql",
        "logql.record.api",
        "logql.store.catalog",
        "logql.store.wal",
        "logql.versions.snapshot",
        "logql.settings",
    ],
)
def test_what_stands_in_a_training_is_light(module: str) -> None:
    assert not {name.partition(".")[0] for name in loaded_by(f"import {module}")} & HEAVY


def test_help_loads_no_engine() -> None:
    assert not loaded_by("from logql.cli import _parser; _parser()") & HEAVY


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_module_says_what_it_is_and_stays_small(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    assert ast.get_docstring(tree), "no docstring"
    assert path.name != "utils.py"
    assert text.count("\n") <= 500
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno < 45, f"{node.name} is long"


def test_nothing_of_a_machine_is_kept() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    own = Path(__file__).relative_to(ROOT)
    places = ("/" + "work/", "/" + "opt/", "/" + "root/", "/home/" + "user")
    for name in listed.split("\0"):
        path = ROOT / name
        if name and path != ROOT / own and path.is_file() and path.suffix not in (".gz", ".png"):
            text = path.read_text(encoding="utf-8", errors="replace")
            assert not [place for place in places if place in text], name

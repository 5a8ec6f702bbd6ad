"""What the docs name exists, and what exists is named: relations, columns, settings, commands, variables, functions."""

from __future__ import annotations

import argparse
import ast
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import logql
from logql.catalog.relations import FIXED_TYPES, OUTPUT_TYPES, RUN_TYPES, SYSTEM_TYPES
from logql.cli import _parser
from logql.formats import FORMATS
from logql.samples import Sample
from logql.settings import RECORDED_ENVIRONMENT
from logql.sql.parser import SETTINGS

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
MANUAL = [page for page in PAGES if page.name != "architecture.md"]

#: Set by logql for its own child processes; no user sets them.
INTERNAL_VARIABLES = {"LOGQL_PARENT_REPLAY", "LOGQL_PARENT_RUN", "LOGQL_REPLAY", "LOGQL_SEAL"}


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def first_cells(page: str, heading: str) -> set[str]:
    """The words in backticks in the first column of the table below a heading."""
    section = page.split(heading, 1)[1].split("\n## ", 1)[0]
    cells = re.findall(r"^\| (.*?) \|", section, re.MULTILINE)
    return {word for cell in cells for word in re.findall(r"`([^`]+)`", cell)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", MANUAL, ids=lambda page: page.name)
def test_python_is_python(page: Path) -> None:
    for block in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        ast.parse(block)


def test_settings() -> None:
    assert first_cells(read("docs/sql.md"), "\n## Settings\n") - {"auto", "ask", "off"} == set(SETTINGS)


def test_relations_and_their_columns() -> None:
    page = read("docs/sql.md")
    rows = dict(re.findall(r"^\| `(\w+)`(?:, `\w+`)* \| (.*) \|$", page.split("\n## ")[0], re.MULTILINE))
    assert set(FIXED_TYPES) <= set(re.findall(r"^\| `(\w+)`", page, re.MULTILINE))
    for relation, columns in {**FIXED_TYPES, "runs": RUN_TYPES, "output": OUTPUT_TYPES}.items():
        named = rows[relation].partition(": ")[2]
        assert {name for name in columns if not re.search(rf"\b{name}\b", named)} == set(), relation
    for column in SYSTEM_TYPES:
        assert re.search(rf"\b{column}\b", page), column


def test_commands() -> None:
    (action,) = [a for a in _parser()._actions if isinstance(a, argparse._SubParsersAction)]
    text = " ".join(sorted(first_cells(read("docs/cli.md"), "# The command line")))
    for command in action.choices:
        assert re.search(rf"\b{command}\b", text), command
    for page in MANUAL:
        for command in re.findall(r"\blogql ([a-z]+)\b(?! [a-z]+ (?:is|has)\b)", " ".join(_code(page))):
            assert command in action.choices or command == "import", (page.name, command)


def test_options() -> None:
    (action,) = [a for a in _parser()._actions if isinstance(a, argparse._SubParsersAction)]
    known = {option for parser in action.choices.values() for option in parser._option_string_actions}
    for page in MANUAL:
        for option in re.findall(r"(?<![\w-])--[a-z][a-z-]+", page.read_text(encoding="utf-8")):
            assert option in known | {"--kwargs", "--git-dir"}, (page.name, option)


def test_formats() -> None:
    for form in FORMATS:
        assert f"`{form}`" in read("docs/cli.md") or f"--format {form}`" in read("docs/cli.md")


def test_environment_variables() -> None:
    named = {name for page in MANUAL for name in re.findall(r"LOGQL_[A-Z_]+", page.read_text(encoding="utf-8"))}
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "logql").rglob("*.py"))
    assert named == set(re.findall(r"LOGQL_[A-Z_]+[A-Z]", sources)) - INTERNAL_VARIABLES
    for name in RECORDED_ENVIRONMENT:
        assert name in read("docs/recording.md")


def test_functions() -> None:
    named = {match for page in MANUAL for match in re.findall(r"\blogql\.(\w+)\(", page.read_text(encoding="utf-8"))}
    assert named <= set(logql.__all__)
    for name in ("arg", "checkpointing", "commit", "connect", "flush", "iteration", "log", "loop", "run", "sql"):
        assert name in named, name


def test_readme_runs_the_tests_as_the_check_command_does() -> None:
    command = next(line for line in read("README.md").splitlines() if "-m pytest" in line)
    assert command.startswith("python3 -m venv .venv && ")
    assert """bash -c "$(grep -m 1 -- '-m pytest' README.md)\"""" in read(".ci/run")


def test_readme_shows_what_its_query_answers(sample_project: Callable[[str], tuple[Sample, Path]]) -> None:
    """Values are left out of the comparison: other CPUs round otherwise, and a diverging training amplifies that."""
    query, answer = re.findall(r"```sql\n(.*?)```\n\n```\n(.*?)```", read("README.md"), re.DOTALL)[0]
    _, project = sample_project("digits")
    with logql.connect(str(project / ".logql")) as connection:
        cursor = connection.cursor()
        cursor.execute(query)
        rows = cursor.fetchall()
    shown = [line.split() for line in answer.split("\n\n")[0].splitlines()]
    assert shown[0] == [column[0] for column in cursor.description]
    found = [[row[0], str(row[2]), "NULL" if row[5] is None else row[5]] for row in rows]
    assert [[line[0], line[2], line[5]] for line in shown[2:]] == found


def test_readme_ways_in(sample_project: Callable[[str], tuple[Sample, Path]], tmp_path: Path) -> None:
    """Every way in that the README names, as a newcomer tries it; the server has tests of its own."""
    for package in ("altair", "pandas", "sqlalchemy"):
        pytest.importorskip(package)
    project = tmp_path / "project"
    shutil.copytree(sample_project("digits")[1], project, symlinks=True)
    section = read("README.md").split("\n## Ways in\n")[1].split("\n## ")[0]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for kind, block in re.findall(r"```(\w+)\n(.*?)```", section, re.DOTALL):
        # An installed logql has its dialect found by entry point; these tests run without being installed, too.
        python = [["-c", f"import tests.sqlalchemy_suite.register\n{block}"]]
        shell = [["-m", *shlex.split(line, comments=True)] for line in block.splitlines()]
        for command in python if kind == "python" else shell:
            if "serve" in command:
                continue
            done = subprocess.run(
                [sys.executable, *command], cwd=project, env=environment, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, (command, done.stderr)
    assert "<html" in (project / "curves.html").read_text(encoding="utf-8").lower()
    assert (project / "published" / "logs" / "part-0.parquet").exists()


def _code(page: Path) -> list[str]:
    text = page.read_text(encoding="utf-8")
    return re.findall(r"```sh\n(.*?)```", text, re.DOTALL) + re.findall(r"`(logql [^`]*)`", text)

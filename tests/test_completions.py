"""Completion scripts, in the shells themselves."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from logql.cli import _parser
from logql.completions import SHELLS, completion_script

BASH = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
_logql
printf '%s\\n' "${COMPREPLY[@]}"
"""
ZSH = """
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell "PROMPT=; autoload -Uz compinit; compinit -D -u; source $1; LISTMAX=0; echo rea''dy"
while zpty -r shell line; do [[ $line == ready* ]] && break; done
zpty -w -n shell "$2"$'\\t'
found=
while zpty -r shell line '*'"$3"'*'; do found+=$line; [[ $found == *"$3"* ]] && break; done
print -r -- "$found"
zpty -d shell
"""
CASES = [
    ("logql se", "serve"),
    ("logql sql --form", "--format"),
    ("logql sql --format jsonl", "jsonl"),
    ("logql --store /tmp compa", "compact"),
    ("logql serve --replay au", "auto"),
    ("logql completion fi", "fish"),
]


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("completion")
    for shell in SHELLS:
        (directory / shell).write_text(completion_script(_parser(), shell))
    return directory


def run(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout


def needs(shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"needs {shell}")


@pytest.mark.parametrize("shell", SHELLS)
def test_every_command_and_option_is_there(scripts: Path, shell: str) -> None:
    text = (scripts / shell).read_text()
    (action,) = [each for each in _parser()._actions if isinstance(each, argparse._SubParsersAction)]
    for name, command in action.choices.items():
        assert name in text
        for option in command._option_string_actions:
            assert (f"-l {option[2:]}" if shell == "fish" and option.startswith("--") else option.lstrip("-")) in text


@pytest.mark.parametrize(("typed", "expected"), CASES)
def test_bash(scripts: Path, typed: str, expected: str) -> None:
    needs("bash")
    assert run("bash", "-c", BASH, "bash", str(scripts / "bash"), *typed.split()).split() == [expected]


def test_bash_completes_files(scripts: Path, tmp_path: Path) -> None:
    needs("bash")
    (tmp_path / "train.py").write_text("")
    for typed in ("logql run", "logql sql -f"):
        found = run("bash", "-c", BASH, "bash", str(scripts / "bash"), *typed.split(), f"{tmp_path}/tr")
        assert found.split() == [f"{tmp_path}/train.py"]


@pytest.mark.parametrize(("typed", "expected"), CASES)
def test_fish(scripts: Path, typed: str, expected: str) -> None:
    needs("fish")
    found = run("fish", "--no-config", "-c", f"source {scripts}/fish; complete -C '{typed}'")
    assert {line.split("\t")[0] for line in found.splitlines()} == {expected}


@pytest.mark.parametrize(("typed", "expected"), CASES)
def test_zsh(scripts: Path, typed: str, expected: str) -> None:
    needs("zsh")
    rest = expected.removeprefix(typed.split()[-1])
    assert rest in run("zsh", "-f", "-c", ZSH, "zsh", str(scripts / "zsh"), typed, rest)


def test_the_command_prints_it(scripts: Path) -> None:
    assert run(sys.executable, "-m", "logql", "completion", "bash") == (scripts / "bash").read_text()

"""The sample projects: small real trainings whose history is built and trained afresh wherever one asks for them."""

from __future__ import annotations

import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from logql.errors import OperationalError, ProgrammingError

#: Called with a line about what happens next.
Report = Callable[[str], None]


@dataclass(frozen=True)
class SampleVersion:
    """One commit of a sample's history, and the trainings that were started at it (args by name)."""

    folder: Path
    message: str
    author: str
    date: str
    runs: tuple[Mapping[str, object], ...]


@dataclass(frozen=True)
class Sample:
    """A sample project: its versions in order, its data files, and what only the newest version logs, by place."""

    name: str
    title: str
    script: str
    folder: Path
    data: tuple[Path, ...]
    needs: tuple[str, ...]
    new: Mapping[str, str]
    query: str
    versions: tuple[SampleVersion, ...]


def samples_folder() -> Path:
    """Where the samples are: inside the installed package, or beside it in a source tree."""
    package = Path(__file__).resolve().parent
    inside = package / "sample_runs"
    return inside if inside.is_dir() else package.parent / "sample_runs"


def sample_names() -> list[str]:
    """Names of the samples that there are."""
    return sorted(path.parent.name for path in samples_folder().glob("*/history.toml"))


def load_sample(name: str) -> Sample:
    """Read a sample's history; ProgrammingError with the known names where there is none of that name."""
    if name not in sample_names():
        raise ProgrammingError(f"there is no sample {name!r}", candidates=sample_names())
    folder = samples_folder() / name
    table = tomllib.loads((folder / "history.toml").read_text(encoding="utf-8"))
    versions = tuple(
        SampleVersion(folder / row["folder"], row["message"], row["author"], row["date"], tuple(row["runs"]))
        for row in table["version"]
    )
    data = tuple((folder / path).resolve() for path in table["data"])
    return Sample(
        name,
        table["title"],
        table["script"],
        folder,
        data,
        tuple(table["needs"]),
        table["new"],
        table["demo"]["query"].strip(),
        versions,
    )


def missing_packages(sample: Sample) -> list[str]:
    """The packages that a sample needs and that are not installed here."""
    return [package for package in sample.needs if importlib.util.find_spec(package) is None]


def build_project(sample: Sample, directory: Path, report: Report = lambda _: None, **environment: str) -> None:
    """Make a git repository of the sample's history in `directory`, really training each version as it is committed.

    `environment` is set for the trainings.
    Raises OperationalError where git or a package is missing, the directory is not empty, or a training fails.
    """
    if missing := missing_packages(sample):
        raise OperationalError(f"the sample {sample.name} needs {', '.join(missing)}", hint=_hint(missing))
    directory.mkdir(parents=True, exist_ok=True)
    if any(directory.iterdir()):
        raise OperationalError(f"{directory} is not empty", hint="name a directory that does not exist yet")
    run_git(directory, "init", "-q", "-b", "main")
    for path in sample.data:
        (directory / "data").mkdir(exist_ok=True)
        shutil.copyfile(path, directory / "data" / path.name)
    for number, version in enumerate(sample.versions, start=1):
        report(f"{number}/{len(sample.versions)}  {version.message}")
        commit_version(directory, version)
        for arguments in version.runs:
            train(directory, sample.script, arguments, **environment)


def commit_version(directory: Path, version: SampleVersion) -> None:
    """Make the work tree that version's, and commit it as its author did."""
    put_files(version.folder, directory)
    name, _, address = version.author.partition(" <")
    address = address.rstrip(">")
    identity = {
        "GIT_AUTHOR_NAME": name,
        "GIT_AUTHOR_EMAIL": address,
        "GIT_AUTHOR_DATE": version.date,
        "GIT_COMMITTER_NAME": name,
        "GIT_COMMITTER_EMAIL": address,
        "GIT_COMMITTER_DATE": version.date,
    }
    run_git(directory, "add", "-A")
    run_git(directory, "commit", "-q", "-m", version.message, environment=identity)


def put_files(source: Path, directory: Path) -> None:
    """Replace the project's files by those of a version's folder; data, git and the store stay."""
    for path in directory.iterdir():
        if path.name not in ("data", ".git", ".logql"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for path in _files(source):
        target = directory / path.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)


def train(directory: Path, script: str, arguments: Mapping[str, object], **environment: str) -> str:
    """Run a script of the project as its author would; returns what it printed."""
    settings = " ".join(shlex.quote(f"{name}={value}") for name, value in arguments.items())
    done = subprocess.run(
        [sys.executable, script],
        cwd=directory,
        env=child_environment() | {"LOGQL_ARGS": settings} | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise OperationalError(f"{script} failed in {directory}:\n{done.stderr.strip()}")
    return done.stdout


def child_environment() -> dict[str, str]:
    """The process's environment, such that a child finds this very logql, installed or not, and no other store."""
    root = str(Path(__file__).resolve().parent.parent)
    paths = [root, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    inherited = {key: value for key, value in os.environ.items() if key not in ("LOGQL_STORE", "LOGQL_ARGS")}
    if "site-packages" in Path(root).parts:
        return inherited
    return inherited | {"PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))}


def run_git(directory: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> str:
    """Run git in a sample's repository, untouched by the user's hooks, signing and templates."""
    options = ("-c", "commit.gpgsign=false", "-c", "core.hooksPath=/dev/null", "-c", "core.autocrlf=false")
    kept = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    try:
        done = subprocess.run(
            ["git", *options, *arguments],
            cwd=directory,
            env=kept | dict(environment or {}),
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError as error:
        raise OperationalError("git is not installed; the samples are git repositories") from error
    if done.returncode != 0:
        raise OperationalError(f"git {arguments[0]} failed: {done.stderr.strip()}")
    return done.stdout.strip()


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file() and "__pycache__" not in path.parts)


def _hint(missing: list[str]) -> str:
    extra = "demo,torch" if "torch" in missing else "demo"
    return f"pip install 'logql[{extra}]'"

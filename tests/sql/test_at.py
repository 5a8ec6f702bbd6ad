"""AT (VERSION => ...): commits under all the names that git has for them, and snapshots on top of them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

import logql
from logql.dbapi import Connection
from logql.errors import BindError
from logql.store.snapshot import forget
from tests.cases.runner import change_project

SCRIPT = "import logql\nlogql.arg('number', {})\nlogql.log('done', True)"


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    """Two commits of which each ran, the first with a branch and a tag; the second ran changed, too."""
    project = tmp_path_factory.mktemp("at")
    for number, name in ((1, "one"), (2, "two")):
        change_project(project, "source", SCRIPT.format(number))
        change_project(project, "commit", name)
        change_project(project, "train", SCRIPT.format(number))
        if number == 1:
            subprocess.run("git branch kept/one && git tag v1", shell=True, cwd=project, check=True)
    change_project(project, "train", SCRIPT.format(3))
    with logql.connect(str(project / ".logql")) as found:
        yield found
    forget()


def numbers(connection: Connection, revision: str) -> list[int]:
    sql = f"SELECT number FROM logs AT (VERSION => '{revision}') l ORDER BY number"
    return [number for (number,) in connection.execute(sql)]


@pytest.mark.parametrize("revision", ["v1", "kept/one", "HEAD~1", "HEAD^", "HEAD~", "master~1", "refs/tags/v1"])
def test_a_name_of_the_first_commit(connection: Connection, revision: str) -> None:
    assert numbers(connection, revision) == [1]


@pytest.mark.parametrize("length", [7, 8, 12, 40])
def test_a_commit_by_the_beginning_of_its_id(connection: Connection, length: int) -> None:
    sql = "SELECT commit FROM versions JOIN runs USING (version) WHERE number = 1"
    ((commit,),) = connection.execute(sql).fetchall()
    assert numbers(connection, commit[:length]) == numbers(connection, commit[:length].upper()) == [1]


def test_a_commit_with_what_ran_on_top_of_it(connection: Connection) -> None:
    assert numbers(connection, "HEAD") == [2, 3]


def test_a_snapshot_by_its_version(connection: Connection) -> None:
    ((version,),) = connection.execute("SELECT version FROM runs WHERE number = 3").fetchall()
    assert numbers(connection, version) == [3]


@pytest.mark.parametrize("revision", ["HEAD~2", "v2", "", "--all", "v1; ls"])
def test_what_names_nothing_says_so(connection: Connection, revision: str) -> None:
    with pytest.raises(BindError, match=r"names no commit|no run has the commit"):
        numbers(connection, revision)

"""End-to-end cases as text, each file over a store of its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from logql import dbapi
from logql.store.snapshot import forget
from tests.cases.runner import FILES, prepare, read_cases, run_case


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_file(path: Path, tmp_path: Path) -> None:
    store = str(tmp_path / ".logql")
    connection, last = None, None
    try:
        for case in read_cases(path):
            if prepare(case, tmp_path):
                continue
            connection = connection or dbapi.connect(store)
            try:
                here = replace(case, text=case.text.replace("{project}", str(tmp_path)))
                last = run_case(here, connection, last)
            except Exception as error:
                raise AssertionError(f"{path.name}:{case.line}: {case.text}\n{error}") from error
    finally:
        if connection is not None:
            connection.close()
        forget(store)


def test_there_are_many_cases() -> None:
    assert (
        sum(case.kind not in ("history", "train", "source", "commit") for path in FILES for case in read_cases(path))
        >= 150
    )

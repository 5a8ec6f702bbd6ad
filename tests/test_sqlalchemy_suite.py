"""SQLAlchemy's own test suite for dialects, in a process of its own, over own tables in a file."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.store.history import epochs, record

pytest.importorskip("sqlalchemy")
ROOT = Path(__file__).parent.parent
FEWEST_PASSED = 1200


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_suite_of_sqlalchemy(tmp_path: Path) -> None:
    record(str(tmp_path / ".logql"), "R1", epochs(2, 2))
    (tmp_path / "pytest.ini").write_text("[pytest]\npython_files = suite.py\n")
    (tmp_path / "setup.cfg").write_text(
        "[sqla_testing]\nrequirement_cls = logql.sqlalchemy.requirements:Requirements\nprofile_file = profiles.txt\n"
    )
    plugins = ("tests.sqlalchemy_suite.register", "sqlalchemy.testing.plugin.pytestplugin")
    url = f"logql:///{tmp_path}/.logql?database={tmp_path}/own.duckdb"
    done = subprocess.run(
        [
            sys.executable, "-m", "pytest", "-q", "-c", str(tmp_path / "pytest.ini"), "--rootdir", str(tmp_path),
            "-p", "no:cacheprovider", "-p", "no:warnings", *(part for name in plugins for part in ("-p", name)),
            "--dburi", url, "--tb", "short", str(ROOT / "tests" / "sqlalchemy_suite" / "suite.py"),
        ],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    (passed,) = re.findall(r"(\d+) passed", done.stdout)
    assert int(passed) >= FEWEST_PASSED

"""The record's times are UTC, and so is the clock of a query, wherever the person is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

_SCRIPT = """
import logql
for epoch in logql.loop("epoch", range(2)):
    logql.log("acc", epoch)
logql.flush()
hour = "BETWEEN now() - INTERVAL 1 HOUR AND now() + INTERVAL 1 MINUTE"
sql = f"SELECT count(*), any_value(started_at {hour}), current_setting('TimeZone') FROM epoch JOIN runs USING (run)"
print(*logql.connect().execute(f"{sql} WHERE ts {hour}").fetchone())
"""


def test_now_is_the_time_of_the_record_east_of_greenwich(tmp_path: Path) -> None:
    root = str(Path(__file__).parent.parent.parent)
    environment = {**os.environ, "TZ": "Asia/Tokyo", "PYTHONPATH": root, "LOGQL_STORE": str(tmp_path / ".logql")}
    (tmp_path / "train.py").write_text(_SCRIPT)
    found = subprocess.run(
        [sys.executable, "train.py"], cwd=tmp_path, env=environment, check=True, capture_output=True, text=True
    )
    assert found.stdout.split() == ["2", "True", "UTC"]

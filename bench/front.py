"""What people wait for in front: the prompt on a store of many runs, large results, inserts of many rows.

python -m bench.front [--runs 1000]
"""

from __future__ import annotations

import argparse
import os
import pty
import resource
import select
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.histories import make_store

ROOT = Path(__file__).resolve().parent.parent
_REPEATS = 9
_LARGE = """
import resource, sys, time
from logql import dbapi

with dbapi.connect(sys.argv[1]) as connection:
    connection.execute("SELECT range AS n, range * 2 AS m FROM range(3000000)").fetchmany(10)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun, count = time.process_time(), 0
    for batch in connection.execute("SELECT range AS n, range * 2 AS m FROM range(10000000)").fetch_record_batch():
        count += batch.num_rows
    print(time.process_time() - begun, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""
_INSERT = """
import sys, time
from logql import dbapi

with dbapi.connect(sys.argv[1]) as connection:
    connection.execute("CREATE TABLE t (a BIGINT, b DOUBLE, c VARCHAR)")
    rows = [(number, number / 2, str(number)) for number in range(200000)]
    begun = time.process_time()
    connection.cursor().executemany("INSERT INTO t VALUES (?, ?, ?)", rows)
    print((time.process_time() - begun) / len(rows) * 1e6)
"""


def main() -> None:
    """Print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    runs = parser.parse_args().runs
    directory = Path(tempfile.mkdtemp(prefix="logql-bench-"))
    try:
        store = directory / ".logql"
        (directory / "plain").mkdir()
        make_store(str(store), str(directory / "plain"), runs, epochs=20, steps=5)
        wall, cpu = zip(*(prompt_seconds(store) for _ in range(_REPEATS)), strict=True)
        base = statistics.median(_python_cpu() for _ in range(_REPEATS))
        print(f"prompt on {runs} runs: {1000 * statistics.median(wall):.0f} ms by the clock, "
              f"{1000 * statistics.median(cpu):.0f} ms of CPU (python -c pass: {1000 * base:.0f})")  # fmt: skip
        seconds, grown = map(float, _run(_LARGE, store).split())
        print(
            f"10 million rows in batches: {seconds:.2f} s of CPU, {grown:.0f} MB more memory at most (160 MB of rows)"
        )
        print(f"executemany: {float(_run(_INSERT, store)):.1f} us of CPU a row")
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def prompt_seconds(store: Path) -> tuple[float, float]:
    """Seconds by the clock until the prompt is on the screen, and those that the process has computed till then."""
    begun = time.perf_counter()
    pid, terminal = pty.fork()
    if pid == 0:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color"}
        command = [sys.executable, "-m", "logql", "--store", str(store)]
        os.execve(sys.executable, command, environment)
    shown = b""
    while b"logql>" not in shown:
        select.select([terminal], [], [])
        part = os.read(terminal, 65536)
        if b"\x1b[6n" in part:
            os.write(terminal, b"\x1b[1;1R")
        shown += part
    wall, cpu = time.perf_counter() - begun, _cpu_of(pid)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    os.close(terminal)
    return wall, cpu


def _cpu_of(pid: int) -> float:
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _python_cpu() -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _run(program: str, store: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", program, str(store)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    main()

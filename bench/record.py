"""Ratios of DESIGN section 9 for the recorder, each beside the same work without it, in one process.

    python bench/record.py [--pairs 200]

Blocks of at least 10 ms alternate (A B B A) with and without logql; what is measured is the CPU time of all threads, so
the flusher's counts. Each line gives the median ratio with a bootstrap 95 % interval, beside a control of A against A.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

Block = Callable[[int], None]
Clock = Callable[[Block, int], float]
BLOCK_S = 0.012


def cpu(block: Block, count: int) -> float:
    """CPU seconds of all threads that `count` rounds take, what the flusher has to do for them included."""
    began = time.process_time()
    block(count)
    drain()
    return time.process_time() - began


def training_cpu(block: Block, count: int) -> float:
    """CPU seconds of the training thread alone."""
    began = time.thread_time()
    block(count)
    spent = time.thread_time() - began
    drain()
    return spent


def drain() -> None:
    """Do now what the flusher would do within its interval, so that it counts where it belongs."""
    from logql.record.recorder import recorder

    recorder.drain()


def calibrate(block: Block) -> int:
    """Rounds that take at least BLOCK_S."""
    count = 1000
    while cpu(block, count) < 2 * BLOCK_S:
        count *= 2
    return count


def compare(plain: Block, with_logql: Block, pairs: int, clock: Clock = cpu) -> tuple[list[float], list[float]]:
    """Ratios with logql over without, and those of a control without over without; and seconds a round added."""
    count = calibrate(with_logql)
    ratios, added = [], []
    for _ in range(pairs):
        first, second = clock(plain, count), clock(with_logql, count)
        third, fourth = clock(with_logql, count), clock(plain, count)
        ratios.append((second + third) / (first + fourth))
        added.append((second + third - first - fourth) / (2 * count))
    return ratios, added


def interval(values: list[float]) -> tuple[float, float, float]:
    """Median, and a bootstrap 95 % interval of it."""
    source = random.Random(0)
    medians = sorted(statistics.median(source.choices(values, k=len(values))) for _ in range(400))
    return statistics.median(values), medians[10], medians[-11]


def report(label: str, values: list[float], bound: float, scale: float = 1.0, unit: str = "x") -> None:
    """One line: median, interval, bound, and whether the interval's upper end is under it."""
    middle, low, high = (value * scale for value in interval(values))
    verdict = "ok" if high <= bound else "OVER"
    print(f"{label:44} {middle:8.3f} {unit:3} [{low:.3f}, {high:.3f}]  bound {bound:g} {unit}  {verdict}")


def hot_paths(pairs: int) -> None:
    """`log` of a float and an iteration of `loop`, with the real flusher running."""
    import logql

    floor: list[tuple[str, float, float]] = []
    append, clock = floor.append, time.time

    def append_value(name: str, value: float) -> None:
        append((name, value, clock()))

    def plain(count: int) -> None:
        floor.clear()
        for _ in range(count):
            append_value("loss", 0.5)

    def logged(count: int) -> None:
        log = logql.log
        for _ in range(count):
            log("loss", 0.5)

    def empty(count: int) -> None:
        for _ in range(count):
            pass

    def iterated(count: int) -> None:
        for _ in logql.loop("step", range(count)):
            pass

    def both(count: int) -> None:
        log = logql.log
        for _ in logql.loop("step", range(count)):
            log("loss", 0.5)

    with logql.run(name="bench"), logql.iteration("epoch", 0):
        report("A/A control, appending to a list", compare(plain, plain, pairs)[0], 1.005)
        report("log(name, float) / appending to a list", compare(plain, logged, pairs)[0], 2.0)
        few = max(20, pairs // 4)
        report("loop, per iteration (training thread)", compare(empty, iterated, few, training_cpu)[1], 0.5, 1e6, "us")
        report("loop, per iteration (all threads)", compare(empty, iterated, few)[1], 1.0, 1e6, "us")
        report("loop with a log inside (training thread)", compare(empty, both, few, training_cpu)[1], 1.0, 1e6, "us")
        report("loop with a log inside (all threads)", compare(empty, both, few)[1], 2.0, 1e6, "us")


def import_time(rounds: int = 15) -> None:
    """Milliseconds that `import logql` adds to starting the interpreter, and the first `log` to that."""

    def start(code: str, directory: str) -> float:
        began = time.perf_counter()
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "LOGQL_SEAL": "0"}
        subprocess.run([sys.executable, "-c", code], check=True, cwd=directory, env=environment)
        return time.perf_counter() - began

    with tempfile.TemporaryDirectory() as directory:
        first_log = (
            "import logql, time, os, sys; a = time.perf_counter()\n"
            "with logql.run():\n"
            "    logql.log('x', 1.0); b = time.perf_counter(); open('t', 'a').write(f'{b - a}\\n')"
        )
        bare = [start("pass", directory) for _ in range(rounds)]
        loaded = [start("import logql", directory) for _ in range(rounds)]
        report("import logql, added", [a - b for a, b in zip(loaded, bare, strict=True)], 15, 1e3, "ms")
        for _ in range(rounds):
            start(first_log, directory)
        times = [float(line) for line in Path(directory, "t").read_text().split()]
        report("first log, snapshot included", times[1:], 150, 1e3, "ms")


def step_overhead(seconds: float) -> None:
    """A training of 1 ms steps with default checkpoints: time with logql over time without, whole runs."""
    script = """
import sys, time, os
if sys.argv[1] == "logql":
    import logql
    loop, log = logql.loop, logql.log
else:
    loop, log = (lambda name, items: items), (lambda name, value: value)
state = {f"w{i}": [0.0] * 100 for i in range(100)}
rounds = int(sys.argv[2])
for epoch in loop("epoch", range(rounds)):
    if epoch == 2:  # what is fixed (opening the run, the snapshot) has a bound of its own
        began = time.process_time()
    for step in loop("step", range(50)):
        x = 0.0
        for i in range(20000):
            x += i * 0.5
        state[f"w{step}"][epoch % 100] = x
        log("loss", x)
    log("epoch_loss", x)
print(time.process_time() - began)
"""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "train.py").write_text(script, encoding="utf-8")
        rounds = max(4, int(seconds / 0.06))
        ratios = []
        for _ in range(4):
            seen = {}
            for mode in ("plain", "logql", "logql", "plain"):
                done = subprocess.run(
                    [sys.executable, "train.py", mode, str(rounds)],
                    check=True,
                    cwd=directory,
                    env={**os.environ, "PYTHONPATH": str(ROOT), "LOGQL_SEAL": "0"},
                    capture_output=True,
                    text=True,
                )
                seen[mode] = seen.get(mode, 0.0) + float(done.stdout)
            ratios.append(seen["logql"] / seen["plain"])
        report("CPU of a training of 1 ms steps", ratios, 1.07)


def main() -> None:
    """Run all of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=4.0, help="length of a training run")
    options = parser.parse_args()
    os.environ["LOGQL_SEAL"] = "0"
    with tempfile.TemporaryDirectory() as directory:
        os.chdir(directory)
        hot_paths(options.pairs)
        os.chdir(ROOT)
    import_time()
    step_overhead(options.seconds)


if __name__ == "__main__":
    main()

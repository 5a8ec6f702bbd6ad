"""Ratios of DESIGN section 9 for the recorder, each beside the same work without it, in one process.

    python bench/record.py [--pairs 200] [--only hot,steps,runs,start,peers] [--peers PYTHON]

Blocks of at least 10 ms alternate (A B B A) with and without logql; what is measured is the CPU time of all threads, so
the flusher's counts. Each line gives the median with a bootstrap 95 % interval, whose upper end must be under the
bound, beside a control of A against A. `--peers` names an interpreter (of a throw-away venv) in which other trackers
are installed; those that are not are left out of the table.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
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


def compare(
    plain: Block, with_logql: Block, pairs: int, clock: Clock = cpu, count: int = 0
) -> tuple[list[float], list[float]]:
    """Ratios with logql over without, and the seconds that a round of `count` in a block added."""
    count = count or calibrate(with_logql)
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
    medians = sorted(statistics.median(source.choices(values, k=len(values))) for _ in range(1000))
    return statistics.median(values), medians[25], medians[-26]


def report(label: str, values: list[float], bound: float, scale: float = 1.0, unit: str = "x") -> None:
    """One line: median, interval, bound, and whether the interval's upper end is under it."""
    middle, low, high = (value * scale for value in interval(values))
    verdict = "ok" if high <= bound else "OVER"
    print(f"{label:44} {middle:8.3f} {unit:3} [{low:.3f}, {high:.3f}]  bound {bound:g} {unit}  {verdict}")


def empty(count: int) -> None:
    """A bare loop."""
    for _ in range(count):
        pass


def appended(count: int) -> None:
    """The floor: a function that appends name, value and clock to a list."""
    floor: list[tuple[str, float, float]] = []
    append, clock = floor.append, time.time

    def append_value(name: str, value: float) -> None:
        append((name, value, clock()))

    for _ in range(count):
        append_value("loss", 0.5)


def logged(count: int) -> None:
    """Values in one context."""
    import logql

    log = logql.log
    for _ in range(count):
        log("loss", 0.5)


def iterated(count: int) -> None:
    """Iterations of a recorded loop."""
    import logql

    for _ in logql.loop("step", range(count)):
        pass


def iterated_and_logged(count: int) -> None:
    """Iterations with a value in each."""
    import logql

    log = logql.log
    for _ in logql.loop("step", range(count)):
        log("loss", 0.5)


def hot_paths(pairs: int) -> None:
    """`log` of a float and an iteration of `loop`, with the real flusher running."""
    import logql

    with logql.run(name="bench"), logql.iteration("epoch", 0):
        report("A/A control, appending to a list", compare(appended, appended, pairs)[0], 1.005)
        report("log(name, float) / appending to a list", compare(appended, logged, pairs)[0], 2.0)
        for label, block, bound in (("loop", iterated, 1.0), ("loop with a log inside", iterated_and_logged, 2.0)):
            own, all_threads = compare(empty, block, pairs, training_cpu)[1], compare(empty, block, pairs)[1]
            report(f"{label}, an iteration (training thread)", own, 0.5, 1e6, "us")
            report(f"{label}, an iteration (all threads)", all_threads, bound, 1e6, "us")


def steps(pairs: int) -> None:
    """Steps of 1 ms, each an iteration with a value: CPU with logql over CPU without, in blocks of 0.1 s."""
    import logql

    def work(rounds: int) -> float:
        x = 0.0
        for i in range(rounds):
            x += i * 0.5
        return x

    rounds = 1000

    def plain(count: int) -> None:
        for _ in range(count):
            work(rounds)

    while training_cpu(plain, 20) < 0.02:
        rounds = rounds * 5 // 4

    def recorded(count: int) -> None:
        for _ in logql.loop("step", range(count)):
            logql.log("loss", work(rounds))

    with logql.run(name="bench"), logql.iteration("epoch", 0):
        report("A/A control, steps of 1 ms", compare(plain, plain, pairs, count=100)[0], 1.005)
        report("steps of 1 ms / the same without logql", compare(plain, recorded, pairs, count=100)[0], 1.02)


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


TRAINING = """
import sys
if sys.argv[1] == "logql":
    import logql
    loop, log = logql.loop, logql.log
else:
    loop, log = (lambda name, items: items), (lambda name, value: value)
state = {f"w{i}": [0.0] * 100 for i in range(100)}
for epoch in loop("epoch", range(int(sys.argv[2]))):
    for step in loop("step", range(50)):
        x = 0.0
        for i in range(20000):
            x += i * 0.5
        state[f"w{step}"][epoch % 100] = x
        log("loss", x)
    log("epoch_loss", x)
"""


def whole_runs(rounds: int = 8) -> None:
    """What a run costs once, and the share that checkpoints take in a run of some seconds by default."""
    from logql.store.catalog import Catalog

    def run(mode: str, epochs: int, directory: str) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "LOGQL_SEAL": "0"}
        command = [sys.executable, "train.py", mode, str(epochs)]
        subprocess.run(command, check=True, cwd=directory, env=environment)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "train.py").write_text(TRAINING, encoding="utf-8")
        run("logql", 1, directory)
        fixed = [run("logql", 1, directory) - run("plain", 1, directory) for _ in range(rounds)]
        report("a run of one epoch, CPU added", fixed, 0.5, 1.0, "s")
        run("logql", 100, directory)
        with Catalog.open(os.path.join(directory, ".logql")) as catalog:
            (main,) = catalog.main_loops(catalog.runs()[-1].id)
            taken = catalog.checkpoints(catalog.runs()[-1].id)
        share = sum(one.seconds for one in taken) / main.seconds
        print(f"{f'{len(taken)} checkpoints in {main.seconds:.1f} s of training':44} {share:8.3f} x    bound 0.05 x")


def peers(python: str) -> None:
    """A value in other trackers, each in a process of its own: the wall's clock, and the CPU of all it starts."""
    from peers import TOOLS

    print(f"{'a value in a step':24} {'wall us':>9} {'CPU us':>9} {'CPU / floor':>12}")
    floor = None
    for tool in TOOLS:
        runs = [_measure_peer(python, tool) for _ in range(3)]
        found = [one for one in runs if one is not None]
        if not found:
            print(f"{tool:24} not installed there, or it failed")
            continue
        wall, used = (statistics.median(one[key] for one in found) for key in ("wall_us", "cpu_us"))
        floor = floor or used
        print(f"{tool:24} {wall:9.2f} {used:9.2f} {used / floor:12.1f}")


def _measure_peer(python: str, tool: str) -> dict[str, float] | None:
    command = [python, str(ROOT / "bench" / "peers.py"), tool]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode:
        return None
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Run all of it, or some sections."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--only", default="hot,steps,runs,start,peers", help="sections, separated by commas")
    parser.add_argument("--peers", metavar="PYTHON", default=sys.executable)
    options = parser.parse_args()
    os.environ["LOGQL_SEAL"] = "0"
    python = os.path.abspath(options.peers)
    sections: dict[str, Callable[[], None]] = {
        "hot": lambda: hot_paths(options.pairs),
        "steps": lambda: steps(options.pairs),
        "runs": whole_runs,
        "start": import_time,
        "peers": lambda: peers(python),
    }
    with tempfile.TemporaryDirectory() as directory:
        os.chdir(directory)
        for section in options.only.split(","):
            sections[section]()
        os.chdir(ROOT)


if __name__ == "__main__":
    main()

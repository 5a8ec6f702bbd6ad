"""What `bench/store.py` asks, asked of MLflow and FlorDB by their own queries: `python store_peers.py RUNS EPOCHS`.

Runs in an interpreter that has them; what is not installed is left out. Each run has two metrics per epoch.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable


def told(tool: str, title: str, action: Callable[[], object]) -> None:
    """The fastest of three."""
    taken = []
    for _ in range(3):
        start = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            action()
        taken.append((time.perf_counter() - start) * 1000)
    print(f"  {tool:8} {title:24} {min(taken):9.1f} ms", flush=True)


def ask_mlflow(runs: int, epochs: int) -> None:
    """MLflow over SQLite, written in batches."""
    import mlflow
    from mlflow.entities import Metric
    from mlflow.tracking import MlflowClient

    mlflow.set_tracking_uri("sqlite:///mlflow.db")
    client = MlflowClient()
    experiment = client.create_experiment("bench")
    ids = []
    for number in range(runs):
        run = client.create_run(experiment).info.run_id
        metrics = [Metric(name, (number + epoch) / 1024, epoch, epoch) for epoch in range(epochs)
                   for name in ("acc", "val_loss")]  # fmt: skip
        for start in range(0, len(metrics), 1000):
            client.log_batch(run, metrics=metrics[start : start + 1000])
        ids.append(run)
    told("MLflow", "last value per run", lambda: mlflow.search_runs([experiment], max_results=50_000))
    told("MLflow", "curve of one run", lambda: client.get_metric_history(ids[runs // 2], "acc"))
    told("MLflow", "one metric, all runs", lambda: [client.get_metric_history(run, "acc") for run in ids])
    told("MLflow", "filter and top 10", lambda: client.search_runs(
        [experiment], "metrics.acc > 0.05", order_by=["metrics.acc"], max_results=10))  # fmt: skip


SCRIPT = """
import sys
import flordb as flor
for number in range({runs}):
    for epoch in flor.loop("epoch", range({epochs})):
        flor.log("acc", (number + epoch) / 1024)
        flor.log("val_loss", (number + epoch) / 1024)
    flor.commit()
"""


def ask_flordb(runs: int, epochs: int) -> None:
    """FlorDB: one script that commits once per run, in a repository of its own."""
    with open("train.py", "w", encoding="utf-8") as file:
        file.write(SCRIPT.format(runs=runs, epochs=epochs))
    git = ["git", "-c", "user.name=bench", "-c", "user.email=bench@example.invalid"]
    for command in (["init", "-q", "-b", "main"], ["add", "train.py"], ["commit", "-q", "-m", "train"]):
        subprocess.run([*git, *command], check=True)
    environment = {**os.environ, "GIT_AUTHOR_NAME": "bench", "GIT_AUTHOR_EMAIL": "bench@example.invalid",
                   "GIT_COMMITTER_NAME": "bench", "GIT_COMMITTER_EMAIL": "bench@example.invalid"}  # fmt: skip
    os.environ.update(environment)
    subprocess.run([sys.executable, "train.py"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        import flordb
    told("FlorDB", "one metric, all runs", lambda: flordb.dataframe("acc"))
    told("FlorDB", "last value per run", lambda: flordb.dataframe("val_loss").groupby("tstamp").last())


def main() -> None:
    runs, epochs = int(sys.argv[1]), int(sys.argv[2])
    print(f"{runs} runs of {epochs} epochs with two metrics each")
    for module, ask in (("mlflow", ask_mlflow), ("flordb", ask_flordb)):
        if importlib.util.find_spec(module) is None:
            print(f"  {module} is not installed")
            continue
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            try:
                ask(runs, epochs)
            except Exception as exc:
                print(f"  {module} failed: {type(exc).__name__}: {exc}")
            finally:
                os.chdir("/")


if __name__ == "__main__":
    main()

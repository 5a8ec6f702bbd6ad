"""The process that a worker is started as: interpreter, flags, environment variables, thread counts."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

from logql.model import Run
from logql.replay.gpus import Devices
from logql.settings import RECORDED_ENVIRONMENT
from logql.threads import THREAD_VARIABLES, recorded_variables, thread_counts

#: What keeps known trackers from telling anyone of a replay.
SILENCED = {
    "WANDB_MODE": "disabled",
    "WANDB_SILENT": "true",
    "MLFLOW_TRACKING_URI": "file:mlruns",
    "MLFLOW_ALLOW_FILE_STORE": "true",
    "COMET_MODE": "DISABLED",
    "COMET_AUTO_LOG_DISABLE": "1",
    "NEPTUNE_MODE": "debug",
    "CLEARML_OFFLINE_MODE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}
#: Packages whose versions change numbers.
_NUMERIC = ("jax", "numpy", "pandas", "scikit-learn", "scipy", "tensorflow", "torch", "transformers", "xgboost")
#: Settings of the recorder and of the asking process that would act on the replayed script.
_DROPPED = ("LOGQL_ARGS", "LOGQL_CAPTURE", "LOGQL_CHECKPOINT_EVERY", "LOGQL_STORE", "PYTHONSTARTUP", "PYTHONINSPECT")


def worker_environment(run: Run, threads: int | None = None) -> dict[str, str]:
    """Environment variables of a run's workers: ours, over them those recorded, then thread counts.

    `threads` forces a count.
    """
    recorded = recorded_variables(run)
    environment = {name: value for name, value in os.environ.items() if name not in _DROPPED}
    for name in RECORDED_ENVIRONMENT:
        environment.pop(name, None)
    environment.update(recorded)
    if "PYTHONPATH" in recorded:
        environment["PYTHONPATH"] = absolute_paths(recorded["PYTHONPATH"], run.cwd)
    counts = dict.fromkeys(THREAD_VARIABLES, threads) if threads else thread_counts(run)
    environment.update({name: str(count) for name, count in counts.items() if count})
    environment.update(SILENCED)
    environment["LOGQL_REPLAY"] = "1"
    return {name: value for name, value in environment.items() if value != ""}


def own_variables(scratch: str | None, gpus: Devices | None) -> dict[str, str]:
    """Variables of one worker alone: `scratch` is where its temporary files go, `gpus` are those that it sees."""
    own = {} if gpus is None else {"CUDA_VISIBLE_DEVICES": ",".join(gpus.seen)}
    return own if scratch is None else own | {"TMPDIR": os.path.join(scratch, "tmp")}


def absolute_paths(paths: str, cwd: str) -> str:
    """A list of paths as one that means the same wherever the interpreter starts; an empty one is the directory."""
    return os.pathsep.join(os.path.normpath(os.path.join(cwd, path)) for path in paths.split(os.pathsep))


def interpreter(run: Run) -> str:
    """The interpreter that ran the script, where it is still there; else ours."""
    recorded = run.environment.get("executable")
    if isinstance(recorded, str) and os.path.isabs(recorded) and os.access(recorded, os.X_OK):
        return recorded
    return sys.executable


def interpreter_flags(run: Run) -> list[str]:
    """The recorded options of the interpreter, but for those by which ours could not find logql."""
    flags = run.environment.get("flags")
    options = [str(flag) for flag in flags] if isinstance(flags, list | tuple) else []
    return [option for option in options if option not in ("-I", "-E")]


def differences(run: Run) -> list[str]:
    """What differs here from where the run was recorded, and may change its numbers."""
    found = []
    if interpreter(run) != run.environment.get("executable", sys.executable):
        found.append(f"the interpreter {run.environment['executable']} is gone; {sys.executable} replays instead")
    packages = run.environment.get("packages")
    if isinstance(packages, Mapping):
        found += _other_packages(packages)
    cpu, then = cpu_model(), run.environment.get("cpu")
    if then and cpu and then != cpu:
        found.append(f"recorded on {then}, replayed on {cpu}")
    return found


def _other_packages(then: Mapping[str, str]) -> list[str]:
    from logql.record.environment import packages

    now = packages()
    changed = [name for name in _NUMERIC if name in then and name in now and then[name] != now[name]]
    return [f"{name} was {then[name]} and is {now[name]}" for name in changed]


def cpu_model() -> str:
    """Name of the processor, as recorders note it."""
    from logql.record.environment import describe

    return str(describe(None).get("cpu") or "")

"""Where a project and its store are, and what the environment asks of the recorder.

Read by the recorder inside someone's training, so the standard library's light modules only.
"""

from __future__ import annotations

import os

STORE_DIR = ".logql"
FORMAT_VERSION = 1

#: Environment variables recorded with a run and set again for its replays; LOGQL_ENV adds names, but none of which a
#: word says that its value is a secret.
RECORDED_ENVIRONMENT = (
    "CUBLAS_WORKSPACE_CONFIG",
    "CUDA_VISIBLE_DEVICES",
    "JAX_ENABLE_X64",
    "JAX_PLATFORMS",
    "LC_ALL",
    "LANG",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "PYTHONHASHSEED",
    "PYTHONPATH",
    "TF_DETERMINISTIC_OPS",
    "TZ",
    "VECLIB_MAXIMUM_THREADS",
    "XLA_FLAGS",
)


_SECRET_WORDS = frozenset(("APIKEY", "AUTH", "CREDENTIALS", "KEY", "PASSWD", "PASSWORD", "PAT", "SECRET", "TOKEN"))


class Location:
    """A project's directory and its store's, both absolute; `configured` tells that the user named the store."""

    __slots__ = ("configured", "project", "store")

    def __init__(self, project: str, store: str, configured: bool) -> None:
        self.project = project
        self.store = store
        self.configured = configured

    def __repr__(self) -> str:
        return f"Location(project={self.project!r}, store={self.store!r})"


def locate(start: str, store: str | None = None) -> Location:
    """Find the project that `start` (a directory) lies in, and its store.

    The project is the git work tree around `start`, else the nearest directory with a [tool.logql] table or a store,
    else `start`. The store is `store`, else $LOGQL_STORE, else [tool.logql] store, else `.logql` in the project.
    Reads the file system only; git is not run.
    """
    start = os.path.abspath(start)
    project = find_project(start)
    configured = store or os.environ.get("LOGQL_STORE")
    if configured:
        return Location(project, os.path.abspath(os.path.expanduser(configured)), True)
    named = project_settings(project).get("store")
    if isinstance(named, str):
        return Location(project, os.path.abspath(os.path.join(project, os.path.expanduser(named))), True)
    return Location(project, os.path.join(project, STORE_DIR), False)


def find_project(start: str) -> str:
    """The git work tree around `start`, else the nearest parent with a store or [tool.logql], else `start` itself."""
    parents = list(_parents(start))
    for marks in ((".git",), (STORE_DIR,)):
        for directory in parents:
            if any(os.path.exists(os.path.join(directory, mark)) for mark in marks):
                return directory
    for directory in parents:
        if project_settings(directory):
            return directory
    return start


def project_settings(project: str) -> dict[str, object]:
    """The [tool.logql] table of the project's pyproject.toml; empty where there is none or it cannot be read."""
    path = os.path.join(project, "pyproject.toml")
    try:
        with open(path, "rb") as file:
            text = file.read()
        if b"tool.logql" not in text:
            return {}
        import tomllib

        table = tomllib.loads(text.decode()).get("tool", {}).get("logql", {})
        return table if isinstance(table, dict) else {}
    except (OSError, ValueError):
        return {}


def _parents(directory: str) -> list[str]:
    found = [directory]
    while os.path.dirname(directory) != directory:
        directory = os.path.dirname(directory)
        found.append(directory)
    return found


def overhead() -> float:
    """Share of the training time that checkpoints may take (LOGQL_OVERHEAD, default 0.05)."""
    return _number("LOGQL_OVERHEAD", 0.05)


def checkpoint_every() -> int | None:
    """Force a checkpoint at every k-th main-loop iteration (LOGQL_CHECKPOINT_EVERY), or None to adapt."""
    value = int(_number("LOGQL_CHECKPOINT_EVERY", 0))
    return value if value > 0 else None


def checkpoint_limit() -> float:
    """Bytes that a project's checkpoints may take (LOGQL_CHECKPOINT_LIMIT, default 20 GB)."""
    return _number("LOGQL_CHECKPOINT_LIMIT", 20e9)


def capture_output() -> bool:
    """Whether printed lines are recorded (LOGQL_CAPTURE, default yes)."""
    return os.environ.get("LOGQL_CAPTURE", "1") != "0"


def recorded_environment() -> dict[str, str]:
    """The documented environment variables that are set, plus those that LOGQL_ENV names (comma-separated)."""
    extra = [name.strip() for name in os.environ.get("LOGQL_ENV", "").split(",")]
    harmless = [name for name in extra if _SECRET_WORDS.isdisjoint(name.upper().split("_"))]
    return {name: os.environ[name] for name in (*RECORDED_ENVIRONMENT, *harmless) if name in os.environ}


def _number(name: str, default: float) -> float:
    try:
        return float(os.environ[name])
    except (KeyError, ValueError):
        return default

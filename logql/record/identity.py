"""What this process is: which script, whether it is a training to be recorded, which rank of how many."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass

#: Programs whose own main module is no training script.
_TOOLS = frozenset(("pytest", "py.test", "unittest", "nose2", "ipython", "ipython3", "bpython", "ptpython", "doctest"))
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


@dataclass(frozen=True)
class Script:
    """The running script: its absolute path, and the module's name where it was started by `python -m`."""

    path: str
    module: str | None
    directory: str


@dataclass(frozen=True)
class Ranks:
    """Which of a training's processes this is; `group` names the training on this host, None for a lone process."""

    rank: int
    size: int
    group: str | None


def find_script() -> Script | None:
    """The training script of this process; None for `python -c`, a REPL, pytest and the like."""
    main = sys.modules.get("__main__")
    if "ipykernel" in sys.modules:
        return Script(os.path.abspath(_notebook_name()), None, os.getcwd())
    path = getattr(main, "__file__", None)
    if not isinstance(path, str) or not os.path.isfile(path):
        return None
    path = os.path.abspath(path)
    spec = getattr(main, "__spec__", None)
    module = getattr(spec, "name", None)
    if module and module.endswith(".__main__"):
        module = module[: -len(".__main__")]
    name = (module or os.path.basename(path)).partition(".")[0]
    if name in _TOOLS or os.path.basename(path) in _TOOLS:
        return None
    installed = path.startswith(os.path.join(sys.prefix, ""))
    return Script(path, module, os.getcwd() if installed else os.path.dirname(path))


def has_main_file() -> bool:
    """Whether a file was started: not so with `python -c`, standard input and a prompt."""
    file = getattr(sys.modules.get("__main__"), "__file__", None)
    return isinstance(file, str) and file != "<stdin>"


def stand_in_script() -> Script:
    """What a run that was asked for by hand is a run of where there is no script."""
    name = (getattr(sys, "argv", None) or [""])[0]
    path = os.path.abspath(name if name not in ("", "-c", "-m") else "interactive")
    return Script(path, None, os.getcwd())


def _notebook_name() -> str:
    return os.environ.get("JPY_SESSION_NAME") or "notebook"


def find_ranks() -> Ranks:
    """Rank and size as torchrun, Open MPI, MPICH or Slurm tell them."""
    for rank, size in (
        ("RANK", "WORLD_SIZE"),
        ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
        ("PMI_RANK", "PMI_SIZE"),
        ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS"),
    ):
        try:
            ranks = Ranks(int(os.environ[rank]), int(os.environ[size]), _group())
        except (KeyError, ValueError):
            continue
        if ranks.size > 1 and 0 <= ranks.rank < ranks.size:
            return ranks
    return Ranks(0, 1, None)


def _group() -> str:
    """What all processes of one training on this host share and others do not."""
    names = ("MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT", "PMIX_NAMESPACE")
    return "|".join([str(os.getppid()), *(os.environ.get(name, "") for name in names)])


def new_run_id() -> str:
    """A ULID: sorts by time, unique by 80 random bits."""
    number = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10), "big")
    return "".join(_CROCKFORD[number >> shift & 31] for shift in range(125, -1, -5))

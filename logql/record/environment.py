"""What a run's numbers depend on besides its code: threads, hardware, packages, interpreter, environment variables."""

from __future__ import annotations

import os
import sys

from logql import settings


def describe(module: str | None) -> dict[str, object]:
    """Everything that is known without loading anything: see `Run.environment` in docs/architecture.md."""
    found: dict[str, object] = {
        "variables": settings.recorded_environment(),
        "threads": thread_counts(),
        "cpu": _cpu_model(),
        "accelerators": accelerators(),
        "devices": devices(),
        "executable": sys.executable,
        "prefix": sys.prefix,
        "path0": sys.path[0] if sys.path else "",
        "flags": _interpreter_options(),
    }
    if module is not None:
        found["module"] = module
    return found


def thread_counts() -> dict[str, int]:
    """Effective counts: the CPUs this process may use, and what the libraries that are loaded will use."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    counts = {"cpus": cpus}
    torch = sys.modules.get("torch")
    for name, getter in (("torch", "get_num_threads"), ("torch_interop", "get_num_interop_threads")):
        call = getattr(torch, getter, None)
        if call is not None:
            counts[name] = int(call())
    for name in ("omp", "openblas", "mkl"):
        value = os.environ.get(f"{name.upper()}_NUM_THREADS", "")
        if value.isdigit():
            counts[name] = int(value)
    if "numpy" in sys.modules and "openblas" not in counts:
        counts["openblas"] = _openblas_threads() or counts.get("omp", cpus)
    return counts


def accelerators() -> list[str]:
    """Names of the devices that the script has already initialised; asking must not initialise any."""
    torch = sys.modules.get("torch")
    cuda = getattr(torch, "cuda", None)
    if cuda is None or not getattr(cuda, "is_initialized", bool)():
        return []
    return [str(cuda.get_device_name(device)) for device in range(cuda.device_count())]


def devices() -> list[int]:
    """Which of the accelerators the script has computed on, by the numbers that it knows them by."""
    count = len(accelerators())
    if not count:
        return []
    from logql.state.devices import is_used

    return [device for device in range(count) if is_used(sys.modules["torch"], device)]


def packages() -> dict[str, str]:
    """Installed packages and their versions, read off the names of their metadata directories."""
    found: dict[str, str] = {}
    for directory in sys.path:
        try:
            names = os.listdir(directory or ".")
        except OSError:
            continue
        for name in names:
            stem, dot, kind = name.rpartition(".")
            if dot and kind in ("dist-info", "egg-info"):
                package, _, version = stem.partition("-")
                found.setdefault(package.replace("_", "-").lower(), version.partition("-")[0])
    return dict(sorted(found.items()))


def _openblas_threads() -> int | None:
    """Ask the OpenBLAS that is loaded, under whichever name its build exports the question."""
    try:
        with open("/proc/self/maps", encoding="utf-8", errors="replace") as file:
            paths = {line.split(None, 5)[5].strip() for line in file if "openblas" in line and line.count("/")}
        import ctypes

        for path in sorted(paths):
            library = ctypes.CDLL(path)
            for name in (
                "scipy_openblas_get_num_threads64_",
                "openblas_get_num_threads64_",
                "openblas_get_num_threads",
            ):
                if hasattr(library, name):
                    return int(getattr(library, name)())
    except (OSError, IndexError, ImportError):
        pass
    return None


def _cpu_model() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            for line in file.read(4096).splitlines():
                if line.startswith(("model name", "Model", "cpu model")):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return getattr(os.uname(), "machine", "")


def _interpreter_options() -> list[str]:
    """Options of the interpreter that change what a script does, as they would be given again."""
    flags = sys.flags
    options = [f"-{'O' * flags.optimize}"] if flags.optimize else []
    for letter, on in (("I", flags.isolated), ("E", flags.ignore_environment), ("s", flags.no_user_site)):
        options += [f"-{letter}"] if on else []
    for name, value in sys._xoptions.items():
        options += ["-X", name if value is True else f"{name}={value}"]
    for choice in sys.warnoptions:
        options += ["-W", choice]
    return options

"""Settings of the whole process that a main loop may change: no variable holds them, but the program goes on with them.

A state holds only what differs from the loop's beginning, where a replay has done what the training had.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Callable, Mapping
from typing import Any

from logql.errors import StateError

Settings = dict[str, Any]

_VARIABLE = "environ "
#: Variables that are not kept: those of the recorder, and what must stay secret.
_LEFT = re.compile(r"LOGQL_|.*(KEY|TOKEN|SECRET|PASSWORD|CREDENTIAL)", re.IGNORECASE)


def _read_decimal(decimal: Any) -> list[Any]:
    *numbers, _, traps = decimal.getcontext().__reduce__()[1]
    return [*numbers, [signal.__name__ for signal in traps]]


def _write_decimal(decimal: Any, wanted: list[Any]) -> None:
    *numbers, traps = wanted
    decimal.setcontext(decimal.Context(*numbers, [], [getattr(decimal, signal) for signal in traps]))


def _read_cudnn(torch: Any) -> list[bool]:
    cudnn = torch.backends.cudnn
    return [cudnn.enabled, cudnn.deterministic, cudnn.benchmark]


def _write_cudnn(torch: Any, wanted: list[bool]) -> None:
    cudnn = torch.backends.cudnn
    cudnn.enabled, cudnn.deterministic, cudnn.benchmark = wanted


#: name -> module that must be loaded, how to read it (JSON), how to write it
_SETTINGS: dict[str, tuple[str, Callable[[Any], Any], Callable[[Any, Any], object]]] = {
    "decimal": ("decimal", _read_decimal, _write_decimal),
    "numpy.errstate": ("numpy", lambda numpy: numpy.geterr(), lambda numpy, wanted: numpy.seterr(**wanted)),
    "torch.default_dtype": (
        "torch",
        lambda torch: str(torch.get_default_dtype()).rpartition(".")[2],
        lambda torch, wanted: torch.set_default_dtype(getattr(torch, wanted)),
    ),
    "torch.grad": (
        "torch",
        lambda torch: torch.is_grad_enabled(),
        lambda torch, wanted: torch.set_grad_enabled(wanted),
    ),
    "torch.anomaly": (
        "torch",
        lambda torch: torch.is_anomaly_enabled(),
        lambda torch, wanted: torch.autograd.set_detect_anomaly(wanted),
    ),
    "torch.deterministic": (
        "torch",
        lambda torch: torch.get_deterministic_debug_mode(),
        lambda torch, wanted: torch.set_deterministic_debug_mode(wanted),
    ),
    "torch.matmul": (
        "torch",
        lambda torch: torch.get_float32_matmul_precision(),
        lambda torch, wanted: torch.set_float32_matmul_precision(wanted),
    ),
    "torch.threads": (
        "torch",
        lambda torch: torch.get_num_threads(),
        lambda torch, wanted: torch.set_num_threads(wanted),
    ),
    "torch.cudnn": ("torch", _read_cudnn, _write_cudnn),
}


def read_settings() -> Settings:
    """All settings as they are now; those of libraries that are not loaded, or not whole yet, are left out."""
    found: Settings = {"environ": dict(os.environb)}
    try:
        found["cwd"] = os.getcwd()
    except OSError:
        found["cwd"] = None
    for name, (module, read, _) in _SETTINGS.items():
        if module in sys.modules:
            try:
                found[name] = read(sys.modules[module])
            except (AttributeError, RuntimeError):
                continue
    return found


def changed_settings(base: Mapping[str, Any]) -> Settings:
    """What differs from `base`, a reading of this process; the directory is relative to the one of then."""
    found = _differences(base, read_settings())
    if found.get("cwd") and base.get("cwd"):
        found["cwd"] = os.path.relpath(found["cwd"], base["cwd"])
    return found


def write_settings(base: Mapping[str, Any], changed: Mapping[str, Any]) -> None:
    """Make the settings those of `base`, this process's at the loop's beginning, but for what had `changed`."""
    wanted = {**_differences(read_settings(), base), **changed}
    if changed.get("cwd") and base.get("cwd"):
        wanted["cwd"] = os.path.normpath(os.path.join(base["cwd"], changed["cwd"]))
    for name, value in wanted.items():
        _write(name, value)


def _differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> Settings:
    """What is another `after`; variables one by one, None where one is gone."""
    found = {name: value for name, value in after.items() if name != "environ" and value != before.get(name)}
    old, new = before["environ"], after["environ"]
    if old != new:
        for variable in (os.fsdecode(one) for one in old.keys() | new.keys() if old.get(one) != new.get(one)):
            value = new.get(os.fsencode(variable))
            if not _LEFT.match(variable):
                found[_VARIABLE + variable] = None if value is None else os.fsdecode(value)
    return found


def _write(name: str, wanted: Any) -> None:
    if name.startswith(_VARIABLE):
        variable = name.removeprefix(_VARIABLE)
        if wanted is None:
            os.environ.pop(variable, None)
        else:
            os.environ[variable] = wanted
        return
    try:
        if name == "cwd":
            os.chdir(wanted)
        else:
            module, _, write = _SETTINGS[name]
            write(importlib.import_module(module), wanted)
    except Exception as error:
        raise StateError(f"the setting {name} cannot be {wanted!r}: {error}") from error

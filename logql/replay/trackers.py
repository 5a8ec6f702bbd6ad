"""Keeps experiment trackers from telling anyone of a replay, whatever the script says to them.

Environment variables turn most of them off (`environment.SILENCED`); here those are, which a script can overrule by an
argument, and TensorBoard's writers, which know no variable. Their classes stay, as checkpoints know them by name.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

Silencer = Callable[[Any], None]


class TrackerFinder:
    """Finds trackers as the other finders do, and has each silenced as soon as it is loaded."""

    def __init__(self, silencers: Mapping[str, Silencer]) -> None:
        self._silencers = silencers

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec of a tracker's module, which silences it once it is executed; None for all other modules."""
        silence = self._silencers.get(name)
        if silence is None:
            return None
        finders = [finder for finder in sys.meta_path if finder is not self and hasattr(finder, "find_spec")]
        others = (finder.find_spec(name, path, target) for finder in finders)
        spec = next((found for found in others if found is not None), None)
        if spec is not None and spec.loader is not None:
            _run_after(spec.loader, silence)
        return spec


def silence_trackers() -> None:
    """Have trackers that are imported from now on keep silent."""
    if not any(isinstance(finder, TrackerFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, TrackerFinder(SILENCERS))


def _run_after(loader: Any, silence: Silencer) -> None:
    execute = loader.exec_module

    def exec_module(module: ModuleType) -> None:
        execute(module)
        with contextlib.suppress(AttributeError):  # another version of the package, without what we would change
            silence(module)

    loader.exec_module = exec_module


def _silence_wandb(wandb: Any) -> None:
    """A mode given to `wandb.init` goes before WANDB_MODE."""
    init = wandb.init

    @functools.wraps(init)
    def silent(*arguments: Any, **named: Any) -> Any:
        return init(*arguments, **{**named, "mode": "disabled"})

    wandb.init = silent
    wandb.login = lambda *_, **__: True


def _silence_mlflow(mlflow: Any) -> None:
    """A URI set by the script goes before MLFLOW_TRACKING_URI, which leads to the replay's private files."""
    mlflow.set_tracking_uri = mlflow.set_registry_uri = _nothing


def _silence_tensorboard(writer: Any) -> None:
    """Event files are neither opened nor written, and values not converted for them."""
    files = writer.FileWriter
    files.__init__ = _note_directory
    files.get_logdir = lambda self: self.directory
    for name in ("add_event", "add_summary", "add_graph", "add_onnx_graph", "flush", "close", "reopen"):
        setattr(files, name, _nothing)
    for name in vars(writer.SummaryWriter).copy():
        if name.startswith("add_"):
            setattr(writer.SummaryWriter, name, _nothing)


def _note_directory(self: Any, log_dir: object = "", *_: object, **named: object) -> None:
    self.directory = str(named.get("logdir", log_dir))


def _nothing(*_: object, **__: object) -> None:
    return None


SILENCERS: Mapping[str, Silencer] = {
    "mlflow": _silence_mlflow,
    "tensorboardX.writer": _silence_tensorboard,
    "torch.utils.tensorboard.writer": _silence_tensorboard,
    "wandb": _silence_wandb,
}

"""Keeps experiment trackers from telling anyone of a replay, whatever the script says to them.

Environment variables turn most of them off (`environment.SILENCED`); here those are, which a script can overrule by an
argument, and TensorBoard's writers, which know no variable. Their classes stay, as checkpoints know them by name.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from logql.replay.patching import Patch, patch_modules


def silence_trackers() -> None:
    """Have trackers keep silent."""
    patch_modules(SILENCERS)


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


SILENCERS: Mapping[str, Patch] = {
    "mlflow": _silence_mlflow,
    "tensorboardX.writer": _silence_tensorboard,
    "torch.utils.tensorboard.writer": _silence_tensorboard,
    "wandb": _silence_wandb,
}

"""Changes modules of other packages as soon as a replayed script loads them."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

Patch = Callable[[Any], None]


class _Finder:
    """Finds modules as the other finders do, and has some of them changed when they are loaded."""

    def __init__(self) -> None:
        self.patches: dict[str, Patch] = {}

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec of a module that is to be changed once it is executed; None for all other modules."""
        patch = self.patches.get(name)
        if patch is None:
            return None
        finders = [finder for finder in sys.meta_path if finder is not self and hasattr(finder, "find_spec")]
        others = (finder.find_spec(name, path, target) for finder in finders)
        spec = next((found for found in others if found is not None), None)
        if spec is not None and spec.loader is not None:
            _run_after(spec.loader, patch)
        return spec


def patch_modules(patches: Mapping[str, Patch]) -> None:
    """Have modules changed, each once: those that are loaded now, the others when they are."""
    finder = next((found for found in sys.meta_path if isinstance(found, _Finder)), None)
    if finder is None:
        finder = _Finder()
        sys.meta_path.insert(0, finder)
    for name, patch in patches.items():
        if name not in finder.patches:
            finder.patches[name] = patch
            if name in sys.modules:
                _apply(patch, sys.modules[name])


def _run_after(loader: Any, patch: Patch) -> None:
    execute = loader.exec_module

    def exec_module(module: ModuleType) -> None:
        execute(module)
        _apply(patch, module)

    loader.exec_module = exec_module


def _apply(patch: Patch, module: ModuleType) -> None:
    with contextlib.suppress(AttributeError):  # another version of the package, without what we would change
        patch(module)

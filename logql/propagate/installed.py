"""Which modules an old version can import although it did not: the standard library's and installed ones."""

from __future__ import annotations

import os
import site
import sys
import sysconfig
from collections.abc import Iterable
from functools import lru_cache


def is_installed(module: str, project: Iterable[str] = ()) -> bool:
    """Whether the top-level package of `module` is installed and not shadowed by a file of the project."""
    root = module.partition(".")[0]
    if any(
        path == f"{root}.py" or path.startswith(f"{root}/") or f"/{root}/" in path or path.endswith(f"/{root}.py")
        for path in project
    ):
        return False
    return root in sys.stdlib_module_names or root == "logql" or root in _site_packages()


@lru_cache(maxsize=1)
def _site_packages() -> frozenset[str]:
    """Top-level names in the folders that packages are installed into."""
    folders = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), *site.getsitepackages()}
    found: set[str] = set()
    for folder in folders:
        try:
            names = os.listdir(folder)
        except OSError:
            continue
        found |= {name.split(".")[0] for name in names if not name.endswith((".dist-info", ".pth", ".egg-info"))}
    return frozenset(found)

"""CPU seconds that this process spends on loading modules: a replay whose process is a fork is spared them.

The interpreter tells when it opens a module's code, not when it is done with a module. So what lies between two opens
counts where the second is asked for by a library's module that is itself being loaded; what lies before others may have
been the script's work. What was used up to `import logql` counts whole, as imports stand at the head of scripts; what
the script's own functions import does not, for nothing loads that ahead of them.
"""

import os
import sys
from _thread import get_ident
from time import process_time, thread_time

#: Where the interpreter's own import system says that it is.
_IMPORTER = "<frozen importlib"
_OWN = (os.path.dirname(os.__file__) + os.sep, os.path.dirname(os.path.dirname(__file__)) + os.sep)
_PACKAGES = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")

_seconds = process_time()
_thread = get_ident()
_last = thread_time()
_ahead = True


def code_opened() -> None:
    """The code of a module is being opened, three frames below this call."""
    global _ahead, _last, _seconds
    if get_ident() != _thread:
        return
    now = thread_time()
    asking = sys._getframe(3)
    while asking.f_code.co_filename.startswith(_IMPORTER) and asking.f_back is not None:
        asking = asking.f_back
    is_module, is_library = asking.f_code.co_name == "<module>", _is_library(asking.f_code.co_filename)
    if not (is_module and is_library):
        _ahead = is_module or is_library
    elif _ahead:
        _seconds += now - _last
    _last = now


def seconds() -> float:
    """What was spent so far."""
    return _seconds


def set_back(earlier: float) -> None:
    """Leave out what was spent since `seconds` was `earlier`."""
    global _seconds
    _seconds = earlier


def packages() -> list[str]:
    """The installed packages that are loaded, by their names in imports."""
    places = (
        (name, getattr(module, "__file__", None)) for name, module in list(sys.modules.items()) if "." not in name
    )
    return sorted(name for name, place in places if isinstance(place, str) and any(part in place for part in _PACKAGES))


def _is_library(path: str) -> bool:
    return path.startswith(_OWN) or any(part in path for part in _PACKAGES)

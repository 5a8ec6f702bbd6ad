"""What is stored of a logged value: plain Python values, copied at the call.

Libraries are recognised by their types' modules and never imported.
"""

from __future__ import annotations

import datetime
import sys
from collections.abc import Callable, Mapping
from typing import Any

from logql.record import guard
from logql.state.readings import Reading

_SCALARS = frozenset((bool, int, float, str, bytes, type(None)))
_DEPTH = 32


class NoValueYetError(Exception):
    """Raised for what stands in for a value while jax or tensorflow traces a function: there is no number to record."""

    def __init__(self) -> None:
        super().__init__("the function is being traced and has no values yet; log what it returns")


class Deferred:
    """The copy of a 0-d tensor on an accelerator, read by the flusher once the device has made it."""

    __slots__ = ("_event", "_tensor")

    def __init__(self, tensor: Any, event: Any) -> None:
        self._tensor = tensor
        self._event = event

    def resolve(self) -> object:
        """The value; waits for the device."""
        if self._event is not None:
            self._event.synchronize()
        return convert(self._tensor.cpu())


def convert(value: object) -> object:
    """`value` as None, bool, int, float, str, bytes, date, time, datetime, or lists and dicts of these.

    What is none of that becomes its repr, with one warning per type. Never keeps a reference, and raises nothing but
    NoValueYetError.
    """
    return _convert(value, 0)


def capture_tensor(value: Any) -> object:
    """A torch tensor as a value; a 0-d one on an accelerator is cloned on its stream, without waiting for it."""
    if value.ndim or value.device.type in ("cpu", "meta"):
        return convert(value)
    copy = value.detach().clone()
    event = None
    if value.device.type == "cuda":
        event = sys.modules["torch"].cuda.Event()
        event.record(sys.modules["torch"].cuda.current_stream(value.device))
    return Deferred(copy, event)


def is_tensor(value: object) -> bool:
    """Whether `value` is a torch tensor (or a subclass's, such as a Parameter)."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, getattr(torch, "Tensor", ()))


def _convert(value: object, depth: int) -> object:
    kind = type(value)
    if kind in _SCALARS:
        return value
    if depth > _DEPTH:
        return _text(value)
    try:
        for known in (_library_value, _container, _subclass):
            found = known(value, depth)
            if found is not _UNKNOWN:
                return found
    except NoValueYetError:
        raise
    except Exception:
        return _text(value)
    return _text(value)


_UNKNOWN = object()


def _library_value(value: Any, depth: int) -> object:
    if is_tensor(value):
        value = value.detach()
        if value.dtype is sys.modules["torch"].bfloat16:
            value = value.float()
        return _convert(value.tolist(), depth)
    root = type(value).__module__.partition(".")[0]
    if root == "numpy":
        return _numpy_value(value, depth)
    if _is_traced(type(value), root):
        raise NoValueYetError
    reader = _READERS.get(root)
    return _UNKNOWN if reader is None else _convert(reader(value), depth + 1)


def _is_traced(kind: type, root: str) -> bool:
    if root in ("tensorflow", "keras"):
        return kind.__name__ == "SymbolicTensor"
    return root in ("jax", "jaxlib") and any(base.__name__ == "Tracer" for base in kind.__mro__)


def _numpy_value(value: Any, depth: int) -> object:
    if hasattr(value, "tolist") and hasattr(value, "dtype"):
        if value.dtype.kind in "OVmM":
            if value.ndim == 0 and value.dtype.kind in "OV":
                return _text(value)
            value = _told_in_time(value)
        plain = value.tolist()
        return _text(value) if type(plain) is type(value) else _convert(plain, depth + 1 if value.ndim else depth)
    return _UNKNOWN


def _told_in_time(value: Any) -> Any:
    """Moments and durations of numpy in a unit that Python's own types have: it tells those in nanoseconds as ints."""
    numpy = sys.modules["numpy"]
    if value.dtype.kind == "m" and numpy.datetime_data(value.dtype)[0] not in ("Y", "M", "generic"):
        return value / numpy.timedelta64(1, "s")
    if value.dtype.kind == "M" and numpy.datetime_data(value.dtype)[0] in ("ns", "ps", "fs", "as"):
        return value.astype("datetime64[us]")
    return value


def _pandas_value(value: Any) -> object:
    if value is getattr(sys.modules.get("pandas"), "NaT", _UNKNOWN):
        return None
    if isinstance(value, datetime.datetime):
        return value.to_pydatetime(warn=False)  # type: ignore[attr-defined]
    return value.total_seconds() if isinstance(value, datetime.timedelta) else value.tolist()


_READERS: dict[str, Callable[[Any], object]] = {
    "jax": lambda value: value.tolist(),
    "jaxlib": lambda value: value.tolist(),
    "tensorflow": lambda value: value.numpy(),
    "pandas": _pandas_value,
    "mlx": lambda value: value.tolist(),
}


def _container(value: object, depth: int) -> object:
    if isinstance(value, Mapping):
        return {_key(key): _convert(item, depth + 1) for key, item in list(value.items())}
    if isinstance(value, (list, tuple)):
        return [_convert(item, depth + 1) for item in list(value)]
    if isinstance(value, (set, frozenset)):
        return [_convert(item, depth + 1) for item in sorted(value, key=repr)]
    return _UNKNOWN


def _key(key: object) -> str:
    return str(key) if isinstance(key, str) else str(_convert(key, 1))


def _subclass(value: object, _: int) -> object:
    if isinstance(value, datetime.datetime):
        return value if type(value) is datetime.datetime else datetime.datetime.fromisoformat(value.isoformat())
    if isinstance(value, (datetime.date, datetime.time)):
        return value
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, bytearray):
        return bytes(value)
    if isinstance(value, int):
        return int.__int__(value)
    if isinstance(value, float):
        return value if type(value) is Reading else float.__float__(value)
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, bytes):
        return bytes(memoryview(value))
    return _UNKNOWN


def _text(value: object) -> str:
    name = type(value).__name__
    guard.warn(f"type {name}", f"values of type {name} are recorded as text (their repr)")
    try:
        return repr(value)
    except Exception:
        return f"<{name}>"

"""Which part of an object's memory belongs to a class written in C, and where its Python attributes are."""

from __future__ import annotations

import types
from functools import lru_cache

_HEAP_TYPE = 1 << 9
_POINTER = 8


@lru_cache(maxsize=8192)
def native_base(cls: type) -> type:
    """The nearest base of `cls` (or itself) that is not written in Python: what its hidden memory belongs to."""
    while cls is not object and _is_python(cls):
        base = cls.__base__
        assert base is not None
        cls = base
    return cls


def _is_python(cls: type) -> bool:
    """Whether a `class` statement made it: its own memory is then explained by slots, `__dict__` and `__weakref__`."""
    base = cls.__base__
    if not cls.__flags__ & _HEAP_TYPE or base is None:
        return False
    own_new = vars(cls).get("__new__")
    if isinstance(own_new, types.BuiltinFunctionType) and own_new.__self__ is cls:
        return False
    names = vars(cls)
    members = sum(isinstance(value, types.MemberDescriptorType) for value in names.values())
    explained = members + ("__dict__" in names) + ("__weakref__" in names)
    return cls.__basicsize__ - base.__basicsize__ <= _POINTER * explained and cls.__itemsize__ == base.__itemsize__


@lru_cache(maxsize=8192)
def slots(cls: type) -> tuple[tuple[str, types.MemberDescriptorType], ...]:
    """Descriptors of all `__slots__` of a class and its Python bases, innermost class last."""
    native = native_base(cls)
    found = []
    for owner in reversed(cls.__mro__):
        if owner is native or issubclass(native, owner):
            continue
        for name, member in vars(owner).items():
            if isinstance(member, types.MemberDescriptorType):
                found.append((f"{owner.__qualname__}.{name}", member))
    return tuple(found)


def attributes(value: object) -> dict[str, object] | None:
    """The instance's own `__dict__` (the real one, whatever properties say), or None."""
    try:
        found = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return None
    return found if type(found) is dict else None


def is_wrapper(value: object) -> bool:
    """Whether an object stands in for a function, whose names `functools.wraps` gave it (`jax.nn.relu`)."""
    names = attributes(value) or {}
    return "__wrapped__" in names and "__qualname__" in names and callable(value)

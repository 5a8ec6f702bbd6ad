"""Which kind an object is of."""

from __future__ import annotations

import contextvars
import datetime
import decimal
import enum
import fractions
import functools
import io
import itertools
import os
import pathlib
import re
import sys
import threading
import types
import uuid
import weakref
from collections.abc import Callable
from typing import Any

from logql.state.kinds.arrays import ArrayKind
from logql.state.kinds.base import Kind, find_global
from logql.state.kinds.code import (
    CacheKind,
    CellKind,
    ClassKind,
    FunctionKind,
    GlobalKind,
    MethodKind,
    PartialKind,
    WrapperKind,
    global_name,
)
from logql.state.kinds.containers import DictKind, FrozenSetKind, ListKind, SetKind, TupleKind
from logql.state.kinds.extension import ExtensionKind
from logql.state.kinds.files import FILE_TYPES, FileKind, is_standard_stream
from logql.state.kinds.frames import ManagerKind, SharingKind
from logql.state.kinds.instances import BASES, AtomKind, EnumKind, InstanceKind
from logql.state.kinds.jaxes import (
    JaxArrayKind,
    JaxCompiledKind,
    JaxDeviceKind,
    JaxKeyKind,
    JaxRegistryKind,
    JaxTreeKind,
    is_compiled,
)
from logql.state.kinds.layout import is_wrapper, native_base
from logql.state.kinds.opaque import REFUSED_TYPES, LockKind, OpaqueKind, RefusedKind, SentinelKind, is_sink
from logql.state.kinds.randomness import (
    BitGeneratorKind,
    GeneratorKind,
    RandomKind,
    RandomStateKind,
    SeedSequenceKind,
)
from logql.state.kinds.standard import (
    WRITER,
    ContextVariableKind,
    CountKind,
    CsvWriterKind,
    LocalKind,
    ProxyKind,
)
from logql.state.kinds.tensors import StorageKind, TensorKind, TorchGeneratorKind
from logql.state.kinds.values import FrameKind, IndexKind, ValueKind
from logql.state.kinds.weak import WEAK_CONTAINERS, WeakContainerKind, WeakReferenceKind

KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        ListKind(), DictKind(), TupleKind(), FrozenSetKind(), SetKind(), InstanceKind(), AtomKind(), EnumKind(),
        GlobalKind(), FunctionKind(), CellKind(), MethodKind(), PartialKind(), WrapperKind(), ClassKind(), CacheKind(),
        OpaqueKind(), LockKind(), SentinelKind(), RefusedKind(), ExtensionKind(), RandomKind(), RandomStateKind(),
        BitGeneratorKind(), SeedSequenceKind(), GeneratorKind(), ArrayKind(), StorageKind(), TensorKind(),
        TorchGeneratorKind(), FileKind(), WeakReferenceKind(), WeakContainerKind(), ProxyKind(),
        CountKind(), ContextVariableKind(), CsvWriterKind(), LocalKind(),
        ValueKind(), IndexKind(), FrameKind(), ManagerKind(), SharingKind(),
        JaxArrayKind(), JaxKeyKind(), JaxDeviceKind(), JaxRegistryKind(), JaxTreeKind(), JaxCompiledKind(),
    )
}  # fmt: skip

_EXACT: dict[type, str] = {
    list: "list",
    dict: "dict",
    tuple: "tuple",
    frozenset: "frozenset",
    set: "set",
    object: "sentinel",
    types.CellType: "cell",
    types.MethodType: "method",
    types.MethodWrapperType: "method",
    functools._lru_cache_wrapper: "cache",
    staticmethod: "wrapper",
    classmethod: "wrapper",
    property: "wrapper",
    weakref.ref: "weakref",
    weakref.ProxyType: "proxy",
    itertools.count: "count",
    contextvars.ContextVar: "contextvar",
    WRITER: "csv writer",
    threading.local: "thread local",
    type(threading.Lock()): "lock",
    type(threading.RLock()): "lock",
    types.MappingProxyType: "opaque",
    **dict.fromkeys(
        (types.WrapperDescriptorType, types.MethodDescriptorType, types.ClassMethodDescriptorType), "global"
    ),
    **dict.fromkeys((types.GenericAlias, types.UnionType, types.CodeType), "opaque"),
}

_ATOMS: tuple[type, ...] = (
    range, slice, re.Pattern, decimal.Decimal, fractions.Fraction, uuid.UUID, pathlib.PurePath,
    datetime.date, datetime.time, datetime.timedelta, datetime.tzinfo,
)  # fmt: skip

#: (module, class) -> kind, where importing the module only to name the class would cost
_BY_NAME: dict[tuple[str, str], str] = {
    ("numpy", "dtype"): "atom",
    ("numpy", "ufunc"): "global",
    ("numpy", "ndarray"): "array",
    ("numpy", "generic"): "atom",
    ("numpy.random.mtrand", "RandomState"): "numpy.RandomState",
    ("numpy.random._generator", "Generator"): "numpy.Generator",
    ("numpy.random.bit_generator", "BitGenerator"): "numpy.BitGenerator",
    ("numpy.random.bit_generator", "SeedSequence"): "numpy.SeedSequence",
    ("torch", "dtype"): "atom",
    ("torch", "device"): "atom",
    ("torch", "layout"): "atom",
    ("torch", "memory_format"): "atom",
    ("torch", "Size"): "atom",
    ("torch._C", "TensorBase"): "tensor",
    ("torch", "TensorBase"): "tensor",
    ("torch._C", "StorageBase"): "storage",
    ("torch", "StorageBase"): "storage",
    ("torch._C", "Generator"): "torch.Generator",
    ("torch", "Generator"): "torch.Generator",
    ("pandas.core.internals.managers", "BaseBlockManager"): "pandas.manager",
    ("pandas._libs.internals", "BlockValuesRefs"): "pandas.refs",
    **{(module, "Index"): "pandas.Index" for module in ("pandas", "pandas.core.indexes.base")},
    **{(module, "ExtensionDtype"): "value" for module in ("pandas.api.extensions", "pandas.core.dtypes.base")},
    **{
        (f"pandas._libs.{module}", name): "atom"
        for module, name in {
            "missing": "C_NAType",
            "interval": "Interval",
            "tslibs.timestamps": "_Timestamp",
            "tslibs.timedeltas": "_Timedelta",
            "tslibs.nattype": "_NaT",
            "tslibs.period": "_Period",
            "tslibs.offsets": "BaseOffset",
        }.items()
    },
    ("pandas", "Interval"): "atom",
    ("polars.dataframe.frame", "DataFrame"): "polars",
    ("polars.series.series", "Series"): "polars",
    ("polars.lazyframe.frame", "LazyFrame"): "value",
    ("polars.expr.expr", "Expr"): "value",
    ("jax._src.random.prng", "PRNGKeyArray"): "jax.Key",
    ("jax._src.prng", "PRNGKeyArray"): "jax.Key",
    **{
        (module, name): kind
        for module in ("jaxlib._jax", "jaxlib._jax.pytree", "jaxlib.xla_extension", "jaxlib.xla_extension.pytree")
        for name, kind in {
            "ArrayImpl": "jax.Array",
            "Device": "jax.Device",
            "PyTreeRegistry": "jax.PyTreeRegistry",
            "PyTreeDef": "jax.PyTreeDef",
        }.items()
    },
}


class Selection:
    """Chooses kinds for the objects of one project; what belongs to the project is walked, libraries are not."""

    def __init__(self, project: str) -> None:
        self.project = os.path.realpath(project)
        self._types: dict[type, Kind] = {cls: KINDS[name] for cls, name in _EXACT.items()}
        self._mine: dict[str, bool] = {}
        self._own: list[str] = []
        self._seen = (0, "")
        self._rules: tuple[tuple[type | tuple[type, ...], Callable[[object], str]], ...] = (
            (type, self._of_class),
            (types.FunctionType, self._of_function),
            (types.BuiltinFunctionType, _of_builtin),
        )

    def __call__(self, value: object) -> Kind:
        cls = type(value)
        kind = self._types.get(cls)
        if kind is not None:
            return kind
        for types_, rule in self._rules:
            if isinstance(value, types_):
                return KINDS[rule(value)]
        if is_standard_stream(value):
            return KINDS["opaque"]
        if is_compiled(value):
            return KINDS[self._of_compiled(value)]
        wrapper = is_wrapper(value)
        if wrapper and not self._is_mine(value, str(value.__module__)):
            return KINDS["global"]
        name, cacheable = _of_instance(value, cls)
        if cacheable and not wrapper:
            self._types[cls] = KINDS[name]
        return KINDS[name]

    def project_modules(self) -> list[str]:
        """Names of the loaded modules that are the project's; those of hundreds of libraries are looked at once."""
        seen = len(sys.modules), next(reversed(sys.modules), "")
        if seen != self._seen:
            self._own = [name for name in list(sys.modules) if self.is_project_module(name)]
            self._seen = seen
        return self._own

    def is_project_module(self, name: str) -> bool:
        """Whether a module's source lies in the project and in no installed package of it."""
        known = self._mine.get(name)
        if known is None:
            known = self._mine[name] = self._lies_in_project(name)
        return known

    def _lies_in_project(self, name: str) -> bool:
        if name.split(".")[0] == "logql":
            return False
        if name == "__main__":
            return True
        file = getattr(sys.modules.get(name), "__file__", None)
        return isinstance(file, str) and lies_in(file, self.project) and os.path.isfile(file)

    def _of_class(self, value: object) -> str:
        assert isinstance(value, type)
        if value.__module__.split(".")[0] == "logql":
            return "global"
        found = find_global(value)
        if found is None or (self.is_project_module(value.__module__) and not issubclass(value, enum.Enum)):
            return "class"
        return "global"

    def _of_function(self, value: object) -> str:
        assert isinstance(value, types.FunctionType)
        module = value.__module__ or ""
        return "function" if self._is_mine(value, module) else "global"

    def _of_compiled(self, value: Any) -> str:
        return "jax.jit" if self._is_mine(value, getattr(value, "__module__", "") or "") else "global"

    def _is_mine(self, function: object, module: str) -> bool:
        return find_global(function) is None or self.is_project_module(module)


def _of_builtin(value: object) -> str:
    owner = getattr(value, "__self__", None)
    if owner is None or isinstance(owner, (types.ModuleType, type)):
        return "global" if global_name(value) is not None else "opaque"
    return "method"


def _of_instance(value: object, cls: type) -> tuple[str, bool]:
    """Kind of an object by its class, and whether all objects of the class are of it."""
    if isinstance(value, types.ModuleType):
        return ("global" if sys.modules.get(value.__name__) is value else "opaque"), False
    if is_sink(value):
        return "opaque", not isinstance(value, types.GeneratorType)
    if isinstance(value, REFUSED_TYPES):
        return "refused", False
    if isinstance(value, FILE_TYPES) or (
        isinstance(value, io.IOBase) and hasattr(value, "fileno") and not _in_memory(value)
    ):
        return "file", False
    for owner in cls.__mro__:
        name = _BY_NAME.get((owner.__module__, owner.__name__))
        if name is not None:
            return name, True
    if isinstance(value, enum.Enum):
        return "enum", True
    if cls.__name__ == "cython_function_or_method":
        return ("global" if find_global(value) is not None else "refused"), False
    if cls.__module__.split(".")[0] == "pyarrow":
        return "value", True
    if isinstance(value, functools.partial):
        return "partial", True
    if isinstance(value, WEAK_CONTAINERS):
        return "weak container", True
    return _of_layout(value, cls), True


def _of_layout(value: object, cls: type) -> str:
    import random

    native = native_base(cls)
    if issubclass(native, random.Random.__mro__[1]):
        return "random" if isinstance(value, random.Random) else "refused"
    if cls in _ATOMS or (
        isinstance(value, _ATOMS) and cls.__module__ in ("datetime", "pathlib", "pathlib._local", "zoneinfo")
    ):
        return "atom"
    if native in BASES:
        return "instance"
    return "extension"


def _in_memory(value: object) -> bool:
    return isinstance(value, (io.StringIO, io.BytesIO))


def lies_in(file: str, project: str) -> bool:
    """Whether a file is source of the project: under it, and in none of its environments."""
    if file.startswith("<frozen "):
        return False
    return _is_source_folder(os.path.dirname(file), project)


@functools.lru_cache(maxsize=4096)
def _is_source_folder(folder: str, project: str) -> bool:
    path = _resolve(folder) + os.sep
    if not path.startswith(project.rstrip(os.sep) + os.sep):
        return False
    parts = path[len(project) :].split(os.sep)
    if "site-packages" in parts or "dist-packages" in parts or ".logql" in parts:
        return False
    prefix = os.path.realpath(sys.prefix)
    return not (prefix.startswith(project) and prefix != project and path.startswith(prefix + os.sep))


@functools.lru_cache(maxsize=8192)
def _resolve(folder: str) -> str:
    """`os.path.realpath`, which looks at each folder once: hundreds of libraries lie in the same few."""
    parent, name = os.path.split(folder)
    if not os.path.isabs(folder) or name in ("", ".", ".."):
        return os.path.realpath(folder)
    path = os.path.join(_resolve(parent), name) if parent != folder else folder
    return os.path.realpath(path) if os.path.islink(path) else path


__all__ = ["KINDS", "Selection", "lies_in"]

"""Whether the iterable of a main loop can be advanced to an iteration without running the body."""

from __future__ import annotations

import sys
from typing import Any

from logql.state.kinds.opaque import type_name

_FIXED = (range, tuple, str, bytes, frozenset)
_MEASURED: tuple[type, ...] = (list, dict, set, type({}.keys()), type({}.values()), type({}.items()))
_SEQUENTIAL_ITERATORS: tuple[type, ...] = (
    type(iter([])),
    type(iter(())),
    type(iter(range(0))),
    type(iter("")),
    type(reversed([])),
)
_SAMPLERS = frozenset({"SequentialSampler", "RandomSampler", "SubsetRandomSampler", "WeightedRandomSampler",
                       "DistributedSampler", "BatchSampler"})  # fmt: skip
_TQDM = "tqdm"


def iterable_refusal(iterable: object) -> str | None:
    """Why a loop over `iterable` cannot be entered in the middle, or None if it can.

    Its items must depend on nothing but the state at the loop's start and its own progress. What a list, dict or array
    holds may change: it is part of the state (`collect(iterable=...)`), only its length may not (`Progress`).
    """
    if type(iterable) in (*_FIXED, *_MEASURED) or _is_array(iterable):
        return None
    if type(iterable) in _SEQUENTIAL_ITERATORS:
        return None
    if type(iterable).__module__.split(".")[0] == _TQDM:
        return iterable_refusal(getattr(iterable, "iterable", None))
    if type(iterable) in (enumerate, zip):
        return _first_refusal(iterable)
    if _is_torch(iterable, "torch.utils.data.dataloader", "DataLoader"):
        return _loader_refusal(iterable)
    return f"the main loop runs over a {type_name(iterable)}, whose progress cannot be reproduced"


def reachable_iterable(iterable: object) -> object | None:
    """What `collect` is to be given as `iterable`: the container itself, or None for an iterator."""
    if type(iterable).__module__.split(".")[0] == _TQDM:
        return reachable_iterable(getattr(iterable, "iterable", None))
    return None if hasattr(type(iterable), "__next__") or type(iterable) in _MEASURED[3:] else iterable


class Progress:
    """What containers look like now, as far as that decides which items a loop over them meets."""

    def __init__(self, *iterables: object) -> None:
        self._are = [_shape(reachable_iterable(iterable)) for iterable in iterables]

    def changed(self, begun: Progress) -> str | None:
        """Why a loop that began so cannot be entered in the middle now, or None."""
        changed = self._are != begun._are
        return "the body changes the length or the keys of what the loop runs over" if changed else None


def _shape(container: Any) -> object:
    if type(container) in (dict, set):
        return [id(key) for key in container]
    return len(container) if type(container) is list else None


def _first_refusal(iterator: Any) -> str | None:
    """Of an enumerate or zip: that of what it runs over, which their pickling shows without moving them."""
    inner = iterator.__reduce__()[1]
    parts = inner[:1] if type(iterator) is enumerate else inner
    return next((reason for part in parts if (reason := iterable_refusal(part)) is not None), None)


def _is_array(iterable: object) -> bool:
    cls = type(iterable)
    return (cls.__module__, cls.__name__) in (("numpy", "ndarray"), ("torch", "Tensor"))


def _is_torch(value: object, module: str, name: str) -> bool:
    found = sys.modules.get(module)
    return found is not None and type(value) is getattr(found, name, None)


def _loader_refusal(loader: Any) -> str | None:
    from torch.utils.data import IterableDataset

    if loader.persistent_workers:
        return "a DataLoader with persistent workers"
    if isinstance(loader.dataset, IterableDataset):
        return "a DataLoader over an IterableDataset"
    samplers = [loader.sampler, loader.batch_sampler, getattr(loader.batch_sampler, "sampler", None)]
    for sampler in samplers:
        cls = type(sampler)
        if sampler is not None and not (cls.__module__.startswith("torch.utils.data") and cls.__name__ in _SAMPLERS):
            return f"a DataLoader with a sampler of type {type_name(sampler)}"
        if getattr(sampler, "replacement", False) and getattr(sampler, "generator", None) is not None:
            return "a DataLoader that samples with replacement from a generator of its own"
    return None

"""The public functions of the recorder, and the hot path: a call of `log` costs what appending to a list costs.

An event is four consecutive items of `events`: context, kind (ENTER, LINE or a name), value, time. A value is a float,
or a 1-tuple around anything else. A context is the tuple (key, entry, item); its key is `entry.number << INDEX_BITS |
index`, and an entry ends with the context around it.
Nothing here may import more than `import logql` is allowed to load; everything else comes with the first event.
"""

from contextvars import ContextVar
from time import time as clock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import TracebackType
    from typing import Any, Protocol, TypeVar

    T = TypeVar("T")
    #: One execution of a loop: (number in this process, loop, entry, context around it); the run itself is number 0.
    Entry = tuple[int, str, int, Any]
    #: (key, entry, item). Exact tuples of plain values, which the garbage collector stops tracking.
    Context = tuple[int, Entry, object]

    class Recording(Protocol):
        """What the recorder of this process, or a replay's stand-in, does behind the public functions."""

        def open(self) -> None: ...
        def log_object(self, name: str, value: object) -> None: ...
        def arg(self, name: str, default: Any) -> Any: ...
        def iterate_main(self, name: str, iterable: Iterable[T]) -> Iterator[T]: ...
        def enter_iteration(self, name: str, index: object, value: object) -> "tuple[Entry | None, object]": ...
        def leave_iteration(self, entry: "Entry | None") -> None: ...
        def begin_run(self, name: str | None, tags: tuple[str, ...]) -> str | None: ...
        def end_run(self, error: BaseException | None) -> None: ...
        def flush(self) -> None: ...


INDEX_BITS = 32


class Kind:
    """What an event is where it is no logged name."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


ENTER = Kind("ENTER")
LINE = Kind("LINE")


RUN_CONTEXT: "Context" = (0, (0, "", 0, None), None)
_variable: "ContextVar[Context]" = ContextVar("logql context", default=RUN_CONTEXT)
context = _variable.get
set_context = _variable.set
next_number = iter(range(1, 1 << 31)).__next__

#: What was logged and not yet flushed.
events: "list[Any]" = []
#: State that `checkpointing(...)` names.
named_state: "dict[str, object]" = {}
PLAIN_ITEMS = frozenset((int, str, bool))
#: How often each loop was entered within a context, by the context's key: the run's, and of the others the latest.
_run_children: "dict[str, int]" = {}
_children: "dict[int, dict[str, int]]" = {}
_CONTEXTS_REMEMBERED = 4096
_PLAIN_VALUES = frozenset((int, str, bool, bytes, type(None)))


def log(name: str, value: "T") -> "T":
    """Record `value` under `name` in the present context, and return it."""
    if type(name) is not str:
        name = as_text(name)
    if type(value) is float:
        put((context(), name, value, clock()))
        return value
    if type(value) in _PLAIN_VALUES:
        put((context(), name, (value,), clock()))
        return value
    get_recorder().log_object(name, value)
    return value


def as_text(name: object) -> str:
    """A name as the store can keep it: some Unicode text; what cannot be told is named after its type."""
    try:
        text = name if type(name) is str else "".join((str(name),))
    except Exception:
        return f"<{type(name).__name__}>"
    if text.isascii() and text.isprintable() and text:
        return text
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0") or "_"


def _as_tags(tags: "Any") -> "tuple[str, ...]":
    try:
        return (tags,) if isinstance(tags, str) else tuple(as_text(tag) for tag in tags)
    except Exception:
        return () if tags is None else (as_text(tags),)


def arg(name: str, default: "Any" = None) -> "Any":
    """A hyper-parameter of the run: its override where there is one, else `default`; recorded either way."""
    return get_recorder().arg(as_text(name), default)


class loop:  # noqa: N801  (used like a function)
    """The items of `iterable`, each in a context of its own: the iterations of the loop `name`."""

    __slots__ = ("_iterable", "_iterator", "_name")

    def __init__(self, name: str, iterable: "Iterable[T]") -> None:
        self._name = as_text(name)
        self._iterable = iterable
        self._iterator: Iterator[T] | None = None

    def __iter__(self) -> "Iterator[Any]":
        if self._iterator is not None:
            return self._iterator
        outer = context()
        if outer is RUN_CONTEXT:
            return get_recorder().iterate_main(self._name, self._iterable)
        return _iterate(self._name, self._iterable, outer)

    def __next__(self) -> "Any":
        if self._iterator is None:
            self._iterator = iter(self)
        return next(self._iterator)

    def __len__(self) -> int:
        return len(self._iterable)  # type: ignore[arg-type]


def _iterate(name: str, iterable: "Iterable[T]", outer: "Context") -> "Iterator[T]":
    entry = begin_entry(name, outer)
    key = entry[0] << INDEX_BITS
    try:
        for item in iterable:
            here = (key, entry, item if type(item) in PLAIN_ITEMS else plain_item(item))
            set_context(here)
            put((here, ENTER, 0.0, clock()))
            yield item
            key += 1
    finally:
        end_entry(entry)


def plain_item(item: object) -> object:
    """The item where it is a value that a loop's column can hold, else None."""
    kind = type(item)
    if kind in PLAIN_ITEMS or kind.__module__ == "datetime":
        return item
    if kind.__module__ == "numpy" and not getattr(item, "ndim", 1):
        return plain_item(item.item()) if hasattr(item, "item") else None
    return None


def begin_entry(name: str, outer: "Context") -> "Entry":
    """The next execution of the loop `name` within the context `outer`."""
    counts = _children_of(outer) if outer[0] else _run_children
    before = counts.get(name, 0)
    counts[name] = before + 1
    return next_number(), name, before, outer


def _children_of(outer: "Context") -> "dict[str, int]":
    counts = _children.get(outer[0])
    if counts is None:
        if len(_children) >= _CONTEXTS_REMEMBERED:
            _forget_children(contexts_around(outer))
        counts = _children[outer[0]] = {}
    return counts


def _forget_children(kept: "set[int]") -> None:
    """Forget the older half of the contexts: all but those `kept` are over."""
    for key in list(_children)[: _CONTEXTS_REMEMBERED // 2]:
        if key not in kept:
            _children.pop(key, None)


def contexts_around(here: "Context | None") -> "set[int]":
    """Keys of a context and of those around it."""
    found = set()
    while here is not None:
        found.add(here[0])
        here = here[1][3]
    return found


def forget_entries() -> None:
    """Count entries from 0 again, as another run does."""
    _run_children.clear()
    _children.clear()


def count_main_loops() -> "dict[str, int]":
    """How often each outermost loop was entered."""
    return dict(_run_children)


def set_main_loops(counts: "dict[str, int]") -> None:
    """Go on counting outermost loops from there."""
    _run_children.clear()
    _run_children.update(counts)


def end_entry(entry: "Entry") -> None:
    """Go back to the context around `entry`, if the present one is still within it."""
    here: Context | None = context()
    while here is not None and here[1] is not entry:
        here = here[1][3]
    if here is not None:
        set_context(entry[3])


class iteration:  # noqa: N801  (used like a function)
    """Context manager for one iteration of a loop that is no iterable: `with logql.iteration("epoch", i):`.

    A following iteration with a greater index belongs to the same execution of the loop; any other begins the next.
    """

    def __init__(self, name: str, index: object = None, value: object = None) -> None:
        self._name = as_text(name)
        self._index = index
        self._value = value
        self._entry: Entry | None = None

    def __enter__(self) -> object:
        self._entry, item = get_recorder().enter_iteration(self._name, self._index, self._value)
        return item

    def __exit__(self, *_: object) -> None:
        get_recorder().leave_iteration(self._entry)


class checkpointing:  # noqa: N801  (used like a function)
    """Context manager that names state which checkpoints are to hold besides what they find by themselves."""

    def __init__(self, *objects: object, **named: object) -> None:
        self._named = {f"arg{position}": value for position, value in enumerate(objects)} | named

    def __enter__(self) -> "checkpointing":
        named_state.update(self._named)
        return self

    def __exit__(self, *_: object) -> None:
        for name in self._named:
            named_state.pop(name, None)


class run:  # noqa: N801  (used like a function)
    """Context manager that delimits a run by hand; `id` is the run's once it has begun."""

    def __init__(self, name: "str | None" = None, tags: "Iterable[str]" = ()) -> None:
        self._name = None if name is None else as_text(name)
        self._tags = _as_tags(tags)
        self.id: str | None = None

    def __enter__(self) -> "run":
        self.id = get_recorder().begin_run(self._name, self._tags)
        return self

    def __exit__(
        self, kind: "type[BaseException] | None", error: "BaseException | None", trace: "TracebackType | None"
    ) -> None:
        get_recorder().end_run(error)


def flush() -> None:
    """Return when everything logged so far is on disk."""
    get_recorder().flush()


def commit(message: "str | None" = None) -> None:  # noqa: ARG001  (FlorDB's signature)
    """Close the run; what is logged afterwards opens the next one."""
    get_recorder().end_run(None)


def _first_event(event: "tuple[Any, ...]") -> None:
    """Stands in for `put` until a run is open."""
    get_recorder().open()
    if put is not _first_event:
        put(event)


def discard(event: "tuple[Any, ...]") -> None:
    """Stands in for `put` where nothing is recorded."""


put: "Callable[[tuple[Any, ...]], object]" = _first_event


def send_events_to(target: "Callable[[tuple[Any, ...]], object] | None") -> None:
    """Make `target` the receiver of events; None waits for the first one to open a run."""
    global put
    put = _first_event if target is None else target


_the_recorder: "Recording | None" = None


def get_recorder() -> "Recording":
    """What does the work behind the public functions, loaded at the first call."""
    global _the_recorder
    if _the_recorder is None:
        from logql.record.recorder import recorder

        _the_recorder = recorder
    return _the_recorder


def replace_recorder(recorder: "Recording") -> None:
    """Let a replay's driver stand in for the recorder of this process."""
    global _the_recorder
    _the_recorder = recorder


for _public in (log, arg, loop, iteration, checkpointing, run, flush, commit):
    _public.__module__ = "logql"
del _public

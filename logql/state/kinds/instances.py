# ruff: noqa: ARG001, ARG005  (all kinds share their signatures)
"""Instances of classes written in Python, whatever built-in container they extend, and the richer containers."""

from __future__ import annotations

import array
import types
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from logql.errors import StateError
from logql.state.graph import Node, Payload
from logql.state.kinds.base import Kind
from logql.state.kinds.containers import capture_mapping, pour_mapping, pour_set
from logql.state.kinds.layout import attributes, native_base, slots

if TYPE_CHECKING:
    from logql.state.build import Builder
    from logql.state.walk import Walker


@dataclass(frozen=True)
class Base:
    """How the contents that a built-in base type holds are taken, and put into an existing object."""

    capture: Callable[[Any, Walker], Payload]
    make: Callable[[type, Node, Builder], Any]
    pour: Callable[[Any, Node, Builder], None]
    mutable: bool = True


def _new(base: Any) -> Callable[[type, Node, Builder], Any]:
    return lambda cls, node, builder: base.__new__(cls)


def _nothing(vessel: Any, node: Node, builder: Builder) -> None:
    """Nothing is held besides attributes, or nothing can change."""


def _items(iterate: Callable[[Any], Any]) -> Callable[[Any, Walker], Payload]:
    return lambda value, walker: {"items": walker.values(None, list(iterate(value)))}


def _many(iterate: Callable[[Any], Any]) -> Callable[[Any, Walker], Payload]:
    return lambda value, walker: {"items": walker.many(list(iterate(value)))}


def _pairs(base: Any) -> Callable[[Any, Walker], Payload]:
    return lambda value, walker: capture_mapping(list(base.keys(value)), list(base.values(value)), walker)


def _pour_list(vessel: Any, node: Node, builder: Builder) -> None:
    list.__setitem__(vessel, slice(None), builder.values(node.payload["items"]))


def _pour_pairs(base: Any) -> Callable[[Any, Node, Builder], None]:
    def pour(vessel: Any, node: Node, builder: Builder) -> None:
        pour_mapping(base, vessel, builder.values(node.payload["keys"]), builder.values(node.payload["values"]))

    return pour


def _pour_set(vessel: Any, node: Node, builder: Builder) -> None:
    pour_set(set, vessel, builder.values(node.payload["items"]))


def _capture_default(value: Any, walker: Walker) -> Payload:
    return {"factory": walker.ref(".default_factory", value.default_factory), **_pairs(dict)(value, walker)}


def _pour_default(vessel: Any, node: Node, builder: Builder) -> None:
    vessel.default_factory = builder.value(node.payload["factory"])
    _pour_pairs(dict)(vessel, node, builder)


def _capture_deque(value: Any, walker: Walker) -> Payload:
    return {"maxlen": value.maxlen, **_many(deque.__iter__)(value, walker)}


def _make_deque(cls: type, node: Node, builder: Builder) -> Any:
    made: Any = deque.__new__(cls)
    deque.__init__(made, (), node.payload["maxlen"])
    return made


def _pour_deque(vessel: Any, node: Node, builder: Builder) -> None:
    deque.clear(vessel)
    deque.extend(vessel, builder.values(node.payload["items"]))


def _pour_bytes(vessel: Any, node: Node, builder: Builder) -> None:
    bytearray.__setitem__(vessel, slice(None), node.payload["content"])


def _pour_array(vessel: Any, node: Node, builder: Builder) -> None:
    del vessel[:]
    array.array.frombytes(vessel, node.payload["content"])


def _value(base: Any) -> Base:
    """An immutable base whose value the constructor takes."""
    return Base(
        lambda value, walker: {"content": base.__getnewargs__(value)[0]},
        lambda cls, node, builder: base.__new__(cls, node.payload["content"]),
        _nothing,
        mutable=False,
    )


def _make_items(base: Any) -> Callable[[type, Node, Builder], Any]:
    return lambda cls, node, builder: base.__new__(cls, builder.values(node.payload["items"]))


BASES: dict[type, Base] = {
    object: Base(lambda value, walker: {}, _new(object), _nothing),
    types.SimpleNamespace: Base(lambda value, walker: {}, _new(types.SimpleNamespace), _nothing),
    list: Base(_many(list.__iter__), _new(list), _pour_list),
    dict: Base(_pairs(dict), _new(dict), _pour_pairs(dict)),
    OrderedDict: Base(_pairs(OrderedDict), _new(OrderedDict), _pour_pairs(OrderedDict)),
    defaultdict: Base(_capture_default, _new(defaultdict), _pour_default),
    set: Base(_many(set.__iter__), _new(set), _pour_set),
    deque: Base(_capture_deque, _make_deque, _pour_deque),
    bytearray: Base(lambda value, walker: {"content": bytes(value)}, _new(bytearray), _pour_bytes),
    array.array: Base(
        lambda value, walker: {"code": value.typecode, "content": value.tobytes()},
        lambda cls, node, builder: array.array.__new__(cls, node.payload["code"]),
        _pour_array,
    ),
    tuple: Base(_items(tuple.__iter__), _make_items(tuple), _nothing, mutable=False),
    frozenset: Base(_items(frozenset.__iter__), _make_items(frozenset), _nothing, mutable=False),
    int: _value(int),
    float: _value(float),
    str: _value(str),
    bytes: _value(bytes),
}


class InstanceKind(Kind):
    """An object made of a class reference, the contents of a built-in base, a `__dict__` and slots."""

    name = "instance"

    def capture(self, value: Any, walker: Walker) -> Payload:
        cls: Any = type(value)
        payload = {"type": walker.ref(".__class__", cls), **BASES[native_base(cls)].capture(value, walker)}
        names = attributes(value)
        if names is not None:
            payload["dict"] = walker.ref("__dict__", names)
        held = [(name, member.__get__(value)) for name, member in slots(cls) if _is_set(member, value)]
        if held:
            payload["slots"] = [name for name, _ in held]
            payload["held"] = walker.values([f"['{name.rsplit('.', 1)[1]}']" for name, _ in held], [v for _, v in held])
        return payload

    def accepts(self, node: Node, live: Any, builder: Builder) -> bool:
        cls: Any = type(live)
        if builder.value(node.payload["type"]) is not cls or native_base(cls) not in BASES:
            return False
        if BASES[native_base(cls)].mutable:
            return not isinstance(live, deque) or live.maxlen == node.payload["maxlen"]
        return self._same_value(node, live, builder)

    def _same_value(self, node: Node, live: Any, builder: Builder) -> bool:
        base: Any = native_base(_class(live))
        if "content" in node.payload:
            return bool(base.__getnewargs__(live)[0] == node.payload["content"])
        items = builder.values(node.payload["items"])
        return len(items) == base.__len__(live) and all(a is b for a, b in zip(items, base.__iter__(live), strict=True))

    def create(self, node: Node, builder: Builder) -> object:
        cls = builder.value(node.payload["type"])
        made: object = BASES[native_base(cls)].make(cls, node, builder)
        return made

    def fill(self, node: Node, vessel: Any, builder: Builder) -> None:
        if "dict" in node.payload:
            wanted = builder.value(node.payload["dict"])
            if attributes(vessel) is not wanted:
                object.__setattr__(vessel, "__dict__", wanted)
        held = dict(zip(node.payload.get("slots", ()), builder.values(node.payload.get("held", [])), strict=True))
        for name, member in slots(_class(vessel)):
            if name in held:
                member.__set__(vessel, held[name])
            elif _is_set(member, vessel):
                member.__delete__(vessel)

    def finish(self, node: Node, vessel: Any, builder: Builder) -> None:
        BASES[native_base(_class(vessel))].pour(vessel, node, builder)


def _class(value: object) -> Any:
    return type(value)


def _is_set(member: types.MemberDescriptorType, value: object) -> bool:
    try:
        member.__get__(value)
    except AttributeError:
        return False
    return True


class AtomKind(Kind):
    """Immutable values that hold nothing mutable: saved whole."""

    name = "atom"
    atomic = True


class EnumKind(Kind):
    """A member of an enumeration: found by its class and name, or else as the object it was at the start."""

    name = "enum"

    def capture(self, value: Any, walker: Walker) -> Payload:
        return {"type": walker.ref(".__class__", type(value)), "member": value._name_}

    def accepts(self, node: Node, live: Any, builder: Builder) -> bool:
        return super().accepts(node, live, builder) and live._name_ == node.payload["member"]

    def create(self, node: Node, builder: Builder) -> object:
        cls = builder.value(node.payload["type"])
        try:
            found: object = cls[node.payload["member"]]
        except KeyError as error:
            raise StateError(f"no member {error} of {cls.__name__}") from error
        return found


__all__ = ["BASES", "AtomKind", "EnumKind", "InstanceKind"]

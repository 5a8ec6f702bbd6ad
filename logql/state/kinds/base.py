"""What a kind of object has to say: how to capture it, make it anew, and write it in place."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, ClassVar

from logql.errors import StateError
from logql.state.errors import Refusal
from logql.state.graph import Atom, Global, Node, Payload

if TYPE_CHECKING:
    from logql.state.build import Builder
    from logql.state.walk import Walker


class Kind:
    """A family of objects. After all objects exist, contents are written by `fill`, and then `finish`.

    `capture` takes what must be saved and reaches children through `walker.ref`; `accepts` tells whether a live object
    can take the contents in place; `create` makes a new one (contents may still be empty). Mappings and sets whose keys
    are objects are written in `finish`, because a key's hash may need its own contents.
    """

    name: ClassVar[str]
    atomic: ClassVar[bool] = False
    #: whether an object stands for itself (code, an open file), so that another at its old address must not be taken
    identity: ClassVar[bool] = False

    def key(self, value: object) -> object:
        """What identifies the object while it lives."""
        return id(value)

    def atom(self, value: object) -> object:
        """The saved form of an atomic kind."""
        return Atom(value)

    def capture(self, value: Any, walker: Walker) -> Payload:
        """Saved contents of an object; raises Refusal where they would be incomplete."""
        raise NotImplementedError

    def accepts(self, node: Node, live: Any, builder: Builder) -> bool:
        """Whether `live` can be written in place to become the saved object."""
        return bool(builder.value(node.payload["type"]) is type(live))

    def create(self, node: Node, builder: Builder) -> object:
        """A new object; only asked where there is no live one."""
        raise StateError(f"{self.name} cannot be made anew: {builder.path(node)}")

    def fill(self, node: Node, vessel: Any, builder: Builder) -> None:
        """Write the saved contents into the object."""

    def finish(self, node: Node, vessel: Any, builder: Builder) -> None:
        """Write what needs the contents of other objects to be complete."""


def find_global(value: object) -> Global | None:
    """Where a class, function or the like is found by name, if looking there gives this very object."""
    name = getattr(value, "__qualname__", None) or getattr(value, "__name__", None)
    module = getattr(value, "__module__", None)
    if not isinstance(name, str) or not isinstance(module, str):
        return None
    return Global(module, name) if look_up(module, name) is value else None


def look_up(module: str, name: str) -> object | None:
    """The object at a qualified name of a loaded module, or None."""
    found: object | None = sys.modules.get(module)
    for part in name.split(".") if name else ():
        if part == "<locals>":
            return None
        found = getattr(found, part, None)
        if found is None:
            return None
    return found


def need_anchor(value: object, walker: Walker, what: str) -> None:
    """Refuse an object that cannot be made anew unless it was there before the loop began."""
    if not walker.is_anchored(value):
        raise Refusal(f"{what} was made inside of the loop and cannot be saved")

"""Whether the value of a name comes, at the place, from the counterparts of what gives it beside the new statement."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from functools import cached_property

from logql.propagate.locate import Spot
from logql.propagate.outline import Item
from logql.propagate.reaching import binds_name, reaching, reaching_at, reads_name
from logql.propagate.rename import Path
from logql.propagate.values import adapted

Definitions = frozenset[Item]


class Origins:
    """Compares the definitions that reach a new statement with those that reach its place in the old scope."""

    def __init__(
        self,
        statement: Item,
        spot: Spot,
        matched: Mapping[Item, Item],
        renamed: Callable[[Path], Path | None],
    ) -> None:
        self.statement, self.spot, self.matched, self.renamed = statement, spot, matched, renamed
        self.mine, self.theirs = statement.unit, spot.unit

    @cached_property
    def _kept(self) -> dict[Item, Item]:
        """The new counterparts of the old scope's statements, its header included."""
        kept = {old: new for new, old in self.matched.items() if old.unit is self.theirs and new.unit is self.mine}
        if self.mine.header is not None and self.theirs.header is not None:
            kept[self.theirs.header] = self.mine.header
        return kept

    def added(self, name: str, other: str, reader: Item) -> Item | None:
        """The last definition that the old version lacks of the value that a new statement reads.

        Where the old one lost a definition for it, the value was only computed otherwise; and so it was where code
        that both versions have uses the one value as it uses the other.
        """
        mine, theirs = reaching(name, reader), _reaching_spot(other, self.spot)
        added = frozenset(item for item in mine if item not in self.matched and item is not self.mine.header)
        counterparts = (self._kept.get(item) or self._renamed_one(name, item) for item in theirs)
        kept = frozenset(item for item in counterparts if item is not None)
        added -= kept
        if not added or not kept or (len(kept) < len(theirs) and kept & mine):
            return None
        if self._goes_on(name, mine, added, kept) and self._used_alike(name, other, added, theirs):
            return None
        return max(added, key=lambda item: item.index)

    def _renamed_one(self, name: str, old: Item) -> Item | None:
        """The new definition that says what an old one says, in which all names are others."""
        wanted = ast.dump(old.node)
        free = (item for item in self.mine.items if item not in self.matched and binds_name(name, item))
        return next((item for item in free if ast.dump(adapted(item.node, self.renamed)) == wanted), None)

    def kept_at(self, name: str, other: str, reader: Item, spot: Spot) -> bool:
        """Whether the value that a line reads is there, too, at the line's own place above that of the statement."""
        theirs = _reaching_spot(other, spot)
        if theirs == _reaching_spot(other, self.spot):
            return True
        return bool(theirs) and all(self._kept.get(item) in reaching(name, reader) for item in theirs)

    def _goes_on(self, name: str, mine: Definitions, added: Definitions, kept: Definitions) -> bool:
        """Whether the added definitions only go on with the value: nothing else uses it as it was before them."""
        if kept <= mine or all(self._derived(name, item, kept) for item in added):
            return True
        readers = (item for item in self.mine.items if reads_name(name, item) and item not in added)
        return not any(kept & reaching(name, item) and not added & reaching(name, item) for item in readers)

    def _derived(self, name: str, item: Item, kept: Definitions) -> bool:
        """Whether a definition is made from the value, by itself or through others."""
        seen: set[Item] = set()
        left = [item]
        while left:
            current = left.pop()
            if current in seen or not reads_name(name, current):
                continue
            seen.add(current)
            before = reaching(name, current)
            if before & kept:
                return True
            left += before
        return False

    def _used_alike(self, name: str, other: str, added: Definitions, theirs: Definitions) -> bool:
        """Whether a later statement of both versions reads the added value in one and the old one in the other."""
        return any(
            reads_name(name, new)
            and reads_name(other, old)
            and any(item.index < new.index for item in added & reaching(name, new))
            and theirs & reaching(other, old)
            for old, new in self._kept.items()
            if new is not self.statement
        )


def _reaching_spot(name: str, spot: Spot) -> Definitions:
    return reaching_at(name, spot.unit, spot.block, spot.position, spot.parent, spot.slot)

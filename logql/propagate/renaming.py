"""What the old version calls what a statement reads: by votes of matched code, in the scope, the file and others."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property

from logql.propagate.known import Knowledge
from logql.propagate.locate import Spot
from logql.propagate.names import attributes_of_self, binding_kind, bound_before, is_bound, star_imports, unit_bindings
from logql.propagate.outline import Item
from logql.propagate.paths import member, pattern_of
from logql.propagate.rename import Path, Votes, collect_votes, match_outlines, match_scopes, own_pairs
from logql.propagate.result import Refusal
from logql.propagate.statements import read_outlines
from logql.propagate.values import inner_loop


class Renaming:
    """Finds the old names of what one statement reads and binds at one spot."""

    def __init__(self, statement: Item, spot: Spot, matched: Mapping[Item, Item], knowledge: Knowledge) -> None:
        self.statement, self.spot, self.matched, self.knowledge = statement, spot, matched, knowledge
        self.new, self.old = statement.unit.outline, spot.unit.outline
        self.new_files, self.old_files = knowledge.new_files, knowledge.old_files

    @cached_property
    def _own_votes(self) -> Votes:
        return collect_votes(own_pairs(self.statement.unit, self.spot.unit, self.matched), self.statement.unit)

    @cached_property
    def all_votes(self) -> Votes:
        return collect_votes(match_scopes(self.statement.unit, self.spot.unit, self.matched))

    def is_bound_here(self, name: str) -> bool:
        unit, index = self.spot.unit, self.spot.index
        if is_bound(name, unit, index):
            return True
        mine = self.statement.unit
        if name in unit_bindings(unit) and name in unit_bindings(mine):
            return (
                name not in bound_before(mine, self.statement.index)
                and inner_loop(self.spot.parent, or_try=True) is not None
            )
        if binding_kind(name, mine) is None and star_imports(self.old) & star_imports(self.new):
            return True
        return name in self.knowledge.starred

    def renamed(self, path: Path) -> Path | None:
        """The old name; what other scopes tell counts for attributes and for names that are not the scope's own."""
        if len(path) == 1 and path[0] in unit_bindings(self.statement.unit):
            return self._own_votes.renamed(path)
        return self._own_votes.renamed(path) or self.all_votes.renamed(path)

    def old_path(self, path: Path) -> Path | None:
        """What the old version calls a name or an attribute that it has under another one."""
        other = self.renamed(path) or self._of_object(path) or self._of_class(path)
        if other is None or not self._readable(other):
            return None
        mine = binding_kind(path[0], self.statement.unit)
        theirs = binding_kind(other[0], self.spot.unit)
        return None if len(path) == len(other) == 1 and mine != theirs else other

    def _of_object(self, path: Path) -> Path | None:
        """`self.model` in methods is `model` in functions, and the reverse, where nothing tells otherwise."""
        mine, theirs = attributes_of_self(self.statement.unit), attributes_of_self(self.spot.unit)
        other: Path | None = None
        if path[0] == "self" and len(path) == 2 and path[1] in mine and not self.is_bound_here("self"):
            other = path[1:] if binding_kind(path[1], self.spot.unit) == "variable" else None
        elif len(path) == 1 and path[0] in theirs and binding_kind(path[0], self.statement.unit) == "variable":
            other = ("self", *path)
        told = {*self.all_votes.used.get(path, ()), *self.all_votes.defined.get(path, ())}
        return other if told <= {other} else None

    def _of_class(self, path: Path) -> Path | None:
        """`net.weight` was `net.w` where the methods of the one class that has it called it `self.w`."""
        if len(path) < 2 or not self.knowledge.lacks(path, self.spot):
            return None
        wanted = ("self", path[-1])
        told = (votes.renamed(wanted) for votes in (self.all_votes, *self._votes_elsewhere))
        found = {other for other in told if other is not None}
        other = next(iter(found), None)
        return (*path[:-1], other[-1]) if other is not None and len(found) == 1 and other[0] == "self" else None

    @cached_property
    def _votes_elsewhere(self) -> list[Votes]:
        """What the project's other files tell, each that both versions have under one path."""
        shared = [path for path in self.new_files if path in self.old_files and path != self.old.path]
        pairs = [read_outlines({path: files[path] for path in shared}) for files in (self.new_files, self.old_files)]
        olds = {outline.path: outline for outline in pairs[1]}
        return [
            collect_votes(match_outlines(new, olds[new.path]))
            for new in pairs[0]
            if new.path in olds and new.source != olds[new.path].source
        ]

    def _readable(self, path: Path) -> bool:
        return is_bound(path[0], self.spot.unit, self.spot.index) and all(
            member(part) in self.knowledge.old_words or member(part) not in self.new.words for part in path[1:]
        )

    def permuted(self, name: str) -> Path | None:
        """The old name of what the new version calls by a name that stands for something else in the old one.

        Raises Refusal where that is in doubt.
        """
        if name not in unit_bindings(self.statement.unit) or name not in unit_bindings(self.spot.unit):
            return None
        other = self.old_path((name,)) if self._own_votes.renamed((name,)) is not None else None
        rival = self._own_votes.rival((name,)) if other is None else None
        if rival is not None:
            other = self._own_votes.only_use((name,))
            if other is None or len(other) > 1 or not is_bound(other[0], self.spot.unit, self.spot.index):
                raise Refusal(f"`{name}` is at this place what `{rival[0]}` is in the newer version")
        return other

    def other_spelling(self, path: Path) -> Path | None:
        """`config.lr` for `config["lr"]`, or the reverse, where the spelling of that object's members changed.

        A file that has both means different things by them: `df["size"]` is a column, `df.size` is not.
        """
        other = _respelled(path)
        mine, theirs = (re.compile(pattern_of(each)) for each in (path, other))
        if mine.search(self.old.source) or not theirs.search(self.old.source) or theirs.search(self.new.source):
            return None
        return other if any(self._is_respelled(told, path) for told in self.all_votes.certain) else None

    def _is_respelled(self, told: Path, path: Path) -> bool:
        """Whether matched statements tell that `told`, a member beside `path`, was spelled in the other form."""
        alike = told[:-1] == path[:-1] and told[-1].startswith("[") == path[-1].startswith("[")
        return alike and self.all_votes.renamed(told) == _respelled(told)

    def old_target(self, path: Path) -> Path | None:
        """The old name of an attribute that is set, where the old code knows it by that name alone."""
        if path[-1] in self.old.words or not is_bound(path[0], self.spot.unit, self.spot.index):
            return None
        other = self.all_votes.renamed(path) or self.all_votes.sole(path)
        return other if other is not None and len(other) > 1 else None

    def without_definition(self, name: str) -> Path | None:
        """The one name that the old code reads in place of `name` and that nothing there binds."""
        votes = self.all_votes if self.statement.unit.header is None else self._own_votes
        other = votes.sole((name,))
        if other is None or len(other) > 1 or is_bound(other[0], self.spot.unit, len(self.old.items)):
            return None
        return other


def _respelled(path: Path) -> Path:
    """The last member of a path as an item where it is an attribute, and the reverse."""
    last = path[-1]
    return (*path[:-1], member(last) if last.startswith("[") else f'["{last}"]')

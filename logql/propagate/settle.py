"""Settles every name that a statement reads at its place: bound there, renamed, carried along, or a refusal."""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from logql.propagate.carry import Feeders, Import, find_helper, find_import
from logql.propagate.imports import module_file
from logql.propagate.known import Knowledge, defined_names
from logql.propagate.locate import Spot
from logql.propagate.names import (
    Uses,
    attributes_of_self,
    binding_kind,
    bound_before,
    header_uses,
    is_bound,
    scope_chain,
    star_imports,
    stored_paths,
    unit_bindings,
    uses_of,
)
from logql.propagate.outline import Item
from logql.propagate.paths import member, paths_from, pattern_of, spelled_paths
from logql.propagate.rename import Path, Votes, collect_votes, match_outlines, match_scopes, own_pairs
from logql.propagate.result import Refusal
from logql.propagate.statements import read_outlines
from logql.propagate.values import Values, inner_loop

#: Values that are hardly the same by chance.
_COMPOSED = (ast.Dict, ast.List, ast.Tuple, ast.Set)


@dataclass
class Settled:
    """Renames of dotted paths, lines that feed the statement, and what must be added at module level."""

    renames: dict[Path, Path] = field(default_factory=dict)
    feeders: list[Item] = field(default_factory=list)
    imports: list[Import] = field(default_factory=list)
    helpers: list[Item] = field(default_factory=list)


class Settler:
    """Settles the names of one statement (with what it brings along) at one spot."""

    def __init__(
        self,
        statement: Item,
        spot: Spot,
        matched: Mapping[Item, Item],
        new_files: Mapping[str, str],
        old_files: Mapping[str, str],
        guards: Sequence[Item],
    ) -> None:
        self.statement, self.spot, self.matched = statement, spot, matched
        self.new, self.old = statement.unit.outline, spot.unit.outline
        self.new_files, self.old_files = new_files, old_files
        self.knowledge = Knowledge(self.new, self.old, new_files, old_files)
        self.settled = Settled()
        self.values = Values(statement, spot, matched)
        self.feeders = Feeders(statement, guards)
        self._done: set[str] = set()
        #: names of which every use is a part of a path that is renamed
        self._replaced: set[str] = set()

    @cached_property
    def _own_votes(self) -> Votes:
        return collect_votes(own_pairs(self.statement.unit, self.spot.unit, self.matched), self.statement.unit)

    @cached_property
    def _all_votes(self) -> Votes:
        return collect_votes(match_scopes(self.statement.unit, self.spot.unit, self.matched))

    def _renamed(self, path: Path) -> Path | None:
        """The old name; what other scopes tell counts for attributes and for names that are not the scope's own."""
        if len(path) == 1 and path[0] in unit_bindings(self.statement.unit):
            return self._own_votes.renamed(path)
        return self._own_votes.renamed(path) or self._all_votes.renamed(path)

    def settle(self, guards: Sequence[ast.AST], node: ast.AST) -> Settled:
        """Settle everything that a statement reads under its guards, from the outside in; raises Refusal."""
        own: set[str] = set()
        for guard in guards:
            self._settle_uses(header_uses(guard), own, guard)
            own |= header_uses(guard).writes
        self._settle_node(node, own)
        self._rename_targets(node)
        self.values.check(node, self.settled.renames)
        self.settled.feeders.sort(key=lambda item: item.index)
        return self.settled

    def _settle_node(self, node: ast.AST, own: set[str]) -> None:
        self._settle_uses(uses_of(node), own, node)
        for reason in self.knowledge.bad_calls(node, self.spot):
            raise Refusal(reason)

    def _settle_uses(self, uses: Uses, own: set[str], node: ast.AST) -> None:
        for name in sorted(uses.reads | uses.late):
            if name not in own and (name not in self._done or name in self._replaced):
                self._done.add(name)
                self._name(name, node)
        for path in sorted(uses.paths):
            if path[0] not in own | self._replaced:
                self._path(path)
        for path in sorted(spelled_paths(node)):
            other = self._other_spelling(path)
            if other is not None and path[0] not in own | self._replaced:
                self.settled.renames.setdefault(path, other)

    def _name(self, name: str, node: ast.AST) -> None:
        if any(name in uses_of(item.node).writes for item in self.settled.feeders):
            return
        other = self.values.bound_as(name, self._renamed)
        if other is not None:
            self.settled.renames[(name,)] = (other,)
            return
        if self._is_bound(name):
            self._check_kind(name)
            if self.values.differs(name) and not self._feed(name):
                raise Refusal(f"`{name}` has another value at this place")
            return
        if self._import(name) or self._rename((name,)) or self._rename_paths(name, node):
            return
        if self._feed(name) or self._equal_constant(name) or self._help(name):
            return
        raise Refusal(self._not_defined(name))

    def _rename_paths(self, name: str, node: ast.AST) -> bool:
        """`args.lr` became `lr`: each use of the name is a part of a path that is renamed as a whole."""
        paths = paths_from(name, node)
        if paths is None:
            return False
        for path in sorted(paths):
            if not any(self._rename(path[:length]) for length in range(len(path), 1, -1)):
                return False
        self._replaced.add(name)
        return bool(paths)

    def _is_bound(self, name: str) -> bool:
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

    def _check_kind(self, name: str) -> None:
        mine, theirs = binding_kind(name, self.statement.unit), binding_kind(name, self.spot.unit)
        if mine is None or theirs is None or mine == theirs:
            return
        if "variable" in (mine, theirs) and {mine, theirs} & {"function", "class"}:
            raise Refusal(f"`{name}` is a {theirs} at this place, and a {mine} in the newer version")

    def _rename(self, path: Path) -> bool:
        other = self._renamed(path) or self._of_object(path) or self._of_class(path)
        if other is None or not self._readable(other):
            return False
        mine = binding_kind(path[0], self.statement.unit)
        theirs = binding_kind(other[0], self.spot.unit)
        if len(path) == len(other) == 1 and mine != theirs:
            return False
        self.settled.renames[path] = other
        return True

    def _of_object(self, path: Path) -> Path | None:
        """`self.model` in methods is `model` in functions, and the reverse, where nothing tells otherwise."""
        mine, theirs = attributes_of_self(self.statement.unit), attributes_of_self(self.spot.unit)
        other: Path | None = None
        if path[0] == "self" and len(path) == 2 and path[1] in mine and not self._is_bound("self"):
            other = path[1:] if binding_kind(path[1], self.spot.unit) == "variable" else None
        elif len(path) == 1 and path[0] in theirs and binding_kind(path[0], self.statement.unit) == "variable":
            other = ("self", *path)
        told = {*self._all_votes.used.get(path, ()), *self._all_votes.defined.get(path, ())}
        return other if told <= {other} else None

    def _of_class(self, path: Path) -> Path | None:
        """`net.weight` was `net.w` where the methods of the one class that has it called it `self.w`."""
        if len(path) < 2 or not self.knowledge.lacks(path, self.spot):
            return None
        wanted = ("self", path[-1])
        told = (votes.renamed(wanted) for votes in (self._all_votes, *self._votes_elsewhere))
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

    def _import(self, name: str) -> bool:
        found = find_import(name, self.statement.unit)
        if found is None:
            return False
        for scope in scope_chain(self.spot.unit):
            for item in scope.items:
                alias = found.alias_in(item.node)
                if alias is not None and is_bound(alias, self.spot.unit, self.spot.index):
                    self.settled.renames[(name,)] = (alias,)
                    return True
        if not self._can_import(found):
            return False
        self.settled.imports.append(found)
        return True

    def _can_import(self, found: Import) -> bool:
        path = module_file(found.module, found.level, self.old.path, self.old_files)
        if path is not None:
            return found.member is None or found.member in defined_names(self.old_files[path], path)
        return found.installed({*self.old_files, *self.new_files})

    def _help_from(self, found: Import) -> bool:
        """Carry a function or constant that the new version keeps in another file of the project."""
        path = module_file(found.module, found.level, self.new.path, self.new_files)
        if path is None or found.member is None or found.member != found.name:
            return False
        return self._carry_helper(find_helper(found.member, path, self.new_files))

    def _help(self, name: str) -> bool:
        imported = find_import(name, self.statement.unit)
        if imported is not None:
            return self._help_from(imported)
        if binding_kind(name, self.statement.unit) is None or name not in unit_bindings(self.new.units[0]):
            return False
        return self._carry_helper(find_helper(name, self.new.path, self.new_files))

    def _equal_constant(self, name: str) -> bool:
        """A constant of the module that the old version has, value for value, under one name that the new one lacks."""
        helper = find_helper(name, self.new.path, self.new_files)
        if helper is None or not isinstance(helper.node, ast.Assign) or not isinstance(helper.node.value, _COMPOSED):
            return False
        wanted, found = ast.dump(helper.node.value), set[str]()
        for item in self.old.units[0].body:
            if isinstance(item.node, ast.Assign) and ast.dump(item.node.value) == wanted:
                found |= header_uses(item.node).writes
        other = next(iter(found), "")
        if len(found) != 1 or other in self.new.words or not is_bound(other, self.spot.unit, self.spot.index):
            return False
        self.settled.renames[(name,)] = (other,)
        return True

    def _carry_helper(self, helper: Item | None) -> bool:
        if helper is None:
            return False
        module = self.old.units[0]
        self.settled.helpers.append(helper)
        uses = uses_of(helper.node)
        for name in sorted((uses.reads | uses.late) - uses.writes):
            if name in self._done and any(name == found.name for found in self.settled.imports):
                continue
            constant = not isinstance(helper.node, ast.FunctionDef | ast.ClassDef)
            if is_bound(name, module, len(self.old.items)) and (not constant or not unit_bindings(module) & {name}):
                continue
            imported = find_import(name, helper.unit)
            if imported is not None and self._can_import(imported):
                self.settled.imports.append(imported)
            elif name not in self._done:
                self._done.add(name)
                nested = find_helper(name, helper.unit.outline.path, self.new_files)
                if not self._carry_helper(nested):
                    self.settled.helpers.remove(helper)
                    return False
        return True

    def _feed(self, name: str) -> bool:
        lines = self.feeders.for_name(name)
        if lines is None or any(line in self.matched for line in lines):
            return False
        for line in lines:
            if line not in self.settled.feeders:
                self.settled.feeders.append(line)
        own = {written for line in lines for written in uses_of(line.node).writes}
        for taken in sorted(own & self.values.names_here):
            self._call_otherwise(taken, lines)
        for line in lines:
            self._settle_node(line.node, own)
        return True

    def _call_otherwise(self, name: str, lines: Sequence[Item]) -> None:
        """Let the lines that come along bind another name than one that is something else at the place."""
        if (name,) in self.settled.renames or uses_of(lines[0].node).reads & {name}:
            raise Refusal(f"`{name}` would have to come along, and is something else at this place")
        fresh = f"{name}_logged"
        while fresh in self.old.words | self.new.words:
            fresh += "_"
        self.settled.renames[(name,)] = (fresh,)

    def _path(self, path: Path) -> None:
        for length in range(2, len(path) + 1):
            part = path[:length]
            if part in self.settled.renames or not self.knowledge.lacks(part, self.spot):
                continue
            if self._rename(part):
                return
            near = difflib.get_close_matches(part[-1], self.knowledge.attributes_of(part[0]), 1, 0.5)
            hint = f"; nearest candidate is `{part[0]}.{near[0]}`" if near else ""
            raise Refusal(f"`{'.'.join(part)}` does not exist in this version{hint}")

    def _other_spelling(self, path: Path) -> Path | None:
        """`config.lr` for `config["lr"]`, or the reverse, where the spelling of that object's members changed.

        A file that has both means different things by them: `df["size"]` is a column, `df.size` is not.
        """
        other = _respelled(path)
        mine, theirs = (re.compile(pattern_of(each)) for each in (path, other))
        if mine.search(self.old.source) or not theirs.search(self.old.source) or theirs.search(self.new.source):
            return None
        return other if any(self._is_respelled(told, path) for told in self._all_votes.certain) else None

    def _is_respelled(self, told: Path, path: Path) -> bool:
        """Whether matched statements tell that `told`, a member beside `path`, was spelled in the other form."""
        alike = told[:-1] == path[:-1] and told[-1].startswith("[") == path[-1].startswith("[")
        return alike and self._all_votes.renamed(told) == _respelled(told)

    def _rename_targets(self, node: ast.AST) -> None:
        """A name that the statement binds takes the old name where the old code reads it under that name alone."""
        for name in sorted(uses_of(node).writes):
            if (
                (name,) in self.settled.renames
                or name in self.values.names_here
                or name not in unit_bindings(self.statement.unit)
            ):
                continue
            other = self._renamed((name,)) or self._without_definition(name)
            if other is not None and len(other) == 1:
                self.settled.renames[(name,)] = other
        for path in sorted(stored_paths(node)):
            if not self.settled.renames.keys() & {path[:length] for length in range(1, len(path) + 1)}:
                self._rename_stored(path)

    def _rename_stored(self, path: Path) -> None:
        """An attribute that the statement sets takes the old name where the old code knows it by that name alone."""
        if path[-1] in self.old.words or not is_bound(path[0], self.spot.unit, self.spot.index):
            return
        other = self._all_votes.renamed(path) or self._all_votes.sole(path)
        if other is not None and len(other) > 1:
            self.settled.renames[path] = other

    def _without_definition(self, name: str) -> Path | None:
        """The one name that the old code reads in place of `name` and that nothing there binds."""
        votes = self._all_votes if self.statement.unit.header is None else self._own_votes
        other = votes.sole((name,))
        if other is None or len(other) > 1 or is_bound(other[0], self.spot.unit, len(self.old.items)):
            return None
        return other

    def _not_defined(self, name: str) -> str:
        here: set[str] = set()
        for scope in scope_chain(self.spot.unit):
            if scope is self.spot.unit:
                here |= bound_before(scope, self.spot.index)
            elif scope.is_function or scope.header is None:
                here |= unit_bindings(scope)
        near = difflib.get_close_matches(name, sorted(here), 1, 0.5)
        hint = f"; nearest candidate is `{near[0]}`" if near else ""
        return f"`{name}` is not defined at this place{hint}"


def _respelled(path: Path) -> Path:
    """The last member of a path as an item where it is an attribute, and the reverse."""
    last = path[-1]
    return (*path[:-1], member(last) if last.startswith("[") else f'["{last}"]')

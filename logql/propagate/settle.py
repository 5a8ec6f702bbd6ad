"""Settles every name that a statement reads at its place: bound there, renamed, carried along, or a refusal."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from logql.propagate.carry import Feeders, Import, find_helper, find_import
from logql.propagate.imports import module_file
from logql.propagate.known import Knowledge, defined_names
from logql.propagate.locate import Nowhere, Spot, locate
from logql.propagate.names import (
    Uses,
    binding_kind,
    bound_before,
    header_uses,
    is_bound,
    scope_chain,
    stored_paths,
    unit_bindings,
    uses_of,
)
from logql.propagate.origins import Origins
from logql.propagate.outline import Item, first_line, start_of
from logql.propagate.paths import paths_from, spelled_paths
from logql.propagate.reaching import below, bound_ahead, reaching
from logql.propagate.rename import Path
from logql.propagate.renaming import Renaming
from logql.propagate.result import Refusal
from logql.propagate.values import Values

#: Values that are hardly the same by chance.
_COMPOSED = (ast.Dict, ast.List, ast.Tuple, ast.Set)


@dataclass
class Settled:
    """Renames of dotted paths, lines that feed the statement, and what must be added at module level."""

    renames: dict[Path, Path] = field(default_factory=dict)
    feeders: list[Item] = field(default_factory=list)
    imports: list[Import] = field(default_factory=list)
    helpers: list[Item] = field(default_factory=list)
    #: feeders that keep a place of their own above that of the statement
    staying: dict[Item, Spot] = field(default_factory=dict)
    #: fresh names and the old ones whose values they begin with
    copies: dict[str, str] = field(default_factory=dict)


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
        *,
        logs: bool = True,
    ) -> None:
        self.logs = logs
        self.statement, self.spot, self.matched = statement, spot, matched
        self.new, self.old = statement.unit.outline, spot.unit.outline
        self.new_files, self.old_files = new_files, old_files
        self.knowledge = Knowledge(self.new, self.old, new_files, old_files)
        self.settled = Settled()
        self.values = Values(statement, spot, matched)
        self.names = Renaming(statement, spot, matched, self.knowledge)
        self.origins = Origins(statement, spot, matched, self.names.renamed)
        self.feeders = Feeders(statement, guards, matched)
        #: names that are settled, for one origin of their value each
        self._origins: set[tuple[str, frozenset[Item]]] = set()
        #: what gave those values to names that lines which come along go on with
        self._taken: dict[str, frozenset[Item]] = {}
        #: names that guards and lines which come along bind
        self._own: set[str] = set()
        #: names of which every use is a part of a path that is renamed
        self._replaced: set[str] = set()

    def settle(self, guards: Sequence[Item], node: ast.AST) -> Settled:
        """Settle everything that a statement reads under its guards, from the outside in; raises Refusal."""
        for guard in guards:
            self._settle_uses(header_uses(guard.node), guard.node, guard)
            bound = header_uses(guard.node).writes
            for name in sorted(bound & self.values.names_here):
                self._call_otherwise(name)
            self._own |= bound
        self._settle_node(node, self.statement)
        if self.logs:
            self._set_modes()
        self._check_feeders(guards, node)
        for line in self.feeders.staying():
            self.settled.staying[line] = self._own_place(line)
        self._rename_targets(node)
        self.values.check(node, self.settled.renames)
        self.settled.feeders.sort(key=lambda item: item.index)
        return self.settled

    def _settle_node(self, node: ast.AST, reader: Item) -> None:
        self._settle_uses(uses_of(node), node, reader)
        for reason in self.knowledge.bad_calls(node, self.spot):
            raise Refusal(reason)

    def _settle_uses(self, uses: Uses, node: ast.AST, reader: Item) -> None:
        for name in sorted((uses.reads | uses.late) - self._own):
            origin = (name, reaching(name, reader))
            if origin not in self._origins or name in self._replaced:
                self._origins.add(origin)
                self._name(name, node, reader)
        for path in sorted(uses.paths):
            if path[0] not in self._own | self._replaced:
                self._path(path)
                self._check_attribute(path, reader)
        for path in sorted(spelled_paths(node)):
            other = self.names.other_spelling(path)
            if other is not None and path[0] not in self._own | self._replaced:
                self.settled.renames.setdefault(path, other)

    def _name(self, name: str, node: ast.AST, reader: Item) -> None:
        other = self.values.bound_as(name, reader, self.names.renamed)
        if other is not None:
            self.settled.renames[(name,)] = (other,)
            return
        permuted = self.names.permuted(name) if self.logs else None
        if permuted is not None:
            self.settled.renames[(name,)] = permuted
            self._check_origin(name, permuted[0], reader)
            return
        if self.names.is_bound_here(name):
            self._check_kind(name)
            if self.values.differs(name) and not self._feed(name, reader):
                raise Refusal(f"`{name}` has another value at this place")
            self._check_origin(name, name, reader)
            return
        if self._import(name):
            return
        if self._rename((name,)):
            self._check_origin(name, self.settled.renames[(name,)][0], reader)
            return
        if self._rename_paths(name, node):
            return
        if self._feed(name, reader) or self._equal_constant(name) or self._help(name):
            return
        raise Refusal(self._not_defined(name))

    def _rename(self, path: Path) -> bool:
        other = self.names.old_path(path)
        if other is not None:
            self.settled.renames[path] = other
        return other is not None

    def _check_attribute(self, path: Path, reader: Item) -> None:
        """See that an attribute has not been set anew beside what the old version sets it to."""
        lengths = [length for length in range(len(path), 0, -1) if path[:length] in self.settled.renames]
        other = (*self.settled.renames[path[: lengths[0]]], *path[lengths[0] :]) if lengths else path
        added = self.origins.added(".".join(path), ".".join(other), reader) if self.logs else None
        if added is not None:
            raise Refusal(self._lacking(".".join(path), added))

    def _lacking(self, name: str, added: Item) -> str:
        line, number = first_line(added), start_of(added.node)[0]
        return f"`{name}` has another value at this place: this version lacks `{line}` (line {number})"

    def _check_origin(self, name: str, other: str, reader: Item) -> None:
        """See that the value is not one that the new version defines beside the old one's; such may come along."""
        added = self.origins.added(name, other, reader) if self.logs else None
        if added is None or added in below(self.settled.feeders):
            return
        self.settled.renames.pop((name,), None)
        if not self._feed(name, reader):
            raise Refusal(self._lacking(name, added))

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

    def _check_kind(self, name: str) -> None:
        mine, theirs = binding_kind(name, self.statement.unit), binding_kind(name, self.spot.unit)
        if mine is None or theirs is None or mine == theirs:
            return
        if "variable" in (mine, theirs) and {mine, theirs} & {"function", "class"}:
            raise Refusal(f"`{name}` is a {theirs} at this place, and a {mine} in the newer version")

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
            if any(name == found.name for found in self.settled.imports):
                continue
            constant = not isinstance(helper.node, ast.FunctionDef | ast.ClassDef)
            if is_bound(name, module, len(self.old.items)) and (not constant or not unit_bindings(module) & {name}):
                continue
            imported = find_import(name, helper.unit)
            if imported is not None and self._can_import(imported):
                self.settled.imports.append(imported)
            elif not any(name in header_uses(other.node).writes for other in self.settled.helpers):
                nested = find_helper(name, helper.unit.outline.path, self.new_files)
                if not self._carry_helper(nested):
                    self.settled.helpers.remove(helper)
                    return False
        return True

    def _feed(self, name: str, reader: Item) -> bool:
        found = self.feeders.for_name(name, reader)
        if found is None:
            return False
        if not all(self._take_over(taken, values, found.items) for taken, values in sorted(found.taken.items())):
            return False
        self.settled.feeders += [line for line in found.items if line not in self.settled.feeders]
        own = {written for line in found.items for written in uses_of(line.node).writes}
        for written in sorted(own & (self.values.names_here | found.taken.keys())):
            self._call_otherwise(written)
        self._own |= own
        for line in found.items:
            self._settle_node(line.node, line)
        return True

    def _set_modes(self) -> None:
        """Bring the lines that put a model out of training for what is computed; a replay puts it back."""
        modes = self.feeders.modes()
        if modes is None:
            raise Refusal("what it needs is computed in another mode of the model than it is logged in")
        self.settled.feeders += modes
        for line in modes:
            self._settle_node(line.node, line)

    def _take_over(self, name: str, values: frozenset[Item], lines: Sequence[Item]) -> bool:
        """Let lines that come along go on, under a name of their own, with a value that the old code has there."""
        own, before = below(lines), reaching(name, lines[0])
        grows = any(isinstance(item.node, ast.AugAssign) and name in header_uses(item.node).writes for item in own)
        if (grows and not all(map(self._is_literal, values))) or own & before or not values <= before:
            return False
        other = (name,) if self.names.is_bound_here(name) else self.names.renamed((name,))
        if other is None or len(other) > 1 or self.origins.added(name, other[0], lines[0]) is not None:
            return False
        self.settled.renames.pop((name,), None)
        self.settled.copies[self._call_otherwise(name)] = other[0]
        self._taken[name] = values
        return True

    def _is_literal(self, definition: Item) -> bool:
        """Whether both versions assign a literal there, which nothing can change in place."""
        both = (definition.node, getattr(self.matched.get(definition), "node", None))
        return all(isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) for node in both)

    def _call_otherwise(self, name: str) -> str:
        """Let the lines that come along bind another name than one that is something else at the place."""
        fresh = f"{name}_logged"
        while fresh in self.old.words | self.new.words:
            fresh += "_"
        if self.settled.renames.setdefault((name,), (fresh,)) != (fresh,):
            raise Refusal(f"`{name}` would have to come along, and is something else at this place")
        return fresh

    def _check_feeders(self, guards: Sequence[Item], node: ast.AST) -> None:
        """See that each name that lines which come along bind means in all of them, and in the statement, just that."""
        lines = below(self.settled.feeders)
        made = lines.union(guards)
        bound = {name for item in made for name in header_uses(item.node).writes}
        readers = [(item, header_uses(item.node)) for item in made]
        for item, uses in (*readers, (self.statement, uses_of(node))):
            for name in sorted(bound & uses.reads):
                found, taken = reaching(name, item), self._taken.get(name, frozenset())
                if not found <= made | taken:
                    raise Refusal(f"`{name}` stands for two values in what would have to come along")
                if not taken and not bound_ahead(name, item):
                    raise Refusal(f"`{name}` may be left from an iteration before, which cannot come along")

    def _own_place(self, line: Item) -> Spot:
        """Where a line goes that would have another value beside the statement: before it, in the same block."""
        text = f"`{first_line(line)}`, which it needs from before what acts there,"
        spot = locate(line, self.matched, self.spot.unit)
        inner = line.block in [item.block for item in self.feeders.brought[:-1]]
        if (
            isinstance(spot, Nowhere)
            or spot.block is not self.spot.block
            or spot.position > self.spot.position
            or inner
        ):
            raise Refusal(f"{text} has no place of its own here")
        uses = uses_of(line.node)
        for name in sorted((uses.reads | uses.writes) & unit_bindings(self.statement.unit)):
            other = self.settled.renames.get((name,), (name,))[0]
            read = name in uses.reads and not reaching(name, line) & below(self.settled.feeders)
            if other in self.settled.copies or (read and not self.origins.kept_at(name, other, line, spot)):
                raise Refusal(f"{text} would have another value here")
        return spot

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

    def _rename_targets(self, node: ast.AST) -> None:
        """A name that the statement binds takes the old name where the old code reads it under that name alone."""
        for name in sorted(uses_of(node).writes):
            if (
                (name,) in self.settled.renames
                or name in self.values.names_here
                or name not in unit_bindings(self.statement.unit)
            ):
                continue
            other = self.names.renamed((name,)) or self.names.without_definition(name)
            if other is not None and len(other) == 1:
                self.settled.renames[(name,)] = other
        for path in sorted(stored_paths(node)):
            if not self.settled.renames.keys() & {path[:length] for length in range(1, len(path) + 1)}:
                old = self.names.old_target(path)
                self.settled.renames |= {path: old} if old is not None else {}

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

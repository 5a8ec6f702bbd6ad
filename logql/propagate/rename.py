"""What the old version calls the things that the new one names: from statements that differ by a name alone."""

from __future__ import annotations

import ast
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from logql.propagate.align import align
from logql.propagate.names import all_arguments, dotted
from logql.propagate.outline import Item, Outline, Unit, child_blocks
from logql.propagate.paths import member, spelled

Path = tuple[str, ...]
#: Calls that only go around an iterable and leave the items as they are.
_AROUND = frozenset(("tqdm", "trange", "loop", "log_every", "list", "iter", "progress", "prefetch"))


@dataclass
class Votes:
    """For each dotted path of the new code: what stands in its place in matched statements of the old code.

    `defined` counts the votes of statements that bind the name on both sides, `certain` those of statements that are
    alike but for names.
    """

    used: dict[Path, Counter[Path]] = field(default_factory=lambda: defaultdict(Counter))
    defined: dict[Path, Counter[Path]] = field(default_factory=lambda: defaultdict(Counter))
    certain: dict[Path, Counter[Path]] = field(default_factory=lambda: defaultdict(Counter))
    kept: Counter[Path] = field(default_factory=Counter)
    #: parameters of which each stands at the other's position, while only one of the functions has it
    placed: set[tuple[Path, Path]] = field(default_factory=set)

    def sole(self, path: Path) -> Path | None:
        """What alone stands in the place of a name in statements that are alike otherwise, however few they are."""
        counts = self.certain.get(path, Counter())
        best = next(iter(counts), None)
        if len(counts) != 1 or best is None or best == path or self.kept[best] or self.kept[path]:
            return None
        return best

    def rival(self, path: Path) -> Path | None:
        """Another new name in whose place the old code uses this one, where it never uses it in its own place."""
        if self.used.get(path, Counter())[path]:
            return None
        found = (name for name, counts in self.used.items() if counts[path] >= 2 and not counts[name])
        return next((name for name in found if len(name) == len(path)), None)

    def only_use(self, path: Path) -> Path | None:
        """What alone is used in the place of a name, whatever defines it."""
        counts = self.used.get(path, Counter())
        return next(iter(counts)) if len(counts) == 1 else None

    def renamed(self, path: Path) -> Path | None:
        """The old name of a new one, where how it is defined and used agree; None where that is in doubt."""
        counts = self.used.get(path, Counter()) + self.defined.get(path, Counter())
        if not counts:
            return None
        (best, number), *others = counts.most_common()
        if best == path or number < 4 * sum(count for _, count in others):
            return None
        if self.kept[best] or self.kept[path]:
            return None
        rivals = sum(other[best] for name, other in self.used.items() if name != path)
        if rivals and len(best) == 1:
            return None
        if (path, best) in self.placed and self.used.get(path, Counter())[best]:
            return best
        if self.defined.get(path, Counter())[best] or self.certain.get(path, Counter())[best] >= 2:
            return best
        alike = member(path[-1]) == member(best[-1])
        return best if self.certain.get(path, Counter())[best] and (number >= 2 or alike) else None


def collect_votes(pairs: Mapping[Item, Item], scope: Unit | None = None) -> Votes:
    """Walk matched statements side by side and count which names stand in each other's place.

    With `scope`, only its own names are meant: a parameter that a function in it keeps is another variable.
    """
    votes = Votes()
    for new, old in pairs.items():
        walker = _Walker(votes, keeps_parameters=scope is None or new is scope.header)
        walker.statement(new.node, old.node)
        walker.finish(2 if new.recorded is not None and new.recorded == old.recorded else 1)
    return votes


class _Walker:
    """Compares two syntax trees for as long as they have the same shape."""

    def __init__(self, votes: Votes, keeps_parameters: bool) -> None:
        self.votes = votes
        self.keeps_parameters = keeps_parameters
        self.found: list[tuple[Path, Path, bool]] = []
        self.same_shape = True

    def finish(self, weight: int) -> None:
        """Count what was found; what two versions log under one name is one thing, so it counts more."""
        for mine, other, binds in self.found:
            if mine == other:
                self.votes.kept[mine] += 1
            (self.votes.defined if binds else self.votes.used)[mine][other] += weight
            if self.same_shape:
                self.votes.certain[mine][other] += weight

    def statement(self, new: ast.AST, old: ast.AST) -> None:
        bodies = {id(child) for node in (new, old) for _, block in child_blocks(node) for child in block}
        if isinstance(new, ast.For | ast.AsyncFor) and isinstance(old, ast.For | ast.AsyncFor):
            self._loop(new, old)
            return
        if isinstance(new, ast.FunctionDef | ast.AsyncFunctionDef) and isinstance(
            old, ast.FunctionDef | ast.AsyncFunctionDef
        ):
            self._function(new, old)
            return
        if isinstance(new, ast.ClassDef) and isinstance(old, ast.ClassDef):
            self.found.append(((new.name,), (old.name,), True))
            return
        self.walk(new, old, bodies)

    def walk(self, new: ast.AST, old: ast.AST, skip: set[int]) -> None:
        mine, other = spelled(new), spelled(old)
        if mine is not None and other is not None:
            self._paths(mine, other, new)
            return
        if type(new) is not type(old):
            self.same_shape = False
            return
        for name in new._fields:
            a, b = getattr(new, name), getattr(old, name, None)
            if isinstance(a, ast.AST) and isinstance(b, ast.AST):
                self.walk(a, b, skip)
            elif isinstance(a, list) and isinstance(b, list):
                self._lists(a, b, skip)
            elif a != b and name not in ("ctx", "type_comment", "kind"):
                self.same_shape = False

    def _lists(self, mine: list[object], other: list[object], skip: set[int]) -> None:
        mine = [node for node in mine if id(node) not in skip]
        other = [node for node in other if id(node) not in skip]
        if mine and isinstance(mine[0], ast.keyword):
            named = {node.arg: node.value for node in other if isinstance(node, ast.keyword)}
            for node in mine:
                if isinstance(node, ast.keyword) and node.arg in named:
                    self.walk(node.value, named[node.arg], skip)
            self.same_shape = self.same_shape and len(mine) == len(other)
            return
        if len(mine) != len(other):
            self.same_shape = False
            return
        for a, b in zip(mine, other, strict=True):
            if isinstance(a, ast.AST) and isinstance(b, ast.AST):
                self.walk(a, b, skip)
            elif a != b:
                self.same_shape = False

    def _paths(self, mine: Path, other: Path, node: ast.AST) -> None:
        binds = isinstance(getattr(node, "ctx", None), ast.Store)
        while len(mine) > 1 and len(other) > 1 and mine[-1] == other[-1]:
            self._pair(mine, other, binds)
            mine, other, binds = mine[:-1], other[:-1], False
        if mine[-1].startswith("[") and other[-1].startswith("["):
            self.same_shape = False
            self._paths(mine[:-1], other[:-1], ast.Load())
            return
        self._pair(mine, other, binds)
        if len(mine) > 1 and len(other) > 1 and mine[0] == other[0]:
            self._pair(mine[:1], other[:1], False)

    def _pair(self, mine: Path, other: Path, binds: bool) -> None:
        self.found.append((mine, other, binds))

    def _loop(self, new: ast.For | ast.AsyncFor, old: ast.For | ast.AsyncFor) -> None:
        target, source = _peel(new.target, new.iter)
        old_target, old_source = _peel(old.target, old.iter)
        if (target is new.target) is (old_target is old.target):
            target, old_target = new.target, old.target
        self.walk(target, old_target, set())
        self.walk(source, old_source, set())

    def _function(
        self, new: ast.FunctionDef | ast.AsyncFunctionDef, old: ast.FunctionDef | ast.AsyncFunctionDef
    ) -> None:
        self.found.append(((new.name,), (old.name,), True))
        mine = [argument.arg for argument in all_arguments(new.args)]
        other = [argument.arg for argument in all_arguments(old.args)]
        if (mine[:1] == ["self"]) is not (other[:1] == ["self"]):
            mine, other = [name for name in mine if name != "self"], [name for name in other if name != "self"]
        if len(mine) == len(other):
            for a, b in zip(mine, other, strict=True):
                if self.keeps_parameters or a != b:
                    self.found.append(((a,), (b,), True))
            self.same_shape = sum(a == b for a, b in zip(mine, other, strict=True)) * 2 >= len(mine)
            return
        self.same_shape = False
        for a, b in zip(mine, other, strict=False):
            if a not in other and b not in mine:
                self.votes.placed.add(((a,), (b,)))
        if self.keeps_parameters:
            self.found += [((name,), (name,), True) for name in set(mine) & set(other)]


def _peel(target: ast.expr, source: ast.expr) -> tuple[ast.expr, ast.expr]:
    """A loop's target and iterable without progress bars, `enumerate` and `logql.loop` around them."""
    while isinstance(source, ast.Call):
        path = dotted(source.func)
        name = path[-1] if path else ""
        if name == "enumerate" and source.args and isinstance(target, ast.Tuple) and len(target.elts) == 2:
            target, source = target.elts[1], source.args[0]
        elif name == "loop" and len(source.args) == 2:
            source = source.args[1]
        elif name in _AROUND and source.args:
            source = source.args[0]
        else:
            break
    return target, source


def own_pairs(unit: Unit, host: Unit, matched: Mapping[Item, Item]) -> dict[Item, Item]:
    """The pairs of one scope, its header included."""
    pairs: dict[Item, Item] = dict(matched)
    if unit.header is not None and host.header is not None:
        pairs[unit.header] = host.header
    return pairs


def match_scopes(unit: Unit, host: Unit, matched: Mapping[Item, Item]) -> dict[Item, Item]:
    """All pairs that may tell of names: the scope's own, those around it, and scopes of equal name in both files."""
    pairs = own_pairs(unit, host, matched)
    for mine, theirs in match_outlines(unit.outline, host.outline, unit, host).items():
        pairs.setdefault(mine, theirs)
    return pairs


def match_outlines(new: Outline, old: Outline, *apart: Unit) -> dict[Item, Item]:
    """The pairs of all scopes that have equal names in both files, but for some."""
    pairs: dict[Item, Item] = {}
    by_name = {other.name: other for other in old.units}
    for scope in new.units:
        other = by_name.get(scope.name)
        if other is None or scope in apart or other in apart:
            continue
        if scope.header is not None and other.header is not None:
            pairs.setdefault(scope.header, other.header)
        for mine, theirs in align(scope.items, other.items).items():
            pairs.setdefault(mine, theirs)
    return pairs

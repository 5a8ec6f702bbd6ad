"""Draws cases from histories: a question to propagation together with the answer that is right."""

from __future__ import annotations

import ast
import math
import random
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from bench.propagate.histories import SCOPES, History, Place, Version, draw_fork, histories, normal_form
from bench.propagate.oracle import commute, is_pure, is_standard

STRATA = ("identical", "edited", "moved", "renamed", "split", "carried", "absent")
#: What is asked for in turn: as they come, next to an edit, and by stratum.
QUOTAS = {
    "any": 0.3,
    "near an edit": 0.1,
    "moved": 0.14,
    "renamed": 0.12,
    "split": 0.12,
    "carried": 0.1,
    "absent": 0.12,
}
#: Of these every second case is of a script and another one that began as its copy.
_FORKED = ("moved", "renamed", "split", "carried", "near an edit")
KINDS = (ast.Expr, ast.Assign, ast.AugAssign, ast.AnnAssign, ast.Return, ast.Assert, ast.Delete, ast.Raise)
_BLOCKS = (ast.For, ast.If, ast.While, ast.With)
_SHORTEST = 40
#: Draws from one file's history, and cases of one pair of versions, before the next one's turn.
_DRAWS, _FROM_PAIR = 6, 2
#: Histories tried for each case that is wanted, before a rare stratum is given up.
_PATIENCE = 3
#: Cases of one stratum with the same statement (`args = parse_args()`), where they are not drawn as they come.
_OF_ONE_TEXT = 2
#: Other files of the repository among which a file's origin is looked for.
_COPIES = 6


@dataclass(frozen=True)
class Case:
    """One question with its answer: `expected` is the old text as it was, None where a refusal is right."""

    repository: str
    path: str
    new_commit: str
    old_commit: str
    distance: int
    stratum: str
    line: int
    new: str
    old: str
    expected: str | None
    statement: str
    wanted: str
    forked: bool

    @property
    def natural(self) -> bool:
        """Whether it was drawn without regard to the stratum."""
        return self.wanted == "any"


@dataclass(frozen=True)
class Found:
    """A statement of the newer version, and the older text without what must come back."""

    stratum: str
    statement: Place
    old: str
    expected: str | None
    #: whether a statement next to it stands next to it in the older version, too
    company: bool = True

    @property
    def moved(self) -> bool:
        return self.stratum == "moved"


def gather(repositories: Sequence[str], cases: int, half: str, seed: int) -> list[Case]:
    """Draw cases until each quota is met, or until nothing more is found for it."""
    random_ = random.Random(seed)
    pools = []
    for name in repositories:
        repository, _, folder = name.partition(":")
        pools += list(histories(repository, folder, half))
    found: list[Case] = []
    seen: set[tuple[str, str, str, int]] = set()
    for wanted, share in QUOTAS.items():
        found += _draw(pools, wanted, round(cases * share), random_, seen)
    return found


def _draw(
    pools: Sequence[History], wanted: str, number: int, random_: random.Random, seen: set[tuple[str, str, str, int]]
) -> list[Case]:
    found: list[Case] = []
    texts: Counter[tuple[str, str]] = Counter()
    weights = [math.sqrt(len(history.commits)) for history in pools]
    for _ in range(number * _PATIENCE):
        if len(found) >= number:
            break
        history = random_.choices(pools, weights)[0]
        near = [other for other in pools if other.repository == history.repository and other is not history]
        others = random_.choices(near, k=_COPIES) if near and wanted in _FORKED and random_.random() < 0.5 else []
        for _ in range(_DRAWS):
            pair = draw_fork(history, others, random_) if others else draw_versions(history, random_)
            if pair is None:
                continue
            for case in _of_pair(history, *pair, wanted, random_, forked=bool(others)):
                key = (case.path, case.new_commit, case.old_commit, case.line)
                often = case.natural or texts[case.stratum, case.statement] < _OF_ONE_TEXT
                if key not in seen and often:
                    seen.add(key)
                    texts[case.stratum, case.statement] += 1
                    found.append(case)
        for used in (history, *others):
            used.forget()
    return found[:number]


def draw_versions(history: History, random_: random.Random) -> tuple[Version, Version] | None:
    """Two versions of one file, their distance drawn log-uniformly."""
    newer = random_.randrange(1, len(history.commits))
    older = max(0, newer - int(2 ** random_.uniform(0, math.log2(newer + 1))))
    new, old = history.version(newer), history.version(older)
    return (new, old) if new is not None and old is not None and new.places and old.places else None


def _of_pair(
    history: History, new: Version, old: Version, wanted: str, random_: random.Random, *, forked: bool
) -> Iterator[Case]:
    finder = _FINDERS.get(wanted, _placed)
    drawn = finder(new, old, random_, wanted)
    sure = (found for found in drawn if found.company or wanted == "any" or not (forked or found.moved))
    for number, found in enumerate(sure):
        if number == (1 if wanted == "any" else _FROM_PAIR):
            return
        yield Case(
            history.repository,
            history.path,
            new.commit,
            old.commit,
            new.ordinal - old.ordinal,
            found.stratum,
            found.statement.node.lineno,
            new.source,
            found.old,
            found.expected,
            ast.unparse(found.statement.node),
            wanted,
            forked,
        )


def _candidates(version: Version, random_: random.Random) -> list[Place]:
    found = [place for place in version.places if isinstance(place.node, KINDS) and len(place.dump) > _SHORTEST]
    random_.shuffle(found)
    return found


def _placed(new: Version, old: Version, random_: random.Random, wanted: str) -> Iterator[Found]:
    """Statements that both versions have."""
    for ours in _candidates(new, random_):
        theirs = counterpart(ours, new, old)
        if theirs is None:
            continue
        stratum = stratum_of(ours, theirs, new, old)
        if wanted == "near an edit":
            if _neighbours(ours) == _neighbours(theirs):
                continue
        elif wanted not in ("any", stratum):
            continue
        text = take_out(old.source, theirs)
        if text is not None:
            yield Found(stratum, ours, text, old.source, _company(ours, theirs))


def take_out(source: str, *places: Place) -> str | None:
    """The text without statements, or None where they cannot be cut out by whole lines."""
    lines = source.splitlines(keepends=True)
    gone: set[int] = set()
    for place in places:
        node = place.node
        if len(place.block) - sum(other.block is place.block for other in places) < 1:
            return None
        first = min([node.lineno, *[d.lineno for d in getattr(node, "decorator_list", [])]])
        last = node.end_lineno or first
        head = lines[first - 1].encode()[: node.col_offset]
        tail = lines[last - 1].encode()[node.end_col_offset :].strip()
        if head.strip() or (tail and not tail.startswith(b"#")):
            return None
        gone.update(range(first - 1, last))
    text = "".join(line for number, line in enumerate(lines) if number not in gone)
    try:
        ast.parse(text)
    except SyntaxError:
        return None
    return text


def _neighbours(place: Place) -> tuple[str, str]:
    """Normal forms of the statements next to one in its block."""
    at = place.position
    around = (place.block[at - 1] if at else None, place.block[at + 1] if at + 1 < len(place.block) else None)
    before, after = (ast.dump(node) if node is not None else "" for node in around)
    return before, after


def _company(ours: Place, theirs: Place, *made: Place, form: Callable[[ast.stmt], str] = normal_form) -> bool:
    """Whether the statement just before, or just behind, is the same; those taken along do not count."""
    gone = [place.node for place in made]

    def beside(place: Place) -> Iterator[str | None]:
        block = [node for node in place.block if not any(node is other for other in gone)]
        at = next(number for number, node in enumerate(block) if node is place.node)
        for number in (at - 1, at + 1):
            yield form(block[number]) if 0 <= number < len(block) else None

    return any(mine is not None and mine == other for mine, other in zip(beside(ours), beside(theirs), strict=True))


def counterpart(ours: Place, new: Version, old: Version) -> Place | None:
    """The same statement in the old version, where it is beyond doubt which one that is."""
    in_new, in_old = new.by_dump[ours.dump], old.by_dump.get(ours.dump, [])
    if len(in_new) == len(in_old) and [p.scope for p in in_new] == [p.scope for p in in_old]:
        return in_old[in_new.index(ours)]
    same_new = [p for p in in_new if p.scope == ours.scope]
    same_old = [p for p in in_old if p.scope == ours.scope]
    if len(same_new) == len(same_old) == 1:
        return same_old[0]
    return in_old[0] if len(in_new) == len(in_old) == 1 else None


def stratum_of(ours: Place, theirs: Place, new: Version, old: Version) -> str:
    if ours.scope != theirs.scope:
        return "split" if theirs.scope in new.scope_names or ours.scope in old.scope_names else "moved"
    mine = [place.dump for place in new.scopes[ours.scope]]
    other = [place.dump for place in old.scopes[theirs.scope]]
    if mine == other:
        return "identical"
    return "moved" if sorted(mine) == sorted(other) or _order_changed(ours, mine, other) else "edited"


def _order_changed(ours: Place, mine: list[str], other: list[str]) -> bool:
    """Whether a neighbour that both versions have stands on the other side of the statement."""
    at_new, at_old = mine.index(ours.dump), other.index(ours.dump)
    before_new = set(mine[max(0, at_new - 4) : at_new])
    after_old = set(other[at_old + 1 :]) - set(other[:at_old])
    return bool((before_new - set(mine[at_new:])) & after_old)


def _renamed(new: Version, old: Version, random_: random.Random, _: str) -> Iterator[Found]:
    """Statements that differ from the old ones by names of the file's own, where others show the same renaming."""
    here, there = _by_shape(new, old), _by_shape(old, new)
    pairs: list[tuple[Place, Place, dict[str, str]]] = []
    for shape, found in here.items():
        others = there.get(shape, [])
        renaming = renaming_of(found[0].node, others[0].node) if len(found) == len(others) == 1 else None
        if renaming:
            pairs.append((found[0], others[0], renaming))
    random_.shuffle(pairs)
    words_new, words_old = (frozenset(re.findall(r"[^\W\d]\w*", version.source)) for version in (new, old))
    own = _definitions(new.tree) | {place.node.name for place in new.places if isinstance(place.node, SCOPES)}
    for ours, theirs, renaming in pairs:
        clean = all(a not in words_old and b not in words_new and a in own for a, b in renaming.items())
        shown = all(any(other.get(a) == b for o, _, other in pairs if o is not ours) for a, b in renaming.items())
        text = take_out(old.source, theirs) if clean and shown else None
        if text is not None:
            yield Found("renamed", ours, text, old.source, _company(ours, theirs, form=shape_of))


def _by_shape(version: Version, other: Version) -> dict[tuple[str, str], list[Place]]:
    """Statements that the other version lacks, by scope and by what they say apart from names."""
    shapes: dict[tuple[str, str], list[Place]] = defaultdict(list)
    for place in version.places:
        if isinstance(place.node, KINDS) and place.dump not in other.by_dump and len(place.dump) > _SHORTEST:
            shapes[place.scope, shape_of(place.node)].append(place)
    return shapes


def shape_of(node: ast.stmt) -> str:
    """What a statement, or the header of a compound one, says apart from names."""
    return re.sub(r"(id|attr)='[^']*'", r"\1", normal_form(node))


def renaming_of(ours: ast.stmt, theirs: ast.stmt) -> dict[str, str] | None:
    """The renaming of identifiers that turns one statement into the other, if there is one."""
    pattern = r"(?:id|attr)='([^']*)'"
    mine, other = re.findall(pattern, ast.dump(ours)), re.findall(pattern, ast.dump(theirs))
    renaming: dict[str, str] = {}
    for a, b in zip(mine, other, strict=True):
        if renaming.setdefault(a, b) != b:
            return None
    if len(set(renaming.values())) != len(renaming):
        return None
    return {a: b for a, b in renaming.items() if a != b}


def _carried(new: Version, old: Version, random_: random.Random, _: str) -> Iterator[Found]:
    """Statements together with what both versions have for them alone: a feeding line, an import, a constant."""
    for ours in _candidates(new, random_):
        theirs = counterpart(ours, new, old)
        if theirs is None:
            continue
        for name in sorted(n.id for n in ast.walk(ours.node) if isinstance(n, ast.Name)):
            mine, other = _made_for(name, ours, new), _made_for(name, theirs, old)
            if mine is None or other is None or mine.dump != other.dump:
                continue
            text = take_out(old.source, theirs, other)
            if text is not None:
                yield Found("carried", ours, text, old.source, _company(ours, theirs, mine, other))
                break


def _made_for(name: str, reader: Place, version: Version) -> Place | None:
    """What binds a name that the statement alone reads, where that may come along with it."""
    own = [n for n in ast.walk(reader.node) if isinstance(n, ast.Name) and n.id == name]
    if version.stores[name] != 1 or version.loads[name] != len(own):
        return None
    makers = [place for place in version.places if _makes(name, place.node)]
    if len(makers) != 1 or makers[0].node is reader.node:
        return None
    maker = makers[0]
    if maker.block is reader.block:
        between = maker.block[maker.position + 1 : reader.position]
        feeds = maker.position < reader.position and all(commute(maker.node, node) for node in between)
        return maker if feeds else None
    return maker if not maker.scope and maker.block is version.tree.body else None


def _makes(name: str, node: ast.stmt) -> bool:
    """A pure assignment to the name alone, or an import of the name alone from the standard library."""
    if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
        return node.targets[0].id == name and is_pure(node.value)
    if isinstance(node, ast.Import | ast.ImportFrom) and len(node.names) == 1:
        alias = node.names[0]
        module = node.module if isinstance(node, ast.ImportFrom) and not node.level else alias.name
        return (alias.asname or alias.name).split(".")[0] == name and is_standard(module or ".")
    return False


def _absent(new: Version, old: Version, random_: random.Random, _: str) -> Iterator[Found]:
    """Statements that read a name (or an attribute of self or args) of which the old text knows nothing."""
    words = frozenset(re.findall(r"[^\W\d]\w*", old.source))
    defined = _definitions(new.tree)
    for ours in _candidates(new, random_):
        unknown = {word for word in _needs(ours.node) if word not in words}
        if unknown & defined and _used_elsewhere(unknown, ours, new):
            yield Found("absent", ours, old.source, None)


def _definitions(tree: ast.Module) -> set[str]:
    """Names that are surely defined in this file: assigned variables, parameters, attributes, arguments."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.arg):
            found.add(node.arg)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            found.add(node.attr)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("--"):
            found.add(node.value[2:].replace("-", "_"))
    return found


def _needs(node: ast.stmt) -> set[str]:
    """Names and attributes of self/args that the statement reads from outside of itself."""
    inner = {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    inner |= {n.arg for n in ast.walk(node) if isinstance(n, ast.arg)}
    found = set()
    for inside in ast.walk(node):
        if isinstance(inside, ast.Name) and isinstance(inside.ctx, ast.Load) and inside.id not in inner:
            found.add(inside.id)
        elif isinstance(inside, ast.Attribute) and _root(inside) in ("self", "args", "opt", "config"):
            found.add(inside.attr)
    return found


def _root(node: ast.Attribute) -> str | None:
    """`a` of a loaded `a.b`."""
    return node.value.id if isinstance(node.value, ast.Name) and isinstance(node.ctx, ast.Load) else None


def _used_elsewhere(unknown: set[str], ours: Place, new: Version) -> bool:
    """Whether one of the names has another reader, so that what defines it does not exist for this statement alone."""
    uses: Counter[str] = Counter()
    for place in new.places:
        if isinstance(place.node, (*KINDS, *_BLOCKS)) and place.node is not ours.node:
            for n in ast.walk(place.node):
                if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load):
                    uses[n.id] += 1
                elif isinstance(n, ast.Attribute):
                    uses[n.attr] += 1
    return any(uses[name] for name in unknown)


_FINDERS: dict[str, Callable[[Version, Version, random.Random, str], Iterator[Found]]] = {
    "renamed": _renamed,
    "carried": _carried,
    "absent": _absent,
}

"""The place of a statement in an old scope, from what its neighbours and enclosing blocks became."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from logql.propagate.align import SHORT
from logql.propagate.inline import Span, find_spans
from logql.propagate.names import header_uses, uses_of
from logql.propagate.outline import Item, Outline, Unit, first_line, start_of
from logql.propagate.purity import changes, is_log, is_quiet, may_swap
from logql.propagate.purpose import serves_logs


@dataclass(frozen=True)
class Spot:
    """A place in an old file: before `block[position]`, or at the block's end."""

    unit: Unit
    parent: Item | None
    block: list[Item]
    position: int
    confidence: float
    slot: str = "body"

    @property
    def before(self) -> Item | None:
        return self.block[self.position - 1] if self.position else None

    @property
    def after(self) -> Item | None:
        return self.block[self.position] if self.position < len(self.block) else None

    @property
    def index(self) -> int:
        """Index in the outline of the first statement that comes after the place."""
        if self.after is not None:
            return self.after.index
        if self.block:
            return self.block[-1].end
        return self.parent.end if self.parent is not None else len(self.unit.outline.items)


@dataclass(frozen=True)
class Nowhere:
    """Why no place was found, and the lines that came near."""

    reason: str
    candidates: tuple[Spot, ...] = ()


def locate(statement: Item, matched: Mapping[Item, Item], host: Unit) -> Spot | Nowhere:
    """Find the gap of the old scope that corresponds to where `statement` stands."""
    ahead, behind = _neighbours(statement, matched)
    spans = find_spans([*ahead[:1], *behind[:1]], host, matched)
    before, skipped_before = _nearest(ahead, matched, {item: last for item, (_, last) in spans.items()})
    after, skipped_after = _nearest(behind, matched, {item: first for item, (first, _) in spans.items()})
    target = _target_block(statement, matched, host, spans)
    if target is None:
        return Nowhere(_why_no_block(statement, matched))
    if skipped_before == skipped_after == 0 and _torn(statement, before, after):
        return Nowhere("the statements before and after it stand in different blocks here")
    low, high = _lift(before, target), _lift(after, target)
    if low is None:
        low, skipped_before = _bound(statement, matched, target, ahead=True), skipped_before or int(bool(ahead))
    if high is None:
        high, skipped_after = _bound(statement, matched, target, ahead=False), skipped_after or int(bool(behind))
    first = low.position + 1 if low is not None else 0
    last = high.position if high is not None else len(target.items)
    if first > last:
        return Nowhere("the statements before and after it stand in the opposite order here")
    defined = frozenset(name for name in uses_of(statement.node).reads if _definition_kept(name, statement, matched))
    gap = _Gap(
        statement,
        target.items[first:last],
        low,
        high,
        skipped_before,
        skipped_after,
        defined,
        bool(ahead),
        bool(behind),
        _sides(statement, target.items[first:last], matched),
    )
    found = _choose(target, first, gap)
    if isinstance(found, Spot) and found.before is not None and isinstance(found.before.node, _LEAVING):
        return Nowhere("what stands behind the end of its block here never runs", (found,))
    if isinstance(found, Spot) and _apart(statement, found, matched):
        return Nowhere("the statement next to it stands on the other side of that place here", (found,))
    return found


def _apart(statement: Item, spot: Spot, matched: Mapping[Item, Item]) -> bool:
    """Whether what stands next to the statement, and once in the old scope, is on the other side of the place."""
    taken = set(matched.values())
    for step in (-1, 1):
        at = statement.position + step
        beside = statement.block[at] if 0 <= at < len(statement.block) else None
        if beside is None or beside in matched or len(beside.tokens) <= SHORT:
            continue
        found = [item for item in spot.unit.items if item.key == beside.key]
        if len(found) == 1 and found[0] not in taken and (found[0].index < spot.index) is not (step < 0):
            low, high = sorted((found[0].position, spot.position))
            between = [*spot.block[low : high + 1], beside]
            return found[0].block is not spot.block or not all(may_swap(statement.node, i.node) for i in between)
    return False


def _sides(statement: Item, gap: list[Item], matched: Mapping[Item, Item]) -> dict[Item, bool]:
    """For old statements of a gap that the new block has out of order, once each: whether it has them ahead."""
    if not gap:
        return {}
    taken = set(matched.values())
    ours = [item for item in statement.block if item not in matched and len(item.tokens) > SHORT]
    theirs = Counter(item.key for item in gap[0].unit.items if item not in taken)
    times = Counter(item.key for item in ours)
    where = {item.key: item.index < statement.index for item in ours if times[item.key] == theirs[item.key] == 1}
    return {item: where[item.key] for item in gap if item.key in where and item not in taken}


@dataclass(frozen=True)
class _Block:
    unit: Unit
    parent: Item | None
    slot: str
    items: list[Item]


def _why_no_block(statement: Item, matched: Mapping[Item, Item]) -> str:
    parent = statement.parent
    if parent is None or parent is statement.unit.header or parent in matched:
        return "no statement of its block exists here"
    header = parent.unit.outline.text(parent.node).split("\n", 1)[0].strip()
    return f"`{header}`, which decides whether and how often it runs, does not exist here"


def _torn(statement: Item, before: Item | None, after: Item | None) -> bool:
    """Whether old code ends or begins a block between the neighbours of a statement that acts."""
    if before is None or after is None or before.block is after.block or is_quiet(statement.node):
        return False
    return before.depth != after.depth


def _bound(statement: Item, matched: Mapping[Item, Item], target: _Block, *, ahead: bool) -> Item | None:
    """The nearest statement in the order of the text whose counterpart bounds the place within the target block."""
    items = statement.unit.items
    ordered = [item for item in items if item.index < statement.index][::-1] if ahead else items
    for item in ordered:
        if not ahead and item.index < statement.end:
            continue
        other = matched.get(item)
        if other is None:
            continue
        lifted = _lift(other, target)
        if lifted is not None or other is target.parent:
            return lifted
    return None


def _neighbours(statement: Item, matched: Mapping[Item, Item]) -> tuple[list[Item], list[Item]]:
    """Statements before (nearest first) and after one, looking through wrappers that only the new version has."""
    before, after = [], []
    while True:
        before += statement.block[: statement.position][::-1]
        after += statement.block[statement.position + 1 :]
        if not _is_wrapper(statement, matched):
            return before, after
        assert statement.parent is not None
        statement = statement.parent


def _is_wrapper(statement: Item, matched: Mapping[Item, Item]) -> bool:
    """Whether what is around a statement is new and changes nothing about whether and how often it runs.

    An `if` counts only where the old version has other statements of its branch without it.
    """
    parent = statement.parent
    if parent is None or parent in matched or parent.unit is not statement.unit or statement.slot != "body":
        return False
    if isinstance(parent.node, ast.If):
        return any(sibling in matched for sibling in statement.block)
    return isinstance(parent.node, ast.With | ast.AsyncWith | ast.Try)


def _nearest(siblings: list[Item], matched: Mapping[Item, Item], ends: Mapping[Item, Item]) -> tuple[Item | None, int]:
    """The nearest matched sibling (or the near end of what a call stands for), and how many acting ones are between."""
    skipped = 0
    for sibling in siblings:
        other = ends.get(sibling) or matched.get(sibling)
        if other is not None:
            return other, skipped
        skipped += not (is_log(sibling.node) or serves_logs(sibling))
    return None, skipped


def _target_block(
    statement: Item, matched: Mapping[Item, Item], host: Unit, spans: Mapping[Item, Span]
) -> _Block | None:
    """The old block that the statement's block became: its neighbours and the header around it vote."""
    votes: dict[int, float] = {}
    blocks: dict[int, _Block] = {}

    def vote(block: _Block, weight: float) -> None:
        blocks[id(block.items)] = block
        votes[id(block.items)] = votes.get(id(block.items), 0.0) + weight

    for siblings in _neighbours(statement, matched):
        weight = 1.0
        for sibling in siblings[:6]:
            other = spans.get(sibling, (None,))[0] or matched.get(sibling)
            if other is not None:
                vote(_Block(other.unit, other.parent, other.slot, other.block), weight)
                weight *= 0.4
            else:
                weight *= 0.8
    same = _same_block(statement, matched, host)
    if same is not None:
        vote(same, 0.9 if statement.block is not statement.unit.body or _same_scope(statement.unit, host) else 0.2)
    if not votes:
        return None
    return blocks[max(votes, key=lambda block: votes[block])]


def _same_block(statement: Item, matched: Mapping[Item, Item], host: Unit) -> _Block | None:
    """The block below the old counterpart of what is directly around the statement."""
    while _is_wrapper(statement, matched):
        assert statement.parent is not None
        statement = statement.parent
    parent = statement.parent
    if statement.block is statement.unit.body:
        return _Block(host, host.header, "body", host.body)
    if parent is None or parent not in matched:
        return None
    other = matched[parent]
    for item in host.outline.items[other.index + 1 : other.end]:
        if item.parent is other and item.slot == statement.slot:
            return _Block(host, other, item.slot, item.block)
    return None


def _same_scope(one: Unit, other: Unit) -> bool:
    return type(one.node) is type(other.node) and (
        one.name == other.name or one.name.rpartition(".")[2] == other.name.rpartition(".")[2]
    )


def _lift(item: Item | None, target: _Block) -> Item | None:
    """The ancestor of `item` that stands in the target block."""
    while item is not None and item.block is not target.items:
        item = item.parent
    return item


def pinned_spot(outline: Outline, line: int) -> Spot | Nowhere:
    """The place before the statement that starts at a line, or before the first one after it."""
    for item in outline.items:
        if isinstance(item.node, ast.stmt) and start_of(item.node)[0] >= line:
            return Spot(item.unit, item.parent, item.block, item.position, 1.0, item.slot)
    module = outline.units[0]
    return Spot(module, None, module.body, len(module.body), 1.0)


def _definition_kept(name: str, statement: Item, matched: Mapping[Item, Item]) -> bool:
    """Whether what last binds a name before the statement exists in the old version, binding it there too."""
    definition = None
    for item in statement.unit.items:
        if item.index >= statement.index:
            break
        if name in header_uses(item.node).writes:
            definition = item
    other = matched.get(definition) if definition is not None else None
    return other is not None and name in header_uses(other.node).writes


@dataclass(frozen=True)
class _Gap:
    """Unmatched old statements between two anchors, and how far the new anchors are from the statement."""

    statement: Item
    items: list[Item]
    low: Item | None
    high: Item | None
    skipped_before: int
    skipped_after: int
    #: names that the statement reads whose defining statement exists in the old version before the gap
    defined: frozenset[str]
    has_before: bool
    has_after: bool
    #: statements of the gap that stand elsewhere in the new block, and whether that is ahead of the statement
    ahead: Mapping[Item, bool]

    @property
    def follows(self) -> bool:
        """Whether the statement directly follows the anchor before it, or opens its block."""
        return self.skipped_before == 0 and (self.low is not None or not self.has_before)

    @property
    def precedes(self) -> bool:
        """Whether the statement directly precedes the anchor after it, or ends its block."""
        return self.skipped_after == 0 and (self.high is not None or not self.has_after)


def _choose(target: _Block, first: int, gap: _Gap) -> Spot | Nowhere:
    def spot(cut: int, confidence: float) -> Spot:
        return Spot(target.unit, target.parent, target.items, first + cut, confidence, target.slot)

    if not (gap.follows or gap.precedes) and gap.skipped_before + gap.skipped_after > _FAR:
        return Nowhere("it stands among code that this version lacks", (spot(0, 0.0),))
    if not gap.items:
        return spot(0, 0.98 if gap.follows and gap.precedes else 0.95)
    scores = [_gap_score(gap, cut) for cut in range(len(gap.items) + 1)]
    ranked = sorted(range(len(scores)), key=lambda cut: -scores[cut])
    best = ranked[0]
    around = _gone_round(target, gap)
    if around is not None:
        return Nowhere(f"`{first_line(around)}` stands at the other end of the iteration here", (spot(best, 0.0),))
    margin = _MARGIN
    if gap.low is None and gap.high is None:
        margin = _MARGIN_QUIET if is_log(gap.statement.node) else _MARGIN_ALONE
    doubtful = [cut for cut in ranked[1:] if scores[best] - scores[cut] < margin]
    if all(_commutes(gap, best, cut) for cut in doubtful):
        return spot(best, 0.9 if doubtful else 0.8)
    return Nowhere(
        "the code next to it has changed too much to tell its place",
        tuple(spot(cut, 0.0) for cut in (best, *doubtful[:4])),
    )


def _gone_round(target: _Block, gap: _Gap) -> Item | None:
    """What acts between a log statement's places, and stands at the other end of the loop's body in the new code.

    What it leaves behind reaches the statement by way of the next iteration in one of the versions.
    """
    if not is_log(gap.statement.node) or target.parent is None or not isinstance(target.parent.node, _LOOPS):
        return None
    moved = (item for item in gap.items if item in gap.ahead and not may_swap(gap.statement.node, item.node))
    return next(moved, None)


#: Scores closer than this do not tell two places apart, with and without a neighbour that both versions have.
_MARGIN = 0.15
_MARGIN_ALONE = 0.6
_MARGIN_QUIET = 0.3
#: What it weighs that the statement reads what the one before it binds.
_DEFINES = 0.3
#: What it weighs that a statement of the gap stands on one side of it in the new block, too.
_MOVED = 0.8
#: What comes behind these in a block never runs.
_LEAVING = (ast.Return, ast.Raise, ast.Break, ast.Continue)
_LOOPS = (ast.For, ast.AsyncFor, ast.While)
#: With this many new statements between it and what both versions have, a statement belongs to the new code.
_FAR = 3


def _gap_score(gap: _Gap, cut: int) -> float:
    """How well the statement fits after `cut` of the unmatched old statements, by adjacency and by data flow."""
    uses = uses_of(gap.statement.node)
    anchored = gap.low is not None or gap.high is not None
    score = 0.0
    if cut == 0 and gap.follows:
        score += 1.0 if anchored else 0.5
        made = uses_of(gap.low.node).writes & uses.reads if gap.low is not None else set()
        if made and not any(changes(item.node, made) for item in gap.items):
            score += _DEFINES
    if cut == len(gap.items) and gap.precedes:
        score += 1.1 if anchored else 0.5
    if isinstance(gap.statement.node, _LEAVING):
        score -= 1.0 * (len(gap.items) - cut)
    for number, item in enumerate(gap.items):
        score -= _MOVED * (gap.ahead.get(item, number < cut) is not (number < cut))
        theirs = uses_of(item.node)
        distance = abs(cut - number) - (number < cut)
        rebound = theirs.writes & uses.reads
        if number < cut:
            score -= 2.0 * len(uses.writes & (theirs.reads - theirs.writes))
            score += (0.3 - 0.02 * distance) * bool(rebound - gap.defined)
            score -= 0.7 * bool((rebound - theirs.reads) & gap.defined)
        else:
            score -= 1.0 * bool(rebound - gap.defined)
            score += (0.5 - 0.02 * distance) * bool(theirs.reads & uses.writes)
    return score


def _commutes(gap: _Gap, one: int, other: int) -> bool:
    """Whether the statement may change places with all that stands between two cuts of the gap."""
    return all(may_swap(gap.statement.node, item.node) for item in gap.items[min(one, other) : max(one, other)])

"""Which statement of the old scope is which statement of the new one."""

from __future__ import annotations

import ast
import builtins
import keyword
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from logql.propagate.outline import Item, without_self

#: Pairs whose tokens overlap less than this are different statements.
LEAST = 0.5
#: Statements of so few tokens (`pass`) are alike by chance.
SHORT = 2
_RECORDED = 0.75
_SAME_RESULT = 0.6
#: What two statements count that are alike but for the names of variables, if they say as much as this.
_SAME_SHAPE = 0.55
_LONG = 12
_LARGEST = 40_000
_KEPT = frozenset(keyword.kwlist) | frozenset(dir(builtins))
_GROUPS: dict[type[ast.AST], str] = {
    ast.FunctionDef: "def",
    ast.AsyncFunctionDef: "def",
    ast.ClassDef: "class",
    ast.For: "for",
    ast.AsyncFor: "for",
    ast.While: "while",
    ast.If: "if",
    ast.With: "with",
    ast.AsyncWith: "with",
    ast.Try: "try",
    ast.ExceptHandler: "except",
    ast.match_case: "case",
    ast.Match: "match",
    ast.Import: "import",
    ast.ImportFrom: "import",
    ast.Return: "return",
    ast.Raise: "raise",
    ast.Assert: "assert",
    ast.Delete: "del",
    ast.Pass: "pass",
    ast.Break: "break",
    ast.Continue: "continue",
    ast.Global: "global",
    ast.Nonlocal: "global",
}


def align(new: Sequence[Item], old: Sequence[Item]) -> dict[Item, Item]:
    """Match statements in order, by equal text where it is unique, by likeness between such anchors."""
    matched: dict[Item, Item] = {}
    _align_range(new, old, 0, len(new), 0, len(old), matched)
    return matched


def match_moved(new: Sequence[Item], old: Sequence[Item], matched: Mapping[Item, Item]) -> dict[Item, Item]:
    """Statements that changed their order: of a text that stands once on either side, and is matched on neither."""
    taken = set(matched.values())
    ours, theirs = Counter(item.key for item in new), Counter(item.key for item in old)
    where = {item.key: item for item in old if theirs[item.key] == 1 and item not in taken}
    free = (item for item in new if item not in matched and ours[item.key] == 1 and len(item.tokens) > SHORT)
    return {item: where[item.key] for item in free if item.key in where}


def _align_range(
    new: Sequence[Item], old: Sequence[Item], a: int, b: int, c: int, d: int, matched: dict[Item, Item]
) -> None:
    while a < b and c < d and new[a].key == old[c].key and _same_place(new[a], old[c]):
        matched[new[a]] = old[c]
        a, c = a + 1, c + 1
    while a < b and c < d and new[b - 1].key == old[d - 1].key and _same_place(new[b - 1], old[d - 1]):
        b, d = b - 1, d - 1
        matched[new[b]] = old[d]
    if a == b or c == d:
        return
    anchors = _anchors(new, old, a, b, c, d)
    if not anchors:
        _align_likeness(new, old, a, b, c, d, matched)
        return
    for i, j in anchors:
        _align_range(new, old, a, i, c, j, matched)
        matched[new[i]] = old[j]
        a, c = i + 1, j + 1
    _align_range(new, old, a, b, c, d, matched)


def _same_place(one: Item, other: Item) -> bool:
    return one.slot == other.slot and one.depth - other.depth == one.unit.body[0].depth - other.unit.body[0].depth


def _anchors(new: Sequence[Item], old: Sequence[Item], a: int, b: int, c: int, d: int) -> list[tuple[int, int]]:
    """The longest increasing chain of statements whose text is unique on both sides."""
    ours = Counter(new[i].key for i in range(a, b))
    theirs = Counter(old[j].key for j in range(c, d))
    where = {old[j].key: j for j in range(c, d) if theirs[old[j].key] == 1}
    pairs = [
        (i, where[new[i].key])
        for i in range(a, b)
        if ours[new[i].key] == 1 and new[i].key in where and len(new[i].tokens) > SHORT
    ]
    return _longest_chain(pairs)


def _longest_chain(pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    tails: list[int] = []
    last: list[int] = []
    back: list[int] = []
    for position, (_, j) in enumerate(pairs):
        at = bisect_left(tails, j)
        if at == len(tails):
            tails.append(j)
            last.append(position)
        else:
            tails[at] = j
            last[at] = position
        back.append(last[at - 1] if at else -1)
    chain: list[tuple[int, int]] = []
    position = last[-1] if last else -1
    while position >= 0:
        chain.append(pairs[position])
        position = back[position]
    return chain[::-1]


def _align_likeness(
    new: Sequence[Item], old: Sequence[Item], a: int, b: int, c: int, d: int, matched: dict[Item, Item]
) -> None:
    """Needleman-Wunsch over the likeness of statements; long stretches are cut in equal-text pieces first."""
    if (b - a) * (d - c) > _LARGEST:
        return
    width = d - c + 1
    table = [[0.0] * width]
    gains: list[list[float]] = []
    for i in range(a, b):
        row = [0.0] * width
        above = table[-1]
        item = new[i]
        gain_row = [0.0] * (width - 1)
        for j in range(c, d):
            at = j - c
            gain = pair_gain(item, old[j])
            gain_row[at] = gain
            best = above[at] + gain if gain > 0 else 0.0
            if above[at + 1] > best:
                best = above[at + 1]
            if row[at] > best:
                best = row[at]
            row[at + 1] = best
        gains.append(gain_row)
        table.append(row)
    i, j = b - a, d - c
    while i and j:
        here = table[i][j]
        gain = gains[i - 1][j - 1]
        if gain > 0 and abs(here - table[i - 1][j - 1] - gain) < 1e-9:
            matched[new[a + i - 1]] = old[c + j - 1]
            i, j = i - 1, j - 1
        elif here == table[i - 1][j]:
            i -= 1
        else:
            j -= 1


def pair_gain(one: Item, other: Item) -> float:
    """How much it is worth to match two statements: their likeness, weighted by size, plus agreement of context."""
    if one.key == other.key:
        likeness = 1.0
    else:
        likeness = similarity(one, other)
        if likeness < LEAST:
            return 0.0
    size = min(1.0, 0.3 + 0.07 * len(one.tokens))
    gain = likeness * size
    if one.slot == other.slot:
        gain += 0.05
        mine, theirs = one.parent, other.parent
        if mine is not None and theirs is not None and type(mine.node) is type(theirs.node):
            gain += 0.1 if mine.key == theirs.key else 0.05
        elif mine is None and theirs is None:
            gain += 0.1
    return gain


def similarity(one: Item, other: Item) -> float:
    """Share of tokens in common, 0 across kinds; a compound statement counts its body as well.

    Statements that log the same name, or delimit the same loop, are alike whatever else they say; those that log
    different names only as far as the values are: that both log says nothing.
    """
    recorded, there = one.recorded, other.recorded
    if recorded is not None and there is not None:
        if recorded == there:
            return max(_RECORDED, _likeness(one, other))
        if recorded[0] == there[0] == b"log":
            return _likeness_of_values(one, other)
    mine, theirs = _GROUPS.get(type(one.node), "simple"), _GROUPS.get(type(other.node), "simple")
    if mine != theirs:
        return 0.8 * _likeness(one, other) if {mine, theirs} <= {"simple", "return"} else 0.0
    header = _likeness(one, other)
    if header < LEAST and _same_shape(one, other):
        return _SAME_SHAPE
    if not one.compound:
        return max(header, _SAME_RESULT) if _same_result(one, other) else header
    body = _dice(_keys_below(one), _keys_below(other))
    return max(0.5 * header + 0.5 * body, 0.9 * header if header > 0.6 else 0.0)


def _same_shape(one: Item, other: Item) -> bool:
    """Whether a renaming of variables turns one statement, its body included, into the other."""
    if len(one.tokens) != len(other.tokens) or one.end - one.index != other.end - other.index:
        return False
    return bool(_shape(one)) and _shape(one) == _shape(other)


def _shape(item: Item) -> bytes:
    """The text with its variables numbered; called functions, attributes, keywords and literals stay."""
    if item.shape is None:
        numbers: dict[bytes, bytes] = {}
        found: list[bytes] = []
        for inner in item.unit.outline.items[item.index : item.end]:
            tokens = without_self(inner.tokens)
            for before, token, after in zip((b"", *tokens), tokens, (*tokens[1:], b""), strict=False):
                variable = token[:1].isalpha() and before != b"." and after != b"(" and token.decode() not in _KEPT
                found.append(numbers.setdefault(token, b"%d$" % len(numbers)) if variable else token)
        item.shape = b" ".join(found) if len(found) >= _LONG else b""
    return item.shape


def _same_result(one: Item, other: Item) -> bool:
    """Whether both bind the same names to what the same function returns, its arguments aside."""
    return _binding(one) is not None and _binding(one) == _binding(other)


def _binding(item: Item) -> tuple[bytes, ...] | None:
    if not isinstance(item.node, ast.Assign) or not isinstance(item.node.value, ast.Call):
        return None
    tokens = without_self(item.tokens)
    at = tokens.index(b"=") if b"=" in tokens else len(tokens)
    return tokens[: tokens.index(b"(", at)] if b"(" in tokens[at:] else None


def token_similarity(tokens: tuple[bytes, ...], other: Item) -> float:
    """Likeness of a text, given by its tokens, to a simple statement."""
    return _alike(without_self(tokens), without_self(other.tokens))


def _alike(one: tuple[bytes, ...], other: tuple[bytes, ...]) -> float:
    return 0.7 * _dice(_words(one), _words(other)) + 0.3 * _dice(_counted(one), _counted(other))


def _likeness(one: Item, other: Item) -> float:
    """Words in common count more than punctuation."""
    return 0.7 * _dice(_bag(one, words=True), _bag(other, words=True)) + 0.3 * _dice(_bag(one), _bag(other))


def _likeness_of_values(one: Item, other: Item) -> float:
    return _alike(_logged_value(one.tokens), _logged_value(other.tokens))


def _logged_value(tokens: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """What stands behind the name in a log statement."""
    at = next(i for i in range(len(tokens)) if tokens[i] == b"log" and tokens[i + 1] == b"(")
    return without_self(tokens[at + 3 :])


def _bag(item: Item, *, words: bool = False) -> frozenset[tuple[bytes, int]]:
    bag = item.words if words else item.bag
    if bag is None:
        tokens = without_self(item.tokens)
        bag = _words(tokens) if words else _counted(tokens)
        if words:
            item.words = bag
        else:
            item.bag = bag
    return bag


def _words(tokens: Sequence[bytes]) -> frozenset[tuple[bytes, int]]:
    """Names, numbers and strings; an item under a literal key counts as the attribute of that name."""
    before = (b"", *tokens)
    return _counted(
        token[1:-1] if last == b"[" and token[:1] == b'"' else token
        for last, token in zip(before, tokens, strict=False)
        if token[-1:].isalnum() or len(token) > 1
    )


def _keys_below(item: Item) -> frozenset[tuple[bytes, int]]:
    if item.below is None:
        item.below = _counted(inner.key for inner in item.unit.outline.items[item.index + 1 : item.end])
    return item.below


def _counted(values: Iterable[bytes]) -> frozenset[tuple[bytes, int]]:
    counts: dict[bytes, int] = {}
    found = []
    for value in values:
        number = counts.get(value, 0)
        counts[value] = number + 1
        found.append((value, number))
    return frozenset(found)


def _dice(one: frozenset[tuple[bytes, int]], other: frozenset[tuple[bytes, int]]) -> float:
    total = len(one) + len(other)
    return 2 * len(one & other) / total if total else 1.0

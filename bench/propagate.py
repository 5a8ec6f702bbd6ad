"""How often propagation is right on real histories: cases with known answers from any local git repositories.

    python -m bench.propagate --cases 2000 REPOSITORY[:SUBDIRECTORY] ...

A statement that stands in a newer and in an older version of a file is taken out of the older one and must come back
where it was; a statement whose names the older version lacks must be refused. Files are divided by a hash of
repository and path: `--half develop` (default) is for looking at failures, `--half held` for totals only.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import math
import random
import re
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from logql.propagate import place

STRATA = ("identical", "edited", "moved", "renamed", "split", "absent")
_KINDS = (ast.Expr, ast.Assign, ast.AugAssign, ast.AnnAssign, ast.Return, ast.Assert, ast.Delete, ast.Raise)
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


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
    #: drawn without regard to the stratum
    natural: bool = False


@dataclass
class Version:
    """A file at a commit, parsed, with its statements by normal form."""

    commit: str
    ordinal: int
    source: str
    tree: ast.Module
    places: list[Place] = field(default_factory=list)


@dataclass(frozen=True)
class Place:
    """A statement where it stands: the scope's qualified name, its block and its normal form."""

    node: ast.stmt
    block: list[ast.stmt]
    scope: str
    dump: str


#: Cases drawn from a file's history before the next file's turn.
_DRAWS = 10


class History:
    """The versions of one file along a repository's first-parent history, oldest first."""

    def __init__(self, repository: str, path: str, commits: Sequence[tuple[int, str]]) -> None:
        self.repository, self.path, self.commits = repository, path, commits
        self._cache: dict[int, Version | None] = {}

    def version(self, number: int) -> Version | None:
        if number not in self._cache:
            ordinal, commit = self.commits[number]
            self._cache[number] = read_version(self.repository, commit, self.path, ordinal)
        return self._cache[number]

    def forget(self) -> None:
        self._cache.clear()


def git(repository: str, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", repository, *arguments], capture_output=True, check=True)
    return done.stdout.decode("utf-8", "replace")


def read_version(repository: str, commit: str, path: str, ordinal: int) -> Version | None:
    try:
        raw = subprocess.run(
            ["git", "-C", repository, "show", f"{commit}:{path}"],
            capture_output=True,
            check=True,
        ).stdout
        source = raw.decode("utf-8")
        tree = ast.parse(source)
    except (subprocess.CalledProcessError, UnicodeDecodeError, SyntaxError, ValueError):
        return None
    version = Version(commit, ordinal, source, tree)
    _collect(tree, "", version.places)
    return version


def _collect(node: ast.AST, scope: str, into: list[Place]) -> None:
    for name in ("body", "orelse", "finalbody", "handlers", "cases"):
        block = getattr(node, name, None)
        if not isinstance(block, list):
            continue
        for child in block:
            if isinstance(child, ast.stmt):
                into.append(Place(child, block, scope, ast.dump(child)))
            inner = f"{scope}.{child.name}" if isinstance(child, _SCOPES) else scope
            _collect(child, inner, into)


def histories(repository: str, folder: str, half: str) -> Iterator[History]:
    """Histories of at least two versions of the Python files in a folder of a repository."""
    log = git(repository, "log", "--first-parent", "--reverse", "--name-only", "--format=@%H", "--", folder or ".")
    touched: dict[str, list[tuple[int, str]]] = defaultdict(list)
    order = {
        commit: n
        for n, commit in enumerate(git(repository, "log", "--first-parent", "--reverse", "--format=%H").split())
    }
    commit = ""
    for line in log.splitlines():
        if line.startswith("@"):
            commit = line[1:]
        elif line.endswith(".py"):
            touched[line].append((order[commit], commit))
    for path, commits in sorted(touched.items()):
        digest = hashlib.sha256(f"{repository.rstrip('/').split('/')[-2]}:{path}".encode()).digest()[0]
        if len(commits) > 1 and (half == "all" or (digest % 2 == 0) == (half == "develop")):
            yield History(repository, path, commits)


def take_out(source: str, place_: Place) -> str | None:
    """The text without the statement, or None where it cannot be cut out by whole lines."""
    if len(place_.block) < 2:
        return None
    node = place_.node
    lines = source.splitlines(keepends=True)
    first = min([node.lineno, *[d.lineno for d in getattr(node, "decorator_list", [])]])
    head = lines[first - 1].encode()[: node.col_offset]
    tail = lines[node.end_lineno - 1].encode()[node.end_col_offset :].strip()
    if head.strip() or (tail and not tail.startswith(b"#")):
        return None
    text = "".join(lines[: first - 1] + lines[node.end_lineno :])
    try:
        ast.parse(text)
    except SyntaxError:
        return None
    return text


def make_case(history: History, random_: random.Random, wanted: str) -> Case | None:
    """A random case of a file's history, or None where the draw gives none."""
    count = len(history.commits)
    newer = random_.randrange(1, count)
    older = max(0, newer - int(2 ** random_.uniform(0, math.log2(newer + 1))))
    new, old = history.version(newer), history.version(older)
    if new is None or old is None or not new.places or not old.places:
        return None
    if wanted == "absent":
        return _absent_case(history, new, old, random_)
    if wanted == "renamed":
        return _renamed_case(history, new, old, random_)
    return _placed_case(history, new, old, random_, wanted)


def _placed_case(history: History, new: Version, old: Version, random_: random.Random, wanted: str) -> Case | None:
    candidates = [place_ for place_ in new.places if isinstance(place_.node, _KINDS) and len(place_.dump) > 40]
    random_.shuffle(candidates)
    for ours in candidates[:60]:
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
            return _case(history, new, old, stratum, ours, text, old.source)
    return None


def _neighbours(place_: Place) -> tuple[str, str]:
    """Normal forms of the statements next to one in its block."""
    at = next(n for n, node in enumerate(place_.block) if node is place_.node)
    around = (place_.block[at - 1] if at else None, place_.block[at + 1] if at + 1 < len(place_.block) else None)
    before, after = (ast.dump(node) if node is not None else "" for node in around)
    return before, after


def counterpart(ours: Place, new: Version, old: Version) -> Place | None:
    """The same statement in the old version, where it is beyond doubt which one that is."""
    in_new = [p for p in new.places if p.dump == ours.dump]
    in_old = [p for p in old.places if p.dump == ours.dump]
    if len(in_new) == len(in_old) and [p.scope for p in in_new] == [p.scope for p in in_old]:
        return in_old[[p.node for p in in_new].index(ours.node)]
    same_new = [p for p in in_new if p.scope == ours.scope]
    same_old = [p for p in in_old if p.scope == ours.scope]
    if len(same_new) == len(same_old) == 1:
        return same_old[0]
    if len(in_new) == len(in_old) == 1:
        return in_old[0]
    return None


def stratum_of(ours: Place, theirs: Place, new: Version, old: Version) -> str:
    scopes_new = {f"{p.scope}.{p.node.name}" for p in new.places if isinstance(p.node, _SCOPES)} | {""}
    scopes_old = {f"{p.scope}.{p.node.name}" for p in old.places if isinstance(p.node, _SCOPES)} | {""}
    if ours.scope != theirs.scope:
        return "split" if theirs.scope in scopes_new or ours.scope in scopes_old else "moved"
    mine, other = _scope_dumps(ours.scope, new), _scope_dumps(theirs.scope, old)
    if mine == other:
        return "identical"
    if sorted(mine) == sorted(other) or _order_changed(ours, mine, other):
        return "moved"
    return "edited"


def _scope_dumps(scope: str, version: Version) -> list[str]:
    return [p.dump for p in version.places if p.scope == scope and not isinstance(p.node, _SCOPES)]


def _order_changed(ours: Place, mine: list[str], other: list[str]) -> bool:
    """Whether a neighbour that both versions have stands on the other side of the statement."""
    at_new, at_old = mine.index(ours.dump), other.index(ours.dump)
    before_new = set(mine[max(0, at_new - 4) : at_new])
    after_old = set(other[at_old + 1 :]) - set(other[:at_old])
    return bool((before_new - set(mine[at_new:])) & after_old)


def _absent_case(history: History, new: Version, old: Version, random_: random.Random) -> Case | None:
    """A statement that reads a name (or an attribute of self or args) of which the old text knows nothing."""
    words = set(re.findall(r"[^\W\d]\w*", old.source))
    known_new = _definitions(new.tree)
    candidates = []
    for place_ in new.places:
        if not isinstance(place_.node, _KINDS) or len(place_.dump) <= 40:
            continue
        if any(word not in words and word in known_new for word in _needs(place_.node)):
            candidates.append(place_)
    random_.shuffle(candidates)
    for ours in candidates:
        if not _carriable(ours, new, words):
            return _case(history, new, old, "absent", ours, old.source, None)
    return None


def _definitions(tree: ast.Module) -> set[str]:
    """Names that are surely defined in this file: assigned variables, parameters, attributes, functions, arguments."""
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
        elif isinstance(inside, ast.Attribute) and dotted_root(inside) in ("self", "args", "opt", "config"):
            found.add(inside.attr)
    return found


def dotted_root(node: ast.Attribute) -> str | None:
    """`a` of a loaded `a.b`."""
    return node.value.id if isinstance(node.value, ast.Name) and isinstance(node.ctx, ast.Load) else None


def _carriable(ours: Place, new: Version, words: set[str]) -> bool:
    """Whether each unknown name is one that only this statement uses, so that its definition could come along."""
    for name in _needs(ours.node) - words:
        uses = 0
        for place_ in new.places:
            if (
                isinstance(place_.node, (*_KINDS, ast.For, ast.If, ast.While, ast.With))
                and place_.node is not ours.node
            ):
                uses += sum(
                    isinstance(n, ast.Name) and n.id == name and isinstance(n.ctx, ast.Load)
                    for n in ast.walk(place_.node)
                )
                uses += sum(isinstance(n, ast.Attribute) and n.attr == name for n in ast.walk(place_.node))
        if uses:
            return False
    return True


def _renamed_case(history: History, new: Version, old: Version, random_: random.Random) -> Case | None:
    """A statement that differs from the old one by names alone, where other statements show the same renaming."""
    in_old = {p.dump for p in old.places}
    in_new = {p.dump for p in new.places}
    shapes: dict[tuple[str, str], list[Place]] = defaultdict(list)
    for place_ in old.places:
        if isinstance(place_.node, _KINDS) and place_.dump not in in_new and len(place_.dump) > 40:
            shapes[place_.scope, shape_of(place_.node)].append(place_)
    pairs: list[tuple[Place, Place, dict[str, str]]] = []
    for ours in new.places:
        if isinstance(ours.node, _KINDS) and ours.dump not in in_old:
            found = shapes.get((ours.scope, shape_of(ours.node)), [])
            renaming = renaming_of(ours.node, found[0].node) if len(found) == 1 else None
            if renaming:
                pairs.append((ours, found[0], renaming))
    random_.shuffle(pairs)
    words_new = Counter(re.findall(r"[^\W\d]\w*", new.source))
    words_old = Counter(re.findall(r"[^\W\d]\w*", old.source))
    for ours, theirs, renaming in pairs:
        clean = all(a not in words_old and b not in words_new for a, b in renaming.items())
        shown = all(any(other.get(a) == b for o, _, other in pairs if o is not ours) for a, b in renaming.items())
        text = take_out(old.source, theirs) if clean and shown else None
        if text is not None:
            return _case(history, new, old, "renamed", ours, text, old.source)
    return None


def shape_of(node: ast.stmt) -> str:
    return re.sub(r"(id|attr)='[^']*'", r"\1", ast.dump(node))


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


def _case(
    history: History, new: Version, old: Version, stratum: str, ours: Place, text: str, expected: str | None
) -> Case:
    return Case(
        history.repository,
        history.path,
        new.commit,
        old.commit,
        new.ordinal - old.ordinal,
        stratum,
        ours.node.lineno,
        new.source,
        text,
        expected,
        ast.unparse(ours.node),
    )


def judge(case: Case) -> tuple[str, float, str]:
    """Run a case: (exact, equivalent, wrong, refused or inserted), milliseconds, and the reason given."""
    begin = time.perf_counter()
    result = place(case.new, case.line, case.old)
    spent = (time.perf_counter() - begin) * 1000
    if result.source is None:
        return "refused", spent, result.reason or ""
    if case.expected is None:
        return "inserted", spent, f"confidence {result.confidence}"
    if ast.dump(ast.parse(result.source)) == ast.dump(ast.parse(case.expected)):
        return "exact", spent, ""
    if equivalent(result.source, case.expected):
        return "equivalent", spent, ""
    return "wrong", spent, f"confidence {result.confidence}"


def equivalent(got: str, wanted: str) -> bool:
    """Whether the texts differ by moving one statement within its block over statements that it does not touch."""
    mine, theirs = _blocks(ast.parse(got)), _blocks(ast.parse(wanted))
    if len(mine) != len(theirs):
        return False
    for one, other in zip(mine, theirs, strict=True):
        a, b = [ast.dump(n) for n in one], [ast.dump(n) for n in other]
        if a == b:
            continue
        if sorted(a) != sorted(b):
            if not any(isinstance(n, ast.stmt) and hasattr(n, "body") for n in one):
                return False
            continue
        first = next(i for i in range(len(a)) if a[i] != b[i])
        last = next(i for i in range(len(a) - 1, -1, -1) if a[i] != b[i])
        if a[first:last] == b[first + 1 : last + 1]:
            moved, over = one[last], one[first:last]
        elif a[first + 1 : last + 1] == b[first:last]:
            moved, over = one[first], one[first + 1 : last + 1]
        else:
            return False
        if not all(_commute(moved, node) for node in over):
            return False
    return True


def _blocks(tree: ast.Module) -> list[list[ast.stmt]]:
    found = []
    for node in ast.walk(tree):
        for name in ("body", "orelse", "finalbody"):
            block = getattr(node, name, None)
            if isinstance(block, list) and block:
                found.append(block)
    return sorted(found, key=lambda block: (block[0].lineno, block[0].col_offset))


def _commute(one: ast.stmt, other: ast.stmt) -> bool:
    """Neither binds what the other reads or binds, and at most one of them acts on the world."""
    reads_one, writes_one, acts_one = _effects(one)
    reads_other, writes_other, acts_other = _effects(other)
    if writes_one & (reads_other | writes_other) or writes_other & reads_one:
        return False
    return not (acts_one and acts_other)


def _effects(node: ast.stmt) -> tuple[set[str], set[str], bool]:
    reads = {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
    writes = {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    acts = any(isinstance(n, ast.Call | ast.Await | ast.Yield | ast.Return | ast.Raise) for n in ast.walk(node))
    for inside in ast.walk(node):
        if isinstance(inside, ast.Attribute | ast.Subscript) and isinstance(inside.ctx, ast.Store):
            base: ast.expr = inside
            while isinstance(base, ast.Attribute | ast.Subscript):
                base = base.value
            writes.add(base.id if isinstance(base, ast.Name) else "*")
        elif isinstance(inside, ast.Import | ast.ImportFrom):
            writes |= {(alias.asname or alias.name).split(".")[0] for alias in inside.names}
        elif isinstance(inside, _SCOPES):
            writes.add(inside.name)
    return reads, writes, acts


def gather(repositories: Sequence[str], cases: int, half: str, seed: int) -> list[Case]:
    """Draw cases: a third of them as they come, the rest spread over the strata and over places next to an edit."""
    random_ = random.Random(seed)
    pools = []
    for name in repositories:
        repository, _, folder = name.partition(":")
        pools += list(histories(repository, folder, half))
    found: list[Case] = []
    wanted = ["any", "any", "any", "near an edit", "near an edit", "edited", "moved", "renamed", "split", "absent"]
    tries = 0
    seen = set()
    while len(found) < cases and tries < cases * 30 and pools:
        history = random_.choices(pools, [math.sqrt(len(h.commits)) for h in pools])[0]
        for _ in range(_DRAWS):
            tries += 1
            case = make_case(history, random_, wanted[tries % len(wanted)])
            key = (case.path, case.new_commit, case.old_commit, case.line) if case is not None else None
            if case is not None and key not in seen:
                seen.add(key)
                found.append(replace(case, natural=wanted[tries % len(wanted)] == "any"))
        history.forget()
    return found[:cases]


def wilson(hits: int, total: int) -> str:
    """A share with its 95 % interval."""
    if not total:
        return "-"
    z, p = 1.96, hits / total
    middle = (p + z * z / (2 * total)) / (1 + z * z / total)
    half = z * math.sqrt(p * (1 - p) / total + z * z / (4 * total * total)) / (1 + z * z / total)
    return f"{100 * p:.1f} % ({100 * max(0, middle - half):.1f} to {100 * min(1, middle + half):.1f})"


def report(results: Sequence[tuple[Case, str, float, str]]) -> None:
    table: dict[str, Counter[str]] = defaultdict(Counter)
    for case, verdict, _, _ in results:
        table[case.stratum][verdict] += 1
        table["all to place" if case.expected is not None else "all absent"][verdict] += 1
    print("| stratum | cases | right | of it equivalent | wrong | refused |\n|---|---|---|---|---|---|")
    for stratum in (*STRATA, "all to place", "all absent"):
        counts = table.get(stratum)
        if counts is None:
            continue
        total = sum(counts.values())
        absent = stratum.endswith("absent")
        right = counts["refused"] if absent else counts["exact"] + counts["equivalent"]
        wrong = counts["inserted"] if absent else counts["wrong"]
        refused = "" if absent else wilson(counts["refused"], total)
        cells = (stratum, total, wilson(right, total), counts["equivalent"], wilson(wrong, total), refused)
        print("| " + " | ".join(str(cell) for cell in cells) + " |")
    natural = [verdict for case, verdict, _, _ in results if case.natural]
    if natural:
        right, wrong = sum(v in ("exact", "equivalent") for v in natural), natural.count("wrong")
        shares = f"right {wilson(right, len(natural))}, wrong {wilson(wrong, len(natural))}"
        print(f"\nAs they come ({len(natural)} cases): {shares}")
    times = sorted(spent for _, _, spent, _ in results)
    lines = [case.new.count("\n") for case, *_ in results]
    if times:
        print(
            f"\nms: median {times[len(times) // 2]:.1f}, p95 {times[int(len(times) * 0.95)]:.1f}, max {times[-1]:.1f};"
            f" median lines {sorted(lines)[len(lines) // 2]}"
        )


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("repositories", nargs="+")
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--half", choices=("develop", "held", "all"), default="develop")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--show", type=int, default=0, help="print so many failures (never of the held half)")
    options = parser.parse_args(argv)
    cases = gather(options.repositories, options.cases, options.half, options.seed)
    results = [(case, *judge(case)) for case in cases]
    report(results)
    if options.half == "develop":
        bad = [r for r in results if (r[1] != "refused") == (r[0].expected is None) or r[1] == "wrong"]
        for case, verdict, _, why in bad[: options.show]:
            where = f"{case.path}:{case.line} {case.new_commit[:8]} -> {case.old_commit[:8]}"
            print(f"\n{verdict} {case.stratum} {where} {why}")
            print("   ", case.statement[:150])
    return 0


if __name__ == "__main__":
    sys.exit(main())

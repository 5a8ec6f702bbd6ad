"""The way of one statement: find it, match the code around it, settle its names, put it in, check the result."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from logql.garbage import collections_paused
from logql.model import Placement
from logql.propagate.align import align, match_moved, token_similarity
from logql.propagate.edit import CannotInsert, insert_above, insert_header, insert_text
from logql.propagate.forms import place_form
from logql.propagate.locate import Nowhere, Spot, locate, pinned_spot
from logql.propagate.names import uses_of
from logql.propagate.outline import Item, Outline, Unit, first_line, normal_tokens, read_outline, start_of
from logql.propagate.purity import is_log
from logql.propagate.reaching import below
from logql.propagate.rename import Path
from logql.propagate.result import Refusal, finish, refused
from logql.propagate.rewrite import guarded_text, statement_text
from logql.propagate.settle import Settled, Settler
from logql.propagate.statements import Wrapper, find_wrappers, read_outlines, statements_of
from logql.propagate.subject import Subject, matching_guard, read_subject
from logql.propagate.units import Host, counterpart_of, find_hosts

_SINGLE = "<source>"
_LEAST_SCORE = 0.1
_OLDER_FORM = 0.6
Pin = tuple[str, int]


def place(new_source: str, line: int, old_source: str) -> Placement:
    """Put the statement that starts at `line` of the new source at its place in the old source, or refuse."""
    return place_files({_SINGLE: new_source}, _SINGLE, line, {_SINGLE: old_source})


def place_files(
    new_files: Mapping[str, str],
    path: str,
    line: int,
    old_files: Mapping[str, str],
    pin: Pin | None = None,
) -> Placement:
    """Put the statement at `path`:`line` of the new files at its place in the old files, or refuse.

    `pin` names a file and line of the old version before which a person wants it.
    """
    with collections_paused():
        return _place(new_files, path, line, old_files, pin)


def _place(
    new_files: Mapping[str, str], path: str, line: int, old_files: Mapping[str, str], pin: Pin | None
) -> Placement:
    try:
        new = read_outline(new_files[path], path)
    except KeyError:
        return refused(f"{path} is not among the new files")
    except SyntaxError as exc:
        return refused(f"the new source does not parse: {exc.msg} (line {exc.lineno})")
    statement = new.at_line(line)
    if statement is None:
        return refused(f"no statement starts at line {line} of {path}")
    logging = _logging_beside(statement, new_files)
    if len(logging) > 1:
        return refused(f"several statements log in line {line} of {path}: give each a line of its own")
    try:
        return _Job(new_files, old_files, logging[0] if logging else statement, pin).run()
    except (Refusal, CannotInsert) as exc:
        return refused(str(exc))


def _logging_beside(statement: Item, new_files: Mapping[str, str]) -> list[Item]:
    """Of several simple statements in one line (`import logql; logql.log(...)`) those that log."""
    last = statement.block[statement.position + 1 :]
    line = start_of(statement.node)[0]
    in_line = [statement, *(item for item in last if start_of(item.node)[0] == line)]
    if len(in_line) == 1 or statement.compound:
        return []
    logs = {item for item, _ in statements_of(statement.unit.outline, wrappers_of(new_files))}
    return [item for item in in_line if item in logs]


@dataclass(frozen=True)
class Found:
    """Where a subject goes, with the matched statements of its scope."""

    spot: Spot
    matched: Mapping[Item, Item]
    guards: tuple[Item, ...] = ()


class _Job:
    """One placement; its steps in the order in which they run."""

    def __init__(
        self, new_files: Mapping[str, str], old_files: Mapping[str, str], statement: Item, pin: Pin | None
    ) -> None:
        self.new_files, self.old_files, self.pin = new_files, old_files, pin
        self.subject = read_subject(statement, wrappers_of(new_files))

    def run(self) -> Placement:
        outlines = self._outlines()
        if not self.subject.plain and self.pin is None:
            return place_form(self.subject, outlines, self.new_files, self.old_files)
        found = self._pinned(outlines) if self.pin is not None else find_spot(self.subject, outlines)
        if isinstance(found, Nowhere):
            return refused(found.reason, candidates=_lines(found.candidates))
        settler = Settler(
            self.subject.statement,
            found.spot,
            found.matched,
            self.new_files,
            self.old_files,
            found.guards,
            logs=self.subject.call is not None,
        )
        settled = settler.settle(found.guards[::-1], self.subject.statement.node)
        self._refuse_older_form(found, settled)
        return insert(self.subject.statement, found, settled, self.old_files)

    def _refuse_older_form(self, found: Found, settled: Settled) -> None:
        """Refuse where the old version has the statement in an older form, which its text would only double."""
        if self.pin is not None:
            return
        statement, taken = self.subject.statement, set(found.matched.values())
        came = bool(settled.renames or settled.feeders or settled.helpers or settled.imports)
        adapted = adapted_tokens(statement, settled.renames) if came else ()
        for other in (found.spot.before, found.spot.after):
            if other is None or other in taken or self._logs_another(other):
                continue
            alike = came and type(other.node) is statement.kind and token_similarity(adapted, other) >= _OLDER_FORM
            if alike or (self.subject.call is None and _overwrites(statement, other, settled.renames)):
                raise Refusal(f"this version has `{first_line(other)}` in its place")

    def _logs_another(self, other: Item) -> bool:
        """Whether both are log statements, of different names."""
        mine, theirs = (
            next((name for item_, name in statements_of(item.unit.outline, {}) if item_ is item), None)
            for item in (self.subject.statement, other)
        )
        return self.subject.call is not None and mine != theirs

    def _outlines(self) -> list[Outline]:
        """The old files, the statement's own first; raises Refusal where that one does not parse."""
        path = self.subject.statement.unit.outline.path
        others = {name: text for name, text in self.old_files.items() if name != path}
        if path in self.old_files:
            try:
                return [read_outline(self.old_files[path], path), *read_outlines(others)]
            except SyntaxError as exc:
                raise Refusal(f"the old source does not parse: {exc.msg} (line {exc.lineno})") from exc
        found = read_outlines(others)
        if not found:
            raise Refusal(f"{path} does not exist in this version")
        return found

    def _pinned(self, outlines: list[Outline]) -> Found | Nowhere:
        assert self.pin is not None
        path, line = self.pin
        outline = next((one for one in outlines if one.path == path), None)
        if outline is None:
            return Nowhere(f"the pinned file {path} is not in this version, or does not parse")
        spot = pinned_spot(outline, line)
        if isinstance(spot, Nowhere):
            return spot
        matched = align(_around(self.subject.statement), spot.unit.items)
        return Found(spot, matched, self.subject.guards)


def _overwrites(statement: Item, other: Item, renames: Mapping[Path, Path]) -> bool:
    """Whether two neighbours bind just the same names and neither reads them."""
    mine, theirs = uses_of(statement.node), uses_of(other.node)
    bound = {renames.get((name,), (name,))[0] for name in mine.writes}
    return bool(bound) and bound <= theirs.writes and not (mine.writes & mine.reads or bound & theirs.reads)


def adapted_tokens(item: Item, renames: Mapping[Path, Path]) -> tuple[bytes, ...]:
    return normal_tokens(statement_text(item, renames).encode("utf-8", "surrogatepass"))


def wrappers_of(files: Mapping[str, str]) -> dict[str, Wrapper]:
    """The project's functions that log under a name given to them, by name."""
    return {
        wrapper.name: wrapper
        for outline in read_outlines({path: text for path, text in files.items() if "logql" in text})
        for wrapper in find_wrappers(outline)
    }


def find_spot(subject: Subject, outlines: Sequence[Outline]) -> Found | Nowhere:
    """The place of a statement; guards that the old version lacks are part of what is placed."""
    hosts = find_hosts(subject.statement, outlines)
    if not hosts or hosts[0].score < _LEAST_SCORE:
        return Nowhere("there is no code here like that around it")
    if len(hosts) > 1 and (_rivals(*hosts[:2]) or (subject.call is not None and _twins(subject.statement, *hosts[:2]))):
        return Nowhere(
            f"it may belong to `{hosts[0].unit.name or 'the module'}` or to `{hosts[1].unit.name or 'the module'}`"
        )
    hosts = [host for host in hosts[:5] if _closer(subject.statement, host, hosts[0])][:1] + hosts
    if other := counterpart_of(hosts[0].unit, subject.statement):
        near = f"`{hosts[0].unit.name}` is `{other.name}` in the newer version"
        return Nowhere(f"`{subject.statement.unit.name or 'the module'}` does not exist here: {near}")
    first = spot_in(subject, hosts[0].unit)
    if not isinstance(first, Nowhere) or first.candidates:
        return first
    likely = (host.unit for host in hosts[1:5] if host.shared > 1 and host.score >= _LEAST_SCORE)
    others = (spot_in(subject, unit) for unit in likely if counterpart_of(unit, subject.statement) is None)
    return next((found for found in others if not isinstance(found, Nowhere)), first)


def _closer(statement: Item, host: Host, likeliest: Host) -> bool:
    """Whether a scope has more of the statements next to one than the likeliest has, one of them being new or gone."""
    kept = {unit.name for unit in statement.unit.outline.units}
    if host is likeliest or (host.unit.name in kept and likeliest.unit.name in kept):
        return False
    wanted = {item.key for item in _beside(statement) - {statement.parent}}
    held, other = (len(wanted & {item.key for item in each.unit.items}) for each in (host, likeliest))
    return held > other


def spot_in(subject: Subject, host: Unit) -> Found | Nowhere:
    """The place of a statement in one scope of the old files."""
    outer = subject.statement
    for number in range(len(subject.guards) + 1):
        matched = align(_around(outer), host.items)
        if number == len(subject.guards) or _has_guard(subject.guards[number], matched):
            break
        outer = subject.guards[number]
    spot = locate(outer, matched, host)
    moved = match_moved(_around(outer), host.items, matched) if isinstance(spot, Nowhere) else {}
    if _beside(outer) & moved.keys():
        matched = {**matched, **moved}
        spot = locate(outer, matched, host)
    if isinstance(spot, Nowhere):
        return spot
    guards = subject.guards[: subject.guards.index(outer) + 1] if outer is not subject.statement else ()
    return Found(spot, matched, guards)


def _has_guard(guard: Item, matched: Mapping[Item, Item]) -> bool:
    """Whether the old version has a guard: the same one, or the loop that does what the guard does besides logging.

    Of a `with`: whatever stands in it.
    """
    other = matched.get(guard)
    if isinstance(guard.node, ast.With):
        return other is not None or any(item in matched for item in below([guard]))
    if matching_guard(guard, matched) or other is None or not isinstance(guard.node, ast.For):
        return matching_guard(guard, matched)
    inside = (item for item in guard.unit.outline.items[guard.index + 1 : guard.end] if not is_log(item.node))
    return any(item in matched and other.index < matched[item].index < other.end for item in inside)


def _beside(item: Item) -> set[Item]:
    """What stands directly next to a statement, and what is around it."""
    near = item.block[max(0, item.position - 1) : item.position + 2]
    return {other for other in (*near, item.parent) if other is not None and other is not item}


def _rivals(first: Host, second: Host) -> bool:
    return first.score < 0.3 and second.score > 0.95 * first.score


def _twins(statement: Item, first: Host, second: Host) -> bool:
    """Whether two functions have as much of a statement's, and neither its name: both may have become one."""
    names = [unit.name.rpartition(".")[2] for unit in (statement.unit, first.unit, second.unit)]
    return first.unit.is_function and names[0] not in names[1:] and second.score > 0.99 * first.score


def _around(item: Item) -> list[Item]:
    return [other for other in item.unit.items if not item.index <= other.index < item.end]


def insert(statement: Item, found: Found, settled: Settled, old_files: Mapping[str, str]) -> Placement:
    """Write the statement with all that it brings into the old file, and check that the result is Python."""
    spot, old = found.spot, found.spot.unit.outline
    copies = [f"{name} = {value}" for name, value in settled.copies.items()]
    moving = [item for item in settled.feeders if item not in settled.staying]
    text = "\n".join([*copies, guarded_text(statement, found.guards, moving, settled.renames)])
    feeders = [*copies, *(statement_text(item, settled.renames) for item in settled.feeders)]
    simple = not statement.compound and not found.guards and not feeders
    source, line = insert_text(old, spot, text, simple=simple)
    staying = [(place, statement_text(item, settled.renames)) for item, place in settled.staying.items()]
    for place, added in staying[::-1]:
        source, line = insert_above(old, place, source, line, added)
    header = list(dict.fromkeys(wanted.text for wanted in settled.imports))
    helpers = [statement_text(helper, {}) for helper in sorted(set(settled.helpers), key=lambda item: item.index)]
    first = staying[0][0] if staying else spot
    source, line = insert_header(old, first, source, line, [*header, *helpers])
    return finish(spot, source, line, [text, *header, *helpers], statement, old_files, feeders, staying)


def _lines(spots: Sequence[Spot]) -> tuple[tuple[str, int], ...]:
    found = []
    for spot in spots:
        near = spot.after or spot.before
        if near is not None:
            found.append((spot.unit.outline.path, getattr(near.node, "lineno", 0)))
    return tuple(dict.fromkeys(found))

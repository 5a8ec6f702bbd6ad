"""Tells whether statements changed the state that they can reach, as far as it can be looked at."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from logql.state.digest import compare
from logql.state.roots import Root, Roots
from logql.state.save import Refused, Saved, look

#: So many variables that cannot be looked at are left out, one by one, before all counts as one that cannot.
_MOST_LEFT = 8
#: Looking may take this much CPU time, and this share of the process's.
_LEAST_S = 2.0
_SHARE = 0.2


@dataclass(frozen=True)
class _Seen:
    """A state without the roots that cannot be looked at; `left` tells their variables and the reasons."""

    saved: Saved | Refused
    left: dict[str, tuple[str, str]]


class Untouched:
    """Looks at states before and after statements; `unproved` is told what they may have changed unseen."""

    def __init__(self, unproved: Callable[[str], None]) -> None:
        self._unproved = unproved
        self._spent = 0.0

    def begin(self, collect: Sequence[Callable[[], Roots]], names: Collection[str]) -> Callable[[], str | None] | None:
        """Look at states now; the result tells what differs then. None where looking has taken too much already.

        `names` are those that the statements use.
        """
        if self._spent > _LEAST_S + _SHARE * time.process_time():
            return None
        began = time.process_time()
        before = [(roots, _look(roots(), {})) for roots in collect]
        self._spent += time.process_time() - began

        def changed() -> str | None:
            began = time.process_time()
            found = [self._differs(_look(roots(), seen.left), seen, names) for roots, seen in before]
            self._spent += time.process_time() - began
            return next((path for path in found if path is not None), None)

        return changed

    def _differs(self, after: _Seen, before: _Seen, names: Collection[str]) -> str | None:
        if isinstance(before.saved, Refused) or isinstance(after.saved, Refused):
            refused = next(one for one in (before.saved, after.saved) if isinstance(one, Refused))
            self._unproved(f"{refused.path}: {refused.reason}".removeprefix(": "))
            return None
        for variable, reason in after.left.values():
            if variable in names:
                self._unproved(f"{variable}: {reason}")
        return compare(after.saved, before.saved, 0.0, 0.0).path


def _look(roots: Roots, left: Mapping[str, tuple[str, str]]) -> _Seen:
    """Save what can be saved of a state that need not be restored; `left` is left out beforehand."""
    left = dict(left)
    roots.reason = roots.progress = None
    roots.roots = [root for root in roots.roots if root.name not in left]
    saved = look(roots)
    while isinstance(saved, Refused) and len(left) < _MOST_LEFT:
        refused = _root_of(saved.path, roots.roots)
        if refused is None:
            break
        left[refused.name] = refused.variable, saved.reason
        roots.roots.remove(refused)
        saved = look(roots)
    return _Seen(saved, left)


def _root_of(path: str, roots: Sequence[Root]) -> Root | None:
    found = [root for root in roots if path == root.name or path.startswith((f"{root.name}.", f"{root.name}["))]
    return max(found, key=lambda root: len(root.name), default=None)

"""Which variables a running piece of code still reads: data-flow over its bytecode."""

from __future__ import annotations

import dis
import re
from collections.abc import Iterator, Mapping
from functools import cached_property, lru_cache
from itertools import pairwise
from types import CodeType
from typing import Literal

#: needed: the loop's body may read or write it, or a function may; kept: only code after the loop reads it as it is
#: now; dead: written before it is read, on every way.
Use = Literal["needed", "kept", "dead"]

_DYNAMIC = frozenset({"locals", "eval", "exec", "globals"})
#: These look at the variables around them only where they are called without an argument.
_DYNAMIC_ALONE = frozenset({"vars", "dir"})
#: These reach the variables of a module from its functions, too.
_DYNAMIC_GLOBAL = _DYNAMIC - {"locals"}
_LOADS_GLOBAL = frozenset({"LOAD_NAME", "LOAD_GLOBAL", "LOAD_FROM_DICT_OR_GLOBALS"})
_BETWEEN = frozenset({"CACHE", "PRECALL", "PUSH_NULL"})
_PARTS = re.compile(r"(LOAD|STORE|DELETE)_FAST")
_ENDS = frozenset({"RETURN_VALUE", "RETURN_CONST", "RERAISE", "RAISE_VARARGS", "INTERPRETER_EXIT"})
_JUMPS = frozenset({"JUMP_FORWARD", "JUMP_BACKWARD", "JUMP_BACKWARD_NO_INTERRUPT", "JUMP", "JUMP_NO_INTERRUPT"})


@lru_cache(maxsize=256)
def uses_after(code: CodeType, offset: int, in_loop: bool, to_body: bool = False) -> Mapping[str, Use]:
    """What code suspended at `offset` does with its variables from there on; what is not named is dead.

    With `in_loop`, the instruction is that of a loop, and what its body does counts as needed. With `to_body` it is
    known to go on with the body, so that a variable that only code behind the loop reads is dead if the body writes it.
    """
    flow = _flow_of(code)
    live = flow.live_at(offset, to_body)
    shared = {*code.co_cellvars, *code.co_freevars} | flow.named_in_functions()
    needed = flow.touched_in_loop(offset) if in_loop else set()
    uses: dict[str, Use] = {name: "needed" if name in needed else "kept" for name in live}
    uses.update(dict.fromkeys(shared, "needed"))
    return uses


@lru_cache(maxsize=32)
def _flow_of(code: CodeType) -> _Flow:
    return _Flow(code)


def variables(code: CodeType) -> tuple[str, ...]:
    """All variables of a function, shared ones included."""
    return tuple(dict.fromkeys((*code.co_varnames, *code.co_cellvars, *code.co_freevars)))


@lru_cache(maxsize=256)
def leaves_by_break(code: CodeType, offset: int) -> bool:
    """Whether the instruction at `offset` drops a loop's iterator for a `break` (not for a `return`, not unwinding).

    The compiler gives it the place of the statement, and `break` is five characters wide, `return` at least six.
    """
    for one in dis.get_instructions(code):
        if one.offset == offset and one.positions is not None:
            line, end_line, column, end_column = one.positions
            wide = end_column - column if end_column is not None and column is not None else 0
            return one.opname in ("POP_TOP", "POP_ITER", "END_FOR") and line == end_line and wide == len("break")
    return False


class _Flow:
    """Instructions of one code object with their successors, reads and writes."""

    def __init__(self, code: CodeType) -> None:
        self._code = code
        bytecode = dis.Bytecode(code)
        self._instructions = list(bytecode)
        self._position = {one.offset: i for i, one in enumerate(self._instructions)}
        self._effects = [tuple(_effects(one)) for one in self._instructions]
        self._read_everything()
        self._handlers = self._find_handlers(bytecode)
        self._successors = [self._after(i) for i in range(len(self._instructions))]

    def _find_handlers(self, bytecode: dis.Bytecode) -> list[list[int]]:
        handlers: list[list[int]] = [[] for _ in self._instructions]
        for entry in getattr(bytecode, "exception_entries", ()):
            target = self._locate(entry.target)
            for i, one in enumerate(self._instructions):
                if entry.start <= one.offset < entry.end:
                    handlers[i].append(target)
        return handlers

    def _locate(self, offset: int) -> int:
        while offset not in self._position:
            offset -= 2
        return self._position[offset]

    def _after(self, i: int) -> list[int]:
        one = self._instructions[i]
        found = []
        if one.opcode in dis.hasjrel or one.opcode in dis.hasjabs:
            found.append(self._locate(one.argval))
        if one.opname not in _ENDS and one.opname not in _JUMPS and i + 1 < len(self._instructions):
            found.append(i + 1)
        return found

    def live_at(self, offset: int, to_body: bool) -> set[str]:
        """Variables that some way from the instruction at `offset` reads before writing them."""
        here = self._locate(offset)
        onward = self._successors[here]
        if to_body and self._instructions[here].opname == "FOR_ITER":
            onward = [here + 1]
        found: set[str] = set()
        for successor in (*onward, *self._handlers[here]):
            found |= self._live[successor]
        return found

    @cached_property
    def _live(self) -> list[frozenset[str]]:
        """Per instruction, what some way from it on, itself included, reads before writing it."""
        before: list[frozenset[str]] = [frozenset()] * len(self._instructions)
        changed = True
        while changed:
            changed = False
            for i in range(len(self._instructions) - 1, -1, -1):
                live: set[str] = set()
                for successor in self._successors[i]:
                    live |= before[successor]
                for action, name in reversed(self._effects[i]):
                    if action == "STORE":
                        live.discard(name)
                    else:
                        live.add(name)
                for handler in self._handlers[i]:
                    live |= before[handler]
                if live != before[i]:
                    before[i] = frozenset(live)
                    changed = True
        return before

    def touched_in_loop(self, offset: int) -> set[str]:
        """Variables that the loop around the instruction reads or writes: what can come back to it."""
        here = self._locate(offset)
        forward = self._reach(here, [[*s, *h] for s, h in zip(self._successors, self._handlers, strict=True)])
        backward: list[list[int]] = [[] for _ in self._instructions]
        for i, successors in enumerate(self._successors):
            for successor in successors:
                backward[successor].append(i)
        for i, handlers in enumerate(self._handlers):
            for handler in handlers:
                backward[handler].append(i)
        body = forward & self._reach(here, backward)
        names = {name for i in body for _, name in self._effects[i]}
        return names if body else self.all_names()

    def _reach(self, start: int, edges: list[list[int]]) -> set[int]:
        seen: set[int] = set()
        todo = list(edges[start])
        while todo:
            i = todo.pop()
            if i not in seen:
                seen.add(i)
                todo += edges[i]
        return seen

    def _read_everything(self) -> None:
        """Let calls that read variables by other means than their names read all; where one has an alias, any code."""
        everything = tuple(("LOAD", name) for name in self.all_names())
        for i, following in self._looks_around():
            aliased = following.opname.startswith("STORE_")
            for at in range(len(self._effects)) if aliased else (i,):
                self._effects[at] += everything

    def _looks_around(self) -> Iterator[tuple[int, dis.Instruction]]:
        """Where functions that look around are loaded, and what comes next: a call, an argument, a new name."""
        looking = (_DYNAMIC | _DYNAMIC_ALONE) - {*variables(self._code)}
        code = [(i, one) for i, one in enumerate(self._instructions) if one.opname not in _BETWEEN]
        for (i, one), (_, following) in pairwise(code):
            has_argument = following.opname.startswith("LOAD_") and one.argval in _DYNAMIC_ALONE
            if one.opname in _LOADS_GLOBAL and one.argval in looking and not has_argument:
                yield i, following

    def all_names(self) -> set[str]:
        """Every variable that the code mentions."""
        return {name for effects in self._effects for _, name in effects}

    def named_in_functions(self) -> set[str]:
        """For module code: every name that a function or class in it mentions, so that a call may use it."""
        if self._code.co_name != "<module>":
            return set()
        found = set(_nested_names(self._code))
        return found if _DYNAMIC_GLOBAL.isdisjoint(found) else found | self.all_names()


def _nested_names(code: CodeType) -> Iterator[str]:
    """Global names in the functions and classes inside of some code."""
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            for one in dis.get_instructions(constant):
                yield from (name for _, name in _effects(one) if "_FAST" not in one.opname)
            yield from _nested_names(constant)


def _effects(one: dis.Instruction) -> Iterator[tuple[str, str]]:
    """(LOAD | STORE | DELETE, variable) in order of execution."""
    if "_FAST" in one.opname:
        names = one.argval if isinstance(one.argval, tuple) else (one.argval,)
        yield from zip(_PARTS.findall(one.opname), names, strict=False)
        if one.opname == "LOAD_FAST_AND_CLEAR":
            yield "LOAD", one.argval
    elif one.opname in _LOADS_GLOBAL:
        yield "LOAD", one.argval
    elif one.opname in ("STORE_NAME", "STORE_GLOBAL"):
        yield "STORE", one.argval
    elif one.opname in ("DELETE_NAME", "DELETE_GLOBAL"):
        yield "DELETE", one.argval

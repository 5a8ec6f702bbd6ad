"""Stored names of logged names: unique when case is folded, never that of a system column, a loop or an arg.

`Loss` and `loss` are two names and SQL folds case, so the first seen keeps its name and the next becomes `loss_2`. A
name that a column of every row already has gets a trailing `_`. The table `names` holds what was decided, so that every
file and every reader agrees.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from logql.model import RUN_COLUMNS, SYSTEM_COLUMNS
from logql.store.connection import Transaction

#: Columns of level tables that no logged name may have.
INTERNAL = ("_seq", "_sub", "_part", "_order", "_null", "_fill", "_record")
_RESERVED = frozenset((*SYSTEM_COLUMNS, *INTERNAL))
_NOT_ARGS = frozenset((*SYSTEM_COLUMNS, *RUN_COLUMNS, *INTERNAL))
_RESERVED_ENDS = ("$text", "$missing", "$origin", "$fidelity", "$reason")


def take(txn: Transaction, columns: Iterable[str]) -> None:
    """Note that `columns` (args, or loops through `loop_columns`) are columns of rows, so not names."""
    for column in columns:
        folded = fold(column)
        new = txn.execute("INSERT OR IGNORE INTO taken VALUES (?)", (folded,)).rowcount
        if new:
            _yield_column(txn, folded)


def loop_columns(loop: str) -> tuple[str, str, str]:
    """Columns that a loop has in each row below it."""
    return loop, f"{loop}_index", f"{loop}_entry"


def arg_column(arg: str) -> str:
    """Column of an arg: `run` becomes `run_`."""
    return f"{arg}_" if fold(arg) in _NOT_ARGS else arg


def arg_columns(args: Iterable[str], loops: Iterable[str], logged: Iterable[str]) -> dict[str, str]:
    """Columns of all `args`, in the order in which runs first had them, by the rules that logged names have.

    Columns of `loops` come first. A name of `logged` makes way for an arg (`take`), not for what an arg became.
    """
    others, used = {fold(column) for column in loops}, {fold(name) for name in logged}
    found: dict[str, str] = {}
    for arg in args:
        base = arg_column(arg)
        while fold(base) in others or (base != arg and fold(base) in used):
            base += "_"
        column, number = base, 1
        while fold(column) in map(fold, found.values()) or (number > 1 and fold(column) in used | others):
            number += 1
            column = f"{base}_{number}"
        found[arg] = column
    return found


def apart(names: Iterable[str]) -> dict[str, str]:
    """`names` that are columns side by side: of those that differ only in case, later ones get a number."""
    names = list(names)
    used: set[str] = set()
    found = {}
    for name in names:
        column, number = name, 1
        while fold(column) in used or (number > 1 and column in names):
            number += 1
            column = f"{name}_{number}"
        used.add(fold(column))
        found[name] = column
    return found


def known(db: sqlite3.Connection) -> dict[str, str]:
    """Stored names of all names that have one."""
    return dict(db.execute("SELECT name, stored FROM names"))


def lookup(db: sqlite3.Connection, logged: Iterable[str]) -> dict[str, str]:
    """Stored names of those of `logged` that have one."""
    found = known(db)
    return {name: found[name] for name in logged if name in found}


def guess(db: sqlite3.Connection, logged: Iterable[str], columns: Iterable[str] = ()) -> dict[str, str]:
    """What `register` would answer, without writing, if rows had `columns` besides those that are known."""
    taken = {folded for (folded,) in db.execute("SELECT folded FROM taken")} | set(map(fold, columns))
    return _resolve(known(db), taken, logged)


def register(txn: Transaction, logged: Iterable[str]) -> dict[str, str]:
    """Stored names of `logged`; new names are decided and kept."""
    logged = list(logged)
    found = guess(txn.connection, logged)
    for name in logged:
        txn.execute("INSERT OR IGNORE INTO names VALUES (?, ?)", (name, found[name]))
    return found


def fold(name: str) -> str:
    """The form in which two names are one column."""
    return name.lower()


def _resolve(known: dict[str, str], taken: set[str], logged: Iterable[str]) -> dict[str, str]:
    used = {fold(stored) for stored in known.values()}
    found = {}
    for name in logged:
        if name not in known:
            known[name] = _free_name(name, taken, used)
            used.add(fold(known[name]))
        found[name] = known[name]
    return found


def _free_name(name: str, taken: set[str], used: set[str]) -> str:
    base = name.encode("utf-8", "replace").decode().replace("\0", "?") or "_"
    while fold(base) in taken or base in _RESERVED or fold(base) in _RESERVED or fold(base).endswith(_RESERVED_ENDS):
        base += "_"
    stored, number = base, 1
    while fold(stored) in used or fold(stored) in taken:
        number += 1
        stored = f"{base}_{number}"
    return stored


def _yield_column(txn: Transaction, folded: str) -> None:
    """A name logged earlier makes way for a column of that name that came later."""
    for name, stored in txn.execute("SELECT name, stored FROM names").fetchall():
        if fold(stored) != folded:
            continue
        txn.execute("DELETE FROM names WHERE name = ?", (name,))
        new = register(txn, [name])[name]
        txn.execute("UPDATE renamed SET new = ? WHERE new = ?", (new, stored))
        txn.execute("INSERT OR REPLACE INTO renamed VALUES (?, ?)", (stored, new))

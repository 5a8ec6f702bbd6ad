"""Every error that logql raises, as one tree under the classes of PEP 249.

    Warning
    Error
    ├── InterfaceError
    └── DatabaseError
        ├── DataError
        ├── IntegrityError
        ├── InternalError
        ├── NotSupportedError
        │   └── ReadOnlyRelation
        ├── ProgrammingError
        │   ├── ParseError
        │   └── BindError
        └── OperationalError
            ├── BudgetExceeded
            ├── Interrupted
            ├── ReplayError
            ├── StateError
            └── StoreError
                ├── CorruptFile
                └── StoreTooNew

An error carries data (stage, sql, position, candidates, hint); `format_error` alone turns it into text.
"""

from __future__ import annotations

from collections.abc import Sequence


class Warning(Exception):  # noqa: A001  (PEP 249 prescribes the name)
    """Raised for important warnings (PEP 249)."""


class Error(Exception):
    """Raised when logql cannot do what was asked; base class of all its errors.

    `start` and `end` are 0-based character offsets of the offending text in `sql`.
    """

    stage = "Error"

    def __init__(
        self,
        message: str,
        *,
        sql: str | None = None,
        start: int | None = None,
        end: int | None = None,
        candidates: Sequence[str] = (),
        hint: str | None = None,
    ) -> None:
        self.message = message
        self.sql = sql
        self.start = start
        self.end = end
        self.candidates = tuple(candidates)
        self.hint = hint
        super().__init__(message)

    def __str__(self) -> str:
        return format_error(self)


class InterfaceError(Error):
    """Raised when the interface is misused, such as a closed cursor (PEP 249)."""

    stage = "Interface Error"


class DatabaseError(Error):
    """Raised when something is wrong with the database (PEP 249)."""

    stage = "Database Error"


class DataError(DatabaseError):
    """Raised when a value cannot be processed, such as a failed cast (PEP 249)."""

    stage = "Data Error"


class IntegrityError(DatabaseError):
    """Raised when a constraint of an own table is violated (PEP 249)."""

    stage = "Constraint Error"


class InternalError(DatabaseError):
    """Raised when logql contradicts itself; always a defect of logql (PEP 249)."""

    stage = "Internal Error"


class NotSupportedError(DatabaseError):
    """Raised when a statement is understood and not supported (PEP 249)."""

    stage = "Not Supported"


class ReadOnlyRelation(NotSupportedError):
    """Raised when a statement would write to a recorded relation."""

    stage = "Read-only Relation"


class ProgrammingError(DatabaseError):
    """Raised when the statement itself is wrong (PEP 249)."""

    stage = "Programming Error"


class ParseError(ProgrammingError):
    """Raised when the text is not a statement."""

    stage = "Parser Error"


class BindError(ProgrammingError):
    """Raised when a name in a statement means nothing."""

    stage = "Binder Error"


class OperationalError(DatabaseError):
    """Raised when the world, not the statement, is in the way (PEP 249)."""

    stage = "Operational Error"


class BudgetExceeded(OperationalError):
    """Raised when a query's least cost exceeds `replay_budget`; nothing was replayed."""

    stage = "Budget Exceeded"


class Interrupted(OperationalError):
    """Raised when a query was cancelled; what was filled until then is kept."""

    stage = "Interrupted"


class ReplayError(OperationalError):
    """Raised inside the replay engine when a segment cannot be replayed; becomes a reason, never a failed query."""

    stage = "Replay Error"


class StateError(OperationalError):
    """Raised when the state of a program cannot be saved or restored; carries the path of the object."""

    stage = "State Error"


class StoreError(OperationalError):
    """Raised when the store cannot be opened, read or written."""

    stage = "Store Error"


class CorruptFile(StoreError):
    """Raised when a file of the store does not hold what it should; names the file."""

    stage = "Corrupt File"


class StoreTooNew(StoreError):
    """Raised when a store was written by a newer logql."""

    stage = "Store Too New"


def format_error(error: Error) -> str:
    """Text of an error: stage and message, candidates, the line with a caret, the hint."""
    lines = [f"{error.stage}: {error.message}"]
    if error.candidates:
        lines.append("Did you mean: " + ", ".join(error.candidates))
    if error.sql is not None and error.start is not None:
        lines += _highlight(error.sql, error.start, error.end)
    if error.hint:
        lines.append(f"Hint: {error.hint}")
    return "\n".join(lines)


def _highlight(sql: str, start: int, end: int | None) -> list[str]:
    begin = sql.rfind("\n", 0, start) + 1
    stop = sql.find("\n", start)
    line = sql[begin:] if stop < 0 else sql[begin:stop]
    number = sql.count("\n", 0, begin) + 1
    label = f"LINE {number}: "
    width = max(1, min(end if end is not None else start + 1, begin + len(line)) - start)
    return [label + line, " " * (len(label) + start - begin) + "^" * width]

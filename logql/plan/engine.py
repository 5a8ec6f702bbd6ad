"""What the planner asks of the engine: run a planning query, nothing else."""

from __future__ import annotations

from typing import Any, Protocol

from sqlglot import exp

#: Hidden columns of a reference lowered in planning mode: main-loop coordinates of the row, and whether it stays.
RUN, LOOP, ENTRY, INDEX, SURE = "_lq_run", "_lq_loop", "_lq_entry", "_lq_index", "_lq_sure"


def missing_flag(name: str) -> str:
    """Hidden column that tells whether a row's cell of `name` is missing."""
    return f"{name}$missing"


class Engine(Protocol):
    """Evaluates what the planner wrote; `execute/` implements it over DuckDB."""

    def fetch(self, tree: exp.Expr) -> list[dict[str, Any]]:
        """The rows of `tree`, which it takes apart, with its marked references lowered in planning mode."""
        ...

"""The fixed relations of logql and their columns, in order, with DuckDB's types."""

from __future__ import annotations

SYSTEM_TYPES = {
    "run": "VARCHAR",
    "version": "VARCHAR",
    "rank": "INTEGER",
    "ts": "TIMESTAMP",
    "script": "VARCHAR",
    "status": "VARCHAR",
    "name": "VARCHAR",
}

#: Columns of `runs` before the args and the names logged at run level.
RUN_TYPES = {
    "run": "VARCHAR",
    "version": "VARCHAR",
    "name": "VARCHAR",
    "script": "VARCHAR",
    "argv": "VARCHAR[]",
    "status": "VARCHAR",
    "started_at": "TIMESTAMP",
    "ended_at": "TIMESTAMP",
    "duration_s": "DOUBLE",
    "host": "VARCHAR",
    "user": "VARCHAR",
    "python": "VARCHAR",
    "tags": "VARCHAR[]",
    "error": "VARCHAR",
    "comment": "VARCHAR",
}

FIXED_TYPES: dict[str, dict[str, str]] = {
    "versions": {
        "version": "VARCHAR",
        "commit": "VARCHAR",
        "parents": "VARCHAR[]",
        "branch": "VARCHAR",
        "author": "VARCHAR",
        "message": "VARCHAR",
        "committed_at": "TIMESTAMP",
        "dirty": "BOOLEAN",
        "comment": "VARCHAR",
    },
    "columns": {
        "name": "VARCHAR",
        "version": "VARCHAR",
        "level": "VARCHAR",
        "type": "VARCHAR",
        "comment": "VARCHAR",
        "recorded": "BIGINT",
        "hindsight": "BIGINT",
        "not_logged": "BIGINT",
        "missing": "BIGINT",
        "unfillable": "BIGINT",
        "other_type": "BIGINT",
        "statement": "VARCHAR",
        "file": "VARCHAR",
        "line": "BIGINT",
        "reason": "VARCHAR",
    },
    "fills": {
        "query": "VARCHAR",
        "run": "VARCHAR",
        "version": "VARCHAR",
        "columns": "VARCHAR[]",
        "loop": "VARCHAR",
        "entry": "BIGINT",
        "first_index": "BIGINT",
        "last_index": "BIGINT",
        "executed": "BIGINT",
        "compared": "BIGINT",
        "estimated_s": "DOUBLE",
        "actual_s": "DOUBLE",
        "fidelity": "VARCHAR",
        "state": "VARCHAR",
        "error": "VARCHAR",
        "log": "VARCHAR",
        "started_at": "TIMESTAMP",
    },
    "checkpoints": {
        "run": "VARCHAR",
        "version": "VARCHAR",
        "rank": "INTEGER",
        "loop": "VARCHAR",
        "entry": "BIGINT",
        "index": "BIGINT",
        "bytes": "BIGINT",
        "seconds": "DOUBLE",
        "by": "VARCHAR",
        "reason": "VARCHAR",
        "taken_at": "TIMESTAMP",
    },
    "packages": {"run": "VARCHAR", "version": "VARCHAR", "package": "VARCHAR", "installed": "VARCHAR"},
}

#: Columns of `output` besides those of the loops.
OUTPUT_TYPES = {
    "run": "VARCHAR",
    "version": "VARCHAR",
    "rank": "INTEGER",
    "ts": "TIMESTAMP",
    "stream": "VARCHAR",
    "logger": "VARCHAR",
    "severity": "VARCHAR",
    "line": "VARCHAR",
}

#: Names of relations that a loop cannot take away.
FIXED_NAMES = frozenset({"logs", "runs", "output", *FIXED_TYPES})

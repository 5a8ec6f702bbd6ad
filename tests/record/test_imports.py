"""What recording loads into a training process."""

from __future__ import annotations

import json
from pathlib import Path

import logql
from tests.record.running import record, run_python

ALLOWED = {
    "sys",
    "time",
    "threading",
    "contextvars",
    "atexit",
    "_contextvars",
    "logql",
    "logql.record",
    "logql.record.api",
}
HEAVY = ("duckdb", "sqlglot", "prompt_toolkit", "git", "pyarrow", "numpy", "torch", "pandas")


def loaded_by(directory: Path, statement: str) -> set[str]:
    report = "print(json.dumps(sorted(set(sys.modules) - before)))"
    code = f"import json, sys; before = set(sys.modules); {statement}; {report}"
    return set(json.loads(run_python(directory, "-c", code).stdout))


def test_import_loads_next_to_nothing(tmp_path: Path) -> None:
    assert loaded_by(tmp_path, "import logql") <= ALLOWED
    assert (
        loaded_by(tmp_path, "from logql import log, arg, loop, iteration, checkpointing, run, flush, commit") <= ALLOWED
    )


def test_a_recorded_run_loads_nothing_heavy(tmp_path: Path) -> None:
    done = record(
        tmp_path,
        """
        import atexit, sys
        def report():
            print(sorted(set(name.partition(".")[0] for name in sys.modules)))
        atexit.register(report)
        import logql
        logql.arg("lr", 0.1)
        for i in logql.loop("i", range(3)):
            logql.log("x", float(i))
        logql.flush()
        """,
    )
    assert not set(HEAVY) & set(json.loads(done.stdout.replace("'", '"')))


def test_what_is_exported_is_what_is_visible() -> None:
    assert len(set(logql.__all__)) == len(logql.__all__)
    assert dir(logql) == sorted(logql.__all__)
    for name in ("log", "arg", "loop", "iteration", "checkpointing", "run", "flush", "commit"):
        assert getattr(logql, name).__module__ == "logql"


def test_an_unknown_name_is_an_attribute_error() -> None:
    assert not hasattr(logql, "lgo")


ORDERS = (
    "import logql; f = logql.sql",
    "import logql.sql; f = logql.sql",
    "from logql import sql as f",
    "import logql; import logql.sql; f = logql.sql",
    "import logql.session; import logql; f = logql.sql",
    "import logql; f = logql.sql; import logql.sql.binder; f = logql.sql",
)


def test_the_shortcut_is_callable_in_every_order_of_imports(tmp_path: Path) -> None:
    record(tmp_path, "import logql\nlogql.log('x', 1.5)\n")
    for order in ORDERS:
        done = run_python(tmp_path, "-c", f"{order}\nprint(f('SELECT x FROM logs').fetchall())")
        assert done.stdout == "[(1.5,)]\n", order

"""logql: an embedded, SQL-first query engine for the log history of machine-learning training.

`import logql` loads almost nothing, as it stands at the head of training scripts; each name is found at its first use.
"""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__version__ = "0.1.0"

#: Where the process was when logql was imported, before the script goes elsewhere; empty where that is gone.
try:
    _started_in = os.getcwd()
except OSError:
    _started_in = ""

#: Where each public name is defined.
_HOMES = {
    "BINARY": "logql.pep249",
    "Binary": "logql.pep249",
    "DATETIME": "logql.pep249",
    "DataError": "logql.errors",
    "DatabaseError": "logql.errors",
    "Date": "logql.pep249",
    "DateFromTicks": "logql.pep249",
    "Error": "logql.errors",
    "IntegrityError": "logql.errors",
    "InterfaceError": "logql.errors",
    "InternalError": "logql.errors",
    "NUMBER": "logql.pep249",
    "NotSupportedError": "logql.errors",
    "OperationalError": "logql.errors",
    "ProgrammingError": "logql.errors",
    "ROWID": "logql.pep249",
    "STRING": "logql.pep249",
    "Time": "logql.pep249",
    "TimeFromTicks": "logql.pep249",
    "Timestamp": "logql.pep249",
    "TimestampFromTicks": "logql.pep249",
    "Warning": "logql.errors",
    "apilevel": "logql.dbapi",
    "arg": "logql.record.api",
    "checkpointing": "logql.record.api",
    "commit": "logql.record.api",
    "connect": "logql.dbapi",
    "flush": "logql.record.api",
    "iteration": "logql.record.api",
    "load_ipython_extension": "logql.notebook",
    "log": "logql.record.api",
    "loop": "logql.record.api",
    "paramstyle": "logql.dbapi",
    "run": "logql.record.api",
    "threadsafety": "logql.dbapi",
    "unload_ipython_extension": "logql.notebook",
}

__all__ = [
    "BINARY",
    "DATETIME",
    "NUMBER",
    "ROWID",
    "STRING",
    "Binary",
    "DataError",
    "DatabaseError",
    "Date",
    "DateFromTicks",
    "Error",
    "IntegrityError",
    "InterfaceError",
    "InternalError",
    "NotSupportedError",
    "OperationalError",
    "ProgrammingError",
    "Time",
    "TimeFromTicks",
    "Timestamp",
    "TimestampFromTicks",
    "Warning",
    "__version__",
    "apilevel",
    "arg",
    "checkpointing",
    "commit",
    "connect",
    "dataframe",
    "flush",
    "iteration",
    "log",
    "loop",
    "paramstyle",
    "run",
    "sql",
    "threadsafety",
]


class CallableModule(type(sys)):  # type: ignore[misc]
    """The module `logql.sql`, which is also the function: `logql.sql("SELECT ...")` works whatever was imported."""

    def __call__(self, query: str, *args: "Any", **options: "Any") -> "Any":
        """Run `query` on the store of the working directory; see `logql.dbapi.sql`."""
        return _find("logql.dbapi", "sql")(query, *args, **options)


def dataframe(*names: str) -> "Any":
    """A pandas DataFrame of the logged `names` (all, if none is given) with the columns of their contexts.

    One row per context; recovered values stand on the row that they belong to.
    """
    return _find("logql.dbapi", "dataframe")(*names)


def __getattr__(name: str) -> "Any":
    if name == "sql":
        return __import__("logql.sql", fromlist=["sql"])
    if name not in _HOMES:
        raise AttributeError(f"module 'logql' has no attribute {name!r}")
    value = _find(_HOMES[name], name)
    globals()[name] = value
    return value


def __dir__() -> "list[str]":
    return sorted(__all__)


def _find(module: str, name: str) -> "Any":
    return getattr(__import__(module, fromlist=[name]), name)


def _runs_a_script() -> bool:
    """Whether this process may be a training: it runs a script that is none of logql's or pytest's."""
    path = getattr(sys.modules.get("__main__"), "__file__", None)
    if not isinstance(path, str) or path.startswith(__path__[0]):
        return False
    return path.rpartition("/")[2] not in ("logql", "pytest", "py.test")


if _runs_a_script():
    _find("logql.record.opens", "watch")()

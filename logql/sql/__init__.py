"""Statements as text become bound queries: a splitter, a front parser for logql's own, sqlglot for the rest, a binder.

`logql.sql` is also the shortcut function `logql.sql("SELECT ...")`: the module is callable.
"""

import sys

import logql

sys.modules[__name__].__class__ = logql.CallableModule

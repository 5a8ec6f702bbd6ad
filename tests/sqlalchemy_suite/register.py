"""A plugin for pytest: the dialect under both its names, whether or not logql is installed."""

from sqlalchemy.dialects import registry

registry.register("logql", "logql.sqlalchemy.dialect", "LogqlDialect")
registry.register("logql.duckdb", "logql.sqlalchemy.dialect", "LogqlDialect")

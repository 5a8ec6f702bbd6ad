"""A SQLAlchemy 2 dialect: `create_engine("logql:///path/to/.logql")`, found by entry point.

What is recorded is reflected as tables that can be read; own tables (DDL, DML, transactions) are DuckDB's.
Parameters of the URL: `replay`, `replay_budget`, `database`, `read_only`, and `reflect=own`, which leaves the recorded
relations out of listings without a schema, for tools that migrate what they find.
"""

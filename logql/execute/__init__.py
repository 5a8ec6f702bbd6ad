"""Bound queries become SQL over level tables, and DuckDB runs it. The only package that knows DuckDB."""

"""Logs on disk: the catalog in SQLite, write-ahead chunks of live runs, Parquet files of sealed ones, blobs.

What a recorder loads of it (catalog, wal, blobs, liveness) needs the standard library alone; pyarrow is imported inside
the functions that build, write or read tables.
"""

"""Versions of the code: snapshots before a run, reading and checking them out later. The only place that knows git.

`snapshot` runs inside someone's training: standard library and git's binary, nothing else. `history` is for the engine.
"""

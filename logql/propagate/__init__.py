"""Propagation: puts a log statement of today's source at the corresponding place of an older one, or says why not.

Pure, source to source, in order: files are read as flat lists of statements (`outline`); `subject` tells what has to
be inserted (a guard of logging alone travels along); `units` finds the old scope that holds the statement's
surroundings; `align` matches its statements with the new ones; `locate` chooses the gap, by neighbours, blocks and
data flow; `settle` sees to every name that is read (bound there, renamed: `rename` and `renaming`, carried: `carry`,
or a refusal), `values` and `origins` to what they mean there, by the definitions that reach it (`reaching`); `purpose`
tells lines that only feed log statements from code that does more; `edit` and `rewrite` write the text, `forms` for
log calls inside of other statements; `compose` puts several statements into one tree. `statements`, `loops` and
`imports` answer what a version's source logs, loops over and loads.
"""

from logql.propagate.place import place, place_files

__all__ = ["place", "place_files"]

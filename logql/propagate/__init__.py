"""Propagation: puts a log statement of today's source at the corresponding place of an older one, or says why not.

Pure, source to source. The files are read as flat lists of statements (`outline`), the old scope that holds the
statement's surroundings is found (`units`), its statements are matched with the new ones (`align`), the gap is chosen
(`locate`), names are settled and the text is inserted (`place`, `edit`).
"""

from logql.propagate.place import place, place_files

__all__ = ["place", "place_files"]

"""How often propagation is right on real histories: cases with known answers from any local git repositories.

`histories` reads versions of files, `cases` draws questions, `oracle` holds what counts as a right answer, `report` the
tables; `walk` times a history of a thousand versions.
"""

"""Captures, compares and restores the state of a running training program, from inside it, without annotations.

A recorder uses it so, in the generator behind `logql.loop` (a main loop, `frame` runs the `for`):

    prologue = Prologue(collect(frame, project, named))            # at the first next(), before iter(iterable)
    reason = iterable_refusal(iterable)                            # then no checkpoints of this loop
    result = save(collect(frame, project, named, iterable=..., item=item), prologue)   # before yielding `item`
    digest, size = result.write(blobs)                             # on another thread, unless `Refused`
    save(collect(frame, project, named), prologue, exhausted=True) # at the exit; False when the generator is closed

A replay uses it as `injected` says.
"""

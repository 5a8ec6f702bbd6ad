"""What user code imports: it notes what a training script logs, and must never be felt there.

`api` holds the public functions and the hot path, `recorder` the life of a run, `flusher` the thread that turns the
buffer into WAL batches, `batches` how; `values` and `names` what is stored of a logged value; `capture` the printed
lines; `mainloops` and `checkpoints` what replays start from; `processes` the children and the ranks; `driver` the door
through which a replay worker takes over.
"""

"""Re-execution of old versions: segments of runs, each in a process and a checkout of its own, checked for fidelity.

`pool` runs jobs in parallel; for each it starts `supervise`, which isolates and guards one `worker`, in which the
user's script runs with `driver` in the recorder's place. `recorded` and `fidelity` compare with what was recorded.
"""

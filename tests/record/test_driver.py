"""A driver sees what a record holds, with the same paths, values and numbers, and nothing touches the store."""

from __future__ import annotations

import json
from pathlib import Path

from logql.model import Enter, Logged
from tests.record.running import read_events, record, run_python, write_script

SCRIPT = """
    import logql
    lr = logql.arg("lr", 0.5)
    for epoch in logql.loop("epoch", ["a", "b"]):
        for step in logql.loop("step", range(2)):
            logql.log("loss", lr * step)
        for step in logql.loop("step", [7.5]):
            logql.log("eval", [step, {"x": (1, None)}])
        logql.log("epoch", epoch)
        logql.log("epoch", "other")
        with logql.iteration("block", 3):
            logql.log("n", 2**70)
    for epoch in logql.loop("epoch", range(1)):
        print("in the second loop")
    logql.log("done", True)
    logql.flush()
    logql.commit()
    """

REPLAY = """
    import json, runpy, sys
    from logql.model import Run
    from logql.record import driver

    class Listening:
        def __init__(self):
            self.events = []
        def arg(self, name, default):
            return 0.25
        def iterate(self, loop, entry, iterable, enter):
            self.events.append(["main", loop, entry])
            for index, item in enumerate(iterable):
                enter(index, item)
                yield item
        def enter_block(self, loop, entry, index, item, frame):
            return driver.Arrival(index, item)
        def entered(self, path, item):
            self.events.append(["enter", path, item])
        def left(self, path):
            pass
        def logged(self, path, name, value, repeated=False):
            self.events.append(["log", path, name, value])
        def untold(self, path, name, reason):
            raise AssertionError(name)
        def run_ended(self):
            pass
        def finish(self):
            with open("seen.json", "w") as file:
                json.dump(self.events, file)

    driver.install(Listening(), Run("R", "V", "train.py", (), "finished", 0.0, ".", "."))
    runpy.run_path("train.py", run_name="__main__")
    """


def test_a_driver_sees_what_was_recorded(tmp_path: Path) -> None:
    record(tmp_path, SCRIPT.replace("0.5", "0.25"))
    recorded = []
    for event in read_events(tmp_path / ".logql"):
        if isinstance(event, Enter):
            recorded.append((event.seq, ["enter", event.path, event.item]))
        elif isinstance(event, Logged):
            recorded.append((event.seq, ["log", event.path, event.name, event.value]))
    replayed = tmp_path / "replayed"
    write_script(replayed, SCRIPT, "train.py")
    write_script(replayed, REPLAY, "replay.py")
    done = run_python(replayed, "replay.py")
    assert done.stdout == "in the second loop\n"
    assert sorted(path.name for path in replayed.iterdir()) == ["replay.py", "seen.json", "train.py"]
    seen = json.loads((replayed / "seen.json").read_text())
    assert [event[1:] for event in seen if event[0] == "main"] == [["epoch", 0], ["epoch", 1]]
    counted = [event for event in seen if event[0] != "main"]
    assert len(recorded) == len(counted) - 2, "the two repeated values of `epoch` are dropped from the record"
    for seq, event in recorded:
        assert json.loads(json.dumps(event)) == counted[seq]

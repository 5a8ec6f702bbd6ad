"""Names that exist at a place but mean something else there, and things that the old version has under other names."""

from __future__ import annotations

import pytest

from logql.propagate import place_files
from tests.propagate.placing import added, code, put

OTHER_RATE = """
    import logql
    def main(args):
        lr = args.lr
        opt = make(args, lr)
        for epoch in logql.loop("epoch", range(3)):
            loss = train(opt)
            logql.log("loss", loss)
    """


def test_what_comes_along_takes_a_fresh_name_where_its_own_is_something_else() -> None:
    """The rate of the epoch is not the rate that the run began with."""
    result = put(
        """
        import logql
        def main(args):
            opt = make(args)
            for epoch in logql.loop("epoch", range(3)):
                loss = train(opt)
                lr = opt.param_groups[0]["lr"]
                logql.log("rate", lr)
                logql.log("loss", loss)
        """,
        '"rate"',
        OTHER_RATE,
    )
    assert added(result) == ['        lr_logged = opt.param_groups[0]["lr"]', '        logql.log("rate", lr_logged)']


def test_a_value_of_the_loop_that_cannot_come_along_is_refused() -> None:
    result = put(
        """
        import logql
        def main(args):
            opt = make(args)
            for epoch in logql.loop("epoch", range(3)):
                loss = train(opt)
                lr = opt.step_rate()
                logql.log("rate", lr)
                logql.log("loss", loss)
                save(lr)
        """,
        '"rate"',
        OTHER_RATE,
    )
    assert result.reason == "`lr` has another value at this place"


def test_what_the_loop_computes_in_other_words_is_the_same_thing() -> None:
    result = put(
        """
        import logql
        def main(args):
            opt = make(args)
            for epoch in logql.loop("epoch", range(3)):
                loss = train(opt)
                rate = opt.param_groups[0]["lr"]
                logql.log("rate", rate)
                logql.log("loss", loss)
        """,
        '"rate"',
        """
        import logql
        def main(args):
            opt = make(args)
            rate = args.lr
            for epoch in logql.loop("epoch", range(3)):
                rate = rate * decay(epoch)
                loss = train(opt)
                logql.log("loss", loss)
        """,
    )
    assert added(result) == ['        logql.log("rate", rate)']


@pytest.mark.parametrize(
    ("new", "mark", "old", "reason"),
    [
        (
            "def fit(xs):\n    first(xs)\n    best = max(xs)\n    second(xs)\n    return best\n",
            "best = max",
            "def fit(xs, best):\n    first(xs)\n    second(xs)\n    return best\n",
            "`best` is an argument of `fit` in this version",
        ),
        (
            "def fit(xs):\n    y = first(xs)\n    y = y * 2\n    second(xs)\n    return y\n",
            "y = y * 2",
            "y = 1\ndef fit(xs):\n    first(xs)\n    second(xs)\n    return y\n",
            "`y` is a variable of an outer scope in this version",
        ),
        (
            "def fit(xs):\n    first(xs)\n    names = []\n    second(xs)\n    return join(names)\n",
            "names = []",
            "def fit(xs):\n    first(xs)\n    second(xs)\n",
            "nothing reads `names` at this place",
        ),
    ],
)
def test_a_name_that_would_be_bound_in_vain_or_hide_another(new: str, mark: str, old: str, reason: str) -> None:
    assert put(new, mark, old).reason == reason


def test_a_declared_global_may_be_bound() -> None:
    old = "count = 0\ndef fit(xs):\n    global count\n    first(xs)\n    second(xs)\n"
    result = put(old.replace("    second", "    count += 1\n    second"), "count += 1", old)
    assert added(result) == ["    count += 1"]


def test_a_constant_of_equal_value_under_another_name_is_a_rename() -> None:
    names = '{"train": "a", "test": "b"}'
    result = put(
        f"""
        import logql
        FOLDERS = {names}
        def main():
            for epoch in logql.loop("epoch", range(3)):
                loss = train(epoch)
                logql.log("folders", len(FOLDERS))
                logql.log("loss", loss)
        """,
        '"folders"',
        f"""
        import logql
        paths = {names}
        def main():
            for epoch in logql.loop("epoch", range(3)):
                loss = train(epoch)
                logql.log("loss", loss)
        """,
    )
    assert added(result) == ['        logql.log("folders", len(paths))']


def test_a_renamed_attribute_is_set_under_its_old_name() -> None:
    old = """
        class Data:
            def __init__(self, size, states):
                self.size = size
                self.center = crop(size)
            def get(self):
                return pad(self.states, self.size), self.center
            def length(self):
                return self.states.shape[0] + 1
        """
    new = code(old).replace("states", "hidden_states")
    new = new.replace("        self.center =", "        self.hidden_states = hidden_states\n        self.center =")
    assert added(put(new, "self.hidden_states = ", old)) == ["        self.states = states"]


def test_an_argument_that_was_renamed_where_others_were_added() -> None:
    result = put(
        """
        import logql
        def train(net, loader, device, every):
            for x, y in logql.loop("step", loader):
                loss = net.loss(x.to(device), y)
                loss.backward()
                logql.log("norm", sum(net.parameters()))
                opt.step()
        """,
        '"norm"',
        """
        import logql
        def train(model, loader):
            for x, y in logql.loop("step", loader):
                loss = model.loss(x, y)
                loss.backward()
                opt.step()
        """,
    )
    assert added(result) == ['        logql.log("norm", sum(model.parameters()))']


def test_an_attribute_that_a_class_of_another_file_renamed() -> None:
    train = code(
        """
        import logql
        from model import Net
        net = Net()
        for epoch in logql.loop("epoch", range(3)):
            loss = net.fit(epoch)
            logql.log("norm", abs(net.weight).sum())
            logql.log("loss", loss)
        """
    )
    model = code(
        """
        class Net:
            def __init__(self):
                self.weight = init(3, 4)
            def fit(self, epoch):
                out = self.weight @ batch(epoch)
                return loss_of(out)
        """
    )
    old_train = "".join(line for line in train.splitlines(keepends=True) if '"norm"' not in line)
    old = {"train.py": old_train, "model.py": model.replace("weight", "W")}
    result = place_files({"train.py": train, "model.py": model}, "train.py", 6, old)
    assert added(result) == ['    logql.log("norm", abs(net.W).sum())']
    gone = {**old, "model.py": "class Net:\n    def fit(self, epoch):\n        return epoch\n"}
    refused = place_files({"train.py": train, "model.py": model}, "train.py", 6, gone)
    assert refused.reason == "`net.weight` does not exist in this version"


COMPREHENSION = """
    import logql
    for epoch in logql.loop("epoch", range(3)):
        losses = train(epoch)
        [logql.log("each", value) for value in losses]
        logql.log("loss", losses[0])
    """


def test_a_comprehension_that_only_logs_is_a_statement() -> None:
    old = """
        import logql
        for epoch in logql.loop("epoch", range(3)):
            found = train(epoch)
            logql.log("loss", found[0])
        """
    assert added(put(COMPREHENSION, '"each"', old)) == ['    [logql.log("each", value) for value in found]']


def test_a_new_branch_that_does_more_than_log_is_named_in_the_refusal() -> None:
    result = put(
        """
        import logql
        for epoch in logql.loop("epoch", range(30)):
            loss = train(epoch)
            if loss < best:
                save(loss)
                logql.log("norm", loss.norm())
            logql.log("loss", loss)
        """,
        '"norm"',
        """
        import logql
        for epoch in logql.loop("epoch", range(30)):
            loss = train(epoch)
            logql.log("loss", loss)
        """,
    )
    assert result.reason == "`if loss < best:`, which decides whether and how often it runs, does not exist here"


@pytest.mark.parametrize("reverse", [False, True])
def test_a_neighbour_that_changed_places_with_the_next_keeps_its_side(reverse: bool) -> None:
    """In both versions `one` comes before the statement, or behind it."""
    lines = ["one(x)", "two(x)", "print(x)", "three(x)", "four(x)"]
    old = ["one(x)", "two(x)", "four(x)", "three(x)"]
    if reverse:
        lines, old = lines[::-1], old[::-1]
    body = [f"    {line}\n" for line in lines]
    result = put("def f(x):\n" + "".join(body), "print", "def f(x):\n" + "".join(f"    {line}\n" for line in old))
    assert result.source is not None, result.reason
    placed = [line.strip() for line in result.source.splitlines()[1:]]
    assert placed[placed.index("two(x)") + (-1 if reverse else 1)] == "print(x)"


def test_options_may_stand_in_any_order() -> None:
    options = [f'    p.add_argument("--{name}", type=int)\n' for name in ("a", "b", "c", "d")]
    head, tail = "def options(p):\n", "    return p.parse_args()\n"
    new = head + "".join(options) + tail
    old = head + options[3] + options[0] + options[2] + tail
    result = put(new, '"--b"', old)
    assert [line.strip() for line in added(result)] == ['p.add_argument("--b", type=int)']


def test_a_part_that_became_a_function_keeps_its_neighbour() -> None:
    """The nearest statement decides, though more of the others went into the new function."""
    new = """
        class Queue:
            def __init__(self, clock, wait):
                self.items = []
                self.lock = make_lock()
                self.clock = clock
                self.wait = wait
                self.numbers = iter(())
        """
    old = """
        class Queue:
            def __init__(self, clock, wait):
                prepare(self, clock)
                self.wait = wait

        def prepare(self, clock):
            self.items = []
            self.lock = make_lock()
            self.clock = clock
        """
    result = put(new, "self.numbers", old)
    assert result.source is not None, result.reason
    assert "        self.wait = wait\n        self.numbers = iter(())\n" in result.source


SEVERAL_LINES = """
    import logql
    def step(w, x, y):
        out = w @ x
        error = out - y
        w -= error * x
        logql.log("error", float(error))
        return error * error
    """


@pytest.mark.parametrize(
    "definition", ["error = w @ x - y", "error = (w @ x) - y", "pre = w @ x\n        error = pre - y"]
)
def test_a_value_that_was_written_in_fewer_lines_is_the_same_one(definition: str) -> None:
    old = f"""
    import logql
    def step(w, x, y):
        {definition}
        w -= error * x
        return error * error
    """
    assert added(put(SEVERAL_LINES, '"error"', old)) == ['    logql.log("error", float(error))']


def test_a_value_computed_otherwise_is_another_one() -> None:
    old = """
    import logql
    def step(w, x, y):
        error = w @ x + y
        w -= error * x
        return error * error
    """
    assert put(SEVERAL_LINES, '"error"', old).reason == "`error` has another value at this place"


TWO_LOSSES = """
    import logql
    loss = zeros()
    for x in logql.loop("i", data):
        {first} = crit(model(x))
        {first}.backward()
        opt.step()
        loss = aux(model)
        total += loss
    """


def test_a_name_that_stands_for_two_things_takes_that_of_its_own_definition() -> None:
    """In the old code `loss` is what the iteration before left of another one."""
    new = code(TWO_LOSSES.format(first="loss")).replace(
        "    opt.step()", '    logql.log("value", loss.item())\n    opt.step()'
    )
    result = put(new, '"value"', TWO_LOSSES.format(first="train_loss"))
    assert added(result) == ['    logql.log("value", train_loss.item())']
    result = put(new, '"value"', TWO_LOSSES.format(first="train_loss").replace("crit(model(x))", "crit(model(x), w)"))
    assert result.reason == "`loss` has another value at this place"
    result = put(new, '"value"', TWO_LOSSES.format(first="train_loss").replace("loss = zeros()", ""))
    assert added(result) == ['    logql.log("value", train_loss.item())']


def test_a_value_that_was_overwritten_is_refused() -> None:
    result = put(
        """
        import logql
        def f(net, noise, fixed):
            for i in logql.loop("i", range(3)):
                fake = net(noise)
                score(fake)
                logql.log("spread", fake.std())
                step(net)
        """,
        '"spread"',
        """
        import logql
        def f(net, noise, fixed):
            for i in logql.loop("i", range(3)):
                sample = net(noise)
                score(sample)
                sample = net(fixed)
                step(net)
        """,
    )
    assert result.reason == "`sample` has another value at this place"


def test_a_value_that_an_iteration_leaves_for_the_next_is_that_of_the_place() -> None:
    result = put(
        """
        import logql
        for epoch in logql.loop("epoch", range(3)):
            rate = schedule.rate(epoch)
            logql.log("rate", rate)
            train(model, rate)
        """,
        '"rate"',
        """
        import logql
        rate = 0.1
        for epoch in logql.loop("epoch", range(3)):
            train(model, rate)
            rate = rate * 0.9
        """,
    )
    assert added(result) == ['    logql.log("rate", rate)']

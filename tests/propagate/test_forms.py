"""Forms that a log statement can have (DESIGN section 7), and code around it that took another form."""

from __future__ import annotations

import pytest

from logql.propagate import place
from logql.propagate.compose import place_all
from logql.propagate.statements import find_statements
from tests.propagate.placing import added, put

FRAME = "import logql\nfrom lib import g, h\ndef f(x):\n    before(x)\n    {}\n    return z\n"


@pytest.mark.parametrize(
    ("new", "old", "wanted"),
    [
        (
            "z = h(lambda a: logql.log('z', a * 2))",
            "z = h(lambda a: a * 2)",
            "z = h(lambda a: logql.log('z', a * 2))",
        ),
        ("z = h(lambda a: logql.log('z', a * 2))", "z = h(lambda a: a * 2 + 1)", None),
        (
            "z = {a: logql.log('z', g(a)) for a in x}",
            "z = {a: g(a) for a in x}",
            "z = {a: logql.log('z', g(a)) for a in x}",
        ),
        ("z = {a: logql.log('z', g(a)) for a in x}", "z = {a: g(a) for a in x if a}", None),
        ("z = h(logql.log('z', g(x)), g(x))", "z = h(g(x), g(x))", None),
        ("z = (y := logql.log('z', g(x)))", "z = (y := g(x))", "z = (y := logql.log('z', g(x)))"),
    ],
)
def test_logs_inside_of_expressions(new: str, old: str, wanted: str | None) -> None:
    """In a lambda or comprehension only where all around is unchanged; elsewhere where the value stands just once."""
    result = place(FRAME.format(new), 5, FRAME.format(old))
    assert result.source == (None if wanted is None else FRAME.format(wanted))
    assert (result.reason is None) is (wanted is not None)


def test_a_wrapper_comes_along_with_its_call() -> None:
    result = put(
        """
        import logql
        def note(key, value):
            logql.log(key, float(value))
        for epoch in logql.loop("epoch", range(3)):
            loss = train(epoch)
            note("loss2", loss * 2)
            print(loss)
        """,
        '"loss2"',
        """
        import logql
        for epoch in logql.loop("epoch", range(3)):
            loss = train(epoch)
            print(loss)
        """,
    )
    lines = added(result)
    assert lines[-1] == '    note("loss2", loss * 2)'
    assert lines[:2] == ["def note(key, value):", "    logql.log(key, float(value))"]


def test_a_name_that_is_built_goes_where_its_parts_are() -> None:
    result = put(
        """
        import logql
        for epoch in logql.loop("epoch", range(3)):
            for kind in ("train", "test"):
                value = score(kind)
                logql.log(f"{kind}/acc", value)
                print(value)
        """,
        "/acc",
        """
        import logql
        for epoch in logql.loop("epoch", range(3)):
            for part in ("train", "test"):
                value = score(part)
                print(value)
        """,
    )
    assert added(result) == ['        logql.log(f"{part}/acc", value)']


def test_several_statements_of_one_name_keep_their_order() -> None:
    """Which of two values of a name belongs to which row is their order."""
    new = """import logql
for epoch in logql.loop("epoch", range(3)):
    first = fit(epoch)
    logql.log("x", first)
    logql.log("x", first + 1)
    second = test(first)
    logql.log("x", second)
    print(second)
"""
    old = "".join(line for line in new.splitlines(keepends=True) if '"x"' not in line)
    files, _ = place_all({"t.py": new}, find_statements({"t.py": new}), {"t.py": old})
    assert files == {"t.py": new}


@pytest.mark.parametrize(
    "frame",
    [
        "async def f(s):\n    async for x in s:\n        y = await g(x)\n        {}\n        print(y)\n",
        "@deco(\n    1\n)\ndef f(s):\n    for x in s:\n        y = g(x)\n        {}\n        print(y)\n",
        "match s:\n    case [x, *_]:\n        y = g(x)\n        {}\n        print(y)\n    case _:\n        pass\n",
        "while (x := next(s)) is not None:\n    y = g(x)  # type: int\n    {}\n    print(y)\n",
        "try:\n    y = g(s)\nexcept ValueError as x:\n    {}\n    print(x)\nelse:\n    print(y)\n",
    ],
)
def test_modern_syntax_and_comments_stay(frame: str) -> None:
    frame = "import logql\n" + frame
    new, old = (
        frame.format("logql.log('v', x)"),
        "".join(line for line in frame.splitlines(keepends=True) if "{}" not in line),
    )
    line = next(n for n, text in enumerate(new.splitlines(), start=1) if "'v'" in text)
    assert place(new, line, old).source == new


ATTRIBUTES = """
    import logql
    class Trainer:
        def fit(self, data):
            for epoch in logql.loop("epoch", range(3)):
                out = relu(data @ self.net.W1)
                scores = out @ self.net.W2 + self.net.b2
                MARK
                loss = scores.mean()
                logql.log("loss", loss)
    """
ITEMS = """
    import logql
    params = make()
    for epoch in logql.loop("epoch", range(3)):
        out = relu(data @ params["W1"])
        scores = out @ params["W2"] + params["b2"]
        MARK
        loss = scores.mean()
        logql.log("loss", loss)
    """


@pytest.mark.parametrize(
    ("new", "statement", "old", "wanted"),
    [
        (ATTRIBUTES, 'logql.log("n", abs(self.net.W2).sum())', ITEMS, 'logql.log("n", abs(params["W2"]).sum())'),
        (ITEMS, 'logql.log("n", abs(params["W2"]).sum())', ATTRIBUTES, 'logql.log("n", abs(self.net.W2).sum())'),
        (ATTRIBUTES, 'logql.log("n", self.net.W3)', ITEMS, None),
        (ATTRIBUTES, 'logql.log("n", [self.net.W2, self.net])', ITEMS, None),
    ],
)
def test_an_item_became_an_attribute(new: str, statement: str, old: str, wanted: str | None) -> None:
    result = put(new.replace("MARK", statement), '"n"', old.replace("MARK", "pass"))
    if wanted is None:
        assert result.source is None
        assert result.reason
    else:
        assert [line.strip() for line in added(result)] == [wanted]


CALLS = """
    import logql
    def train(model, loader):
        for x, y in logql.loop("step", loader):
            loss = model(x, y)
            loss.backward()
            opt.step()
    def validate(model, loader):
        total = 0
        for x, y in loader:
            total += model.score(x, y)
        return total / len(loader)
    def main():
        model = build()
        for epoch in logql.loop("epoch", range(3)):
            train(model, train_loader)
            logql.log("norm", model.norm())
            acc = validate(model, val_loader)
            print(acc)
    main()
    """


def test_between_two_calls_is_between_their_bodies() -> None:
    """What is logged after training and before the test stays there where neither was a function yet."""
    result = put(
        CALLS,
        '"norm"',
        """
        import logql
        model = build()
        for epoch in logql.loop("epoch", range(3)):
            for x, y in logql.loop("step", train_loader):
                loss = model(x, y)
                loss.backward()
                opt.step()
            total = 0
            for x, y in val_loader:
                total += model.score(x, y)
            acc = total / len(val_loader)
            print(acc)
        """,
    )
    assert added(result) == ['    logql.log("norm", model.norm())']
    assert result.source is not None
    lines = [line.strip() for line in result.source.splitlines()]
    at = lines.index('logql.log("norm", model.norm())')
    assert (lines[at - 1], lines[at + 1]) == ("opt.step()", "total = 0")
    assert result.levels == (("epoch",),)

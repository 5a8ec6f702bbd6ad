"""Placing one statement: positions, renames, what comes along, forms, and refusals with their reasons."""

from __future__ import annotations

import ast

import pytest

from logql.propagate import place, place_files
from tests.propagate.placing import added, code, put

LOOP = """
    import logql
    for epoch in logql.loop("epoch", range(3)):
        loss = train(epoch)  # one epoch
        logql.log("loss", loss)
"""


def test_a_feeding_line_comes_along() -> None:
    """Regression 15: the statement alone would arrive without `w2`."""
    result = put(
        """
        import logql
        for epoch in logql.loop("epoch", range(3)):
            weights = step(epoch)
            w2 = weights**2
            logql.log("w_l2", w2.sum())
            logql.log("loss", epoch)
        """,
        '"w_l2"',
        """
        import logql
        for epoch in logql.loop("epoch", range(3)):
            weights = step(epoch)  # keep this comment
            logql.log("loss", epoch)
        """,
    )
    assert added(result) == ["    w2 = weights**2", '    logql.log("w_l2", w2.sum())']
    assert result.source is not None
    assert "# keep this comment" in result.source
    assert result.carried == ("w2 = weights**2",)
    assert result.levels == (("epoch",),)
    assert result.once


@pytest.mark.parametrize(
    ("old", "mark", "once"),
    [
        ("def f():\n    for epoch in logql.loop('epoch', r):\n        with g():\n            a()\n", "a()", True),
        ("def f():\n    for fold in r:\n        for epoch in logql.loop('epoch', r):\n            a()\n", "a()", True),
        ("while x:\n    with logql.iteration('epoch', x):\n        a()\n", "a()", True),
        ("def f():\n    for epoch in logql.loop('epoch', r):\n        for b in r:\n            a()\n", "a()", False),
        ("def f():\n    for epoch in logql.loop('epoch', r):\n        b()\n    else:\n        a()\n", "a()", False),
        ("def f():\n    a()\nfor epoch in logql.loop('epoch', r):\n    f()\n", "a()", False),
        ("for epoch in logql.loop('epoch', r):\n    b()\na()\n", "a()", True),
    ],
)
def test_whether_a_place_runs_once_in_an_iteration(old: str, mark: str, once: bool) -> None:
    old = "import logql\n" + old
    line = next(number for number, text in enumerate(old.splitlines()) if mark in text)
    indent = " " * old.splitlines()[line].index(mark)
    new = [*old.splitlines()[: line + 1], f"{indent}logql.log('v', 1)", *old.splitlines()[line + 1 :]]
    assert place("\n".join(new), line + 2, old).once is once


@pytest.mark.parametrize(
    ("helper", "added", "once"),
    [
        ("", "for n in range(2):\n        logql.log('m', a + n)", False),
        ("", "for n in range(2):\n        if n:\n            logql.log('m', a + n)", False),
        ("", "if a:\n        logql.log('m', a)", True),
        ("def note(k, v):\n    logql.log(k, v)\n", "note('m', a)", True),
        ("def note(k, v):\n    logql.log(k, v)\n    logql.log(k, v + 1)\n", "note('m', a)", False),
        ("def note(k, v):\n    for n in range(2):\n        logql.log(k, v + n)\n", "note('m', a)", False),
    ],
)
def test_what_comes_along_may_repeat_the_statement(helper: str, added: str, once: bool) -> None:
    old = "import logql\nfor epoch in logql.loop('epoch', r):\n    a = epoch * 2\n    logql.log('acc', a)\n"
    new = old.replace("for epoch", f"{helper}for epoch").replace(
        "    logql.log('acc'", f"    {added}\n    logql.log('acc'"
    )
    line = max(number for number, text in enumerate(new.splitlines(), 1) if "'m'" in text)
    result = place(new, line, old)
    assert result.source is not None, result.reason
    assert result.once is once


def test_a_variable_is_not_renamed_to_a_function() -> None:
    """Regression 15: `scale` is a variable in the new source and a function in the old one."""
    result = put(
        """
        import logql
        scale = 2.0
        for epoch in logql.loop("epoch", range(3)):
            loss = train(epoch)
            logql.log("x", scale * loss)
        """,
        '"x"',
        """
        import logql
        def scale(value):
            return value
        for epoch in logql.loop("epoch", range(3)):
            loss = train(epoch)
        """,
    )
    assert result.source is None
    assert result.reason == "`scale` is a function at this place, and a variable in the newer version"


def test_a_rename_is_followed() -> None:
    result = put(
        """
        import logql
        def train(model, loader):
            for inputs, labels in logql.loop("step", loader):
                loss = model(inputs, labels)
                loss.backward()
                logql.log("norm", model.norm() + inputs.sum())
        """,
        '"norm"',
        """
        import logql
        def train(net, data):
        \tfor x, y in logql.loop("step", data):
        \t\tloss = net(x, y)
        \t\tloss.backward()
        """,
    )
    assert added(result) == ['\t\tlogql.log("norm", net.norm() + x.sum())']
    assert result.levels == (("step",),)


def test_a_parameter_that_keeps_its_name_is_no_doubt_about_a_variable_outside() -> None:
    result = put(
        """
        import logql
        net = Model(4, 8)
        def train_step(model, x):
            return model(x)
        for epoch in logql.loop("epoch", range(3)):
            loss = train_step(net, epoch)
            logql.log("weight", net.kernel.sum())
        """,
        '"weight"',
        """
        import logql
        model = Model(4, 8)
        def train_step(model, x):
            return model(x)
        for epoch in logql.loop("epoch", range(3)):
            loss = train_step(model, epoch)
        """,
    )
    assert added(result) == ['    logql.log("weight", model.kernel.sum())']


def test_an_attribute_of_the_arguments_was_a_variable() -> None:
    result = put(
        """
        import argparse, logql
        parser = argparse.ArgumentParser()
        parser.add_argument("--lr")
        args = parser.parse_args()
        for epoch in logql.loop("epoch", range(3)):
            loss = train(epoch, args.lr)
            logql.log("scaled", args.lr * loss)
        """,
        '"scaled"',
        """
        import logql
        lr = 0.1
        for epoch in logql.loop("epoch", range(3)):
            loss = train(epoch, lr)
        """,
    )
    assert added(result) == ['    logql.log("scaled", lr * loss)']


@pytest.mark.parametrize(
    ("inserted", "setup", "reason"),
    [
        ("logql.log('lr', scheduler.last)", "scheduler = make()", "`scheduler` is not defined at this place"),
        ("logql.log('dt', self.iter_dt)", "self.iter_dt = clock()", "`self.iter_dt` does not exist in this version"),
        ("logql.log('n', helper(loss, wide=1))", "use(helper)", "`helper` takes no argument `wide` in this version"),
    ],
)
def test_the_impossible_is_refused_with_a_reason(inserted: str, setup: str, reason: str) -> None:
    head = "import logql\ndef helper(loss, {}):\n    return loss\n\ndef train(self, data):\n"
    loop = "    for x in data:\n        loss = self.model(x)\n{}        loss.backward()\n"
    new = (
        head.format("wide=0")
        + f"    {setup}\n    print({setup.split(' ')[0]})\n"
        + loop.format(f"        {inserted}\n")
    )
    old = head.format("deep=0") + loop.format("")
    result = place(new, new.splitlines().index(f"        {inserted}") + 1, old)
    assert result.source is None
    assert result.reason is not None
    assert result.reason.startswith(reason)


def test_imports_and_pure_helpers_come_along() -> None:
    result = put(
        """
        import logql
        import math
        HALF = 0.5
        def norm(values):
            return math.sqrt(sum(v * v for v in values)) * HALF
        for epoch in logql.loop("epoch", range(3)):
            weights = train(epoch)
            logql.log("norm", norm(weights))
        """,
        '"norm"',
        """
        # a comment first
        import logql
        for epoch in logql.loop("epoch", range(3)):
            weights = train(epoch)
        """,
    )
    assert result.source is not None
    scope: dict[str, object] = {}
    text = result.source.replace("import logql\n", "").split("for epoch")[0]
    exec(text, scope)
    assert scope["norm"]([3.0, 4.0]) == 2.5  # type: ignore[operator]


def test_an_acting_helper_does_not_come_along() -> None:
    result = put(
        """
        import logql
        def note(value):
            open("notes.txt", "a").write(str(value))
            return value
        for epoch in logql.loop("epoch", range(3)):
            loss = train(epoch)
            logql.log("x", note(loss))
        """,
        '"x"',
        LOOP,
    )
    assert result.source is None
    assert result.reason is not None
    assert "`note` is not defined" in result.reason


def test_a_guard_of_logging_alone_travels() -> None:
    result = put(
        """
        import logql
        for epoch in logql.loop("epoch", range(3)):
            loss = train(epoch)
            if epoch % 10 == 0:
                logql.log("a", loss + 1)
                logql.log("b", loss + 2)
            logql.log("loss", loss)
        """,
        '"b"',
        LOOP,
    )
    assert added(result) == ["    if epoch % 10 == 0:", '        logql.log("b", loss + 2)']


def test_a_loop_over_a_dict_travels() -> None:
    result = put(
        """
        import logql
        for epoch in logql.loop("epoch", range(3)):
            loss = train(epoch)
            for key, value in loss.items():
                logql.log(f"val/{key}", value)
            logql.log("loss", loss)
        """,
        "val/",
        LOOP,
    )
    assert added(result) == ["    for key, value in loss.items():", '        logql.log(f"val/{key}", value)']


def test_a_log_around_a_pure_value_goes_before_the_statement() -> None:
    result = put(
        "import logql\ndef f(x):\n    y = x * 2\n    return logql.log('y', y + 1)\n",
        "'y'",
        "import logql\ndef f(x):\n    b = x * 2\n    return b + 1\n",
    )
    assert added(result) == ["    logql.log('y', b + 1)"]


@pytest.mark.parametrize(
    ("new", "old", "wanted"),
    [
        ("z = logql.log('z', g(x))", "z = g(x)", "z = logql.log('z', g(x))"),
        ("z = h(1, logql.log('z', g(x)))", "z = h(1, g(x))", "z = h(1, logql.log('z', g(x)))"),
        ("z = [logql.log('z', a * 2) for a in x]", "z = [a * 2 for a in x]", "z = [logql.log('z', a * 2) for a in x]"),
    ],
)
def test_a_log_around_anything_else_wraps_the_expression(new: str, old: str, wanted: str) -> None:
    frame = "import logql\nfrom lib import g, h\ndef f(x):\n    before(x)\n    {}\n    return z\n"
    result = place(frame.format(new), 5, frame.format(old))
    assert result.source == frame.format(wanted)


def test_a_comprehension_that_differs_is_refused() -> None:
    frame = "import logql\ndef f(x):\n    before(x)\n    {}\n    return z\n"
    new, old = frame.format("z = [logql.log('z', a * 2) for a in x]"), frame.format("z = [a * 2 for a in x if a]")
    result = place(new, 4, old)
    assert result.source is None
    assert result.reason


def test_code_moved_from_the_module_into_main() -> None:
    result = put(
        """
        import logql
        def main():
            for epoch in logql.loop("epoch", range(3)):
                loss = train(epoch)
                with timer():
                    accuracy = evaluate(loss)
                    logql.log("acc", accuracy)
                logql.log("loss", loss)
        main()
        """,
        '"acc"',
        """
        import logql
        for epoch in logql.loop("epoch", range(3)):
            loss = train(epoch)
            accuracy = evaluate(loss)
            logql.log("loss", loss)
        """,
    )
    assert added(result) == ['    logql.log("acc", accuracy)']


def test_line_ends_tabs_and_byte_order_mark_stay() -> None:
    old = "\ufeffdef f(x):\r\n\ty = x\r\n\treturn y\r\n"
    result = place("def f(x):\n    y = x\n    print(y,\n          x)\n    return y\n", 3, old)
    assert result.source == "\ufeffdef f(x):\r\n\ty = x\r\n\tprint(y,\r\n\t\t\tx)\r\n\treturn y\r\n"


def test_text_that_is_not_python_three_is_refused() -> None:
    result = place("x = 1\ny = 2\n", 2, "print 'x'\nx = 1\n")
    assert result.source is None
    assert result.reason is not None
    assert result.reason.startswith("the old source does not parse")


def test_the_same_text_at_the_same_place_has_one_fingerprint() -> None:
    new = code(LOOP) + '    logql.log("x", loss * 2)\n'
    old = code(LOOP)
    elsewhere = "# another line\n\n" + old
    other = old.replace("# one epoch", "# another comment")
    prints = {place(new, 5, text).fingerprint for text in (old, elsewhere, other)}
    assert len(prints) == 1
    assert None not in prints
    assert place(new.replace("loss * 2", "loss * 3"), 5, old).fingerprint not in prints


def test_a_pin_decides() -> None:
    new = code(LOOP) + '    logql.log("x", epoch)\n'
    result = place_files({"t.py": new}, "t.py", 5, {"t.py": code(LOOP)}, ("t.py", 3))
    assert result.source is not None
    assert result.source.splitlines()[2] == '    logql.log("x", epoch)'
    assert result.line == 3
    assert result.confidence == 1.0


def test_a_function_that_moved_to_another_file() -> None:
    body = "def score(model, data):\n    total = 0\n    for x in data:\n        total += model(x)\n{}    return total\n"
    new = {
        "train.py": "from scores import score\n",
        "scores.py": "import logql\n" + body.format("    logql.log('t', total)\n"),
    }
    old = {"train.py": "import os\n" + body.format("") + "score(os, [])\n"}
    result = place_files(new, "scores.py", 6, old)
    assert result.file == "train.py"
    assert result.source is not None
    ast.parse(result.source)
    assert "    logql.log('t', total)\n    return total" in result.source
    assert "import logql" in result.source


def test_a_variable_that_was_a_module_has_its_own_attributes() -> None:
    """`import model`, then `model = model.Net()`, as in pytorch/examples."""
    net = "class Net:\n    def __init__(self):\n        self.decoder = 1\n"
    head = "import logql\nimport model\n\nmodel = model.Net()\nfor epoch in logql.loop('epoch', range(3)):\n"
    old = head + "    fit(model)\n    check()\n"
    new = head + "    fit(model)\n    logql.log('decoder', model.decoder)\n    check()\n"
    placed = place_files({"main.py": new, "model.py": net}, "main.py", 7, {"main.py": old, "model.py": net})
    assert placed.source == new
    gone = place_files(
        {"main.py": new, "model.py": net}, "main.py", 7, {"main.py": old, "model.py": "class Net: pass\n"}
    )
    assert gone.source is None


def test_an_attribute_that_a_module_has_by_the_same_name_is_none_of_the_objects_own() -> None:
    """`torch.optim.lr_scheduler` is no `self.lr_scheduler`, which the old version calls otherwise."""
    new = """
        import logql
        from torch import optim
        class Trainer:
            def __init__(self, **options):
                self.lr_scheduler = options["lr_scheduler"]
            def train(self):
                for epoch in logql.loop("epoch", range(3)):
                    self.lr_scheduler.step()
                    logql.log("lr", self.lr_scheduler.get_last_lr()[0])
        Trainer(lr_scheduler=optim.lr_scheduler.StepLR()).train()
        """
    old = new.replace("self.lr_scheduler", "self.scheduler").replace('options["lr_scheduler"]', 'options["scheduler"]')
    old = "".join(line for line in old.splitlines(keepends=True) if "logql.log(" not in line)
    result = put(new, '"lr"', old)
    assert result.reason is not None
    assert "`self.lr_scheduler` does not exist in this version; nearest candidate is `self.scheduler`" in result.reason


def test_what_a_gradient_has_is_no_attribute_of_the_projects() -> None:
    old = """
        import logql
        class Net:
            def __init__(self):
                self.fc = Linear()
        model = Net()
        for epoch in logql.loop("epoch", range(3)):
            model.fc(epoch)
        """
    new = old.replace("self.fc = Linear()", "self.fc = Linear()\n                self.norm = Norm()")
    new = new.replace("model.fc(epoch)", "model.fc(epoch)\n            logql.log('g', model.fc.weight.grad.norm())")
    assert added(put(new, "'g'", old)) == ["    logql.log('g', model.fc.weight.grad.norm())"]


def test_what_arrays_have_is_no_attribute_of_the_projects() -> None:
    old = """
        import logql
        class Scale:
            def __init__(self):
                self.factor = 2
        std = 1.0
        for epoch in logql.loop("epoch", range(3)):
            output = model(epoch)
            loss = criterion(output)
        """
    new = old.replace("self.factor = 2", "self.factor = 2\n                self.std = 1.0")
    new = new.replace("loss = criterion(output)", "loss = criterion(output)\n            logql.log('s', output.std())")
    assert added(put(new, "'s'", old)) == ["    logql.log('s', output.std())"]


@pytest.mark.parametrize("header", ["for s in range(0, 64, 16):", "for s in range(0, len(X), 16):"])
def test_a_loop_that_only_feeds_a_log_statement_is_the_old_versions_own(header: str) -> None:
    """Its steps train the model: they are not run a second time beside those that the old version has."""
    old = """
        import logql
        for epoch in logql.loop("epoch", range(4)):
            model.train()
            for i in range(0, 64, 16):
                g = train_step(model, X[i:i + 16])
            logql.log("loss", model.loss)
        """
    loop = f"{header}\n                g = train_step(model, X[s:s + 16])\n"
    new = old.replace(
        "for i in range(0, 64, 16):\n                g = train_step(model, X[i:i + 16])\n",
        loop + '                logql.log("g", float(g))\n',
    )
    result = put(new, '"g"', old)
    assert added(result) == ['        logql.log("g", float(g))']


SAVING = """
    import logql, os, torch
    for epoch in logql.loop("epoch", range(4)):
        train(model)
        if epoch % 2 == 0:
            images = model.sample()
            means = ema.sample()
            logql.log("spread", images.std())
            {save}
    """


@pytest.mark.parametrize(("logged", "places"), [("means.mean()", True), ('os.path.getsize("last.pt")', False)])
def test_a_checkpoint_that_is_written_beside_a_log_statement_does_not_matter(logged: str, places: bool) -> None:
    new = SAVING.format(save=f'logql.log("value", {logged})')
    old = SAVING.format(save='torch.save(model.state_dict(), os.path.join("out", f"{epoch}.pt"))')
    result = put(new, '"value"', old)
    assert (result.source is not None) is places


def test_statements_that_share_a_line() -> None:
    old = """
        def forward(self, x):
            h = self.drop(x)
            return self.fc(h)
        """
    new = old.replace("return", 'import logql; logql.log("dead", h.mean())\n            return')
    assert added(put(new, '"dead"', old)) == ["import logql", '    logql.log("dead", h.mean())']
    result = put(new.replace("import logql; ", 'import logql; logql.log("x", x.mean()); '), '"dead"', old)
    assert str(result.reason).endswith("give each a line of its own")

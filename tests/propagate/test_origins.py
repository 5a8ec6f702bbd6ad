"""Where values come from: what must come along, from where, in which mode, and out of whose function."""

from __future__ import annotations

import pytest

from tests.propagate.placing import added, code, put

FIT = """
    import logql, torch
    from lib import fit, make
    net = make()
    rng = seeded(0)
    for epoch in logql.loop("epoch", range(3)):
        loss = fit(net, rng)
        logql.log("loss", loss)
"""


def new(before: str, after: str, old: str = FIT) -> str:
    """The old code with lines before its third-last statement, and after its last."""
    lines = code(old).splitlines()
    return "\n".join([*lines[:-2], *before.splitlines(), *lines[-2:], *after.splitlines()]) + "\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("    w0 = net.w.clone()", "    logql.log('q', (net.w - w0).norm())"),
        ("    begun = torch.cuda.memory_allocated()", "    logql.log('q', torch.cuda.memory_allocated() - begun)"),
        ("    total = sum(p.sum() for p in net.parameters())\n    half = total / 2", "    logql.log('q', half)"),
        ("    w = net.w", "    size = w.numel()\n    logql.log('q', size)"),
    ],
)
def test_a_line_that_takes_a_value_before_what_changes_it_keeps_its_place(before: str, after: str) -> None:
    text = new(before, after)
    assert put(text, "'q'", FIT).source == text


def test_a_line_without_a_place_of_its_own_is_refused() -> None:
    old = code(FIT).replace("    loss = fit", "    with timer():\n        loss = fit")
    result = put(new("    w0 = net.w.clone()", "    logql.log('q', net.w - w0)"), "'q'", old)
    assert result.source is None or "w0 = net.w.clone()\n    with timer" in result.source


def test_what_only_holds_constants_may_move() -> None:
    result = put(new("    half = 0.5", "    logql.log('q', half * loss)"), "'q'", FIT)
    assert added(result) == ["    half = 0.5", "    logql.log('q', half * loss)"]


@pytest.mark.parametrize(
    ("made", "changed"),
    [
        ("seen = []", "seen.append(loss)"),
        ("seen = [0, 0]", "seen[epoch] += 1"),
        ("seen = {}", "seen.update(a=loss)"),
        ("seen = 0", "seen += 1"),
        ("seen = net.w.copy()", "print(seen)"),
    ],
)
def test_what_iterations_change_and_what_is_read_of_objects_is_no_constant(made: str, changed: str) -> None:
    text = code(FIT).replace("rng =", f"{made}\nrng =") + f"    {changed}\n    logql.log('q', str(seen))\n"
    result = put(text, "'q'", FIT)
    assert result.reason is not None
    assert result.reason.startswith("`seen` is not defined at this place")


def test_what_an_iteration_leaves_for_the_next_does_not_come_along() -> None:
    text = new("", "    if epoch % 2 == 0:\n        kept = loss * 2\n    logql.log('q', kept)")
    assert put(text, "'q'", FIT).reason == "`kept` may be left from an iteration before, which cannot come along"


EVAL = "    net.eval()\n    with torch.no_grad():\n        logql.log('q', net(rng))\n    net.train()\n"


def test_validation_comes_along_in_its_mode() -> None:
    assert added(put(code(FIT) + EVAL, "'q'", FIT)) == [line for line in EVAL.splitlines() if "train" not in line]


def test_a_mode_comes_along_for_lines_that_feed_and_under_a_guard() -> None:
    lines = ["    net.eval()", "    out = net(rng)", "    net.train()", "    logql.log('q', out.sum())"]
    assert added(put(new("", "\n".join(lines)), "'q'", FIT)) == [lines[0], lines[1], lines[3]]
    guarded = ["    if epoch == 1:", *(f"    {line}" for line in lines)]
    assert added(put(new("", "\n".join(guarded)), "'q'", FIT)) == [guarded[0], guarded[1], guarded[2], guarded[4]]


def test_a_mode_does_not_come_along_for_what_computes_nothing_of_the_model() -> None:
    text = new("", "    net.eval()\n    logql.log('q', net.w.norm())\n    net.train()")
    assert added(put(text, "'q'", FIT)) == ["    logql.log('q', net.w.norm())"]


def test_values_of_two_modes_are_refused() -> None:
    text = new("", "    net.eval()\n    out = net(rng)\n    net.train()\n    logql.log('q', net(rng) - out)")
    assert put(text, "'q'", FIT).reason == "what it needs is computed in another mode of the model than it is logged in"


def test_a_with_around_code_of_both_versions_does_not_travel() -> None:
    text = code(FIT).replace("    loss = fit(net, rng)\n", "    with torch.no_grad():\n        loss = fit(net, rng)\nQ")
    text = text.replace("Q", "        logql.log('q', loss * 2)\n")
    assert added(put(text, "'q'", FIT)) == ["    logql.log('q', loss * 2)"]


def test_a_guard_under_which_training_is_changed_is_none() -> None:
    old = code(FIT).replace("    loss = fit(net, rng)", "    rate = 0.1\n    loss = fit(net, rate)")
    text = old.replace(
        "    loss =", "    if epoch > 1:\n        rate = rate / 2\n        logql.log('q', rate)\n    loss ="
    )
    assert (
        put(text, "'q'", old).reason
        == "`if epoch > 1:`, which decides whether and how often it runs, does not exist here"
    )


def test_a_value_that_training_goes_on_with_is_that_of_the_old_code() -> None:
    old = code(FIT).replace("    logql", "    net.update(loss)\n    logql")
    text = old.replace("    net.update", "    loss = loss + penalty(net)\n    logql.log('q', loss)\n    net.update")
    assert added(put(text, "'q'", old)) == ["    logql.log('q', loss)"]


def test_what_is_changed_in_place_does_not_come_along() -> None:
    result = put(new("", "    loss += rng.random()\n    logql.log('q', loss)"), "'q'", FIT)
    assert result.reason == "`loss` has another value at this place: this version lacks `loss += rng.random()` (line 8)"


@pytest.mark.parametrize(("goes_on", "placed"), [("", False), ("            self.keep(self.loss)\n", True)])
def test_an_attribute_that_is_set_anew_beside_the_old_codes(goes_on: str, placed: bool) -> None:
    old = """
        import logql
        class Trainer:
            def run(self):
                for epoch in logql.loop("epoch", range(3)):
                    self.loss = self.train(epoch)
        """
    old = code(old) + goes_on
    line = "            self.loss = self.test(epoch)\n            logql.log('q', self.loss.item())\n"
    shown = "            print(self.loss)\n" if not placed else ""
    head, tail = old[: len(old) - len(goes_on)], goes_on
    result = put(head + shown + line + tail, "'q'", head + shown + tail)
    assert (result.source is not None) is placed
    if not placed:
        assert str(result.reason).startswith(
            "`self.loss` has another value at this place: this version lacks `self.loss"
        )


def test_what_went_to_the_other_end_of_an_iteration_leaves_the_place_in_doubt() -> None:
    lines = ["loss = net(x)", "loss.backward()", "opt.step()"]
    head = "import logql\nfor x in logql.loop('step', data):\n"
    old = head + "".join(f"    {line}\n" for line in [*lines, "opt.zero_grad()"])
    text = head + "".join(f"    {line}\n" for line in ["opt.zero_grad()", *lines, "logql.log('q', norm(net))"])
    result = put("from lib import norm\n" + text, "'q'", "from lib import norm\n" + old)
    assert result.reason == "`opt.zero_grad()` stands at the other end of the iteration here"


PAIRS = "".join(f"    {name} = net.{name}.norm()\n    logql.log('{name}', {name})\n" for name in "abcde")


@pytest.mark.parametrize("name", "abcde")
def test_lines_that_only_feed_log_statements_are_no_foreign_code(name: str) -> None:
    text = code(FIT) + PAIRS + "    step(rng)\n"
    result = put(text, f"'{name}'", code(FIT) + "    step(rng)\n")
    assert added(result) == [f"    {name} = net.{name}.norm()", f"    logql.log('{name}', {name})"]


EPOCH = """
def {name}({net}, loader):
    total = 0
    for x, y in loader:
        out = {net}(x)
        loss = crit(out, y)
        {net}.step(loss)
        total += loss
    return total
"""
VALIDATE = """
def validate(net, loader):
    total = 0
    for x, y in loader:
        out = net(x)
        loss = crit(out, y)
        total += loss
    logql.log('q', total)
    return total
"""


@pytest.mark.parametrize(("name", "net"), [("train", "net"), ("fit", "net"), ("fit", "model")])
def test_a_function_of_both_versions_does_not_stand_in_for_a_new_one(name: str, net: str) -> None:
    old = "import logql\n" + EPOCH.format(name="train", net="net")
    text = "import logql\n" + EPOCH.format(name=name, net=net) + VALIDATE
    assert put(text, "'q'", old).reason == f"`validate` does not exist here: `train` is `{name}` in the newer version"


def test_a_function_that_two_became_has_no_place_in_one_of_them() -> None:
    both = "import logql\n" + "".join(EPOCH.format(name=name, net="net") for name in ("train", "test"))
    text = "import logql\n" + EPOCH.format(name="go", net="net").replace(
        "    return", "    logql.log('q', total)\n    return"
    )
    assert put(text, "'q'", both).reason == "it may belong to `train` or to `test`"


def test_names_that_changed_places_are_followed() -> None:
    old = """
        import logql
        model = make()
        ema = make()
        for epoch in logql.loop("epoch", range(3)):
            fit(model)
            update(ema, model)
            for x, y in pairs:
                p = x * 2
                keep(p - y)
            logql.log("a", test(model))
        """
    text = """
        import logql
        net = make()
        model = make()
        for epoch in logql.loop("epoch", range(3)):
            fit(net)
            update(model, net)
            logql.log("q", model.norm())
            for y, x in pairs:
                p = y * 2
                logql.log("r", x.sum())
                keep(p - x)
            logql.log("a", test(net))
        """
    assert added(put(text, '"q"', old)) == ['    logql.log("q", ema.norm())']
    assert added(put(text, '"r"', old)) == ['        logql.log("r", y.sum())']

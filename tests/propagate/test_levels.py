"""The levels that a place can have: through calls by name, and where no call names the function."""

from __future__ import annotations

import pytest

from logql.propagate.outline import read_outline
from logql.propagate.place import place

RUN, EPOCH, STEP = (), ("epoch",), ("epoch", "step")
ANY = {RUN, EPOCH, STEP}

SCRIPT = """import logql
{functions}

def train(model, loader):
    for x in logql.loop("step", loader):
        {in_step}


def fit(model, loader):
    {before}
    for epoch in logql.loop("epoch", range(3)):
        train(model, loader)
        {in_epoch}


{last}
"""


def levels(
    functions: str, before: str = "pass", in_epoch: str = "pass", in_step: str = "pass", last: str = ""
) -> set[tuple[str, ...]]:
    """Levels of the statement `here = 1`, put into the same script without it."""
    last = last or "fit(Model(), [1])"
    new = SCRIPT.format(functions=functions, before=before, in_epoch=in_epoch, in_step=in_step, last=last)
    line = next(number for number, text in enumerate(new.splitlines(), 1) if "here" in text)
    old = "\n".join(text for text in new.splitlines() if "here" not in text)
    placement = place(new, line, old)
    assert placement.source is not None, placement.reason
    assert read_outline(placement.source)
    return set(placement.levels)


HERE = '\n    z = x + 1\n    logql.log("here", z)\n    return z\n'


@pytest.mark.parametrize(
    ("functions", "calls", "expected"),
    [
        ("def note(x):" + HERE, {"in_step": "note(x)"}, {STEP}),
        ("def note(x):" + HERE, {"in_step": "note(x)", "before": "note(1)"}, {RUN, STEP}),
        ("class Net:\n  def forward(self, x):" + HERE.replace("\n", "\n  "), {"in_step": "model(x)"}, ANY),
        ("class Data:\n  def __getitem__(self, x):" + HERE.replace("\n", "\n  "), {"before": "loader = Data()"}, ANY),
        ("class Ema:\n  def __call__(self, x):" + HERE.replace("\n", "\n  "), {"before": "ema = Ema()"}, ANY),
        ("class Net:\n  def __init__(self, x):" + HERE.replace("\n", "\n  "), {"in_epoch": "Net(2)"}, {EPOCH}),
        ("def hook(x):" + HERE, {"before": "model.register_hook(hook)"}, ANY),
        ("def hook(x):" + HERE, {"before": "model.hooks = [hook]; hook(1)"}, ANY),
        ("def rate(x):" + HERE, {"before": "schedule = Schedule(lambda x: rate(x))"}, ANY),
        ("def batches(x):\n    yield x" + HERE, {"before": "source = batches(3)"}, ANY),
        ("def on_step_end(x):" + HERE, {"in_step": "getattr(model, 'on_' + 'step_end')(x)"}, ANY),
        ("def note(x):" + HERE, {"before": "note = 3; print(note)", "in_epoch": "note(3)"}, {EPOCH}),
        ("def one(x):" + HERE + "\ndef two(x):\n    one(x)\n", {"before": "model.hooks = [two]"}, ANY),
    ],
)
def test_functions_that_no_call_names_may_run_anywhere(
    functions: str, calls: dict[str, str], expected: set[tuple[str, ...]]
) -> None:
    assert levels(functions, **calls) == expected


@pytest.mark.parametrize("last", ["import fire; fire.Fire(fit)", "if 0: app.register(fit)", ""])
def test_loops_that_run_within_a_function_are_not_around_it(last: str) -> None:
    assert levels("", before='logql.log("here", loader)', last=last or "pass") == {RUN}


def test_a_method_that_starts_the_loops_of_its_class_is_outside_of_them() -> None:
    fit = "class Trainer:\n  def fit(self, x):" + HERE.replace("return z", "self.go()").replace("\n", "\n  ")
    go = "\n  def go(self):\n    fit(self, [1])\n"
    assert levels(fit + go, last="run_with_retries(Trainer().fit)") == {RUN}


@pytest.mark.parametrize(
    ("functions", "header", "expected"),
    [
        ("def every(x):\n    for v in logql.loop('batch', x):\n        yield v\n", "for x in every([1]):", {"batch"}),
        ("def block(x):\n    with logql.iteration('batch', x):\n        yield\n", "with block(1):", {"batch"}),
        ("batches = logql.loop('batch', [1])", "for x in batches:", {"batch"}),
        ("def every(x):\n    for v in logql.loop('batch', x):\n        print(v)\n", "for x in every([1]):", set()),
        ("", "for x in logql.loop(f'batch{epoch}', [1]):", {"*"}),
    ],
)
def test_loops_that_other_functions_hand_on(functions: str, header: str, expected: set[str]) -> None:
    body = f"{header}\n            y = 1\n            logql.log('here', y)"
    inner = {("epoch", name) for name in expected}
    assert levels(functions, in_epoch=body) == (inner if "f'" in header else {EPOCH} | inner)


def test_many_calls_at_one_level_hide_no_other() -> None:
    calls = "; ".join("note(1)" for _ in range(40))
    assert levels("def note(x):" + HERE, before=calls, in_epoch="note(2)") == {RUN, EPOCH}


@pytest.mark.parametrize(
    ("plain", "logging", "expected", "once"),
    [
        ("a = f(x.norm())", "a = f(logql.log('here', x.norm()))", {EPOCH}, True),
        ("a = [f(v) for v in x]", "a = [logql.log('here', f(v)) for v in x]", {EPOCH}, False),
        ("a = sum(f(v) for v in x)", "a = sum(logql.log('here', f(v)) for v in x)", {EPOCH}, False),
        ("a = hook(lambda g: g.norm())", "a = hook(lambda g: logql.log('here', g.norm()))", ANY, False),
        ("", "logql.log('here', sum(v for v in x))", {EPOCH}, True),
    ],
)
def test_log_calls_within_expressions(plain: str, logging: str, expected: set[tuple[str, ...]], once: bool) -> None:
    new, old = (
        SCRIPT.format(functions="", before="x = [1]", in_step="pass", in_epoch=text, last="fit(1, [1])").replace(
            f"        {text}\n", f"        {text}\n" if text else ""
        )
        for text in (logging, plain)
    )
    line = next(number for number, text in enumerate(new.splitlines(), 1) if "here" in text)
    placement = place(new, line, old)
    assert placement.source is not None, placement.reason
    assert (set(placement.levels), placement.once) == (expected, once)

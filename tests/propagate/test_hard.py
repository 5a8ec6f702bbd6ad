"""Classes of change that are hard to follow, in both directions: a statement of either version goes to the other."""

from __future__ import annotations

import pytest

from logql.propagate import place
from tests.propagate.placing import added, code, put

#: Two versions of which each has the marked statement.
PAIRS = {
    "no neighbour stayed": (
        """
        def train(model, batch):
            x, y = unpack(batch)
            out = model(x)
            loss = entropy(out, y)
            print("loss", loss)  # HERE
            scaler.scale(loss).backward()
            scaler.step(optimizer)
        """,
        """
        def train(model, batch):
            x, y = batch
            out = model(x)
            loss = ((out - y) ** 2).mean()
            print("loss", loss)  # HERE
            loss.backward()
            optimizer.step()
        """,
    ),
    "copies of one statement": (
        """
        def run(net):
            net.train()
            fit(net)
            print(net.steps)
            net.eval()
            test(net)
            print(net.steps)  # HERE
            save(net)
        """,
        """
        def run(net):
            net.train()
            fit(net, 3)
            print(net.steps)
            net.eval()
            test(net)
            print(net.steps)  # HERE
            save(net, "x")
        """,
    ),
    "a block in with": (
        """
        def step(x):
            first(x)
            with autocast():
                y = second(x)
                print(y)  # HERE
                z = third(y)
            return z
        """,
        """
        def step(x):
            first(x)
            y = second(x)
            print(y)  # HERE
            z = third(y)
            return z
        """,
    ),
    "a block in try": (
        """
        def step(x):
            first(x)
            try:
                y = second(x)
                print(y)  # HERE
                z = third(y)
            finally:
                close(x)
            return z
        """,
        """
        def step(x):
            first(x)
            y = second(x)
            print(y)  # HERE
            z = third(y)
            return z
        """,
    ),
    "the first of a block whose header changed": (
        """
        def run(data):
            for number, x in enumerate(tqdm(data)):
                print(x)  # HERE
                y = work(x)
                keep(y)
        """,
        """
        def run(data):
            for x in data:
                print(x)  # HERE
                y = work(x)
                keep(y)
        """,
    ),
    "a block that changed its order": (
        """
        def main(args):
            a = load(args.a)
            check(a, args.deep)
            b = load(args.b)
            print(len(b))  # HERE
            clean(b)
            c = load(args.c)
            return run(a, b, c)
        """,
        """
        def main(args):
            b = load(args.b)
            print(len(b))  # HERE
            clean(b)
            a = load(args.a)
            check(a, args.deep)
            c = load(args.c)
            return run(a, b, c)
        """,
    ),
    "async and a decorator": (
        """
        @retry(3)
        async def fetch(source):
            async with source as it:
                async for x in it:
                    y = await decode(x)
                    print(y)  # HERE
                    await keep(y)
        """,
        """
        async def fetch(source):
            async for x in source:
                y = await decode(x)
                print(y)  # HERE
                await keep(y)
        """,
    ),
    "match": (
        """
        def act(command):
            match command:
                case ["go", where]:
                    way = find(where)
                    print(way)  # HERE
                    walk(way)
                case _:
                    stop()
        """,
        """
        def act(command, fast=False):
            match command:
                case ["go", where]:
                    way = find(where)
                    print(way)  # HERE
                    walk(way, fast)
                case _:
                    stop()
        """,
    ),
}


def _sides(pair: tuple[str, str], reverse: bool) -> tuple[str, int, str, str]:
    new, expected = (code(text) for text in (pair[::-1] if reverse else pair))
    line = next(n for n, text in enumerate(new.splitlines(), start=1) if "# HERE" in text)
    old = "".join(text for text in expected.splitlines(keepends=True) if "# HERE" not in text)
    return new, line, old, expected.replace("  # HERE", "")


@pytest.mark.parametrize("reverse", [False, True], ids=["back", "forth"])
@pytest.mark.parametrize("name", PAIRS)
def test_a_statement_comes_back_in_either_direction(name: str, reverse: bool) -> None:
    new, line, old, expected = _sides(PAIRS[name], reverse)
    result = place(new, line, old)
    assert result.source == expected, result.reason


@pytest.mark.parametrize("reverse", [False, True], ids=["back", "forth"])
def test_a_block_under_a_condition_on_one_side_only_is_another_block(reverse: bool) -> None:
    """How often it runs would differ: that is for a person to say."""
    pair = (
        "def f(x):\n    y = g(x)\n    if x:\n        z = h(y)\n        print(z)  # HERE\n        keep(z)\n",
        "def f(x):\n    y = g(x)\n    z = h(y)\n    print(z)  # HERE\n    keep(z)\n",
    )
    new, line, old, expected = _sides(pair, reverse)
    result = place(new, line, old)
    assert result.source == expected or result.reason


#: What one version calls a thing and what the other does, and the code around it: `N` stands for the name.
NAMES = [
    ("args.rate", "rate", "args = parse()\nrate = 3\nfor x in args.data:\n    fit(N)\n    {}\n    last()\n"),
    (
        "self.net",
        "self.model",
        "class T:\n    def go(self):\n        N = 1\n        fit(N)\n        {}\n        end()\n",
    ),
    ('config["lr"]', "config.lr", "def f(config):\n    fit(N)\n    step(N)\n    {}\n    last()\n"),
    ("inputs", "x", "def f(data):\n    for N, y in data:\n        out = net(N)\n        {}\n        fit(out, y)\n"),
]


def _versions(frame: str, name: str) -> tuple[str, str, str]:
    """A version with a print of what the name stands for, the same without it, and the print's line."""
    indent = frame[: frame.index("{}")].rpartition("\n")[2]
    lines = frame.replace("N", name).splitlines(keepends=True)
    without = "".join(line for line in lines if "{}" not in line)
    return "".join(lines).replace("{}", f"print({name})"), without, f"{indent}print({name})"


@pytest.mark.parametrize("reverse", [False, True], ids=["back", "forth"])
@pytest.mark.parametrize(("mine", "theirs", "frame"), NAMES, ids=[case[0] for case in NAMES])
def test_names_are_followed_in_either_direction(mine: str, theirs: str, frame: str, reverse: bool) -> None:
    mine, theirs = (theirs, mine) if reverse else (mine, theirs)
    new, _, _ = _versions(frame, mine)
    _, old, wanted = _versions(frame, theirs)
    if frame.startswith("args"):
        gone = {"args.rate": "rate = 3\n", "rate": "args = parse()\n"}
        new = new.replace(gone[mine], "").replace("args.data", "data()")
        old = old.replace(gone[theirs], "").replace("args.data", "data()")
    assert added(put(new, "print(", old)) == [wanted]


def test_an_attribute_that_exists_on_one_side_only() -> None:
    frame = "class T:\n    def go(self):\n{}        for x in self.data:\n            step(x)\n{}            last(x)\n"
    new = frame.format("        self.dt = clock()\n        show(self.dt)\n", "            print(self.dt)\n")
    assert (
        put(new, "print(self.dt)", frame.format("", "")).reason
        == "`self.dt` does not exist in this version; " + ("nearest candidate is `self.data`")
        or put(new, "print(self.dt)", frame.format("", "")).reason == "`self.dt` does not exist in this version"
    )
    both = frame.format("        self.dt = 0\n", "")
    assert added(put(new, "print(self.dt)", both)) == ["            print(self.dt)"]


def test_nothing_goes_behind_the_end_of_a_block() -> None:
    new = "def f(x):\n    y = g(x)\n    return h(y)\n\ndef k(x):\n    y = g(x)\n    z = h(y)\n    print(z)\n"
    old = "def k(x):\n    y = g(x)\n    return h(y)\n"
    assert put(new, "print(z)", old).source is None


@pytest.mark.parametrize("between", ["names = sorted(names)", "names.extend(x)"])
def test_what_builds_the_value_on_one_side_only_leaves_it_in_doubt(between: str) -> None:
    new = "def f(x):\n    names = list(x)\n    print(x, names)\n    last(x)\n"
    old = f"def f(x):\n    names = list(x)\n    {between}\n    last(x)\n"
    result = put(new, "print(", old)
    assert result.reason == "the code next to it has changed too much to tell its place"
    assert len(result.candidates) == 2


def test_a_line_comes_along_over_reports() -> None:
    """What only tells of values (a logger, a print) changes nothing that the line reads."""
    lines = ["info(args.a)", "logger.info(f'{args.a}')", "logger.warning('x')"]
    old = "import logging\nlogger = logging.getLogger()\ndef f(args, info):\n    first(args)\n" + "".join(
        f"    {line}\n" for line in lines[1:]
    )
    new = old.replace("    first(args)\n", "    first(args)\n    total = args.a * 2\n") + "    print(total)\n"
    assert added(put(new + "    last(args)\n", "print(", old + "    last(args)\n")) == [
        "    total = args.a * 2",
        "    print(total)",
    ]


@pytest.mark.parametrize("head", ["# -*- coding: latin-1 -*-\n", "#!/usr/bin/env python\n\n", '"""Text."""\n'])
def test_leading_lines_stay_first(head: str) -> None:
    old = head + "def f(x):\n    y = x\n    return y\n"
    new = head + "import math\n\ndef f(x):\n    y = x\n    print(math.sqrt(y), 'ä')\n    return y\n"
    result = put(new, "print(", old)
    assert result.source is not None, result.reason
    assert result.source.startswith(head.rstrip("\n") + "\n")
    assert result.source.index("import math\n") < result.source.index("def f")
    assert "    print(math.sqrt(y), 'ä')\n    return y\n" in result.source


def test_statements_that_log_other_things_are_no_neighbours() -> None:
    """`logql.log(..., x.y().item())` stands all over a script: that both log does not make them the same statement."""
    old = """
    import logql
    def train(args, diffusion, model, mse, loader):
        for epoch in logql.loop("epoch", range(args.epochs)):
            for i, images in enumerate(logql.loop("i", loader)):
                t = diffusion.sample(images.shape[0])
                noisy, noise = diffusion.noise(images, t)
                predicted = model(noisy, t)
                loss = mse(noise, predicted)
                loss.backward()
                logql.log("MSE", loss.item())
            if epoch % 2 == 0:
                images = diffusion.draw(model, n=16)
                logql.log("sample_std", images.std().item())
                save(images)
    """
    new = """
    import logql
    class Trainer:
        def losses(self, x):
            t = self.diffusion.sample(x.shape[0])
            noisy, noise = self.diffusion.noise(x, t)
            predicted = self.model(noisy, t)
            loss = F.mse_loss(noise, predicted)
            logql.log("t_mean", t.mean().item())
            logql.log("snr", self.diffusion.hat[t].mean().item())
            return loss
    """
    result = put(new, '"snr"', old)
    assert added(result) == ['            logql.log("snr", diffusion.hat[t].mean().item())']
    assert result.source is not None
    assert result.source.index('"snr"') < result.source.index("loss.backward()")


@pytest.mark.parametrize("other", ["", 'print(df["{}"])'])
@pytest.mark.parametrize("read", ["size", "index"])
def test_an_attribute_is_not_taken_for_a_column_of_its_name(read: str, other: str) -> None:
    text = """
    for epoch in loop("epoch", range(3)):
        df = step(df, df["size"], df["index"])
        {}
        print("q", df.{})
    """
    new = text.format("" if not other else other.format("a"), read)
    old = text.format(other.format(read), read).replace(f'print("q", df.{read})', "")
    assert added(put(new, '"q"', old)) == [f'    print("q", df.{read})']
    elsewhere = new.replace(f'df["{read}"]', f"{read}s")
    assert added(put(elsewhere, '"q"', old)) == [f'    print("q", df.{read})']


def test_a_column_in_a_formatted_string_needs_no_change() -> None:
    old = """
    for epoch in loop("epoch", range(3)):
        df = step(df, df["a"])
    """
    new = old.rstrip() + '\n        print("q", f"{df.a.sum()}")\n'
    assert added(put(new, '"q"', old)) == ['    print("q", f"{df.a.sum()}")']


def test_another_key_that_changed_its_spelling_tells_of_this_one() -> None:
    old = """
    def train(config, net):
        opt = SGD(net, lr=config["lr"], momentum=config["momentum"])
        for epoch in loop("epoch", range(3)):
            fit(net, opt)
        save(net, config["seed"])
    """
    new = """
    def train(config, net):
        opt = SGD(net, lr=config.lr, momentum=config.momentum)
        for epoch in loop("epoch", range(3)):
            fit(net, opt)
            print("q", config.seed)
    """
    assert added(put(new, '"q"', old)) == ['        print("q", config["seed"])']

"""Random training scripts: loops in loops, conditions, breaks, exceptions, folds, functions; some lines are optional.

A script is a list of lines. Those that are marked log what the old version of it does not.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

HEAD = """\
import contextlib
import random
import logql

SEED = logql.arg("seed", 1)
random.seed(SEED)
w = [random.random() for _ in range(3)]
total = sum(w)


def noisy(x):
    return x * random.random()


def batches(count):
    for number in range(count):
        yield number + random.random()


class Meter:
    def __init__(self):
        self.sum = 0.0
        self.count = 0

    def add(self, x):
        self.sum += x
        self.count += 1
        return self.sum / self.count


meter = Meter()


def note(name, x):
    logql.log(name, x)
    logql.log(name, x + 1)


def note_all(name, values):
    for value in values:
        logql.log(name, value)
"""
RECORDED = ("loss", "acc")
VIRTUAL = ("v1", "v2")
#: What every place can read.
VALUES = ("total", "w[0]", "sum(w)", "w[1] - w[2]", "meter.sum", "round(total, 3)", "float(len(w))", "max(w)")
UPDATES = (
    "w[0] = w[0] * 0.5 + noisy(1.0)",
    "w[:] = [x * 0.9 + random.random() / 8 for x in w]",
    "total = sum(w)",
    "total = meter.add(w[1])",
    "w[2] -= 0.1 * w[0]",
)
#: What stands around a line that logs, and comes along with it; and functions that log more than once.
GUARDS = ("for again in range(2):", "for value in w[:2]:", "if w[0] > 0.6:", "if meter.count % 2 == 0:", "if True:")
WRAPPERS = ('note("{}", {})', 'note_all("{}", [{}, 2.0])')
CHANCES = ("random.random() < 0.5", "w[0] > 0.6", "total > 1.4", "meter.count % 2 == 0")
#: Loops that logql is told of, by depth: a main loop, and those inside of one.
INNER = ("step", "eval")


@dataclass
class Script:
    """Lines, and whether each is left out of the old version."""

    lines: list[tuple[str, bool]] = field(default_factory=list)

    def new(self) -> str:
        """With every line."""
        return HEAD + "".join(f"{text}\n" for text, _ in self.lines)

    def today(self, rng: random.Random) -> str:
        """The new version as it may stand by now: a variable renamed, comments, and lines that change nothing."""
        rename, found = rng.random() < 0.5, HEAD
        for text, optional in self.lines:
            if not optional and rng.random() < 0.1 and not text.lstrip().startswith(("else", "except", "finally")):
                indent = text[: len(text) - len(text.lstrip())]
                found += indent + rng.choice(("# as before\n", "unused = 0\n", "print('here')\n"))
            found += f"{text}\n"
        return re.sub(r"\btotal\b", "amount", found) if rename else found

    def old(self) -> str:
        """Without the lines that log what is asked for."""
        return HEAD + "".join(f"{text}\n" for text, optional in self.lines if not optional)


class Writer:
    """Writes one random script."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.script = Script()
        self.indent = 0
        self.count = 0
        self.loops: list[str] = []
        self.unused = [name for name in VIRTUAL for _ in range(2 if rng.random() < 0.15 else 1)]
        self.leave = ""

    def write(self) -> Script:
        """A script that logs each name of VIRTUAL somewhere."""
        self.layout()
        while self.unused:
            self.virtual()
        return self.script

    # -- lines

    def line(self, text: str, *, optional: bool = False) -> None:
        self.script.lines.append(("    " * self.indent + text, optional))

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        """A head and what stands under it, which is never empty."""
        self.line(head)
        self.indent += 1
        yield
        self.line(self.rng.choice(UPDATES))
        self.indent -= 1

    def fresh(self, prefix: str) -> str:
        self.count += 1
        return f"{prefix}{self.count}"

    # -- the whole

    def layout(self) -> None:
        """One of the shapes that training scripts have."""
        shapes: tuple[Callable[[], None], ...] = (
            self.main_loop, self.main_loop, self.function, self.method, self.folds, self.several, self.while_loop,
        )  # fmt: skip
        if self.rng.random() < 0.3:
            self.virtual()
        self.rng.choice(shapes)()
        self.line(f'logql.log("best", {self.rng.choice(VALUES)})')
        if self.rng.random() < 0.3:
            self.virtual()

    def main_loop(self, name: str = "epoch") -> None:
        with self.loop(name, f"range({self.rng.randint(2, 5)})"):
            self.body(self.rng.choice((1, 2, 2, 3)))

    def several(self) -> None:
        """Two main loops, and what lies between them."""
        self.main_loop("warmup")
        self.statement(0)
        self.main_loop()

    def folds(self) -> None:
        """Main loops of one name in a loop that logql was not told of."""
        with self.block("for fold in range(2):"):
            self.main_loop()
            self.statement(0)

    def function(self) -> None:
        """The main loop in a function that gets its state as arguments."""
        with self.block("def train(w, total, epochs):"):
            self.main_loop()
            self.line("print('trained')")
        self.line(f"train(w, total, {self.rng.randint(2, 4)})")

    def method(self) -> None:
        """The main loop in a method, its state in attributes."""
        self.line("class Trainer:")
        self.indent += 1
        with self.block("def fit(self, total):"):
            self.line("self.w = w")
            self.main_loop()
        self.indent -= 1
        self.line("Trainer().fit(total)")

    def while_loop(self) -> None:
        """A main loop that is no iterable."""
        self.line("at = 0")
        with self.block(f"while at < {self.rng.randint(2, 4)}:"):
            self.loops.append("epoch")
            with self.block('with logql.iteration("epoch", at):'):
                self.body(2)
            self.loops.pop()
            self.line("at += 1")

    @contextmanager
    def loop(self, name: str, iterable: str) -> Iterator[None]:
        """A loop that logql is told of."""
        before, self.leave = self.leave, "loop"
        self.loops.append(name)
        item = self.fresh("item") if self.rng.random() < 0.2 else name
        with self.block(f'for {item} in logql.loop("{name}", {iterable}):'):
            yield
        self.loops.pop()
        self.leave = before

    # -- statements

    def body(self, depth: int) -> None:
        for _ in range(self.rng.randint(1, 3)):
            self.statement(depth)
        if self.rng.random() < 0.5:
            self.virtual()

    def statement(self, depth: int) -> None:
        """Anything that may stand in a training loop."""
        rng = self.rng
        plain: tuple[Callable[[int], None], ...] = (self.update, self.recorded, self.recorded, self.maybe_virtual)
        nested: tuple[Callable[[int], None], ...] = (
            self.condition, self.inner_loop, self.inner_loop, self.unnamed_loop, self.attempt, self.cleanup, self.held,
            self.nested_function, self.counted, self.skip, self.crash,
        )  # fmt: skip
        rng.choice(plain + nested if depth > 0 else plain)(depth)

    def update(self, depth: int) -> None:  # noqa: ARG002
        self.line(self.rng.choice(UPDATES))

    def recorded(self, depth: int) -> None:  # noqa: ARG002
        """What both versions log."""
        self.line(f'logql.log("{self.rng.choice(RECORDED)}", {self.rng.choice(VALUES)})')

    def virtual(self) -> None:
        """What the new version logs alone."""
        if self.unused:
            name = self.unused.pop(self.rng.randrange(len(self.unused)))
            form = self.rng.choice(WRAPPERS) if self.rng.random() < 0.15 else 'logql.log("{}", {})'
            guarded = self.rng.random() < 0.25
            if guarded:
                self.line(self.rng.choice(GUARDS), optional=True)
            text = form.format(name, self.rng.choice(VALUES))
            self.line(f"{'    ' * guarded}{text}", optional=True)

    def maybe_virtual(self, depth: int) -> None:
        self.virtual() if self.rng.random() < 0.5 else self.update(depth)

    def condition(self, depth: int) -> None:
        with self.block(f"if {self.rng.choice(CHANCES)}:"):
            self.body(depth - 1)
        if self.rng.random() < 0.3:
            with self.block("else:"):
                self.statement(depth - 1)

    def inner_loop(self, depth: int) -> None:
        """A loop in a loop, over numbers or what a generator gives, of a name that no loop around it has."""
        names = [name for name in INNER if name not in self.loops]
        if not names or not self.loops:
            return self.update(depth)
        iterable = self.rng.choice((f"range({self.rng.randint(0, 3)})", "list(batches(2))", "w", "enumerate(w)"))
        with self.loop(self.rng.choice(names), iterable):
            self.body(depth - 1)
        return None

    def unnamed_loop(self, depth: int) -> None:
        """A loop that logql is not told of: what it logs comes again in one context."""
        before, self.leave = self.leave, "loop"
        with self.block(f"for _ in {self.rng.choice(('range(2)', 'batches(2)', 'list(w)'))}:"):
            self.body(depth - 1)
        self.leave = before

    def counted(self, depth: int) -> None:
        before, self.leave = self.leave, "loop"
        name = self.fresh("n")
        self.line(f"{name} = 0")
        with self.block(f"while {name} < 2:"):
            self.line(f"{name} += 1")
            self.statement(depth - 1)
        self.leave = before

    def skip(self, depth: int) -> None:
        """An early way out of the loop around."""
        if self.leave != "loop":
            return self.update(depth)
        self.line(f"if {self.rng.choice(CHANCES)} and random.random() < 0.4:")
        self.indent += 1
        self.maybe_virtual(depth)
        self.line(self.rng.choice(("break", "continue", "continue")))
        self.indent -= 1
        return None

    def crash(self, depth: int) -> None:
        """What may end the run in the middle."""
        if self.rng.random() < 0.7:
            return self.update(depth)
        self.line(f"if meter.count > {self.rng.randint(1, 6)} and random.random() < 0.3:")
        return self.line("    raise RuntimeError(meter.count)")

    def attempt(self, depth: int) -> None:
        """An exception that is raised and caught."""
        with self.block("try:"):
            self.statement(depth - 1)
            self.line(f"if {self.rng.choice(CHANCES)}:")
            self.line("    raise ValueError(total)")
            self.maybe_virtual(depth)
        with self.block("except ValueError as error:"):
            self.statement(depth - 1)
            self.line("w[1] += error.args[0] / 100")

    def cleanup(self, depth: int) -> None:
        before, self.leave = self.leave, ""
        with self.block("try:"):
            self.body(depth - 1)
        with self.block("finally:"):
            self.maybe_virtual(depth)
        self.leave = before

    def held(self, depth: int) -> None:
        """A with block, which may swallow an exception."""
        with self.block("with contextlib.suppress(KeyError):"):
            self.statement(depth - 1)
            self.line(f"if {self.rng.choice(CHANCES)}:")
            self.line("    raise KeyError(total)")
            self.maybe_virtual(depth)

    def nested_function(self, depth: int) -> None:
        """A function defined where it is used; what it logs belongs where it is called."""
        name = self.fresh("inner")
        before, self.leave = self.leave, ""
        with self.block(f"def {name}(x, total):"):
            self.line("total = total + x")
            self.maybe_virtual(depth)
            if self.rng.random() < 0.3:
                self.recorded(depth)
        self.leave = before
        self.line(f"{name}(w[0], total)")
        if self.rng.random() < 0.3:
            self.line(f"{name}(w[1], total)")


def make_script(seed: int) -> Script:
    """The script of a number: one that both versions of can be run."""
    for attempt in range(100):
        script = Writer(random.Random(f"{seed} {attempt}")).write()
        try:
            compile(script.new(), "train.py", "exec")
            compile(script.old(), "train.py", "exec")
        except SyntaxError:
            continue
        return script
    raise AssertionError("no script")

"""State of plain Python and numpy programs: exact after a restore in a fresh process, or refused with its reason."""

# ruff: noqa: E501, ISC004  (scripts as text)

from __future__ import annotations

from pathlib import Path

import pytest

from tests.state.cases import assert_exact, assert_refused, record


def test_aliases_views_globals_and_generators(tmp_path: Path) -> None:
    assert_exact(
        record(
            tmp_path,
            """
            import random
            import numpy as np
            import rig

            class Net:
                steps = 0
                def __init__(self, rng):
                    self.w = rng.normal(size=(4, 3))
                    self.view = self.w[1:3]

            settings = {"lr": 0.1}
            calls = 0

            def step(net, x, seen=[]):
                global calls
                calls += 1
                seen.append(calls)
                Net.steps += 1
                net.view -= settings["lr"]
                net.w -= 0.01 * x.sum() * random.random()
                return len(seen)

            def train(net, data, rng):
                best, history = None, []
                for epoch in rig.loop("epoch", range(6)):
                    for x in data:
                        n = step(net, x + rng.normal() + np.random.rand())
                    loss = float(net.w.sum())
                    rig.log("loss", loss)
                    rig.log("seen", n)
                    if best is None or loss < best:
                        best, best_w = loss, net.w.copy()
                    history.append(loss)
                    data[epoch % 3] = data[epoch % 3] * 1.5
                    settings["lr"] *= 0.9
                rig.log("best", (best, history, best_w.sum()))

            def main():
                rng = np.random.default_rng(0)
                np.random.seed(1)
                random.seed(2)
                net = Net(rng)
                w = net.w
                data = [rng.normal(size=5) for _ in range(3)]
                train(net, data, rng)
                rig.log("caller's alias", (w.sum(), w is net.w, Net.steps, calls, rng.normal()))
                rig.log("data", [d.sum() for d in data])

            main()
            """,
        )
    )


def test_rebound_item_of_a_list_leaves_the_callers_array_alone(tmp_path: Path) -> None:
    assert_exact(
        record(
            tmp_path,
            """
            import numpy as np
            import rig

            def train(parts):
                for i in rig.loop("i", range(4)):
                    parts[0] = parts[0] + 1
                    rig.log("part", parts[0].sum())

            first = np.zeros(3)
            def main():
                mine = first
                parts = [mine]
                train(parts)
                rig.log("mine", (mine.sum(), parts[0].sum(), mine is first))
            main()
            """,
        )
    )


def test_sets_are_compared_by_what_they_hold(tmp_path: Path) -> None:
    """Text and addresses have other hashes in each process: a set of them has no order to be compared."""
    recorded = record(
        tmp_path,
        """
        import rig
        from pathlib import Path
        words = {f"word{i}" for i in range(50)}
        kept = frozenset(words)
        pairs = {(f"a{i % 40}", i, frozenset({f"b{i}", f"c{i}"})) for i in range(1500)}
        nested = {(frozenset({"x", "y"}), ("p", "q")), (Path("r"), None)}
        for epoch in rig.loop("epoch", range(3)):
            words.add(f"more{epoch}")
            words.discard(f"word{epoch}")
            pairs.add(("new", epoch, frozenset()))
            nested.add((epoch, "s"))
            kept = kept | {f"kept{epoch}"}
            rig.log("sets", [sorted(words), len(pairs), len(nested), sorted(kept)])
        """,
    )
    assert_exact(recorded)


def test_a_set_that_lacks_an_item_is_another_one(tmp_path: Path) -> None:
    recorded = record(
        tmp_path,
        """
        import os, rig
        words, pairs = {"a", "b"}, {(f"a{i}", i) for i in range(1500)}
        for epoch in rig.loop("epoch", range(3)):
            words.add(f"{epoch} of {os.getpid() if epoch else 0}")
            pairs.add(("pid", os.getpid() if epoch else 0))
        """,
    )
    assert recorded.replay("0:1")["problems"]


def test_loops_over_sets_of_numbers_go_on_in_their_order(tmp_path: Path) -> None:
    """A set's table keeps its size, and its collisions, when items go: `list(pool)` is what is drawn from."""
    recorded = record(
        tmp_path,
        """
        import random, rig
        pool, pairs, few = set(range(3000)), {(i % 37, i) for i in range(400)}, {8, 16, 0, 3}
        wide = {random.Random(1).getrandbits(50) for _ in range(1)}
        random.seed(0)
        labeled = set()
        for epoch in rig.loop("epoch", range(4)):
            drawn = [random.choice(list(pool)) for _ in range(500)]
            for one in drawn:
                pool.discard(one)
            labeled.update(drawn[:7])
            for pair in [pair for pair in pairs if pair[1] % 4 == epoch]:
                pairs.remove(pair)
            wide.update(random.getrandbits(50) for _ in range(60))
            wide = set(list(wide)[20:])
            few.discard(8 * epoch)
            few.add(24 + epoch)
            rig.log("orders", [list(pool), list(labeled), list(pairs), list(wide), list(few)])
        """,
    )
    assert_exact(recorded)


def test_addresses_are_those_of_the_objects_here(tmp_path: Path) -> None:
    """Libraries know an object again by its `id`: torch.compile in what it wraps, keras in its trackers."""
    recorded = record(
        tmp_path,
        """
        import rig
        class Node:
            def __init__(self):
                self.parts = [[i] for i in range(4)]
                self.own = id(self)
                self.known = {id(part) for part in self.parts}
                self.names = {id(part): f"part {i}" for i, part in enumerate(self.parts)}
        def main():
            node = Node()
            last = None
            for epoch in rig.loop("epoch", range(3)):
                fresh = Node()
                node.known.discard(id(node.parts[epoch]))
                node.parts.append(fresh.parts[epoch])
                node.known.add(id(node.parts[-1]))
                node.names[id(node.parts[-1])] = "fresh"
                rig.log("known", [sorted(map(len, node.parts)), [id(part) in node.known for part in node.parts]])
                rig.log("names", [node.names.get(id(part)) for part in node.parts])
                rig.log("own", [node.own == id(node), last is None or (last.own == id(last) and 2**60 + epoch)])
                last = fresh
        main()
        """,
    )
    assert_exact(recorded)


def test_two_main_loops_break_else_and_early_stopping(tmp_path: Path) -> None:
    recorded = record(
        tmp_path,
        """
        import random
        import rig

        def fit(tag, patience):
            random.seed(len(tag))
            best, bad = 9.0, 0
            for e in rig.loop(tag, range(8)):
                value = random.random()
                rig.log(tag, value)
                if value < best:
                    best, bad = value, 0
                else:
                    bad += 1
                if bad >= patience:
                    stopped = e
                    break
            else:
                stopped = None
                rig.log("completed", e)
            return best, stopped

        first = fit("pretrain", 2)
        rig.log("between", first)
        second = fit("tuning", 99)
        rig.log("end", (first, second))
        """,
    )
    assert recorded.events[-2][1] == "completed"
    assert_exact(recorded, "0:1", "1:0", "1:5")


def test_module_level_loop_with_a_second_module_and_deleted_names(tmp_path: Path) -> None:
    assert_exact(
        record(
            tmp_path,
            """
            import rig
            import helper

            total, gone = 0, 1
            for x in rig.loop("x", [10, 20, 30, 40]):
                if x == 20:
                    del gone
                    late = "bound in the loop"
                total += helper.bump(x)
                rig.log("total", (total, helper.state, "gone" in globals(), globals().get("late")))
            rig.log("after", (x, total))
            """,
            helper="""
            state = 0
            table = {"a": [1]}
            def bump(x):
                global state
                state += x
                table["a"].append(state)
                return len(table["a"]) * state
            """,
        )
    )


def test_cells_nonlocals_and_local_functions(tmp_path: Path) -> None:
    assert_exact(
        record(
            tmp_path,
            """
            import functools
            import rig

            def main():
                count, kept = 0, []
                def add(n, *, scale=2):
                    nonlocal count
                    count += n * scale
                    kept.append(count)
                    return count
                twice = functools.partial(add, scale=4)
                handler = kept.append
                def run():
                    nonlocal count
                    for i in rig.loop("i", range(5)):
                        add(i)
                        twice(1)
                        handler(-i)
                        count += 1
                        rig.log("count", (count, list(kept)))
                run()
                rig.log("end", (count, kept))
            main()
            """,
        )
    )


def test_slots_subclasses_of_containers_dataclasses_and_enums(tmp_path: Path) -> None:
    assert_exact(
        record(
            tmp_path,
            """
            import collections, dataclasses, datetime, enum, pathlib, array
            import rig

            class Mode(enum.Enum):
                WARM = 1
                COLD = 2

            class Point:
                __slots__ = ("x", "y", "__dict__")
                def __init__(self):
                    self.x = 0

            class Log(list):
                pass

            @dataclasses.dataclass(frozen=True)
            class Key:
                name: str

            @dataclasses.dataclass
            class State:
                n: int = 0
                mode: Mode = Mode.WARM
                parts: dict = dataclasses.field(default_factory=dict)

            Pair = collections.namedtuple("Pair", "a b")

            state, point, log = State(), Point(), Log([0])
            log.note = "x"
            window = collections.deque(maxlen=3)
            table = collections.defaultdict(list)
            order = collections.OrderedDict(a=1, b=2)
            counter = collections.Counter()
            raw, numbers, seen = bytearray(b"ab"), array.array("d", [1.0]), {1, 2}
            pair = Pair(state, [1])
            where, day = pathlib.Path("x"), datetime.date(2020, 1, 1)
            unset = object()
            marker = unset
            for i in rig.loop("i", range(5)):
                state.n += i
                state.mode = Mode.COLD if i % 2 else Mode.WARM
                state.parts[Key(str(i))] = i
                point.x, point.z = point.x + i, i
                if i == 2:
                    point.y = 7
                log.append(i); log.note += "y"
                window.append(i); table[i % 2].append(i); order.move_to_end("a" if i % 2 else "b")
                counter["k"] += i; raw.append(65 + i); numbers.append(i / 3); seen.add(i * 10)
                pair = Pair(pair.a, pair.b + [i])
                day += datetime.timedelta(days=1)
                where = where / str(i)
                rig.log("all", (state, state.parts[Key("0")], point.x, point.z, getattr(point, "y", None), log, log.note))
                rig.log("more", (window, dict(table), list(order), counter, raw, numbers, sorted(seen)))
                rig.log("rest", (pair.b, pair.a is state, str(where), day, marker is unset, state.mode is Mode.COLD))
            """,
        ),
        "0:1",
        "0:4",
    )


def test_numpy_layouts_dtypes_and_sharing(tmp_path: Path) -> None:
    assert_exact(
        record(
            tmp_path,
            """
            import numpy as np
            import rig

            rng = np.random.default_rng(5)
            children = [np.random.Generator(np.random.PCG64(s)) for s in np.random.SeedSequence(3).spawn(2)]
            old = np.random.RandomState(3)
            fortran = np.asfortranarray(rng.normal(size=(3, 4)))
            table = np.zeros(3, dtype=[("a", "i4"), ("b", "f8")])
            dates = np.array(["2020-01-01"], dtype="M8[D]")
            objects = np.array([[1], "x", None], dtype=object)
            frozen = np.arange(3.0)
            frozen.flags.writeable = False
            scalar = np.float32(0)
            flipped = np.zeros((2, 3, 4)).transpose(2, 0, 1)
            for i in rig.loop("i", range(4)):
                fresh = np.asfortranarray(rng.normal(size=(4, 3))) if i == 0 else fresh * 1.5
                if i == 0:
                    window = fresh[1:, ::2]
                    pair = [fresh, fresh.T]
                window += 1
                kept = np.cumsum(fresh, axis=1)
                fortran[1] += children[0].normal()
                table["a"] += i
                dates += 1
                objects[0].append(i)
                scalar += np.float32(i) / 3
                flipped[0] += old.normal()
                more = children[1].spawn(1)[0].normal() if i == 2 else 0
                rig.log("x", (fresh.sum(), window.sum(), pair[0].sum(), fresh.flags.f_contiguous, fortran.flags.f_contiguous))
                rig.log("y", (table.tolist(), dates, objects.tolist(), scalar, frozen.flags.writeable, flipped.strides, more))
                rig.log("z", (np.shares_memory(pair[0], pair[1]), np.shares_memory(window, pair[0]), kept.sum()))
            rig.log("end", (children[1].normal(), old.normal(), rng.normal()))
            """,
        )
    )


def test_default_state_of_an_unseeded_program_is_restored(tmp_path: Path) -> None:
    assert_exact(
        record(
            tmp_path,
            """
            import random
            import numpy as np
            import rig
            rng = np.random.default_rng()
            w = rng.normal(size=3)
            def main():
                for i in rig.loop("i", range(3)):
                    rig.log("x", (random.random(), np.random.rand(), rng.normal(), w.sum()))
            main()
            """,
        )
    )


@pytest.mark.parametrize(
    ("body", "reason", "path"),
    [
        (
            "it = iter([1, 2, 3, 4])\nfor i in rig.loop('i', range(3)):\n    rig.log('x', next(it))",
            "list_iterator",
            "__main__.it",
        ),
        (
            "def stream():\n    yield from range(9)\nbox = {'s': [stream()]}\n"
            "for i in rig.loop('i', range(3)):\n    rig.log('x', next(box['s'][0]))",
            "generator",
            "__main__.box.s[0]",
        ),
        (
            "fs = []\nfor i in rig.loop('i', range(3)):\n    fs.append(lambda: i)\n    rig.log('x', len(fs))",
            "made inside of the loop",
            "__main__.fs[0]",
        ),
        ("for i in rig.loop('i', (j for j in range(3))):\n    rig.log('x', i)", "progress cannot be reproduced", ""),
        (
            "queue = [1, 2]\nfor i in rig.loop('i', queue):\n    if len(queue) < 5: queue.append(i)\n    rig.log('x', i)",
            "changes the length",
            "",
        ),
        (
            "import threading\nheld = threading.Lock()\nheld.acquire()\n"
            "def f(): return held\nfor i in rig.loop('i', range(2)):\n    rig.log('x', f() is held)",
            "a lock is held",
            "__main__.held",
        ),
        (
            "import functools\n@functools.lru_cache\ndef f(i): return [i]\n"
            "for i in rig.loop('i', range(3)):\n    f(i).append(1)\n    rig.log('x', f(0))",
            "lru_cache",
            "__main__.f",
        ),
    ],
)
def test_refused(tmp_path: Path, body: str, reason: str, path: str) -> None:
    assert_refused(record(tmp_path, "import rig\n" + body), reason, path)


def test_leftovers_that_nothing_reads_again_do_not_matter(tmp_path: Path) -> None:
    assert_exact(
        record(
            tmp_path,
            """
            import rig
            def main():
                total = 0
                for i in rig.loop("i", range(4)):
                    rows = iter([i, i + 1])
                    total += next(rows)
                    pick = lambda: total
                    rig.log("total", pick())
                rig.log("end", total)
            main()
            """,
        )
    )


def test_cache_that_the_prologue_filled(tmp_path: Path) -> None:
    assert_exact(
        record(
            tmp_path,
            """
            import functools, rig
            @functools.lru_cache(maxsize=None)
            def table(n):
                return [0] * n
            table(3)
            mine = table.__wrapped__
            for i in rig.loop("i", range(3)):
                rig.log("n", len(mine(i)))
            """,
        )
    )


def test_file_open_for_appending(tmp_path: Path) -> None:
    recorded = record(
        tmp_path,
        """
        import rig
        log = open("log.txt", "a")
        log.write("start\\n")
        for i in rig.loop("i", range(4)):
            log.write(f"line {i}\\n")
            log.flush()
            with open("log.txt") as written:
                rig.log("log", (log.tell(), written.read()))
        log.close()
        """,
    )
    assert_exact(recorded, "0:2", "0:0", "0:3")


@pytest.mark.parametrize("how", ['"a"', '"wb"', '"rb", buffering=0', '"r+b"'])
def test_a_file_that_was_closed_in_the_loop_is_closed(tmp_path: Path, how: str) -> None:
    """What `with path.open("a") as file:` leaves behind in its function."""
    recorded = record(
        tmp_path,
        f"""
        import pathlib, rig
        def train(path):
            path.touch()
            for i in rig.loop("i", range(4)):
                if i > 0:
                    rig.log("file", (type(file).__name__, file.closed))
                with path.open({how}) as file:
                    file.tell()
            return file.closed
        rig.log("closed", train(pathlib.Path("log.txt")))
        """,
    )
    assert_exact(recorded, "0:2", "0:3")


def test_leaving_a_loop_other_than_by_break_leaves_no_state_behind_it(tmp_path: Path) -> None:
    recorded = record(
        tmp_path,
        """
        import contextlib, rig
        def by_return():
            for i in rig.loop("i", range(3)):
                if i == 1: return i
            rig.log("never", 0)
        def by_bare_return():
            for i in rig.loop("i", range(3)):
                if i == 1:
                    return
            rig.log("never", 0)
        def by_exception():
            for i in rig.loop("i", range(3)):
                raise OSError
        def by_break():
            for i in rig.loop("i", range(3)):
                if i == 1:
                    break
        def by_break_in_with():
            for i in rig.loop("i", range(3)):
                with contextlib.nullcontext():
                    if i == 1: break
            return i
        by_return()
        by_bare_return()
        with contextlib.suppress(OSError):
            by_exception()
        by_break()
        by_break_in_with()
        for i in rig.loop("i", range(3)):
            break
        """,
    )
    assert {key for key in recorded.refused if key.endswith("exit")} >= {"0:exit", "1:exit", "2:exit"}
    assert {"3:exit", "5:exit"} <= recorded.manifests.keys()
    assert all("left by" in reason for reason, _ in recorded.refused.values())


def test_views_of_arrays_of_objects_and_structs_with_gaps(tmp_path: Path) -> None:
    recorded = record(
        tmp_path,
        """
        import numpy as np
        import rig

        class Tree:
            def __init__(self, k):
                self.k = k
        node = np.dtype([("left", np.int64), ("leaf", np.uint8), ("inner", [("a", np.uint8), ("b", np.float64)], 2)], align=True)
        trees = np.empty((1, 2), dtype=object)
        nodes = np.zeros(0, node)
        for epoch in rig.loop("epoch", range(4)):
            trees = np.resize(trees, (epoch + 1, 2))
            trees[epoch] = [Tree(epoch), Tree(-epoch)]
            last = trees[epoch]
            nodes = np.frombuffer(np.random.default_rng().bytes(node.itemsize * (epoch + 1)), np.uint8).view(node).copy()
            nodes["left"], nodes["leaf"] = epoch, 1
            nodes["inner"]["a"], nodes["inner"]["b"] = 2, 0.5
            rig.log("trees", [t.k for t in trees.ravel()] + [last[1].k, last.base is trees.base])
            rig.log("nodes", nodes.tolist())
        """,
    )
    assert_exact(recorded)


def test_a_function_that_the_body_of_a_script_defines(tmp_path: Path) -> None:
    """The closure of LBFGS stands in the loop of many a script: the next iteration defines it anew."""
    script = """\
    import rig

    steps = []


    def once(closure):
        steps.append(closure())


    for i in rig.loop("i", range(4)):
        def closure(by=i):
            return by + len(steps)

        once(closure)
        rig.log("steps", list(steps))
    """
    assert_exact(record(tmp_path, script))


def test_a_function_of_an_earlier_iteration_cannot_be_saved(tmp_path: Path) -> None:
    script = """\
    import rig

    for i in rig.loop("i", range(3)):
        if i == 0:
            def closure():
                return 7

        rig.log("seven", closure())
    """
    refused = record(tmp_path, script).refused
    assert refused["0:1"] == [
        "the function closure was made inside of the loop and cannot be saved",
        "__main__.closure",
    ]

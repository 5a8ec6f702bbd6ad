"""Containers of many small things: packed exactly where nothing else reaches them, saved and compared as ever."""

from __future__ import annotations

import collections
import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from logql.state.digest import compare
from logql.state.graph import Packed
from logql.state.prologue import Prologue
from logql.state.readings import Reading
from logql.state.restore import load, restore
from logql.state.save import Saved
from tests.state.cases import assert_exact, record
from tests.state.test_save_and_compare import blobs, here, saved

N = 1200


class Step(NamedTuple):
    state: Any
    action: int


def packs_of(state: Saved) -> list[Packed]:
    return [value for node in state.graph.nodes for value in node.payload.values() if type(value) is Packed]


def again(tmp_path: Path, change: Any, **names: Any) -> Saved:
    """Save, change the live objects, restore in place; returns what was saved."""
    roots = here(**names)
    state = saved(roots, Prologue(roots))
    loaded = load(blobs(tmp_path), state.write(blobs(tmp_path))[0])
    change()
    restore(loaded, roots)
    assert compare(saved(roots), loaded, 0.0, 0.0).equal
    return state


def test_a_replay_buffer_is_one_node_and_comes_back_with_its_sharing(tmp_path: Path) -> None:
    memory: Any = collections.deque(maxlen=N)
    state = np.zeros(3, np.float32)
    for i in range(N):
        following = np.full(3, i, np.float32)
        memory.append((state, i, np.float64(i) / 3, bool(i % 2), f"s{i % 7}", following))
        state = following
    del state, following
    taken = again(tmp_path, memory.clear, memory=memory)
    assert len(packs_of(taken)) == 1
    assert taken.leaves < 10
    assert memory.maxlen == len(memory) == N
    assert all(one[5] is other[0] for one, other in zip(memory, list(memory)[1:], strict=False))
    assert [type(part).__name__ for part in memory[5]] == ["ndarray", "int", "float64", "bool", "str", "ndarray"]
    assert memory[5][5].flags.owndata
    assert memory[5][5].flags.writeable
    assert memory[5][5].tolist() == [5.0, 5.0, 5.0]


def test_what_something_else_reaches_stays_shared(tmp_path: Path) -> None:
    shared, inner, view_base = np.ones(2), [1], np.arange(6.0)
    pair = (np.zeros(2), 0)
    rows: list[Any] = [(np.full(2, float(i)), [i]) for i in range(N)]
    rows[3], rows[4], rows[5], rows[6] = (shared, [1]), (np.ones(2), inner), pair, (view_base[2:4], [])
    rows[7] = rows
    rows[8] = rows[9]

    def change() -> None:
        shared[:], view_base[:] = 7, 7
        inner.append(2)
        rows[10][0][:] = 7
        rows[9] = 0

    again(tmp_path, change, rows=rows, others=[shared, inner, pair, view_base])
    assert rows[3][0] is shared
    assert rows[4][1] is inner
    assert inner == [1]
    assert rows[5] is pair
    assert np.shares_memory(rows[6][0], view_base)
    assert rows[7] is rows
    assert rows[8] is rows[9]
    assert rows[10][0].tolist() == [10.0, 10.0]


@pytest.mark.parametrize(
    "made",
    [
        lambda: [[i, [i + 1, [str(i)]]] for i in range(N)],
        lambda: {(i, "k"): [i] for i in range(N)},
        lambda: {f"k{i}": {"a": i, "b": (i, None)} for i in range(N)},
        lambda: [Step(np.array(i), i) for i in range(N)],
        lambda: [{1, i} for i in range(N)],
        lambda: [np.zeros((0, 3)) for i in range(N)] + [np.array([[1, 2], [3, 4]], order="F")],
        lambda: [(collections.OrderedDict(a=i), np.array(["x", i], object), np.array([i], "M8[s]")) for i in range(N)],
        lambda: [(1 << 90, b"x", 2j, ..., -0.0, float("nan"), (), [], {}) for _ in range(N)],
        lambda: collections.defaultdict(list, {i: [i] for i in range(N)}),
    ],
)
def test_all_sorts_of_content(tmp_path: Path, made: Any) -> None:
    live, expected = made(), made()
    again(tmp_path, live.clear, live=live)
    assert type(live) is type(expected)
    assert repr(live) == repr(expected)


def test_a_deep_nest_and_a_weakly_referenced_array(tmp_path: Path) -> None:
    import weakref

    deep: Any = [0]
    for _ in range(50):
        deep = [deep]
    rows: list[Any] = [[i] for i in range(N)] + [deep, (np.ones(2), 1)]
    del deep
    seen = weakref.ref(rows[-1][0])
    again(tmp_path, lambda: rows[-1][0].fill(7), rows=rows, seen=seen)
    assert seen() is rows[-1][0]
    assert rows[-1][0].tolist() == [1.0, 1.0]


def test_differences_are_found_and_measured() -> None:
    def state(change: Any = id) -> Saved:
        rows: list[Any] = [(np.full(2, float(i)), [i / 7], f"w{i}") for i in range(N)]
        change(rows)
        return saved(here(rows=rows))

    def found(change: Any) -> tuple[bool, bool]:
        result = compare(state(change), state(), 1e-6, 0.0)
        return result.equal, result.close

    def share(rows: list[Any]) -> None:
        rows[4] = (rows[4][0], rows[5][1], "w4")
        rows[4][1][0] = 4 / 7
        rows[5] = (rows[5][0], [5 / 7], "w5")

    assert found(id) == (True, True)
    assert found(lambda rows: rows[3][0].__setitem__(0, 3.0000001)) == (False, True)
    assert found(lambda rows: rows[3][1].__setitem__(0, 3.0000001 / 7)) == (False, True)
    assert found(lambda rows: rows[3][1].__setitem__(0, 4.0)) == (False, False)
    assert found(lambda rows: rows[3][0].__setitem__(0, 4.0)) == (False, False)
    assert found(lambda rows: rows.__setitem__(3, (np.full(2, 3.0), [3 / 7], "w4"))) == (False, False)
    assert found(lambda rows: rows.__setitem__(3, rows[4])) == (False, False)
    assert found(lambda rows: rows[3][1].__setitem__(0, Reading(5.0))) == (True, True)
    assert found(share) == (True, True)


def test_a_shared_list_is_no_pair_of_equal_ones() -> None:
    one: list[Any] = [[0] for _ in range(N)]
    other: list[Any] = [[0] for _ in range(N)]
    other[1] = other[0]
    assert not compare(saved(here(rows=one)), saved(here(rows=other)), 0.0, 0.0).equal
    assert not compare(saved(here(rows=other)), saved(here(rows=one)), 0.0, 0.0).equal


def test_what_only_one_process_holds_elsewhere_is_the_same(tmp_path: Path) -> None:
    def rows() -> list[Any]:
        return [(np.full(2, float(i)), [i], Step(i / 7, i), {"a": [i]}) for i in range(N)]

    loose, held = rows(), rows()
    hold = [held[3], held[4][0], held[5][1], held[6][2], held[7][3], held[8][3]["a"]]
    packed, mixed = saved(here(rows=loose)), saved(here(rows=held))
    assert len(packs_of(mixed)[0].shared) == 6
    loaded = load(blobs(tmp_path), mixed.write(blobs(tmp_path))[0])
    assert compare(packed, loaded, 0.0, 0.0).equal
    assert compare(mixed, packed, 0.0, 0.0).equal
    hold[1][0] += 1e-9
    assert compare(saved(here(rows=held)), packed, 1e-6, 0.0).close
    hold[2][0] = 7
    assert not compare(saved(here(rows=held)), packed, 1e-6, 0.0).close


def test_a_manifest_holds_packed_objects_as_one_blob(tmp_path: Path) -> None:
    rows = [(i, [i]) for i in range(5 * N)]
    manifest, _ = saved(here(rows=rows)).write(blobs(tmp_path))
    text = blobs(tmp_path).get(manifest)
    assert len(text) < 2000
    assert json.loads(text)["buffers"][0][0] == "packed"
    assert sys.getrefcount(rows[0]) == sys.getrefcount(rows[1])


def test_a_program_with_a_replay_buffer_goes_on_from_every_iteration(tmp_path: Path) -> None:
    script = """\
    import collections, random
    import numpy as np
    import rig

    Step = collections.namedtuple("Step", "state action reward following")
    random.seed(0)
    rng = np.random.default_rng(0)
    memory, table, log = collections.deque(maxlen=1500), collections.defaultdict(lambda: [0.0, 0]), []
    state = rng.normal(size=2)
    for epoch in rig.loop("epoch", range(4)):
        for t in range(600):
            following = state * 0.9 + rng.normal(size=2)
            memory.append(Step(state, t % 3, float(following[0]), following))
            table[t % 1100, epoch % 2][0] += 1
            log.append([t, epoch, "x" * (t % 3)])
            state = following
        batch = random.sample(memory, 8)
        for one in batch:
            one.state[0] += 1
        last = memory[-1].following is state
        rig.log("seen", [last, float(sum(one.state.sum() for one in batch)), len(log), len(table), table[5, 0]])
    """
    assert_exact(record(tmp_path, script), "0:2", "0:3")

"""What a checkpoint costs, what it refuses, and how two states are compared."""

from __future__ import annotations

import json
import random
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from logql.errors import StateError
from logql.state.digest import compare
from logql.state.errors import Overlong
from logql.state.prologue import Prologue
from logql.state.restore import load, restore
from logql.state.roots import Roots, collect
from logql.state.save import Refused, Saved, save
from logql.store.blobs import Blobs


def here(**names: Any) -> Roots:
    """Roots of a function that holds only these variables, and needs them."""
    roots = collect(sys._getframe(), "/nowhere", names)
    roots.roots = [root for root in roots.roots if root.role == "named"]
    return roots


def saved(roots: Roots, prologue: Prologue | None = None) -> Saved:
    result = save(roots, prologue)
    assert isinstance(result, Saved), result
    return result


def blobs(tmp_path: Path) -> Blobs:
    (tmp_path / "checkpoints").mkdir(exist_ok=True)
    return Blobs(str(tmp_path))


def test_an_unchanged_array_is_copied_and_stored_once(tmp_path: Path) -> None:
    frozen = np.random.default_rng(0).normal(size=6_250_000)
    counter = [0]
    roots = here(frozen=frozen, counter=counter)
    prologue = Prologue(roots)
    written = []
    for counter[0] in range(20):
        state = saved(roots, prologue)
        assert state.bytes == frozen.nbytes
        written.append(state.write(blobs(tmp_path))[1])
    assert written[0] > frozen.nbytes
    assert sum(written[1:]) < 40_000
    on_disk = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    assert on_disk < frozen.nbytes + 50_000


def test_small_arrays_share_blobs(tmp_path: Path) -> None:
    state = saved(here(parts=[np.full(3, float(i)) for i in range(100)]))
    manifest, _ = state.write(blobs(tmp_path))
    assert len(json.loads(blobs(tmp_path).get(manifest))["blobs"]) == 1


def test_a_saved_state_does_not_follow_the_program(tmp_path: Path) -> None:
    array, items, text = np.zeros(3), [1, [2]], {"a": {1}}
    state = saved(here(x=(array, items, text)))
    array += 1
    items.append(3)
    items[1].append(4)  # type: ignore[attr-defined]
    text["a"].add(2)
    loaded = load(blobs(tmp_path), state.write(blobs(tmp_path))[0])
    array[:], items[:], text["a"] = 0, [1, [2]], {1}
    assert compare(saved(here(x=(array, items, text))), loaded, 0, 0).equal


@pytest.mark.parametrize(
    ("then", "now", "equal", "close", "path"),
    [
        ({"a": [1, 2.5, "x", None, b"y", 2**80]}, {"a": [1, 2.5, "x", None, b"y", 2**80]}, True, True, None),
        ({"a": 1.0}, {"a": 1.0 + 1e-12}, False, True, "checkpointing.x"),
        ({"a": 1.0}, {"a": 1.1}, False, False, "checkpointing.x"),
        ({"a": 1}, {"a": 1.0}, False, False, "checkpointing.x"),
        ({"a": float("nan")}, {"a": float("nan")}, True, True, None),
        ({"a": 0.0}, {"a": -0.0}, False, True, "checkpointing.x"),
        ({"w": np.arange(3.0)}, {"w": np.arange(3.0) + 1e-13}, False, True, "checkpointing.x.w"),
        ({"w": np.arange(3.0)}, {"w": np.arange(3.0)[::-1].copy()}, False, False, "checkpointing.x.w"),
        ({"w": np.arange(3)}, {"w": np.arange(3) + 1}, False, False, "checkpointing.x.w"),
        ({"w": np.arange(3.0)}, {"w": np.arange(3.0, dtype="f4")}, False, False, "checkpointing.x.w"),
        ([[1], [1]], [[1]] * 2, False, False, "checkpointing.x"),
        ({1, 2}, {1, 3}, False, False, "checkpointing.x"),
        ({"f": np.float32(1)}, {"f": np.float32(2)}, False, False, "checkpointing.x"),
    ],
)
def test_compare(then: Any, now: Any, equal: bool, close: bool, path: str | None, tmp_path: Path) -> None:
    loaded = load(blobs(tmp_path), saved(here(x=then)).write(blobs(tmp_path))[0])
    found = compare(saved(here(x=now)), loaded, 1e-9, 1e-9)
    assert (found.equal, found.close, found.path) == (equal, close, path)
    assert found.compared > 0


def test_memory_shared_behind_numpys_back_is_refused() -> None:
    torch = pytest.importorskip("torch")
    parts: list[Any] = []
    roots = here(parts=parts)
    prologue = Prologue(roots)
    array = np.zeros(100)
    parts += [array, torch.from_numpy(array)]
    result = save(roots, prologue)
    assert isinstance(result, Refused)
    assert "memory shared" in result.reason
    assert isinstance(save(roots, Prologue(roots)), Saved)


def test_refusals_name_the_object() -> None:
    class Holder:
        def __init__(self) -> None:
            self.parts = {"a": [0, threading.current_thread()]}

    holder = Holder()
    result = save(here(net=holder), None)
    assert result == Refused("an object of type threading._MainThread cannot be saved", "checkpointing.net.parts.a[1]")


def test_a_state_of_too_many_objects_is_refused_in_time() -> None:
    roots = here(data=[{"text": str(number)} for number in range(2000)])
    with pytest.raises(Overlong, match="too many objects to look at within 0 s"):
        Prologue(roots, limit_s=0.0)
    prologue = Prologue(roots, limit_s=60.0)
    assert save(roots, prologue, limit_s=0.0) == Refused("the state has too many objects to look at within 0 s", "")
    assert not isinstance(save(roots, prologue, limit_s=60.0), Refused)


def test_a_new_function_at_an_old_address_is_not_taken_for_the_old_one() -> None:
    handlers: list[Any] = [eval("lambda: 1")]
    roots = here(handlers=handlers)
    prologue = Prologue(roots)
    address = id(handlers[0])
    kept = []
    for _ in range(50):
        handlers.clear()
        handlers.append(eval("lambda: 2"))
        if id(handlers[0]) == address:
            break
        kept.append(handlers[0])
    assert isinstance(save(roots, prologue), Refused)


def test_cycles_and_self_references(tmp_path: Path) -> None:
    ring: list[Any] = [1]
    ring.append((ring, {"ring": ring}))
    roots = here(ring=ring)
    loaded = load(blobs(tmp_path), saved(roots).write(blobs(tmp_path))[0])
    ring.clear()
    ring += [1, 0]
    restore(loaded, roots)
    assert ring[1][0] is ring
    assert ring[1][1]["ring"] is ring


def test_a_manifest_of_another_format_is_refused(tmp_path: Path) -> None:
    store = blobs(tmp_path)
    with pytest.raises(StateError, match="format 99"):
        load(store, store.put(b'{"format": 99}'))


def test_no_variable_is_kept_alive_by_looking_at_it() -> None:
    import weakref

    class Thing:
        pass

    def loop_function() -> bool:
        thing = Thing()
        gone = weakref.ref(thing)
        prologue = Prologue(collect(sys._getframe(), "/nowhere", {}))
        save(collect(sys._getframe(), "/nowhere", {}), prologue)
        del thing
        return gone() is None

    assert loop_function()


def test_a_replay_passes_on_the_random_states_with_which_the_loop_began(tmp_path: Path) -> None:
    """Checkpoints that a replay adds know those of the original run, not what an unseeded generator had before."""
    generator = random.Random(1)
    roots = here(generator=generator)
    recorded = saved(roots)
    loaded = load(blobs(tmp_path), recorded.write(blobs(tmp_path))[0])
    generator.seed(2)
    prologue = Prologue(roots, keep=True)
    loaded.set_random_states(prologue)
    assert generator.getstate() == random.Random(1).getstate()
    added = saved(roots, prologue)
    assert [node.payload for node in added.graph.entry] == [node.payload for node in recorded.graph.entry]


def test_generators_that_nobody_seeded_are_compared_by_their_states() -> None:
    """An environment of gymnasium has several that nothing draws from; a replay gives them their states, not seeds."""
    one, other = np.random.default_rng(), np.random.default_rng()
    other.bit_generator.state = one.bit_generator.state
    assert compare(saved(here(rng=one)), saved(here(rng=other)), 0.0, 0.0).equal
    other.random()
    assert not compare(saved(here(rng=one)), saved(here(rng=other)), 0.0, 0.0).equal

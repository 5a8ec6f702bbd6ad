"""Segments and their costs, from timings written by hand."""

from __future__ import annotations

from dataclasses import dataclass, field

from logql.model import Checkpoint, MainLoop, Run
from logql.plan.cost import STATE_LOAD_S, WORKER_START_S, RunCost
from logql.plan.demand import Demand
from logql.plan.schedule import FORK_S, Start, schedule, start_of
from logql.plan.segments import FillPlan, plan_fill


@dataclass(frozen=True)
class Placed:
    fingerprint: str | None
    leads: bool = False
    levels: tuple[tuple[str, ...], ...] = (("epoch",),)
    once: bool = True


@dataclass
class Past:
    """A history with one run of ten epochs, one second each, after two seconds of preparation."""

    refused: frozenset[str] = frozenset()
    leading: frozenset[str] = frozenset()
    every: int = 0
    loops: int = 1
    runs: dict[str, Run] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.runs = {"A": Run("A", "v1", "train.py", (), "finished", 0.0, "/p", "/p")}

    @property
    def main_loops(self) -> dict[str, tuple[MainLoop, ...]]:
        return {run: tuple(self._loop(run, n) for n in range(self.loops)) for run in self.runs}

    def _loop(self, run: str, entry: int) -> MainLoop:
        return MainLoop(run, "epoch", entry, "train.py", 3, None, 10, True, 10.0, 2.0, ordinal=entry)

    @property
    def checkpoints(self) -> dict[str, tuple[Checkpoint, ...]]:
        taken = range(self.every, 10, self.every) if self.every else ()
        return {"A": tuple(Checkpoint("A", 0, "epoch", 0, k, k, f"m{k}", 0, 0.1) for k in taken)}

    def status(self, name: str, run: Run) -> Placed:
        return Placed(None if name in self.refused else f"print-{name}-{run.version}", name in self.leading)


def demands(*indices: int, names: tuple[str, ...] = ("gn",)) -> list[Demand]:
    return [Demand("A", "epoch", 0, indices, frozenset(names))]


def test_names_that_share_epochs_share_a_segment() -> None:
    plan = plan_fill([*demands(1, 2), *demands(2, names=("hn",))], Past(), workers=1)
    assert [(s.wanted, sorted(s.names)) for s in plan.segments] == [((1, 2), ["gn", "hn"])]


def test_names_of_other_epochs_get_segments_of_their_own() -> None:
    plan = plan_fill([*demands(1), *demands(7, names=("hn",))], Past(), workers=2)
    assert sorted(s.wanted for s in plan.segments) == [(1,), (7,)]


def test_a_refused_name_is_left_out() -> None:
    assert plan_fill(demands(1), Past(refused=frozenset({"gn"})), workers=1).segments == ()


def test_without_a_checkpoint_all_earlier_epochs_are_executed() -> None:
    estimate = plan_fill(demands(4), Past(), workers=1).estimates[0]
    assert (estimate.executed, estimate.start) == (5, None)
    assert estimate.seconds == WORKER_START_S + STATE_LOAD_S + 2 + 5


def test_the_nearest_checkpoint_before_is_used() -> None:
    estimate = plan_fill(demands(5), Past(every=2), workers=1).estimates[0]
    assert (estimate.executed, estimate.start) == (2, 4)


def test_a_gap_is_jumped_where_a_checkpoint_is_cheaper_than_the_epochs() -> None:
    estimate = plan_fill(demands(1, 8), Past(every=4), workers=1).estimates[0]
    assert estimate.executed == 3


def test_what_stands_ahead_of_the_work_costs_little_where_a_checkpoint_follows() -> None:
    def seconds(every: int, *names: str) -> float:
        past = Past(every=every, leading=frozenset({"gn"}))
        return plan_fill(demands(3, 6, 9, names=names), past, workers=1).seconds

    assert seconds(3, "gn") < 2.5 < 5 < seconds(3, "gn", "hn")
    assert seconds(0, "gn") > 2 + 9


def test_idle_workers_share_a_long_segment_at_checkpoints() -> None:
    alone = plan_fill(demands(*range(10)), Past(every=5), workers=1)
    shared = plan_fill(demands(*range(10)), Past(every=5), workers=2)
    assert [s.wanted for s in alone.segments] == [tuple(range(10))]
    assert sorted(s.wanted for s in shared.segments) == [tuple(range(5)), tuple(range(5, 10))]
    assert shared.seconds < alone.seconds < shared.cpu_seconds


def test_without_checkpoints_splitting_does_not_pay() -> None:
    assert len(plan_fill(demands(*range(10)), Past(), workers=4).segments) == 1


def test_earlier_loops_are_executed_where_they_left_no_state() -> None:
    cost = RunCost("A", Past(loops=2)).segment("epoch", 1, (0,))
    assert cost.seconds == WORKER_START_S + STATE_LOAD_S + (2 + 10) + 2 + 1


def test_what_is_outside_of_loops_is_a_segment_without_iterations() -> None:
    plan = plan_fill([Demand("A", None, 0, (), frozenset({"total"}))], Past(), workers=1)
    assert [(s.loop, s.wanted) for s in plan.segments] == [(None, ())]


def test_wall_time_is_that_of_the_busiest_worker() -> None:
    scheduled = schedule([(seconds, Start()) for seconds in (3.0, 2.0, 2.0, 1.0)], 2)
    assert (scheduled.wall, scheduled.cpu, scheduled.each) == (4.0, 8.0, (3.0, 2.0, 2.0, 1.0))


def test_what_starts_alike_is_loaded_once_and_waited_for_by_all() -> None:
    alike, other = Start("torch", 2.0), Start("numpy", 0.5)
    scheduled = schedule([(3.0, alike), (3.0, alike), (3.0, alike), (1.0, other)], 2)
    each = 1.0 + FORK_S
    assert scheduled.each == (2.0 + each, 2.0 + each, each, 1.0)
    assert scheduled.cpu == 2.0 + each + each + each + 1.0
    assert scheduled.wall == 2.0 + each + each


def run(name: str, **environment: object) -> Run:
    return Run(name, "v1", "train.py", (), "finished", 0.0, "/p", "/p", environment=environment)


LOADED = {"seconds": 1.5, "packages": ["torch"]}


def test_runs_start_alike_that_loaded_the_same_in_the_same_environment() -> None:
    one = start_of(run("A", loading=LOADED, executable="/python"))
    assert one == start_of(run("B", loading=LOADED, executable="/python"))
    assert one.server != start_of(run("C", loading=LOADED, executable="/other")).server
    assert one.server != start_of(run("C", loading={**LOADED, "packages": []}, executable="/python")).server
    threads = {"threads": {"cpus": 2, "torch": 2}, "executable": "/python"}
    assert one.server != start_of(run("D", loading=LOADED, **threads)).server


def test_where_a_run_cannot_be_forked_its_start_counts_whole() -> None:
    assert start_of(run("A")) == Start()
    assert start_of(run("B", loading=LOADED, accelerators=["H100"])) == Start()
    assert start_of(run("C", loading=LOADED, module="pkg.train")) == Start()


def test_segments_of_runs_that_start_alike_are_estimated_as_forks() -> None:
    past = Past()
    past.runs = {name: run(name, loading={"seconds": 1.5, "packages": []}) for name in "AB"}
    alone = plan_fill(demands(0), past, workers=1)
    assert alone.seconds == WORKER_START_S + STATE_LOAD_S + 2 + 1
    both = plan_fill([*demands(0), Demand("B", "epoch", 0, (0,), frozenset({"gn"}))], past, workers=1)
    fork = alone.seconds - 1.5 + FORK_S
    assert [segment.estimated_s for segment in both.segments] == [1.5 + fork, fork]
    assert both.seconds == both.cpu_seconds == 1.5 + 2 * fork


@dataclass
class Called(Past):
    """The same where the statement may be called from anywhere, and loops left their state at their exit or did not."""

    exits: bool = False

    @property
    def checkpoints(self) -> dict[str, tuple[Checkpoint, ...]]:
        inside = super().checkpoints["A"]
        loops = range(self.loops if self.exits else 0)
        return {"A": (*inside, *(Checkpoint("A", 0, "epoch", n, None, 99, f"x{n}", 0, 0.1) for n in loops))}

    def status(self, name: str, run: Run) -> Placed:
        return Placed(f"print-{name}-{run.version}", levels=((), ("epoch",)), once=False)


def everywhere(*entries: tuple[int, ...]) -> list[Demand]:
    inside = [Demand("A", "epoch", n, wanted, frozenset({"gn"})) for n, wanted in enumerate(entries)]
    return [Demand("A", None, 0, (), frozenset({"gn"})), *inside]


def told(plan: FillPlan) -> list[tuple[str | None, int, tuple[int, ...], bool]]:
    return [(s.loop, s.entry, s.wanted, s.onward) for s in plan.segments]


EPOCHS = tuple(range(10))


def test_a_loop_that_left_no_state_is_replayed_once_for_itself_and_for_what_is_outside() -> None:
    plan = plan_fill(everywhere(EPOCHS, EPOCHS), Called(loops=2), workers=4)
    assert told(plan) == [("epoch", 0, EPOCHS, True), ("epoch", 1, EPOCHS, True), (None, 0, (), False)]
    assert [estimate.executed for estimate in plan.estimates] == [10, 10, 0]
    assert plan.seconds == WORKER_START_S + STATE_LOAD_S + 2 * (2.0 + 10.0)
    assert [segment.estimated_s for segment in plan.segments] == [plan.seconds - 10.0, 10.0, 0.0]


def test_the_segment_that_ends_last_goes_on_to_the_end_of_the_script() -> None:
    plan = plan_fill(everywhere(EPOCHS, EPOCHS), Called(loops=2, exits=True), workers=1)
    assert sorted(told(plan), key=str) == [
        *(("epoch", 0, EPOCHS, False), ("epoch", 1, EPOCHS, True), (None, 0, (), False)),
    ]
    split = plan_fill(everywhere(EPOCHS), Called(exits=True, every=1), workers=3)
    onward = [segment for segment in split.segments if segment.onward]
    assert [segment.wanted[-1] for segment in onward] == [9]
    assert len(split.segments) == 3 + 1
    half = plan_fill(everywhere((0, 1)), Called(exits=True), workers=1)
    assert not any(segment.onward for segment in half.segments)

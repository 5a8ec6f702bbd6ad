"""State of estimators, progress bars and the standard library's containers: exact in a fresh process, or refused."""

# ruff: noqa: E501  (scripts as text)

from __future__ import annotations

from pathlib import Path

import pytest

from tests.state.cases import assert_exact, record

CONTAINERS = """
import collections, dataclasses, heapq, itertools, random, typing
import rig

@dataclasses.dataclass
class Meter:
    total: float = 0.0
    recent: collections.deque = dataclasses.field(default_factory=lambda: collections.deque(maxlen=3))

class Best(typing.NamedTuple):
    score: float
    epoch: int

class Trainer:
    def __init__(self):
        self.meters = collections.defaultdict(Meter)
        self.counts = collections.Counter()
        self.best = Best(-1.0, -1)
        self.heap = []
        self.order = collections.OrderedDict()
        self.chain = collections.ChainMap({}, {"base": 1})

    def fit(self):
        for epoch in rig.loop("epoch", range(5)):
            x = random.random()
            meter = self.meters["odd" if epoch % 2 else "even"]
            meter.total += x
            meter.recent.append(x)
            self.counts[int(x * 3)] += 1
            heapq.heappush(self.heap, (-x, epoch))
            if len(self.heap) > 3:
                heapq.heappop(self.heap)
            if x > self.best.score:
                self.best = Best(x, epoch)
            self.order[f"{x:.1f}"] = epoch
            self.order.move_to_end(next(iter(self.order)))
            self.chain["x"] = self.chain.get("x", 0) + x
            rig.log("meters", {k: (m.total, list(m.recent)) for k, m in self.meters.items()})
            rig.log("rest", (self.counts.most_common(), self.best, sorted(self.heap), list(self.order), dict(self.chain)))

random.seed(4)
Trainer().fit()
"""


def test_containers_of_the_standard_library(tmp_path: Path) -> None:
    assert_exact(record(tmp_path, CONTAINERS), "0:1", "0:4")


def test_a_progress_bar_around_the_loop(tmp_path: Path) -> None:
    pytest.importorskip("tqdm")
    script = """
import random
from tqdm import tqdm
import rig

random.seed(1)
x, seen = 0.0, tqdm(total=9)
bar = tqdm(range(4))
for epoch in rig.loop("epoch", bar):
    x += random.random()
    bar.set_postfix(x=x)
    seen.update()
    rig.log("x", x)
"""
    assert_exact(record(tmp_path, script), "0:2")


ESTIMATORS = """
import numpy as np
from sklearn.cluster import MiniBatchKMeans
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import SGDClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler
import rig

rng = np.random.default_rng(0)
x = rng.normal(size=(60, 4))
y = (x.sum(1) > 0).astype(int)
mlp = MLPClassifier((5,), random_state=np.random.RandomState(1))
sgd = SGDClassifier(loss="log_loss", random_state=2)
means = MiniBatchKMeans(3, random_state=3, n_init=1)
trees = RandomForestClassifier(2, warm_start=True, random_state=np.random.RandomState(4))
scaler = StandardScaler()
for epoch in rig.loop("epoch", range(4)):
    part = rng.permutation(60)[:30]
    a = scaler.partial_fit(x[part]).transform(x[part])
    mlp.partial_fit(a, y[part], classes=[0, 1])
    sgd.partial_fit(a, y[part], classes=[0, 1])
    means.partial_fit(a)
    trees.n_estimators = 2 + epoch
    trees.fit(a, y[part])
    rig.log("mlp", mlp.loss_)
    rig.log("sgd", sgd.coef_)
    rig.log("means", means.cluster_centers_)
    rig.log("trees", trees.predict_proba(x).sum(0))
"""


@pytest.mark.slow
def test_estimators(tmp_path: Path) -> None:
    """A leaf of scikit-learn's trees has a flag that is never written, so that its bytes may differ."""
    pytest.importorskip("sklearn")
    recorded = record(tmp_path, ESTIMATORS)
    replayed = recorded.replay("0:2")
    assert recorded.refused == {}
    assert replayed["events"] == recorded.expected("0:2")
    assert all(problem.endswith("tree_.<state>.nodes") for problem in replayed["problems"])

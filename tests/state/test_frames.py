"""Data frames, columnar data and other objects that training scripts keep beside their model."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.state.cases import assert_exact, assert_refused, record

#: name: (before the loop, the body; `i` counts iterations)
KEPT = {
    "pandas": (
        """
        import numpy as np, pandas as pd
        raw = np.arange(6.0).reshape(3, 2)
        shared = pd.DataFrame(raw, columns=["a", "b"], copy=False)
        column, seen, lazy, same = shared["a"], shared["b"].values, shared.copy(deep=False), shared
        note = [0]
        kinds = pd.DataFrame({
            "text": ["x", None, "z"], "label": pd.Categorical(["p", "q", "p"]),
            "whole": pd.array([1, None, 3], "Int64"),
            "day": pd.date_range("2020-01-01", periods=3, tz="Europe/Berlin"),
            "gap": pd.to_timedelta([1, 2, 3], "D"), "objects": pd.Series([note, note, "n"], dtype=object),
        }, index=pd.MultiIndex.from_tuples([("x", 1), ("x", 2), ("y", 1)], names=["k", "n"]))
        history = pd.DataFrame(columns=["step", "loss"])
        groups = kinds.groupby("label", observed=True)
        """,
        """
        same.loc[i % 3, "b"] = i * 10.0
        raw[0, 0] += 1
        if i == 2:
            column.iloc[1] = 9.0
        rig.log("shared", [one.tolist() for one in (shared.to_numpy(), column, seen, lazy.to_numpy(), raw)])
        kinds.iloc[i % 3, 2] = i
        kinds[f"new{i}"] = float(i)
        kinds.index.names = [f"k{i}", "n"]
        note.append(i)
        rig.log("kinds", str(kinds) + str(kinds.dtypes) + str(groups.whole.sum()))
        history.loc[len(history)] = [i, i / 2]
        rig.log("history", float(history.loss.sum()))
        """,
    ),
    "columnar": (
        """
        import polars as pl, pyarrow as pa
        frame, numbers = pl.DataFrame({"a": [1.0, 2.0], "s": ["x", None]}), pl.Series("q", [1, 2])
        same, plan = frame, frame.lazy().select(pl.col("a") * 2)
        table = pa.table({"a": [1, 2, 3]})
        """,
        """
        frame.insert_column(0, pl.Series(f"n{i}", [i, i]))
        numbers[i % 2] = i * 10
        table = table.append_column(f"c{i}", pa.array([i] * 3))
        rig.log("polars", [str(same), str(numbers), str(plan.collect()), table.to_pydict()])
        """,
    ),
    "standard": (
        """
        import contextvars, csv, gzip, itertools, threading, weakref
        class Holder: pass
        depth = contextvars.ContextVar("depth", default=0)
        ids, own, held = itertools.count(3), threading.local(), Holder()
        proxy, own.x = weakref.proxy(held), 0
        appended, fresh = csv.writer(open("a.csv", "a", newline="")), open("w.csv", "w", newline="")
        rows = csv.DictWriter(fresh, ["i"])
        with gzip.open("d.gz", "wt") as out:
            out.write("one\\ntwo\\nthree\\nfour\\n")
        lines = gzip.open("d.gz", "rt")
        """,
        """
        depth.set(depth.get() + i)
        own.x += i
        proxy.y = getattr(held, "y", 0) + i
        appended.writerow([i, "a"])
        rows.writerow({"i": i})
        fresh.flush()
        rig.log("standard", [depth.get(), next(ids), own.x, held.y, lines.readline(), open("w.csv").read()])
        """,
    ),
}


def _script(setup: str, body: str) -> str:
    head = "import rig\n" + "\n".join(line[8:] for line in setup.splitlines())
    return head + "\nfor i in rig.loop('i', range(4)):\n" + "\n".join(line[4:] for line in body.splitlines()) + "\n"


@pytest.mark.parametrize("name", KEPT)
def test_what_stands_beside_a_model(tmp_path: Path, name: str) -> None:
    assert_exact(record(tmp_path, _script(*KEPT[name])), "0:2")


@pytest.mark.slow
@pytest.mark.parametrize("name", KEPT)
def test_from_every_iteration(tmp_path: Path, name: str) -> None:
    assert_exact(record(tmp_path, _script(*KEPT[name])))


def test_an_index_of_objects_that_may_change_is_refused(tmp_path: Path) -> None:
    setup = """
        import pandas as pd
        class Label: pass
        index = pd.Index([Label(), Label()], dtype=object)
        """
    recorded = record(tmp_path, _script(setup, "\n        rig.log('n', len(index))\n"))
    assert_refused(recorded, "index of objects", "__main__.index")

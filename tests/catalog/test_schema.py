"""Unified columns of several shapes."""

from __future__ import annotations

from logql.catalog.schema import build_schema, explicit
from logql.model import Run, Shape


def test_types_levels_and_loops_of_all_runs() -> None:
    one = Shape({(): {"best": "BIGINT"}, ("epoch",): {"acc": "BIGINT", "note": "VARCHAR"}}, {"epoch": "BIGINT"}, {})
    two = Shape({("epoch", "step"): {"acc": "DOUBLE", "note": "BIGINT"}}, {"epoch": "BIGINT", "step": "VARCHAR"}, {})
    runs = [
        Run(name, "v", "train.py", (), "finished", 0.0, "/p", "/p", args=args)
        for name, args in (("a", {"lr": 1}), ("b", {"lr": 0.5}))
    ]
    schema = build_schema([one, two], runs)
    assert {name: column.type for name, column in schema.columns.items()} == {
        "best": "BIGINT",
        "acc": "DOUBLE",
        "note": "BIGINT",
    }
    assert schema.columns["acc"].levels == {("epoch",), ("epoch", "step")}
    assert dict(schema.loops) == {"epoch": "BIGINT", "step": "VARCHAR"}
    assert dict(schema.args) == {"lr": "DOUBLE"}
    assert {"epoch", "epoch_entry", "best", "acc", "lr"} <= set(schema.relation("epoch"))
    assert schema.find("ACC") is schema.columns["acc"]


def test_explicit_levels() -> None:
    assert explicit("loss@epoch.step") == ("loss", "epoch.step")
    assert explicit("loss") == ("loss", None)
    assert explicit("@x") == ("@x", None)

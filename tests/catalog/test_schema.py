"""Unified columns of several shapes."""

from __future__ import annotations

import pytest

from logql.catalog.schema import UNKNOWN_TYPE, Column, build_schema, explicit
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


class _Known:
    """Somebody logged `recall@10`, and today's source logs `map@5`."""

    schema = build_schema([Shape({(): {"recall@10": "DOUBLE"}}, {}, {})], [])

    def virtual(self, name: str) -> Column | None:
        return Column(name, UNKNOWN_TYPE, frozenset(), True) if name == "map@5" else None


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("loss@epoch.step", ("loss", "epoch.step")),
        ("loss", ("loss", None)),
        ("@x", ("@x", None)),
        ("recall@10", ("recall@10", None)),
        ("Recall@10@epoch", ("Recall@10", "epoch")),
        ("map@5", ("map@5", None)),
    ],
)
def test_explicit_levels(name: str, parts: tuple[str, str | None]) -> None:
    assert explicit(name, _Known()) == parts

"""What users of FlorDB run into while they record: regressions 5 and 12 (10 and 16 are in `test_runs`)."""

from __future__ import annotations

import subprocess
from pathlib import Path

from logql.dbapi import connect
from logql.store import snapshot
from logql.store.catalog import Catalog
from tests.record.running import record


def test_5_a_loop_keeps_its_column_at_whatever_depth(tmp_path: Path) -> None:
    body = "for epoch in logql.loop('epoch', range(2)):\n    for step in logql.loop('step', range(2)):\n"
    inner = body + "        logql.log('loss', 10.0 * epoch + step)\n    logql.log('acc', epoch)\n"
    record(tmp_path, "import logql\n" + inner)
    indented = "".join(f"    {line}\n" for line in inner.splitlines())
    record(tmp_path, "import logql\nfor fold in logql.loop('fold', 'ab'):\n" + indented)
    with connect(str(tmp_path / ".logql")) as connection:
        rows = connection.execute("SELECT fold, epoch, step, loss FROM logs ORDER BY run, fold, epoch, step").fetchall()
        levels = connection.execute("SELECT fold, epoch, acc FROM epoch ORDER BY run, fold, epoch").fetchall()
    plain = [(epoch, step, 10.0 * epoch + step) for epoch in range(2) for step in range(2)]
    assert rows == [(fold, *row) for fold in (None, "a", "b") for row in plain]
    assert levels == [(fold, epoch, epoch) for fold in (None, "a", "b") for epoch in range(2)]
    snapshot.forget()


def test_12_the_users_repository_and_secrets_are_left_alone(tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
        return subprocess.run(
            ["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True, text=True
        ).stdout

    git("init", "-q", "-b", "work")
    (tmp_path / "README").write_text("mine")
    git("add", "README")
    git("commit", "-qm", "first")
    (tmp_path / ".env").write_text("TOKEN=1")
    (tmp_path / "data.bin").write_bytes(b"\0" * 5000)
    before = [git("rev-parse", "HEAD"), git("for-each-ref"), git("stash", "list"), git("count-objects")]
    record(tmp_path, "import logql\nfor epoch in logql.loop('epoch', range(2)):\n    logql.log('loss', epoch)\n")
    assert [git("rev-parse", "HEAD"), git("for-each-ref"), git("stash", "list"), git("count-objects")] == before
    assert git("symbolic-ref", "HEAD").strip() == "refs/heads/work"
    assert sorted(git("status", "--porcelain").splitlines()) == ["?? .env", "?? data.bin", "?? train.py"]
    kept = subprocess.run(
        ["git", "--git-dir", str(tmp_path / ".logql" / "code.git"), "rev-list", "--all", "--objects"],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    assert "train.py" in kept
    assert ".env" not in kept
    assert "data.bin" not in kept


def test_each_name_that_becomes_another_column_is_told_once(tmp_path: Path) -> None:
    script = """
        import logql
        logql.arg("lr", 0.5)
        for epoch in logql.loop("epoch", range(3)):
            for name in ("Loss", "loss", "acc", "Epoch", "RUN", "Lr", "x$text", "", "epoch"):
                logql.log(name, epoch)
            logql.flush()
        """
    told = record(tmp_path, script).stderr.splitlines()
    assert sorted(told) == [
        """logql: what is logged as "Epoch" is the column "Epoch_", as "epoch" differs from it only in case""",
        """logql: what is logged as "Lr" is the column "Lr_", as "lr" differs from it only in case""",
        """logql: what is logged as "RUN" is the column "RUN_", as "run" differs from it only in case""",
        """logql: what is logged as "loss" is the column "loss_2", as "Loss" differs from it only in case""",
        """logql: what is logged as "x$text" is the column "x$text_\"""",
        """logql: what is logged as '' is the column "_\"""",
    ]
    with Catalog.open(str(tmp_path / ".logql")) as catalog:
        catalog.resolve_names(["Loss", "loss"])
    (told_again,) = record(tmp_path, "import logql; logql.log('LOSS', 1)").stderr.splitlines()
    assert told_again == 'logql: what is logged as "LOSS" is the column "LOSS_3"'

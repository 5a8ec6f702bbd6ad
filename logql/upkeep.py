"""The commands that look after a store: compact, gc, du, doctor, rm. The store does the work; here it is told."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable

from logql.errors import OperationalError
from logql.formats import write_result
from logql.settings import locate
from logql.store import layout


def compact(arguments: argparse.Namespace) -> int:
    """Merge small files, and tell what was merged."""
    from logql.store.compact import compact as merge

    merged = merge(find_store(arguments), dry_run=arguments.dry_run)
    verb = "would become" if arguments.dry_run else "became"
    for one in merged:
        print(f"{one.kind} {one.level}: {one.files} files {verb} one of {size_text(one.bytes)}")
    if not merged:
        print("nothing to merge")
    return 0


def gc(arguments: argparse.Namespace) -> int:
    """Remove what nothing needs, and tell what went."""
    from logql.store.gc import collect

    removed = collect(find_store(arguments), dry_run=arguments.dry_run)
    for one in removed:
        print(f"{one.path}: {one.reason}")
    verb = "would be removed" if arguments.dry_run else "removed"
    size = size_text(sum(one.bytes for one in removed))
    print(f"{len(removed)} {verb}, {size}" if removed else "nothing to remove")
    return 0


def du(arguments: argparse.Namespace) -> int:
    """Tell what takes how much space, part by part."""
    import pyarrow as pa

    from logql.store.usage import usage

    rows = usage(find_store(arguments))
    table = pa.table(
        {
            "part": pa.array([row.part for row in rows], pa.string()),
            "files": pa.array([row.files for row in rows], pa.int64()),
            "bytes": pa.array([row.bytes for row in rows], pa.int64()),
        }
    )
    write_result(table.to_reader(), arguments.format, sys.stdout)
    return 0


def doctor(arguments: argparse.Namespace) -> int:
    """Check the store, mend it, or make its catalog anew; 1 where something is (or was) wrong."""
    from logql.store import doctor as checks

    store = find_store(arguments, must_open=False)
    if arguments.rebuild:
        return _rebuild(store, arguments.dry_run)
    found = checks.examine(store, repair=arguments.repair and not arguments.dry_run)
    for one in found:
        print(one)
    mended = sum(one.can_be_mended for one in found)
    if not found:
        print("nothing is wrong")
    elif arguments.repair and not arguments.dry_run:
        print(f"{_count(len(found), 'finding')}, {mended} mended: what was set aside lies in {checks.DAMAGED}")
    else:
        print(f"{_count(len(found), 'finding')}, of which logql doctor --repair mends {mended}")
    return 1 if found else 0


def _rebuild(store: str, dry_run: bool) -> int:
    from logql.store.rebuild import rebuild

    done = rebuild(store, dry_run=dry_run)
    for line in done.unreadable:
        print(line)
    verb = "would be made" if dry_run else "was made"
    print(f"the catalog {verb} anew: {_count(done.runs, 'run')} and {_count(done.fills, 'fill')} from "
          f"{_count(done.files, 'file')}, and {done.kept} views, pins and settings of the old catalog, which is kept "
          "as catalog.sqlite.old-<time>")  # fmt: skip
    return 1 if done.unreadable else 0


def rm(arguments: argparse.Namespace) -> int:
    """Delete runs, after asking where a person can answer."""
    from logql.store.remove import find_runs, remove_runs

    store = find_store(arguments)
    runs = sorted({run for text in arguments.runs for run in find_runs(store, text)})
    if arguments.dry_run:
        done = remove_runs(store, runs, dry_run=True)
        print(f"would delete {_count(len(done.runs), 'run')}: {', '.join(done.runs)}")
        print(f"{_count(done.files, 'file')} would go, {done.rewritten} would be written anew")
        return 0
    if not arguments.yes and not _confirm(runs):
        print("nothing deleted", file=sys.stderr)
        return 1
    done = remove_runs(store, runs)
    print(f"deleted {_count(len(done.runs), 'run')}")
    return 0


def find_store(arguments: argparse.Namespace, must_open: bool = True) -> str:
    """The store that the options or the working directory name; OperationalError where there is none."""
    store = locate(os.getcwd(), arguments.store).store
    there = layout.holds_rows(store) or not must_open or os.path.exists(os.path.join(store, layout.CATALOG))
    if not os.path.isdir(store) or not there:
        raise OperationalError(f"there is no store at {store}", hint="record a run first, or name it with --store DIR")
    return store


def size_text(size: float) -> str:
    """Bytes as a person reads them."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    raise AssertionError


def _confirm(runs: Iterable[str]) -> bool:
    if not sys.stdin.isatty():
        raise OperationalError("rm deletes for good", hint="add --yes where nobody can be asked")
    print("delete for good: " + ", ".join(runs) + "? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"

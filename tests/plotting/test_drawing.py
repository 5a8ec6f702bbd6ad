"""Plots in the terminal and in files, looked at."""

from __future__ import annotations

import struct
import sys
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from logql.errors import NotSupportedError, ProgrammingError
from logql.plotting import draw, write_chart
from logql.plotting.terminal import thin

TABLE = pa.table(
    {"version": ["one"] * 11 + ["two"] * 11, "epoch": list(range(11)) * 2, "loss": [i / 10 for i in range(11)] * 2}
)


def test_a_rising_line_rises() -> None:
    shown = draw(TABLE, width=80, height=15).splitlines()
    rows = [line.partition("|")[2].lstrip(" ") for line in shown if line.rstrip().count("|") == 1]
    starts = [len(row) - len(row.lstrip("\u2800")) for row in rows if row]
    assert starts == sorted(starts, reverse=True)
    assert len(starts) > 5


def test_axes_and_legend() -> None:
    shown = draw(TABLE, width=80, height=15)
    assert "(loss)" in shown
    assert "-> (epoch)" in shown
    ticks = [line for line in shown.splitlines() if line.lstrip().startswith("| 0 ")]
    assert ticks[0].split() == ["|", "0", "2", "4", "6", "8", "10"]
    assert shown.splitlines()[-2:] == ["⠤⠤ one", "⠤⠤ two"]
    assert max(map(len, shown.splitlines())) <= 80
    assert "\x1b" not in shown


def test_colours_only_where_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[" not in draw(TABLE)
    assert "\x1b[" in draw(TABLE, colour=True)


def test_one_point_and_times() -> None:
    assert "(v)" in draw(pa.table({"n": [1], "v": [2.5]}))
    start = datetime(2026, 1, 1)
    table = pa.table({"ts": [start + timedelta(hours=i) for i in range(48)], "v": [float(i) for i in range(48)]})
    assert "(ts)" in draw(table)


def test_no_peak_is_lost() -> None:
    points = [(i, 0.0) for i in range(100_000)]
    points[54_321] = (54_321, 9.0)
    points[65_432] = (65_432, -9.0)
    kept = thin(points, 500)
    assert len(kept) <= 502
    assert {(54_321, 9.0), (65_432, -9.0)} <= set(kept)
    assert kept == sorted(kept)


def test_files(tmp_path: Path) -> None:
    for ending in ("png", "svg", "html"):
        write_chart(TABLE, str(tmp_path / f"chart.{ending}"))
    png = (tmp_path / "chart.png").read_bytes()
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", png[16:24]) > (600, 300)
    svg = (tmp_path / "chart.svg").read_text()
    assert svg.count('aria-roledescription="line mark"') == 2
    assert "epoch" in svg
    page = (tmp_path / "chart.html").read_text()
    assert "cdn." not in page.partition("<body")[0]
    assert '"two"' in page


def test_names_with_dots_and_brackets(tmp_path: Path) -> None:
    table = pa.table({"a.b[0]": [0, 1], "c.d": [1.5, 2.5]})
    write_chart(table, str(tmp_path / "chart.svg"))
    svg = (tmp_path / "chart.svg").read_text()
    assert "a.b[0]" in svg
    assert 'aria-roledescription="line mark"' in svg


def test_other_endings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ProgrammingError, match="is no file for a chart"):
        write_chart(TABLE, str(tmp_path / "chart.pdf"))


@pytest.mark.parametrize("package", ["plotille", "altair"])
def test_a_missing_package_names_the_extra(package: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(NotSupportedError, match=r"logql\[plot\]"):
        draw(TABLE) if package == "plotille" else write_chart(TABLE, str(tmp_path / "c.svg"))

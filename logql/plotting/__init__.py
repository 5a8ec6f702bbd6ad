"""Results as lines: in a terminal, in files, in notebooks. The libraries that draw come with `logql[plot]`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from logql.errors import ProgrammingError
from logql.plotting.series import Series, choose_series

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["CHART_FILES", "Series", "choose_series", "draw", "is_chart_file", "write_chart"]

#: Endings of files that a chart can be written to.
CHART_FILES = (".png", ".svg", ".html")


def is_chart_file(path: str) -> bool:
    """Whether charts can be written to files named like `path`."""
    return path.endswith(CHART_FILES)


def draw(
    table: pa.Table, roles: Mapping[str, str] | None = None, *, width: int = 80, height: int = 20, colour: bool = False
) -> str:
    """A result as a plot of text; `roles` as in `choose_series`."""
    from logql.plotting.terminal import draw_lines

    return draw_lines(choose_series(table, roles), width, height, colour)


def write_chart(table: pa.Table, path: str, roles: Mapping[str, str] | None = None) -> None:
    """Write a result as a chart to a .png, .svg or .html file; `roles` as in `choose_series`."""
    from logql.plotting.charts import save_chart

    if not is_chart_file(path):
        raise ProgrammingError(f"{path!r} is no file for a chart", hint=f"its name ends in {', '.join(CHART_FILES)}")
    save_chart(choose_series(table, roles), path)

"""Results as lines: in a terminal, in files, in notebooks. The libraries that draw come with `logql[plot]`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from logql.plotting.series import Series, choose_series

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Series", "choose_series", "draw", "write_chart"]


def draw(
    table: pa.Table, roles: Mapping[str, str] | None = None, *, width: int = 80, height: int = 20, colour: bool = False
) -> str:
    """A result as a plot of text; `roles` as in `choose_series`."""
    from logql.plotting.terminal import draw_lines

    return draw_lines(choose_series(table, roles), width, height, colour)


def write_chart(table: pa.Table, path: str, roles: Mapping[str, str] | None = None) -> None:
    """Write a result as a chart to a .png, .svg or .html file; `roles` as in `choose_series`."""
    from logql.plotting.charts import check_chart_file, save_chart

    check_chart_file(path)
    save_chart(choose_series(table, roles), path)

"""Lines drawn with the dots of Braille characters, by plotille."""

from __future__ import annotations

from datetime import date, datetime, time
from typing import Any

from logql.errors import NotSupportedError
from logql.plotting.series import Line, Series

_COLOURS = ("bright_green", "bright_yellow", "bright_blue", "bright_magenta", "bright_cyan", "bright_red", "white")
#: Points of a line per column of the terminal; of more, the least and the greatest of each stretch stay.
_POINTS = 8


def draw_lines(series: Series, width: int, height: int, colour: bool) -> str:
    """The lines with axes and a legend, `width` columns wide and about `height` rows high."""
    figure: Any = _plotille().Figure()
    figure.width, figure.height = max(20, width - 18), max(5, height - 4)
    figure.x_label, figure.y_label = series.x, series.y
    figure.color_mode = "names"
    figure.with_colors = colour
    figure.origin = False
    figure.register_label_formatter(float, _tick)
    figure.register_label_formatter(int, _tick)
    for number, line in enumerate(series.lines):
        points = thin(_points(line, series.x_kind), width * _POINTS)
        if points:
            name = _COLOURS[number % len(_COLOURS)] if colour else None
            figure.plot([x for x, _ in points], [y for _, y in points], lc=name, label=line.label, marker=None)
    _set_limits(figure, series)
    return str(figure.show(legend=len(series.lines) > 1 or series.y == "value"))


def thin(points: list[tuple[Any, float]], most: int) -> list[tuple[Any, float]]:
    """At most about `most` points: the least and the greatest y of each stretch, so that no peak is lost."""
    if len(points) <= most:
        return points
    step = -(-2 * len(points) // most)
    kept: list[tuple[Any, float]] = []
    for start in range(0, len(points), step):
        stretch = range(start, min(start + step, len(points)))
        ends = {min(stretch, key=lambda i: points[i][1]), max(stretch, key=lambda i: points[i][1])}
        kept += [points[i] for i in sorted(ends)]
    return kept


def _points(line: Line, kind: str) -> list[tuple[Any, float]]:
    return [(_moment(x) if kind == "time" else x, y) for x, y in zip(line.x, line.y, strict=True) if y is not None]


def _moment(value: datetime | date) -> datetime:
    return value.replace(tzinfo=None) if isinstance(value, datetime) else datetime.combine(value, time())


def _set_limits(figure: Any, series: Series) -> None:
    """Let the axes end where the data ends; plotille's own margin hides small values."""
    ys = [y for line in series.lines for y in line.y if y is not None]
    low, high = min(ys), max(ys)
    margin = (high - low) * 0.02 or abs(high) * 0.1 or 1.0
    figure.set_y_limits(min_=low - margin, max_=high + margin)
    xs = [x for line in series.lines for x in line.x]
    if series.x_kind == "number" and min(xs) < max(xs):
        figure.set_x_limits(min_=min(xs), max_=max(xs))


def _tick(value: float, chars: int, delta: float, left: bool = False) -> str:  # noqa: ARG001
    text = f"{value:.4g}"
    return text.ljust(chars) if left else text.rjust(chars)


def _plotille() -> Any:
    try:
        import plotille
    except ImportError as error:
        raise NotSupportedError("plotille is not installed", hint="pip install 'logql[plot]'") from error
    return plotille

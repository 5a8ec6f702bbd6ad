"""Lines drawn with the dots of Braille characters, by plotille."""

from __future__ import annotations

import math
from datetime import date, datetime, time
from typing import Any

from logql.errors import NotSupportedError
from logql.plotting.series import Line, Series

_COLOURS = ("bright_green", "bright_yellow", "bright_blue", "bright_magenta", "bright_cyan", "bright_red", "white")
#: Points of a line per column of the terminal; of more, the least and the greatest of each stretch stay.
_POINTS = 8
#: Columns that plotille takes for the axis of y, and those between two ticks of x.
_MARGIN, _TICK = 13, 10
_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


def draw_lines(series: Series, width: int, height: int, colour: bool) -> str:
    """The lines with axes and a legend, at most `width` columns wide and about `height` rows high."""
    figure: Any = _plotille().Figure()
    figure.width = max(2 * _TICK, width - _MARGIN - len(series.x) - 8)
    figure.height = max(5, height - 4)
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
    text = str(figure.show(legend=len(series.lines) > 1 or series.y == "value"))
    return "\n".join(line.rstrip(" \u2800") for line in text.splitlines())


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
    """Let ticks fall on round numbers and the axes end where the data ends."""
    ys = [y for line in series.lines for y in line.y if y is not None]
    low, figure.height, step = _round_axis(min(ys), max(ys), figure.height)
    figure.set_y_limits(min_=low, max_=low + figure.height * step)
    if series.x_kind == "number":
        xs = [x for line in series.lines for x in line.x]
        low, count, step = _round_axis(min(xs), max(xs), figure.width // _TICK)
        figure.width = count * _TICK
        figure.set_x_limits(min_=low, max_=low + count * step)


def _round_axis(low: float, high: float, most: int) -> tuple[float, int, float]:
    """Start, number and size of at most `most` round steps that cover low..high."""
    span = (high - low) or abs(high) or 1.0
    power = 10.0 ** math.floor(math.log10(span / most))
    for size in (*_STEPS, 20.0, 50.0):
        step = size * power
        start = math.floor(low / step + 1e-9) * step
        count = max(1, math.ceil((high - start) / step - 1e-9))
        if count <= most:
            return start, count, step
    return low, most, span / most


def _tick(value: float, chars: int, delta: float, left: bool = False) -> str:  # noqa: ARG001
    text = f"{value:.4g}"
    return text.ljust(chars) if left else text.rjust(chars)


def _plotille() -> Any:
    try:
        import plotille
    except ImportError as error:
        raise NotSupportedError("plotille is not installed", hint="pip install 'logql[plot]'") from error
    return plotille

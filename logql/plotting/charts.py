"""Charts as Vega-Lite, by Altair: files for papers and pages, and what notebooks show."""

from __future__ import annotations

from datetime import date
from typing import Any

from logql.errors import NotSupportedError
from logql.plotting.series import Series

_ID = "label"


def build_chart(series: Series) -> Any:
    """An `altair.Chart`: a line per label, a legend, tooltips."""
    alt = _altair()
    rows = [
        {series.x: _plain(x), series.y: y, _ID: line.label}
        for line in series.lines
        for x, y in zip(line.x, line.y, strict=True)
    ]
    names = {name: name.replace(".", "_").replace("[", "(").replace("]", ")") for name in (series.x, series.y)}
    data = alt.Data(values=[{names.get(key, key): value for key, value in row.items()} for row in rows])
    kind = "temporal" if series.x_kind == "time" else "quantitative"
    x = alt.X(field=names[series.x], type=kind, title=series.x)
    y = alt.Y(field=names[series.y], type="quantitative", title=series.y, scale=alt.Scale(zero=False))
    encodings = {"x": x, "y": y}
    if len(series.lines) > 1:
        order = [line.label for line in series.lines]
        encodings["color"] = alt.Color(field=_ID, type="nominal", title=None, sort=order)
    tips = [alt.Tooltip(field=_ID, type="nominal"), alt.Tooltip(field=names[series.x], type=kind)]
    tips.append(alt.Tooltip(field=names[series.y], type="quantitative"))
    mark = {"point": max(len(line.x) for line in series.lines) <= 50}
    return alt.Chart(data).mark_line(**mark).encode(**encodings, tooltip=tips).properties(width=640, height=360)


def save_chart(series: Series, path: str) -> None:
    """Write a chart to a file; its ending says how. A page holds all that it needs."""
    chart = build_chart(series)
    try:
        if path.endswith(".html"):
            chart.save(path, inline=True)
        else:
            chart.save(path)
    except ImportError as error:
        raise NotSupportedError("vl-convert-python is not installed", hint="pip install 'logql[plot]'") from error


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, date) else float(value) if not isinstance(value, int) else value


def _altair() -> Any:
    try:
        import altair
    except ImportError as error:
        raise NotSupportedError("altair is not installed", hint="pip install 'logql[plot]'") from error
    return altair

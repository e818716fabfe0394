"""The information plane, which the page's script moves through the epochs."""

from __future__ import annotations

import html
from typing import Any

import numpy as np

from skinfo.view.report.charts import Chart
from skinfo.view.report.figures import (
    Figure,
    dashed_ceiling,
    hover,
    layer_colours,
    layout,
    listed,
    marker,
    seen,
    to_json,
)
from skinfo.view.report.sigmas import sigma_in_words

_HEIGHT = 520


def draw_plane(information: Chart, label: Chart, *, several: bool) -> Figure:
    """Draw I(X;T) across and I(Y;T) up: a point a layer, its brackets, its way so far.

    Traces hold all epochs; ``meta`` says how many of their points make one, and whether the way so
    far or the epoch alone is shown.
    """
    traces: list[dict[str, Any]] = []
    colours = layer_colours(len(information.layers))
    drawn = [k for k in range(len(colours)) if information.measured[k].any()]
    for make in (_trail, _brackets, _points):
        traces += [make(information, label, k, colours[k]) for k in drawn]
    shapes, annotations = [], []
    for chart, name, upright in (
        (information, "ceiling", True), (label, "H(Y)", False),
    ):  # fmt: skip
        flat = chart.flat_ceiling()
        if flat is not None:
            shape, note = dashed_ceiling(flat, name, upright=upright, left=True)
            shapes.append(shape)
            annotations.append(note)
    titles = [information.axis.name(j).capitalize() for j in range(len(information.axis.places))]
    made = layout(
        _HEIGHT,
        {"title": {"text": information.label}, "range": _range(information)},
        {"title": {"text": label.label}, "range": _range(label)},
        shapes=shapes, annotations=annotations,
        title={"text": titles[-1], "font": {"size": 15}, "x": 0, "xref": "paper",
               "xanchor": "left", "y": 0.985, "yanchor": "top"},
        margin={"l": 60, "r": 20, "t": 36, "b": 50},
    )  # fmt: skip
    said = [information.estimator] if several else []
    said += [noise] if (noise := sigma_in_words(information.sigmas)) else []
    by = f" <small>{html.escape(', '.join(said))}</small>" if said else ""
    return Figure(
        description=f"Information plane: {label.label} against {information.label}",
        caption=f"{html.escape(label.title)} against {html.escape(information.title)}{by}",
        json=to_json(traces, made, titles=titles, group="epoch"),
        css_class="wide",
    )


def _range(chart: Chart) -> list[float]:
    """All that is ever shown, so that the axes stand still while the points move."""
    flat = chart.flat_ceiling()
    shown = [*(chart.value, chart.lower, chart.upper), np.array([np.nan if flat is None else flat])]
    values = np.concatenate([array[np.isfinite(array)] for array in shown])
    low, high = (values.min(), values.max()) if values.size else (0.0, 1.0)
    pad = 0.05 * (high - low) or 0.5
    return [float(low - pad), float(high + pad)]


def _words(information: Chart, label: Chart, k: int) -> list[str]:
    return [
        hover(
            f"{information.layers[k]}, {information.axis.name(j)}",
            *(information.in_words(k, j) if information.measured[k, j] else []),
            *(label.in_words(k, j) if label.measured[k, j] else []),
        )
        for j in range(len(information.axis.places))
    ]


def _trail(information: Chart, label: Chart, k: int, colour: str) -> dict[str, Any]:
    return {
        "type": "scatter", "mode": "lines+markers", "opacity": 0.5, "hoverinfo": "text",
        "x": listed(information.value[k]), "y": listed(label.value[k]),
        "hovertext": _words(information, label, k), "name": f"{seen(information.layers[k])} before",
        "line": {"width": 1.2, "color": colour}, "marker": {"size": 5, "color": colour},
        "meta": {"layer": k, "per": 1, "trail": True},
    }  # fmt: skip


def _brackets(information: Chart, label: Chart, k: int, colour: str) -> dict[str, Any]:
    """Two crossed lines an epoch, from end to end of each bracket, wherever the value lies."""
    x: list[float | None] = []
    y: list[float | None] = []
    for j in range(len(information.axis.places)):
        ends = np.array([information.lower[k, j], information.upper[k, j]])
        label_ends = np.array([label.lower[k, j], label.upper[k, j]])
        value, label_value = information.value[k, j], label.value[k, j]
        x += [*listed(ends), None, *listed(np.array([value, value])), None]
        y += [*listed(np.array([label_value, label_value])), None, *listed(label_ends), None]
    return {
        "type": "scatter", "mode": "lines", "x": x, "y": y, "hoverinfo": "skip",
        "line": {"width": 2, "color": colour}, "name": f"{seen(information.layers[k])} brackets",
        "meta": {"layer": k, "per": 6, "trail": False},
    }  # fmt: skip


def _points(information: Chart, label: Chart, k: int, colour: str) -> dict[str, Any]:
    return {
        "type": "scatter", "mode": "markers", "hoverinfo": "text",
        "x": listed(information.value[k]), "y": listed(label.value[k]),
        "hovertext": _words(information, label, k), "name": seen(information.layers[k]),
        "marker": {"size": 13, "symbol": marker(k), "color": colour,
                   "line": {"width": 1.2, "color": "#111827"}},
        "meta": {"layer": k, "per": 1, "trail": False},
    }  # fmt: skip

"""Curves against the epoch: values with brackets as bands, and what was recorded in training."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

import numpy as np

from skinfo.kinds import GUIDES
from skinfo.view.report.charts import Axis, Chart
from skinfo.view.report.figures import (
    GREY,
    Figure,
    dashed_ceiling,
    drawn_places,
    hover,
    layer_colours,
    layout,
    listed,
    marker,
    places_axis,
    seen,
    to_json,
    values_axis,
)
from skinfo.view.report.quantities import is_ratio
from skinfo.view.report.sigmas import sigma_in_words
from skinfo.view.report.wording import epoch_ranges, number

_HEIGHT = 300
# How dense a band is, and all of them together where there are many.
_BAND, _BANDS = 0.35, 1.4
# Lines that are not layers, each with a dash of its own.
_LINES = (
    ("#1f2937", "solid"), ("#c2410c", "dash"), ("#1d4ed8", "dot"), ("#15803d", "dashdot"),
    ("#7e22ce", "longdash"),
)  # fmt: skip


def draw_chart(chart: Chart, *, several: bool) -> Figure:
    """Draw one quantity of every layer, its bracket as a band, its ceiling dashed.

    ``several`` says that the estimator must be named, for others measured the same quantity.
    """
    across = drawn_places(chart.axis.places)
    upward = values_axis(
        chart.value, chart.lower, chart.upper, title=chart.label, log=is_ratio(chart.quantity)
    )
    if chart.axis.word == "sigma":
        upward |= {"rangemode": "tozero"}
    traces: list[dict[str, Any]] = []
    colours = layer_colours(len(chart.layers))
    for k, colour in enumerate(colours):
        if chart.measured[k].any():
            traces.append(_band(chart, k, across, colour))
    for k, colour in enumerate(colours):
        if chart.measured[k].any():
            traces.append(_line(chart, k, across, colour))
    flat = chart.flat_ceiling()
    shapes, annotations = [_epoch_mark(chart.axis, across)], []
    if flat is not None:
        shape, note = dashed_ceiling(flat, "ceiling")
        shapes.append(shape)
        annotations.append(note)
        # A shape alone does not make room for itself.
        traces.append({"x": [float(across[-1])], "y": [flat], "mode": "markers", "type": "scatter",
                       "marker": {"opacity": 0}, "hoverinfo": "skip"})  # fmt: skip
    elif np.isfinite(chart.ceiling).any():
        traces += [
            _ceiling(chart, k, across, colour)
            for k, colour in enumerate(colours)
            if np.isfinite(chart.ceiling[k]).any()
        ]
    guide = GUIDES.get(chart.quantity.partition(" [")[0])
    if guide is not None:
        shapes.append(dashed_ceiling(guide, "")[0])
    made = layout(
        _HEIGHT, places_axis(chart.axis.places, chart.axis.title), upward,
        shapes=shapes, annotations=annotations,
    )  # fmt: skip
    said = [chart.estimator] if several else []
    said += [noise] if (noise := sigma_in_words(chart.sigmas)) else []
    by = f" <small>{html.escape(', '.join(said))}</small>" if said else ""
    return Figure(
        description=f"{chart.label} against the {chart.axis.word}, a curve a layer",
        caption=f"{html.escape(chart.label)}{by}",
        json=to_json(traces, made, marks=listed(across) if chart.axis.word == "epoch" else []),
        footnote=_not_drawn(chart),
    )


def _band(chart: Chart, k: int, across: np.ndarray, colour: str) -> dict[str, Any]:
    """A bracket's area, a polygon for each stretch of epochs without a gap."""
    known = np.isfinite(chart.lower[k]) & np.isfinite(chart.upper[k])
    x: list[float | None] = []
    y: list[float | None] = []
    for stretch in np.split(np.arange(len(across)), np.flatnonzero(~known)):
        inside = stretch[known[stretch]]
        if len(inside):
            there, back = listed(across[inside]), listed(across[inside[::-1]])
            x += [*there, *back, there[0], None]
            y += [
                *listed(chart.lower[k, inside]), *listed(chart.upper[k, inside[::-1]]),
                float(chart.lower[k, inside[0]]), None,
            ]  # fmt: skip
    return {
        "type": "scatter", "x": x, "y": y, "mode": "lines", "fill": "toself", "hoverinfo": "skip",
        "line": {"width": 0.8, "color": colour}, "meta": {"layer": k},
        "opacity": min(_BAND, _BANDS / len(chart.layers)),
        "name": f"{seen(chart.layers[k])} bracket",
    }  # fmt: skip


def _line(chart: Chart, k: int, across: np.ndarray, colour: str) -> dict[str, Any]:
    texts = [
        hover(_place(chart, k, j), *chart.in_words(k, j)) if chart.measured[k, j] else ""
        for j in range(len(across))
    ]
    return {
        "type": "scatter", "x": listed(across), "y": listed(chart.value[k]),
        "mode": "lines+markers", "name": seen(chart.layers[k]), "hovertext": texts,
        "hoverinfo": "text", "line": {"width": 1.6, "color": colour}, "meta": {"layer": k},
        "marker": {"size": 6, "symbol": marker(k), "color": colour,
                   "line": {"width": 0.6, "color": "#374151"}},
    }  # fmt: skip


def _place(chart: Chart, k: int, j: int) -> str:
    return ", ".join(filter(None, [chart.layers[k], chart.axis.name(j)]))


def _ceiling(chart: Chart, k: int, across: np.ndarray, colour: str) -> dict[str, Any]:
    return {
        "type": "scatter", "x": listed(across), "y": listed(chart.ceiling[k]), "mode": "lines",
        "line": {"width": 1, "color": colour, "dash": "dash"}, "hoverinfo": "skip",
        "name": f"{seen(chart.layers[k])} ceiling", "meta": {"layer": k},
    }  # fmt: skip


def _epoch_mark(axis: Axis, across: np.ndarray) -> dict[str, Any]:
    """A line at the chosen epoch, which the script moves; not there on other axes."""
    at = float(across[-1])
    return {
        "type": "line", "xref": "x", "yref": "paper", "x0": at, "x1": at, "y0": 0, "y1": 1,
        "layer": "below", "line": {"color": "#9ca3af", "width": 1},
        "visible": axis.word == "epoch" and len(axis.places) > 1,
    }  # fmt: skip


def _not_drawn(chart: Chart) -> str:
    """Name the measured points that have no place on paper."""
    said = []
    for name, chosen in (
        ("infinite", np.isinf(chart.value)),
        ("not a number", np.isnan(chart.value) & chart.measured),
    ):
        where = [
            " ".join(filter(None, [
                chart.layers[k],
                epoch_ranges([chart.axis.places[j] for j in np.flatnonzero(chosen[k])],
                             chart.axis.places, chart.axis.word),
            ]))
            for k in np.flatnonzero(chosen.any(axis=1))
        ]  # fmt: skip
        if where:
            said.append(f"Not drawn, because {name}: {'; '.join(where)}.")
    return html.escape(" ".join(said))


def draw_recorded(
    recorded: Mapping[str, np.ndarray], axis: Axis, marks: tuple[float, ...]
) -> list[Figure]:
    """Draw what was recorded in training: losses, accuracies, and the rest by name.

    ``axis`` holds the epochs of the record, ``marks`` those that the slider knows.
    """
    groups: dict[str, dict[str, np.ndarray]] = {"Loss": {}, "Accuracy": {}}
    # What is trained on comes first.
    for name in sorted(recorded, key=lambda name: ("train" not in name, name)):
        kind = next((kind for kind in ("loss", "accuracy") if kind in name.lower()), "")
        groups.setdefault(kind.capitalize() or name, {})[name] = recorded[name]
    return [_draw_recorded(title, lines, axis, marks) for title, lines in groups.items() if lines]


def _draw_recorded(
    title: str, lines: Mapping[str, np.ndarray], axis: Axis, marks: tuple[float, ...]
) -> Figure:
    across = drawn_places(axis.places)
    traces, said = [], []
    for (name, values), (colour, dash) in zip(lines.items(), _cycle(len(lines)), strict=True):
        shown = name.replace("_", " ")
        texts = [
            hover(axis.name(j), f"{shown} {number(float(value))}") for j, value in enumerate(values)
        ]
        traces.append({
            "type": "scatter", "x": listed(across), "y": listed(values), "mode": "lines+markers",
            "name": seen(shown), "hovertext": texts, "hoverinfo": "text",
            "line": {"width": 1.6, "color": colour, "dash": dash},
            "marker": {"size": 4, "color": colour},
        })  # fmt: skip
        if np.isinf(values).any():
            chosen = [axis.places[j] for j in np.flatnonzero(np.isinf(values))]
            where = epoch_ranges(chosen, axis.places)
            said.append(f"Not drawn, because infinite: {shown} {where}.")
    finite = values_axis(*(values for values in lines.values()), title=title)
    made = layout(
        _HEIGHT, places_axis(axis.places, axis.title), finite,
        shapes=[_epoch_mark(axis, across)], showlegend=True,
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom",
                "font": {"size": 11, "color": GREY}},
        margin={"l": 56, "r": 16, "t": 30, "b": 44},
    )  # fmt: skip
    return Figure(
        description=f"{title} against the epoch",
        caption=html.escape(title.replace("_", " ")),
        json=to_json(traces, made, marks=listed(drawn_places(marks, axis.places))),
        footnote=html.escape(" ".join(said)),
    )


def _cycle(n: int) -> list[tuple[str, str]]:
    return [_LINES[k % len(_LINES)] for k in range(n)]

"""Curves against the epoch: values with brackets as bands, and what was recorded in training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from skinfo.view.curves import Curves, layer_colours
from skinfo.view.report.figures import (
    GREY,
    Figure,
    checked,
    dashed_ceiling,
    drawn_places,
    epoch_axis,
    hover,
    layout,
    listed,
    made_by,
    marker,
    point_in_words,
    seen,
    values_axis,
)
from skinfo.view.words import epoch_name, epoch_ranges, number

_HEIGHT = 300
# How dense a band is, and all of them together where there are many.
_BAND, _BANDS = 0.35, 1.4
# Lines that are not layers, each with a dash of its own.
_LINES = (
    ("#1f2937", "solid"), ("#c2410c", "dash"), ("#1d4ed8", "dot"), ("#15803d", "dashdot"),
    ("#7e22ce", "longdash"),
)  # fmt: skip


def draw_curves(curves: Curves, *, several: bool) -> Figure:
    """Draw one quantity of every layer, its bracket as a band, its ceiling dashed.

    ``several`` says that the estimator must be named, for others measured the same quantity.
    """
    across = drawn_places(curves.epochs)
    colours = layer_colours(len(curves.layers))
    drawn = [k for k in range(len(colours)) if curves.measured[k].any()]
    traces = [_band(curves, k, across, colours[k]) for k in drawn]
    traces += [_line(curves, k, across, colours[k]) for k in drawn]
    flat = curves.flat_ceiling()
    shapes, annotations = [_epoch_mark(across)], []
    if flat is not None:
        shape, note = dashed_ceiling(flat, "ceiling")
        shapes.append(shape)
        annotations.append(note)
        # A shape alone does not make room for itself.
        traces.append({"x": [float(across[-1])], "y": [flat], "mode": "markers", "type": "scatter",
                       "marker": {"opacity": 0}, "hoverinfo": "skip"})  # fmt: skip
    else:
        limited = [k for k in range(len(colours)) if np.isfinite(curves.ceiling[k]).any()]
        traces += [_ceiling(curves, k, across, colours[k]) for k in limited]
    if curves.quantity.baseline is not None:
        shapes.append(dashed_ceiling(curves.quantity.baseline, "")[0])
    upward = values_axis(
        curves.value, curves.lower, curves.upper, title=curves.label,
        log=curves.quantity.unit_kind in ("count", "ratio"),
    )  # fmt: skip
    laid_out = layout(
        _HEIGHT, epoch_axis(curves.epochs), upward, shapes=shapes, annotations=annotations
    )
    return Figure(
        description=f"{curves.label} against the epoch, a curve per layer",
        made=checked(traces, laid_out, marks=listed(across)),
        caption=curves.label,
        small=made_by(curves, several=several),
        footnote=_not_drawn(curves),
    )


def _band(curves: Curves, k: int, across: np.ndarray, colour: str) -> dict[str, Any]:
    """A bracket's area, a polygon for each stretch of epochs without a gap."""
    finite = np.isfinite(curves.lower[k]) & np.isfinite(curves.upper[k])
    x: list[float | None] = []
    y: list[float | None] = []
    for stretch in np.split(np.arange(len(across)), np.flatnonzero(~finite)):
        inside = stretch[finite[stretch]]
        if len(inside):
            way, back = listed(across[inside]), listed(across[inside[::-1]])
            x += [*way, *back, way[0], None]
            y += [
                *listed(curves.lower[k, inside]), *listed(curves.upper[k, inside[::-1]]),
                float(curves.lower[k, inside[0]]), None,
            ]  # fmt: skip
    return {
        "type": "scatter", "x": x, "y": y, "mode": "lines", "fill": "toself", "hoverinfo": "skip",
        "line": {"width": 0.8, "color": colour}, "meta": {"layer": k},
        "opacity": min(_BAND, _BANDS / len(curves.layers)),
        "name": f"{seen(curves.layers[k])} bracket",
    }  # fmt: skip


def _line(curves: Curves, k: int, across: np.ndarray, colour: str) -> dict[str, Any]:
    texts = [
        hover(f"{curves.layers[k]}, epoch {epoch_name(epoch)}", *point_in_words(curves, k, j))
        if curves.measured[k, j]
        else ""
        for j, epoch in enumerate(curves.epochs)
    ]
    return {
        "type": "scatter", "x": listed(across), "y": listed(curves.value[k]),
        "mode": "lines+markers", "name": seen(curves.layers[k]), "hovertext": texts,
        "hoverinfo": "text", "line": {"width": 1.6, "color": colour}, "meta": {"layer": k},
        "marker": {"size": 6, "symbol": marker(k), "color": colour,
                   "line": {"width": 0.6, "color": "#374151"}},
    }  # fmt: skip


def _ceiling(curves: Curves, k: int, across: np.ndarray, colour: str) -> dict[str, Any]:
    return {
        "type": "scatter", "x": listed(across), "y": listed(curves.ceiling[k]), "mode": "lines",
        "line": {"width": 1, "color": colour, "dash": "dash"}, "hoverinfo": "skip",
        "name": f"{seen(curves.layers[k])} ceiling", "meta": {"layer": k},
    }  # fmt: skip


def _epoch_mark(across: np.ndarray) -> dict[str, Any]:
    """A line at the chosen epoch, which the script moves."""
    at = float(across[-1])
    return {
        "type": "line", "xref": "x", "yref": "paper", "x0": at, "x1": at, "y0": 0, "y1": 1,
        "layer": "below", "line": {"color": "#9ca3af", "width": 1},
        "visible": len(across) > 1,
    }  # fmt: skip


def _not_drawn(curves: Curves) -> str:
    """Name the measured points that have no place on paper."""
    sentences = []
    for name, chosen in (
        ("infinite", np.isinf(curves.value)),
        ("not a number", np.isnan(curves.value) & curves.measured),
    ):
        where = [
            f"{curves.layers[k]} {epoch_ranges(curves.epochs[chosen[k]], curves.epochs.tolist())}"
            for k in np.flatnonzero(chosen.any(axis=1))
        ]
        if where:
            sentences.append(f"Not drawn, because {name}: {'; '.join(where)}.")
    return " ".join(sentences)


def draw_recorded(
    recorded: Mapping[str, np.ndarray], epochs: np.ndarray, marks: np.ndarray
) -> list[Figure]:
    """Draw what was recorded in training: losses, accuracies, and the rest by name.

    ``epochs`` are those of the record, ``marks`` those that the slider has.
    """
    groups: dict[str, dict[str, np.ndarray]] = {"Loss": {}, "Accuracy": {}}
    # What is trained on comes first.
    for name in sorted(recorded, key=lambda name: ("train" not in name, name)):
        kind = next((kind for kind in ("loss", "accuracy") if kind in name.lower()), "")
        groups.setdefault(kind.capitalize() or name, {})[name] = recorded[name]
    return [_draw_group(title, lines, epochs, marks) for title, lines in groups.items() if lines]


def _draw_group(
    title: str, lines: Mapping[str, np.ndarray], epochs: np.ndarray, marks: np.ndarray
) -> Figure:
    across = drawn_places(epochs)
    traces, sentences = [], []
    for number_of_line, (name, values) in enumerate(lines.items()):
        colour, dash = _LINES[number_of_line % len(_LINES)]
        shown = name.replace("_", " ")
        texts = [
            hover(f"epoch {epoch_name(epoch)}", f"{shown} {number(float(value))}")
            for epoch, value in zip(epochs, values, strict=True)
        ]
        traces.append({
            "type": "scatter", "x": listed(across), "y": listed(values), "mode": "lines+markers",
            "name": seen(shown), "hovertext": texts, "hoverinfo": "text",
            "line": {"width": 1.6, "color": colour, "dash": dash},
            "marker": {"size": 4, "color": colour},
        })  # fmt: skip
        if np.isinf(values).any():
            where = epoch_ranges(epochs[np.isinf(values)], epochs.tolist())
            sentences.append(f"Not drawn, because infinite: {shown} {where}.")
    laid_out = layout(
        _HEIGHT, epoch_axis(epochs), values_axis(*lines.values(), title=title),
        shapes=[_epoch_mark(across)], showlegend=True,
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom",
                "font": {"size": 11, "color": GREY}},
        margin={"l": 56, "r": 16, "t": 30, "b": 44},
    )  # fmt: skip
    return Figure(
        description=f"{title} against the epoch",
        made=checked(traces, laid_out, marks=listed(drawn_places(marks, epochs))),
        caption=title.replace("_", " "),
        footnote=" ".join(sentences),
    )

"""Figures that the page's script moves: the information plane, and histograms of distances."""

from __future__ import annotations

from typing import Any

import numpy as np

from skinfo.flow.snapshots import Snapshots
from skinfo.view.curves import PAIR_KINDS, Curves, layer_colours
from skinfo.view.report.figures import (
    Figure,
    checked,
    dashed_ceiling,
    hover,
    layout,
    listed,
    made_by,
    marker,
    point_in_words,
    seen,
)
from skinfo.view.words import epoch_name, number

_PLANE_HEIGHT = 520
_HISTOGRAM_HEIGHT = 220


def draw_plane(information: Curves, label: Curves, *, several: bool) -> Figure:
    """Draw I(X;T) across and I(Y;T) up: a point per layer, its brackets, its way so far.

    Traces hold all epochs; ``meta`` says how many of their points make one, and whether the way so
    far or the epoch alone is shown.
    """
    traces: list[dict[str, Any]] = []
    colours = layer_colours(len(information.layers))
    drawn = [k for k in range(len(colours)) if information.measured[k].any()]
    for make in (_trail, _brackets, _points):
        traces += [make(information, label, k, colours[k]) for k in drawn]
    shapes, annotations = [], []
    for curves, name, upright in (
        (information, "ceiling", True), (label, "H(Y)", False),
    ):  # fmt: skip
        flat = curves.flat_ceiling()
        if flat is not None:
            shape, note = dashed_ceiling(flat, name, upright=upright, left=True)
            shapes.append(shape)
            annotations.append(note)
    titles = [f"Epoch {epoch_name(epoch)}" for epoch in information.epochs]
    laid_out = layout(
        _PLANE_HEIGHT,
        {"title": {"text": information.label}, "range": _range(information)},
        {"title": {"text": label.label}, "range": _range(label)},
        shapes=shapes, annotations=annotations,
        title={"text": titles[-1], "font": {"size": 15}, "x": 0, "xref": "paper",
               "xanchor": "left", "y": 0.985, "yanchor": "top"},
        margin={"l": 60, "r": 20, "t": 36, "b": 50},
    )  # fmt: skip
    return Figure(
        description=f"Information plane: {label.label} against {information.label}",
        made=checked(traces, laid_out, titles=titles, group="epoch"),
        caption=f"{label.quantity.title} against {information.quantity.title}",
        small=made_by(information, several=several),
        css_class="wide",
    )


def _range(curves: Curves) -> list[float]:
    """All that is ever shown, so that the axes stand still while the points move."""
    flat = curves.flat_ceiling()
    limit = np.nan if flat is None else flat
    shown = np.concatenate([*curves.value, *curves.lower, *curves.upper, [limit]])
    values = shown[np.isfinite(shown)]
    low, high = (values.min(), values.max()) if values.size else (0.0, 1.0)
    pad = 0.05 * (high - low) or 0.5
    return [float(low - pad), float(high + pad)]


def _words(information: Curves, label: Curves, k: int) -> list[str]:
    return [
        hover(
            f"{information.layers[k]}, epoch {epoch_name(epoch)}",
            *(point_in_words(information, k, j) if information.measured[k, j] else []),
            *(point_in_words(label, k, j) if label.measured[k, j] else []),
        )
        for j, epoch in enumerate(information.epochs)
    ]


def _trail(information: Curves, label: Curves, k: int, colour: str) -> dict[str, Any]:
    return {
        "type": "scatter", "mode": "lines+markers", "opacity": 0.5, "hoverinfo": "text",
        "x": listed(information.value[k]), "y": listed(label.value[k]),
        "hovertext": _words(information, label, k), "name": f"{seen(information.layers[k])} before",
        "line": {"width": 1.2, "color": colour}, "marker": {"size": 5, "color": colour},
        "meta": {"layer": k, "per": 1, "trail": True},
    }  # fmt: skip


def _brackets(information: Curves, label: Curves, k: int, colour: str) -> dict[str, Any]:
    """Two crossed lines per epoch, from end to end of each bracket, wherever the value lies."""
    x: list[float | None] = []
    y: list[float | None] = []
    for j in range(len(information.epochs)):
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


def _points(information: Curves, label: Curves, k: int, colour: str) -> dict[str, Any]:
    return {
        "type": "scatter", "mode": "markers", "hoverinfo": "text",
        "x": listed(information.value[k]), "y": listed(label.value[k]),
        "hovertext": _words(information, label, k), "name": seen(information.layers[k]),
        "marker": {"size": 13, "symbol": marker(k), "color": colour,
                   "line": {"width": 1.2, "color": "#111827"}},
        "meta": {"layer": k, "per": 1, "trail": False},
    }  # fmt: skip


def draw_distances(snapshots: Snapshots, layers: tuple[str, ...]) -> list[Figure]:
    """Draw the layers of snapshots; the page's script chooses the epoch."""
    return [
        _draw_layer(snapshots, snapshots.layers.index(layer), layers.index(layer))
        for layer in layers
        if layer in snapshots.layers
    ]


def _draw_layer(snapshots: Snapshots, k: int, place: int) -> Figure:
    traces = [_outline(snapshots, k, *kind) for kind in PAIR_KINDS]
    measured = (snapshots.within[k] + snapshots.between[k]).any(axis=1)
    titles = [
        "" if has_pairs else f"not measured at epoch {epoch_name(float(epoch))}"
        for epoch, has_pairs in zip(snapshots.snapshot_epochs, measured, strict=True)
    ]
    laid_out = layout(
        _HISTOGRAM_HEIGHT,
        {"title": {"text": "Distance"}, "rangemode": "tozero", "nticks": 6},
        {"title": {"text": "Density"}, "rangemode": "tozero", "nticks": 5},
        title={"text": titles[-1], "font": {"size": 11}, "x": 0.5, "y": 0.96, "yanchor": "top"},
    )
    return Figure(
        description=f"Distances within and between classes, {snapshots.layers[k]}",
        made=checked(traces, laid_out, titles=titles, group="snapshot"),
        caption=snapshots.layers[k],
        css_class="small",
        layer=place,
    )


def _outline(
    snapshots: Snapshots, k: int, attribute: str, name: str, colour: str
) -> dict[str, Any]:
    """The steps of a histogram at every snapshot, as many points at each."""
    x: list[float | None] = []
    y: list[float | None] = []
    texts: list[str] = []
    for j in range(len(snapshots.snapshot_epochs)):
        edges, counts = snapshots.distance_edges[k, j], getattr(snapshots, attribute)[k, j]
        total = float(counts.sum())
        if total == 0:
            gap: list[Any] = [None] * (len(edges) + 1)
            x, y, texts = x + gap, y + gap, texts + [""] * len(gap)
            continue
        # Empty cells at the far end say nothing.
        either = np.flatnonzero(snapshots.within[k, j] + snapshots.between[k, j])
        beyond = len(edges) - (either[-1] + 2)
        kept = len(edges) - 1 - beyond
        density = counts[:kept] / total / np.diff(edges)[:kept]
        x += [float(edges[0]), *listed(edges[: kept + 1]), *([None] * beyond)]
        y += [0.0, *listed(density), 0.0, *([None] * beyond)]
        said = [
            hover(f"{number(edges[i])} to {number(edges[i + 1])}",
                  f"{number(100 * counts[i] / total)} % of the pairs {name}")
            for i in range(kept)
        ]  # fmt: skip
        texts += ["", *said, "", *([""] * beyond)]
    return {
        "type": "scatter", "mode": "lines", "x": x, "y": y, "hovertext": texts, "hoverinfo": "text",
        "line": {"shape": "hv", "width": 1.4, "color": colour}, "fill": "tozeroy",
        "fillcolor": _faint(colour), "name": name,
        "meta": {"per": snapshots.distance_edges.shape[2] + 1, "trail": False},
    }  # fmt: skip


def _faint(colour: str) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red}, {green}, {blue}, 0.3)"

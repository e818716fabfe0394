"""The figures of a page: the information plane, curves against the epoch, distances."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from skinfo.flow.snapshots import Snapshots
from skinfo.view.curves import PAIR_KINDS, Curves, layer_colours
from skinfo.view.report.figures import (
    GREY,
    Figure,
    checked,
    dashed_ceiling,
    depth_axis,
    drawn_places,
    epoch_axis,
    hover,
    layout,
    listed,
    made_by,
    marker,
    point_in_words,
    values_axis,
)
from skinfo.view.words import epoch_name, epoch_ranges, number

_PLANE_HEIGHT = 520
_HISTOGRAM_HEIGHT = 220
_CURVE_HEIGHT = 300
# How dense a band is, and all of them together where there are many.
_BAND, _BANDS = 0.35, 1.4
# Half of the place of a layer, across which its checkpoints are spread.
_SPREAD, _DASH = 0.2, 0.35
# Lines that are not layers, each with a dash of its own.
_LINES = (
    ("#1f2937", "solid"), ("#c2410c", "dash"), ("#1d4ed8", "dot"), ("#15803d", "dashdot"),
    ("#7e22ce", "longdash"),
)  # fmt: skip


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
        small=made_by(label, several=several),
        css_class="wide",
        footnote=" ".join(filter(None, map(_above, (information, label)))),
    )


def _above(curves: Curves) -> str:
    """A sentence about upper ends for which the axis would have to be far longer."""
    above = curves.above_axis()
    return f"Not drawn whole, {curves.quantity.title}: {above}." if above else ""


def _far_ceiling(curves: Curves) -> str:
    above = curves.ceiling_above_axis()
    return f"Not drawn, {curves.quantity.title}: {above}." if above else ""


def _range(curves: Curves) -> list[float]:
    """All that is ever shown, so that the axes stand still while the points move."""
    flat = curves.flat_ceiling()
    limit = np.nan if flat is None else flat
    shown = np.concatenate([*curves.value, *curves.lower, *curves.drawn_upper, [limit]])
    values = shown[np.isfinite(shown)]
    low, high = (values.min(), values.max()) if values.size else (0.0, 1.0)
    pad = max(0.05 * (high - low), 0.01 * abs(high)) or 0.5
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
        "hovertext": _words(information, label, k), "name": f"{information.layers[k]} before",
        "line": {"width": 1.2, "color": colour}, "marker": {"size": 5, "color": colour},
        "meta": {"layer": k, "per": 1, "trail": True},
    }  # fmt: skip


def _brackets(information: Curves, label: Curves, k: int, colour: str) -> dict[str, Any]:
    """Two crossed lines per epoch, from end to end of each bracket, wherever the value lies."""
    x, y, gap = information.value[k], label.value[k], np.full(len(information.epochs), np.nan)
    across = [information.lower[k], information.drawn_upper[k], gap, x, x, gap]
    up = [y, y, gap, label.lower[k], label.drawn_upper[k], gap]
    return {
        "type": "scatter", "mode": "lines", "hoverinfo": "skip",
        "x": listed(np.transpose(across).ravel()), "y": listed(np.transpose(up).ravel()),
        "line": {"width": 2, "color": colour}, "name": f"{information.layers[k]} brackets",
        "meta": {"layer": k, "per": 6, "trail": False},
    }  # fmt: skip


def _points(information: Curves, label: Curves, k: int, colour: str) -> dict[str, Any]:
    return {
        "type": "scatter", "mode": "markers", "hoverinfo": "text",
        "x": listed(information.value[k]), "y": listed(label.value[k]),
        "hovertext": _words(information, label, k), "name": information.layers[k],
        "marker": {"size": 13, "symbol": marker(k), "color": colour,
                   "line": {"width": 1.2, "color": "#111827"}},
        "meta": {"layer": k, "per": 1, "trail": False},
    }  # fmt: skip


def draw_curves(curves: Curves, *, several: bool) -> Figure:
    """Draw one quantity of every layer, its bracket as a band, its ceiling dashed.

    Fewer checkpoints than layers are drawn against the depth of the network, a line each.
    ``several`` says that the estimator must be named, for others measured the same quantity.
    """
    places = drawn_places(curves.epochs)
    by_depth = len(places) < len(curves.layers) or len(places) == 1
    colours = layer_colours(len(curves.layers))
    drawn = [k for k in range(len(colours)) if curves.measured[k].any()]
    across = np.tile(places, (len(colours), 1))
    if by_depth:
        spread = _SPREAD if len(places) > 1 else 0.0
        across = np.arange(len(colours))[:, None] + np.linspace(-spread, spread, len(places))
    traces = [_band(curves, k, across[k], colours[k], by_depth=by_depth) for k in drawn]
    if by_depth:
        traces += [_depth_line(curves, j, across[:, j]) for j in range(len(places))]
    traces += [_line(curves, k, across[k], colours[k], by_depth=by_depth) for k in drawn]
    near = curves.near_ceiling
    flat = None if np.isnan(near).all() else curves.flat_ceiling()
    shapes, annotations = [] if by_depth else [_epoch_mark(places)], []
    if flat is not None:
        shape, note = dashed_ceiling(flat, "ceiling")
        shapes.append(shape)
        annotations.append(note)
        # A shape alone does not make room for itself.
        traces.append({
            "x": [float(across[-1, -1])], "y": [flat], "mode": "markers", "type": "scatter",
            "marker": {"opacity": 0}, "hoverinfo": "skip",
        })  # fmt: skip
    else:
        limited = [k for k in range(len(colours)) if np.isfinite(near[k]).any()]
        traces += [_ceiling(curves, k, across[k], colours[k]) for k in limited]
    if curves.quantity.baseline is not None:
        shapes.append(dashed_ceiling(curves.quantity.baseline, "")[0])
    upward = values_axis(
        curves.value, curves.lower, curves.upper, title=curves.label,
        log=curves.quantity.unit_kind in ("count", "ratio"),
    )  # fmt: skip
    if curves.top is not None:
        upward |= {"type": "linear", "range": [None, curves.top]}
    laid_out = layout(
        _CURVE_HEIGHT, depth_axis(curves.layers) if by_depth else epoch_axis(curves.epochs),
        upward, shapes=shapes, annotations=annotations,
    )  # fmt: skip
    return Figure(
        description=f"{curves.label} against the {'layer' if by_depth else 'epoch'}",
        made=checked(traces, laid_out, marks=[] if by_depth else listed(places)),
        caption=curves.label,
        small=made_by(curves, several=several),
        footnote=" ".join(filter(None, [_not_drawn(curves), _above(curves), _far_ceiling(curves)])),
    )


def _depth_line(curves: Curves, j: int, depths: np.ndarray) -> dict[str, Any]:
    """A line through the layers of one checkpoint, the later the darker; the last is named."""
    n, name = len(curves.epochs), f"epoch {epoch_name(curves.epochs[j])}"
    texts = [""] * len(depths)
    measured = np.flatnonzero(np.isfinite(curves.value[:, j]))
    if n > 1 and j in (0, n - 1) and len(measured):
        texts[measured[-1]] = name
    return {
        "type": "scatter", "x": listed(depths), "y": listed(curves.value[:, j]),
        "mode": "lines+text" if any(texts) else "lines", "text": texts, "textposition": "top left",
        "textfont": {"size": 10, "color": GREY}, "opacity": 0.35 + 0.65 * (j + 1) / n,
        "line": {"width": 1 if n == 1 else 1.5, "color": GREY}, "hoverinfo": "skip",
        "name": f"{name} by depth",
    }  # fmt: skip


def _band(
    curves: Curves, k: int, across: np.ndarray, colour: str, *, by_depth: bool
) -> dict[str, Any]:
    """A bracket's area, a polygon for each stretch of epochs without a gap; a bar by depth."""
    upper = curves.drawn_upper[k]
    finite = np.isfinite(curves.lower[k]) & np.isfinite(upper)
    x: list[float | None] = []
    y: list[float | None] = []
    ends = np.arange(len(across)) if by_depth else np.flatnonzero(~finite)
    for stretch in np.split(np.arange(len(across)), ends):
        inside = stretch[finite[stretch]]
        if len(inside):
            way, back = listed(across[inside]), listed(across[inside[::-1]])
            x += [*way, *back, way[0], None]
            y += [
                *listed(curves.lower[k, inside]), *listed(upper[inside[::-1]]),
                float(curves.lower[k, inside[0]]), None,
            ]  # fmt: skip
    return {
        "type": "scatter", "x": x, "y": y, "mode": "lines", "fill": "toself", "hoverinfo": "skip",
        "line": {"width": max(2.0, 7.0 - len(across)) if by_depth else 0.8, "color": colour},
        "meta": {"layer": k},
        "opacity": _BAND if by_depth else min(_BAND, _BANDS / len(curves.layers)),
        "name": f"{curves.layers[k]} bracket",
    }  # fmt: skip


def _line(
    curves: Curves, k: int, across: np.ndarray, colour: str, *, by_depth: bool
) -> dict[str, Any]:
    texts = [
        hover(f"{curves.layers[k]}, epoch {epoch_name(epoch)}", *point_in_words(curves, k, j))
        if curves.measured[k, j]
        else ""
        for j, epoch in enumerate(curves.epochs)
    ]
    return {
        "type": "scatter", "x": listed(across), "y": listed(curves.value[k]),
        "mode": "markers" if by_depth else "lines+markers", "name": curves.layers[k],
        "hovertext": texts, "hoverinfo": "text", "line": {"width": 1.6, "color": colour},
        "meta": {"layer": k},
        "marker": {"size": 6, "symbol": marker(k), "color": colour,
                   "line": {"width": 0.6, "color": "#374151"}},
    }  # fmt: skip


def _ceiling(curves: Curves, k: int, across: np.ndarray, colour: str) -> dict[str, Any]:
    ceiling = curves.near_ceiling[k]
    if len(across) == 1:
        across, ceiling = across + np.array([-_DASH, _DASH]), np.repeat(ceiling, 2)
    return {
        "type": "scatter", "x": listed(across), "y": listed(ceiling), "mode": "lines",
        "line": {"width": 1, "color": colour, "dash": "dash"}, "hoverinfo": "skip",
        "name": f"{curves.layers[k]} ceiling", "meta": {"layer": k},
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
            "name": shown, "hovertext": texts, "hoverinfo": "text",
            "line": {"width": 1.6, "color": colour, "dash": dash},
            "marker": {"size": 4, "color": colour},
        })  # fmt: skip
        if np.isinf(values).any():
            where = epoch_ranges(epochs[np.isinf(values)], epochs.tolist())
            sentences.append(f"Not drawn, because infinite: {shown} {where}.")
    laid_out = layout(
        _CURVE_HEIGHT, epoch_axis(epochs), values_axis(*lines.values(), title=title),
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

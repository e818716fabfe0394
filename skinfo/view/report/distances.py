"""Histograms of distances within and between classes, a figure a layer."""

from __future__ import annotations

import html
from typing import Any

import numpy as np

from skinfo.flow.snapshots import Snapshots
from skinfo.view.report.figures import Figure, hover, layout, listed, to_json
from skinfo.view.report.wording import epoch_name, number
from skinfo.view.style import PAIR_KINDS

_HEIGHT = 220


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
        "" if there else f"not measured at epoch {epoch_name(float(epoch))}"
        for epoch, there in zip(snapshots.snapshot_epochs, measured, strict=True)
    ]
    made = layout(
        _HEIGHT,
        {"title": {"text": "Distance"}, "rangemode": "tozero", "nticks": 6},
        {"title": {"text": "Density"}, "rangemode": "tozero", "nticks": 5},
        title={"text": titles[-1], "font": {"size": 11}, "x": 0.5, "y": 0.96, "yanchor": "top"},
    )
    return Figure(
        description=f"Distances within and between classes, {snapshots.layers[k]}",
        caption=html.escape(snapshots.layers[k]),
        json=to_json(traces, made, titles=titles, group="snapshot"),
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

"""What the figures share: axes, markers, and what plotly draws them from."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from skinfo.errors import names_apart, needs_extra
from skinfo.noise.words import noise_in_words
from skinfo.quantities import split_notes
from skinfo.view.curves import Curves, is_log
from skinfo.view.words import bracket, epoch_name, number, short_name, with_error

#: Markers by layer, in plotly's names and as a letter of a legend.
MARKERS = (
    ("circle", "●"), ("square", "■"), ("diamond", "◆"), ("triangle-up", "▲"),
    ("triangle-down", "▼"), ("star", "★"),
)  # fmt: skip
GREY, FAINT = "#6b7280", "#e5e7eb"
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
# Keys of texts that plotly draws, and takes tags in for its own.
_TEXTS = ("text", "name", "ticktext")
# Beyond this ratio numbers above 0 are drawn in the logarithm.
_WIDE = 50.0


@dataclass(frozen=True)
class Figure:
    """A figure on the page."""

    #: What a screen reader says.
    description: str
    #: Data, layout and how they move, for the script of the page.
    made: dict[str, Any]
    #: Texts above it, the second in small letters.
    caption: str
    small: str = ""
    #: "wide", "" or "small".
    css_class: str = ""
    #: Text below it.
    footnote: str = ""
    #: The layer that all of it shows, if it shows one only.
    layer: int | None = None


def plotly_offline() -> Any:
    """Import plotly only where a report is made."""
    with needs_extra("A report", "report"):
        import plotly.graph_objects
        import plotly.offline
    return plotly


def marker(k: int) -> str:
    """Marker of a layer."""
    return MARKERS[k % len(MARKERS)][0]


def _seen(text: str) -> str:
    """Make plotly show a text as it is: it takes tags for its own."""
    return html.escape(text, quote=False)


def hover(*lines: str) -> str:
    """Join lines of a box that shows on hover."""
    return "<br>".join(_seen(line) for line in lines)


def _all_seen(part: Any, name: str = "") -> Any:
    """Escape every text that plotly draws; boxes on hover have been escaped line by line."""
    if isinstance(part, dict):
        return {key: _all_seen(inner, key) for key, inner in part.items()}
    if isinstance(part, list | tuple):
        return [_all_seen(inner, name) for inner in part]
    return _seen(part) if name in _TEXTS and isinstance(part, str) else part


def listed(values: np.ndarray) -> list[float | None]:
    """Numbers for JSON; NaN and infinite ones are gaps."""
    return [float(v) if np.isfinite(v) else None for v in values]


def _reaches_far(places: np.ndarray) -> bool:
    """Whether epochs are drawn in the logarithm: they start at 0 or above and reach far."""
    return bool(places[0] >= 0) and is_log(places[places > 0])


def drawn_places(epochs: np.ndarray, on: np.ndarray | None = None) -> np.ndarray:
    """Where epochs lie on their axis: as they are, or log10(1 + epoch) where 0 is one of them.

    ``on`` holds the epochs of the axis, if these are others.

    Examples
    --------
    >>> drawn_places(np.array([0.0, 1.0, 99.0])).round(3).tolist()
    [0.0, 0.301, 2.0]
    >>> drawn_places(np.array([1.0, 100.0])).tolist()
    [1.0, 100.0]
    """
    axis = epochs if on is None else on
    return np.log10(1 + epochs) if _reaches_far(axis) and axis[0] == 0 else epochs


def epoch_axis(epochs: np.ndarray) -> dict[str, Any]:
    """The axis of epochs; a logarithmic one shows epoch 0 as well."""
    axis: dict[str, Any] = {"title": {"text": "Epoch"}}
    at = drawn_places(epochs)
    if len(epochs) == 1:
        return axis | {"tickvals": at.tolist(), "ticktext": [epoch_name(epochs[0])],
                       "range": [float(at[0]) - 1, float(at[0]) + 1]}  # fmt: skip
    if _reaches_far(epochs):
        decades = 10.0 ** np.arange(np.floor(np.log10(epochs[-1])) + 1)
        if epochs[0] == 0:
            ticks = np.array([0.0, *decades])
            axis |= {"tickvals": np.log10(1 + ticks).tolist(),
                     "ticktext": [epoch_name(tick) for tick in ticks]}  # fmt: skip
            low, high = at[0], at[-1]
        else:
            axis |= {"type": "log", "dtick": 1 if epochs[-1] > 50 * epochs[0] else "D2"}
            axis |= {"exponentformat": "none"} if epochs[-1] < 1e6 else {}
            low, high = np.log10(at[0]), np.log10(at[-1])
    else:
        low, high = at[0], at[-1]
    pad = 0.03 * (high - low)
    return axis | {"range": [float(low - pad), float(high + pad)]}


def depth_axis(layers: Sequence[str]) -> dict[str, Any]:
    """The axis of layers, in network order; what all names share is in its title."""
    names, pattern = names_apart(layers)
    return {"title": {"text": f"Layer {pattern}".strip()}, "tickvals": list(range(len(layers))),
            "ticktext": [short_name(name, 18) for name in names],
            "range": [-0.5, len(layers) - 0.5]}  # fmt: skip


def values_axis(*arrays: np.ndarray, title: str, log: bool = True) -> dict[str, Any]:
    """The axis of values, logarithmic (if it may be) where they are above 0 and lie far apart."""
    values = np.concatenate([array[np.isfinite(array)] for array in arrays])
    log = log and values.size > 0 and values.min() > 0 and values.max() > _WIDE * values.min()
    axis: dict[str, Any] = {"title": {"text": title}}
    return axis | {"type": "log", "dtick": 1} if log else axis


def layout(
    height: int, xaxis: dict[str, Any], yaxis: dict[str, Any], **more: Any
) -> dict[str, Any]:
    """A layout in the style of the page."""
    common: dict[str, Any] = {
        "gridcolor": FAINT, "linecolor": "#9ca3af", "ticks": "outside", "tickcolor": "#9ca3af",
        "zeroline": False, "automargin": True,
    }  # fmt: skip
    small: dict[str, Any] = {"font": {"size": 12}, "standoff": 8}
    axes = [common | axis for axis in (xaxis, yaxis)]
    for axis in axes:
        axis["title"] = small | axis.get("title", {})
    base: dict[str, Any] = {
        "template": {}, "height": height, "showlegend": False, "hovermode": "closest",
        "font": {"family": _FONT, "size": 12, "color": "#1f2937"},
        "paper_bgcolor": "#ffffff", "plot_bgcolor": "#ffffff",
        "margin": {"l": 56, "r": 16, "t": 12, "b": 44},
        "hoverlabel": {"align": "left", "bgcolor": "#ffffff", "font": {"size": 12}},
        "xaxis": axes[0], "yaxis": axes[1],
    }  # fmt: skip
    return base | more


def checked(traces: list[dict[str, Any]], laid_out: dict[str, Any], **moves: Any) -> dict[str, Any]:
    """Data, layout and movements as plain values; plotly checks every name in them."""
    graph_objects = plotly_offline().graph_objects
    data, layout = _all_seen(traces), _all_seen(laid_out)
    made = graph_objects.Figure(data=data, layout=layout).to_plotly_json()
    return {"data": made["data"], "layout": made["layout"], **moves}


def dashed_ceiling(
    value: float, name: str, *, upright: bool = False, left: bool = False
) -> tuple[dict[str, Any], dict[str, Any]]:
    """A dashed line across a figure and its name: a shape and an annotation."""
    along, over = ("x", "y") if not upright else ("y", "x")
    shape = {
        "type": "line", f"{along}ref": "paper", f"{over}ref": over, f"{along}0": 0, f"{along}1": 1,
        f"{over}0": value, f"{over}1": value, "layer": "below",
        "line": {"color": GREY, "width": 1, "dash": "dash"},
    }  # fmt: skip
    text = f"{name} {number(value)}"
    note = {"text": text, "showarrow": False, "font": {"size": 11, "color": GREY}}
    if upright:
        note |= {"x": value, "y": 0, "xref": "x", "yref": "paper", "textangle": -90,
                 "xanchor": "right", "yanchor": "bottom"}  # fmt: skip
    else:
        note |= {"x": 0 if left else 1, "y": value, "xref": "paper", "yref": "y",
                 "xanchor": "left" if left else "right", "yanchor": "bottom"}  # fmt: skip
    return shape, note


def point_in_words(curves: Curves, k: int, j: int) -> list[str]:
    """Say all that is known of one point: value and error, bracket, ceiling, notes."""
    unit = f" {curves.unit}" if curves.unit else ""
    value = with_error(curves.value[k, j], curves.stderr[k, j])
    lines = [f"{curves.quantity.title} {value}{unit}"]
    if curves.noises[k]:
        lines.append(noise_in_words([curves.noises[k]]))
    if of_pattern := curves.pattern_in_words(k, j):
        lines.append(of_pattern)
    if between := bracket(curves.lower[k, j], curves.upper[k, j]):
        lines.append(f"bracket {between}")
    if not np.isnan(limit := curves.ceiling[k, j]):
        lines.append(f"ceiling {number(limit) if np.isfinite(limit) else 'none'}")
    return [*lines, *(f"⚑ {note}" for note in split_notes(curves.notes[k, j]))]


def made_by(curves: Curves, *, several: bool) -> str:
    """The estimator, where others measured the same, and the noise that it measured with."""
    words = [curves.estimator if several else "", noise_in_words(curves.noises)]
    return ", ".join(filter(None, words))

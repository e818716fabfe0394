"""What each layer knows of inputs and classes at the last snapshot: sentences and figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from skinfo.flow.snapshots import Snapshots
from skinfo.view.curves import BLUE, RED
from skinfo.view.report.figures import Figure, checked, hover, layout, listed
from skinfo.view.words import bracket, epoch_name, short_name, with_error

# Inputs of a layer that are drawn, spread evenly over the order, and those that are named.
_MOST_DRAWN, _NAMED = 1000, 3
# Classes that are written in the cells, and beside them.
_MOST_WRITTEN, _MOST_NAMED = 12, 20
_HEIGHT, _HALF = 300, 0.4


@dataclass(frozen=True)
class LayerFacts:
    """A layer in words, and its figures."""

    name: str
    sentences: list[str]
    figures: list[Figure]


def describe_layers(
    snapshots: Snapshots, flow: pd.DataFrame, layers: tuple[str, ...]
) -> list[LayerFacts]:
    """Describe the layers of a table as its snapshots know them; none without a record."""
    if not snapshots.pointwise.size:
        return []
    return [
        _describe(snapshots, snapshots.layers.index(layer), flow, layers.index(layer))
        for layer in layers
        if layer in snapshots.layers
    ]


def _describe(snapshots: Snapshots, k: int, flow: pd.DataFrame, place: int) -> LayerFacts:
    name, epoch = snapshots.layers[k], epoch_name(float(snapshots.snapshot_epochs[-1]))
    if not np.isfinite(snapshots.pointwise[k, -1]).any():
        why = f"Not measured at epoch {epoch}, or of other inputs than the first layer."
        return LayerFacts(name, [why], [])
    sentences, figures = [_of_inputs(snapshots, k)], [_draw_inputs(snapshots, k, place)]
    if len(snapshots.classes) > 1:
        sentences += [_of_classes(snapshots, k), *_of_confusion(snapshots, k)]
        figures.append(_draw_confusion(snapshots, k, place))
    return LayerFacts(name, [*sentences, *_of_error(snapshots, name, flow)], figures)


def _of_inputs(snapshots: Snapshots, k: int) -> str:
    values, stderr = snapshots.pointwise[k, -1], snapshots.pointwise_stderr[k, -1]
    least = ", ".join(
        f"{_input(snapshots, i)} ({with_error(values[i], stderr[i])})"
        for i in np.argsort(values)[:_NAMED]
    )
    error = float(np.sqrt(np.nansum(stderr**2))) / len(values)
    mean = with_error(float(np.nanmean(values)), error)
    return f"It knows {mean} nats of an input on average, and least of {least}."


def _input(snapshots: Snapshots, i: int) -> str:
    name = f"input {snapshots.inputs[i]}"
    if len(snapshots.classes) < 2:
        return name
    return f"{name} of class {short_name(snapshots.classes[snapshots.input_classes[i]])}"


def _of_classes(snapshots: Snapshots, k: int) -> str:
    values = snapshots.class_conditional[k, -1]
    stderr = snapshots.class_conditional_stderr[k, -1]

    def of(c: int) -> str:
        name = short_name(snapshots.classes[c])
        return f"class {name} ({with_error(values[c], stderr[c])} nats)"

    least, most = of(int(np.nanargmin(values))), of(int(np.nanargmax(values)))
    return f"Beyond the label it tells most about inputs of {most}, and least of {least}."


def _of_confusion(snapshots: Snapshots, k: int) -> list[str]:
    shares = snapshots.confusion[k, -1].copy()
    np.fill_diagonal(shares, -np.inf)
    c, other = np.unravel_index(int(np.argmax(shares)), shares.shape)
    share = with_error(100 * shares[c, other], 100 * snapshots.confusion_stderr[k, -1][c, other])
    taken, for_class = (short_name(snapshots.classes[i]) for i in (c, other))
    return [f"Inputs of class {taken} have {share} % of their posterior probability on class "
            f"{for_class}, the largest such share."]  # fmt: skip


def _of_error(snapshots: Snapshots, layer: str, flow: pd.DataFrame) -> list[str]:
    rows = flow[flow["quantity"].eq("bayes_error") & flow["layer"].eq(layer)]
    rows = rows[rows["epoch"].eq(snapshots.snapshot_epochs[-1]) & rows["value"].notna()]
    sentences = []
    numbers = rows[["value", "stderr", "lower", "upper"]].to_numpy(dtype=np.float64)
    for value, stderr, lower, upper in 100 * numbers:
        between = bracket(lower, upper)
        error = with_error(value, stderr)
        between = f" (bracket {between} %)" if between else ""
        sentences.append(f"The best classifier that sees it errs with {error} %{between}.")
    return sentences


def _draw_inputs(snapshots: Snapshots, k: int, place: int) -> Figure:
    values, stderr = snapshots.pointwise[k, -1], snapshots.pointwise_stderr[k, -1]
    n_classes = max(1, len(snapshots.classes))
    codes = snapshots.input_classes if len(snapshots.classes) else np.zeros(len(values))
    traces = []
    for label in range(n_classes):
        order = np.flatnonzero((codes == label) & np.isfinite(values))
        order = order[np.argsort(values[order], kind="stable")]
        across = label + _HALF * (2 * (np.arange(len(order)) + 0.5) / max(len(order), 1) - 1)
        drawn = _spread(len(order), max(_NAMED, _MOST_DRAWN // n_classes))
        chosen = order[drawn]
        texts = [
            hover(_input(snapshots, i), f"i(x) {with_error(values[i], stderr[i])} nats")
            for i in chosen
        ]
        traces.append({
            "type": "scatter", "mode": "markers", "x": listed(across[drawn]),
            "y": listed(values[chosen]), "hovertext": texts, "hoverinfo": "text",
            "name": short_name(snapshots.classes[label]) if n_classes > 1 else "inputs",
            "marker": {"size": 4, "color": [RED if i < _NAMED else BLUE for i in drawn.tolist()]},
            "error_y": {"type": "data", "array": listed(1.96 * stderr[chosen]), "width": 0,
                        "thickness": 0.7, "color": "rgba(31, 111, 139, 0.4)"},
        })  # fmt: skip
    named = n_classes > 1
    ticks = list(range(n_classes)) if n_classes <= _MOST_NAMED else []
    names = [short_name(snapshots.classes[c], 12) if named else "" for c in ticks]
    laid_out = layout(
        _HEIGHT,
        {"title": {"text": "Class" if named else ""}, "tickvals": ticks, "ticktext": names,
         "range": [-0.6, n_classes - 0.4]},
        {"title": {"text": "i(x) [nats]"}},
    )  # fmt: skip
    return Figure(
        description=f"What {snapshots.layers[k]} knows of each input, by class",
        made=checked(traces, laid_out),
        caption="Inputs by class, least to best known",
        small="95 % intervals",
        layer=place,
    )


def _spread(n: int, most: int) -> np.ndarray:
    """Places in an order of n: the first few, and as many as are drawn, evenly."""
    if n <= most:
        return np.arange(n)
    return np.unique([*range(_NAMED), *np.linspace(0, n - 1, most).astype(int)])


def _draw_confusion(snapshots: Snapshots, k: int, place: int) -> Figure:
    shares, stderr = 100 * snapshots.confusion[k, -1], 100 * snapshots.confusion_stderr[k, -1]
    names = [short_name(name, 12) for name in snapshots.classes]
    n = len(names)
    texts = [
        [
            hover(
                f"of class {names[i]} to {names[j]}",
                f"{with_error(shares[i, j], stderr[i, j])} % of the probability",
            )
            for j in range(n)
        ]
        for i in range(n)
    ]
    trace: dict[str, Any] = {
        "type": "heatmap", "z": [listed(row) for row in np.sqrt(shares)], "zmin": 0, "zmax": 10,
        "colorscale": "Blues", "reversescale": False, "showscale": False, "hovertext": texts,
        "hoverinfo": "text", "name": "confusion", "xgap": 1, "ygap": 1,
    }  # fmt: skip
    if n <= _MOST_WRITTEN:
        written = [[f"{v:.0f}" if v >= 9.95 else f"{v:.1f}" for v in row] for row in shares]
        trace |= {"text": written, "texttemplate": "%{text}"}
    ticks = list(range(n)) if n <= _MOST_NAMED else []
    named = {"tickvals": ticks, "ticktext": names if ticks else [], "showgrid": False}
    laid_out = layout(
        _HEIGHT,
        {"title": {"text": "Taken for class c′"}, **named},
        {"title": {"text": "Class c"}, "autorange": "reversed", **named},
    )
    return Figure(
        description=f"Confusion of classes in {snapshots.layers[k]}",
        made=checked([trace], laid_out),
        caption="Confusion E[P(c′|t) | c], per cent",
        small="colours follow the square root",
        layer=place,
    )

"""The sections of the page, each a function from what is known to HTML."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from skinfo.view.report.charts import NO_LAYER, Axis, Chart
from skinfo.view.report.figures import MARKERS, Figure, layer_colours
from skinfo.view.report.flags import Flag
from skinfo.view.report.sigmas import OWN_SIGMA, sigma_in_words
from skinfo.view.report.wording import bracket, epoch_name, notes_of, number, with_error
from skinfo.view.style import PAIR_KINDS

# A sentence names so many layers.
_MOST_NAMED = 6
HOW_TO_READ = (
    ("Unit", "Information is in nats or in bits, as written beside it (1 nat = 1.443 bits). T is "
     "what a layer hands on, its noise included; X is the input, Y the label."),
    ("±", "The standard error of the computation. A number without it is exact for the rows "
     "given."),
    ("Bracket", "Two ends between which the true value lies; they include their own 95 % errors. "
     "In the curves it is the band, in the plane the crossed lines. A change that is smaller than "
     "the brackets is not established."),
    ("Ceiling", "What no layer can exceed: the entropy of the inputs, or what a Gaussian channel "
     "with the same covariance carries; for the label, H(Y). Drawn dashed."),
    ("Saturated", "Within 1 % of the entropy of the inputs: all inputs can be told apart at this "
     "noise, and the number says no more than that."),
    ("More or less", "A larger value is more information, not a better network, and it grows as "
     "sigma shrinks: compare values of one sigma only."),
    ("Binned", "The entropy of binned activations, H(Bin(T)), is not the information of a "
     "deterministic layer: it shows how inputs cluster at the scale of the bins."),
    ("AUC", "The probability that two inputs of different classes lie farther apart than two of "
     "one class: 0.5 without clustering, 1 where it is perfect."),
)  # fmt: skip


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes
    ----------
    name : str
        Where a link finds it.
    title : str
        Its heading.
    html : str
        What follows.
    """

    name: str
    title: str
    html: str


def figure_html(figure: Figure) -> str:
    """A figure's frame; the page's script draws into it."""
    layer = "" if figure.layer is None else f' data-layer="{figure.layer}"'
    footnote = f'<p class="footnote">{figure.footnote}</p>' if figure.footnote else ""
    return (
        f'<figure class="figure {figure.css_class}"{layer}>'
        f"<figcaption>{figure.caption}</figcaption>"
        f'<div class="plot" role="img" aria-label="{escape(figure.description)}"></div>'
        f'<script type="application/json">{figure.json}</script>{footnote}</figure>'
    )


def grid_html(figures: Sequence[Figure]) -> str:
    """Figures side by side, as many as there is room for."""
    return f'<div class="grid">{"".join(map(figure_html, figures))}</div>'


def warnings_html(flags: Sequence[Flag]) -> str:
    """What a reader must know before any number."""
    severe = [flag for flag in flags if flag.severe]
    if not severe:
        return ""
    items = "".join(
        f"<li><strong>{escape(flag.note)}</strong> in {_and(flag.layers)}: "
        f'{escape(flag.meaning)} ({flag.rows} rows). <a href="#notes">Where</a></li>'
        for flag in severe
    )
    return (
        '<div class="warning" role="note"><p>Some numbers here must not be used as they are:</p>'
        f"<ul>{items}</ul></div>"
    )


def _and(names: Sequence[str]) -> str:
    named = [name for name in names if name != NO_LAYER]
    if not named:
        return "the curve"
    others = len(named) - _MOST_NAMED
    more = f" and {others} more layers" if others > 0 else ""
    return escape(", ".join(named[:_MOST_NAMED])) + more


def toolbar_html(layers: tuple[str, ...], axis: Axis) -> str:
    """The epoch and the layers: a slider and a legend for all figures."""
    last = len(axis.places) - 1
    names = escape(json.dumps([epoch_name(place) for place in axis.places]))
    slider = (
        f'<div class="epochs"><label for="epoch">Epoch</label>'
        f'<button type="button" id="play" aria-label="Play through the epochs" '
        f'title="Play">▶</button>'
        f'<input type="range" id="epoch" min="0" max="{last}" value="{last}" step="1" '
        f'data-names="{names}"{" disabled" if last == 0 else ""}>'
        f'<output for="epoch" id="epoch-now">{epoch_name(axis.places[-1])}</output></div>'
    )
    chips = "".join(
        f'<button type="button" class="chip" aria-pressed="true" data-layer="{k}">'
        f'<span class="mark" style="color:{colour}" aria-hidden="true">'
        f"{MARKERS[k % len(MARKERS)][1]}</span>{escape(layer)}</button>"
        for k, (layer, colour) in enumerate(zip(layers, layer_colours(len(layers)), strict=True))
    )
    return (
        f'<div class="toolbar">{slider}<div class="layers" role="group" '
        f'aria-label="Layers shown" title="Click hides a layer, a double click shows it alone">'
        f"{chips}</div></div>"
    )


def plane_section(figures: Sequence[Figure], missing: str) -> Section:
    """The information plane, or why there is none."""
    if not figures:
        return Section("plane", "Information plane", f'<p class="absent">{escape(missing)}</p>')
    first, *others = figures
    more = "".join(
        f"<details><summary>Another estimator: {figure.caption}</summary>{figure_html(figure)}"
        "</details>"
        for figure in others
    )
    hint = (
        '<p class="hint">The slider above moves through training. Large points: that epoch, with '
        "their brackets as crosses; faint: the way there.</p>"
    )
    return Section("plane", "Information plane", hint + figure_html(first) + more)


def curves_section(
    main: Sequence[Figure], others: Sequence[Figure], missing: str, *, title: str
) -> Section:
    """Curves: those looked at first, then the others folded away."""
    parts = [grid_html(main)] if main else []
    if missing:
        parts.append(f'<p class="absent">{escape(missing)}</p>')
    if others:
        parts.append(
            f"<details><summary>{len(others)} more quantities</summary>{grid_html(others)}"
            "</details>"
        )
    return Section("curves", title, "".join(parts))


def distances_section(
    figures: Sequence[Figure], snapshots: Sequence[float], missing: str
) -> Section:
    """Histograms of distances with a choice of epochs, or why there are none."""
    title = "Distances within and between classes"
    if not figures:
        return Section("distances", title, f'<p class="absent">{escape(missing)}</p>')
    last = len(snapshots) - 1
    choices = "".join(
        f'<label><input type="radio" name="snapshot" value="{j}"{" checked" if j == last else ""}>'
        f"{epoch_name(float(epoch))}</label>"
        for j, epoch in enumerate(snapshots)
    )
    legend = "".join(
        f'<span class="key"><i style="background:{colour}"></i>{name}</span>'
        for _, name, colour in PAIR_KINDS
    )
    return Section(
        "distances", title,
        f'<fieldset class="snapshots"><legend>Epoch</legend>{choices}{legend}</fieldset>'
        + grid_html(figures).replace('class="grid"', 'class="grid small"'),
    )  # fmt: skip


def summary_section(charts: Sequence[Chart], layers: tuple[str, ...], axis: Axis) -> Section:
    """The last checkpoint: a line a layer, and every number folded away."""
    j = len(axis.places) - 1
    main = [chart for chart in charts if chart.main] or list(charts[:4])
    head = "".join(f"<th>{_heading(chart, j)}</th>" for chart in main)
    body = "".join(
        f'<tr><th scope="row"><span class="name">{escape(layer)}</span></th>'
        + "".join(f"<td>{_cell(chart, k, j)}</td>" for chart in main)
        + "</tr>"
        for k, layer in enumerate(layers)
    )
    table = (
        f'<table class="summary"><thead><tr><th>Layer</th>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table>"
    )
    every = (
        f"<details><summary>Every number of {axis.name(j)}</summary>"
        f'<div class="scroll">{_every_number(charts, [j])}</div></details>'
    )
    return Section(
        "summary", f"Last checkpoint: {axis.name(j)}", f'<div class="scroll">{table}</div>{every}'
    )


def numbers_section(charts: Sequence[Chart], axis: Axis) -> Section:
    """Every number of a curve."""
    rows = _every_number(charts, range(len(axis.places)), where=axis)
    return Section("summary", "The numbers", f'<div class="scroll">{rows}</div>')


def _heading(chart: Chart, j: int) -> str:
    below = [escape(chart.estimator), *([escape(chart.unit)] if chart.unit else [])]
    if noise := sigma_in_words(chart.sigmas):
        below.append(escape(noise))
    flat = chart.flat_ceiling(j)
    if flat is not None:
        below.append(f"ceiling {number(flat)}")
    return f"{escape(chart.title)}<small>{' · '.join(below)}</small>"


def _cell(chart: Chart, k: int, j: int) -> str:
    if not chart.measured[k, j]:
        return "<small>not measured</small>"
    text = escape(with_error(chart.value[k, j], chart.stderr[k, j]))
    small = []
    if between := bracket(chart.lower[k, j], chart.upper[k, j]):
        small.append(between)
    if len(set(chart.sigmas)) > 1 and chart.sigmas[k]:
        small.append(f"σ = {chart.sigmas[k]:g}")
    if chart.flat_ceiling(j) is None and np.isfinite(chart.ceiling[k, j]):
        small.append(f"ceiling {number(chart.ceiling[k, j])}")
    flags = [f'<em class="flag">{escape(note)}</em>' for note, _ in notes_of(chart.notes[k, j])]
    below = "".join(f"<small>{line}</small>" for line in [*map(escape, small), *flags])
    return text + below


def _every_number(
    charts: Sequence[Chart], at: Sequence[int] | range, where: Axis | None = None
) -> str:
    first = ["Layer"] if where is None else [where.word]
    names = [*first, "Estimator", "Quantity", "Value", "Standard error", "Bracket", "Ceiling",
             "Unit", "Notes"]  # fmt: skip
    rows = []
    for k, j in ((k, j) for k in range(len(charts[0].layers) if charts else 0) for j in at):
        for chart in charts:
            if not chart.measured[k, j]:
                continue
            ceiling = chart.ceiling[k, j]
            cells = [
                chart.layers[k] if where is None else where.name(j).partition(" ")[2],
                chart.estimator,
                chart.title,
                number(chart.value[k, j]),
                _error_in_words(chart.stderr[k, j], chart.notes[k, j]),
                bracket(chart.lower[k, j], chart.upper[k, j]),
                "" if np.isnan(ceiling) else number(ceiling),
                chart.unit,
                ", ".join(note for note, _ in notes_of(chart.notes[k, j])),
            ]
            rows.append("".join(f"<td>{escape(cell)}</td>" for cell in cells))
    head = "".join(f"<th>{name}</th>" for name in names)
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return f'<table class="every"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def _error_in_words(stderr: float, notes: str) -> str:
    if stderr:
        return number(stderr)
    return "unknown" if "one noise draw" in notes else "exact"


def notes_section(flags: Sequence[Flag]) -> Section:
    """Every note with its meaning and where it stands."""
    if not flags:
        return Section("notes", "Notes", "<p>No number of this table has a note.</p>")
    items = []
    for flag in flags:
        places = "".join(f"<li>{escape(place)}</li>" for place in flag.places)
        said = "".join(f"<li><code>{escape(text)}</code></li>" for text in flag.said)
        severe = ' class="severe"' if flag.severe else ""
        items.append(
            f"<dt{severe}>{escape(flag.note)}</dt>"
            f"<dd>{escape(flag.meaning)}.<ul>{places}{said}</ul></dd>"
        )
    return Section("notes", "Notes", f'<dl class="notes">{"".join(items)}</dl>')


def settings_section(settings: Mapping[Any, Any], written_by: Mapping[str, str]) -> Section:
    """What produced the table, and what produced the page."""
    parts = []
    if settings:
        parts.append(_nested(_in_words(settings)))
    else:
        parts.append('<p class="absent">The table does not say how it was made.</p>')
    by = ", ".join(f"{escape(name)} {escape(version)}" for name, version in written_by.items())
    parts.append(f"<p>This page: {by}.</p>")
    return Section("settings", "Settings and versions", "".join(parts))


def _in_words(settings: Mapping[Any, Any]) -> dict[Any, Any]:
    """Settings without what says nothing, and with what stands for each layer's own sigma."""
    shown = {name: value for name, value in settings.items() if name != "errors" or value}
    estimators = shown.get("estimators")
    if isinstance(estimators, Mapping):
        shown["estimators"] = {name: _own_sigma(known) for name, known in estimators.items()}
    return shown


def _own_sigma(described: Any) -> Any:
    if isinstance(described, list | tuple):
        return [_own_sigma(inner) for inner in described]
    if not isinstance(described, Mapping):
        return described
    told = {name: _own_sigma(value) for name, value in described.items() if name == "steps"}
    own = {"sigma": OWN_SIGMA} if described.get("sigma", "") is None else {}
    return {**described, **told, **own}


def _nested(value: Any) -> str:
    """Settings as nested lists, every text escaped."""
    if isinstance(value, Mapping) and value:
        rows = "".join(
            f"<dt>{escape(str(name))}</dt><dd>{_nested(inner)}</dd>"
            for name, inner in value.items()
        )
        return f'<dl class="settings">{rows}</dl>'
    if isinstance(value, list | tuple) and any(isinstance(v, Mapping | list) for v in value):
        return "".join(f"<div>{_nested(inner)}</div>" for inner in value)
    if isinstance(value, str):
        return escape(value)
    if value is None:
        return "none"
    return escape(json.dumps(value, ensure_ascii=False, default=str))


def reading_section() -> Section:
    """How to read the page."""
    items = "".join(f"<dt>{term}</dt><dd>{text}</dd>" for term, text in HOW_TO_READ)
    return Section("reading", "How to read this page", f"<dl>{items}</dl>")

"""From a table to a page, and to a file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from skinfo._files import write_atomically
from skinfo.errors import name_some, needs_extra
from skinfo.flow.snapshots import Snapshots
from skinfo.flow.tables import check_output, checked_table, is_curve, read_table
from skinfo.noise.words import noise_in_words
from skinfo.quantities import describe_quantity, split_notes
from skinfo.view.curves import PAIR_KINDS, PLANES, Curves, layer_colours, layers_in_order
from skinfo.view.report.drawing import draw_curves, draw_distances, draw_plane, draw_recorded
from skinfo.view.report.figures import MARKERS, Figure, plotly_offline
from skinfo.view.report.remembered import describe_layers
from skinfo.view.words import (
    bracket,
    epoch_name,
    flags_of,
    number,
    with_error,
)

# More main quantities than this are folded away with the others.
_MOST_MAIN = 12
# A sentence names so many layers.
_MOST_NAMED = 6


def write_report(
    table: pd.DataFrame | str | Path,
    path: str | Path,
    *,
    snapshots: Snapshots | None = None,
    title: str | None = None,
    force: bool = False,
) -> int:
    """Write a flow table as one HTML file that needs no network.

    The file holds the information plane with a slider over epochs, curves with brackets, histograms
    of distances, notes in words, the numbers of the last checkpoint, and what produced them. What
    the table does not hold is replaced by a sentence that says so.

    Parameters
    ----------
    table : DataFrame, str or Path
        What :func:`skinfo.information_flow` returned, or a file that ``skinfo analyze`` wrote: then
        the .npz beside it is read as well.
    path : str or Path
        The file to write; it appears whole or not at all.
    snapshots : Snapshots, optional
        Losses and distances, for a table that is no file; see
        :func:`skinfo.flow.collect_snapshots`.
    title : str, optional
        Heading; by default the name of the table's file.
    force : bool, default=False
        Whether a file of that name may be replaced.

    Returns
    -------
    int
        Size of the file in bytes; plotly.js is nearly 5 MB of it.

    Raises
    ------
    ValueError
        If the table lacks a column or holds a number twice (the message names the file, the column
        or row), or the file exists already.
    MissingExtraError
        Without plotly.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from skinfo import BinningMIEstimator, information_flow, open_run
    >>> run = open_run({(1, "hidden"): np.array([[-1.0], [1.0]])})
    >>> flow = information_flow(BinningMIEstimator(bin_width=0.5), run, progress=False)
    >>> folder = Path(tempfile.mkdtemp())
    >>> write_report(flow, folder / "report.html") > 10**6
    True
    """
    path = Path(path)
    check_output(path, force=force)
    if isinstance(table, str | Path):
        file = Path(table)
        plotly_offline()
        read, beside = read_table(file)
        title = title or f"Information flow: {file.name}"
        page = make_report(read, snapshots or beside, title=title, source=str(file))
    else:
        page = make_report(table, snapshots, title=title)
    content = page.encode("utf-8", errors="backslashreplace")
    with write_atomically(path) as opened:
        opened.write(content)
    return len(content)


def make_report(
    table: pd.DataFrame,
    snapshots: Snapshots | None = None,
    *,
    title: str | None = None,
    source: str = "The table",
) -> str:
    """Make the page of :func:`write_report` as a text; ``source`` names the table in errors."""
    from skinfo import __version__

    plotly = plotly_offline()
    if is_curve(table):
        raise ValueError(
            f"{source} holds curves against sigma, and a report is made of a flow table: draw the "
            "curves with skinfo plot, or measure the run for a report with skinfo analyze without "
            "--sigmas."
        )
    flow = checked_table(table, source)
    flow.attrs = table.attrs | (snapshots.settings if snapshots is not None else {})
    layers = layers_in_order(flow, snapshots.layers if snapshots is not None else ())
    epochs = np.unique(flow["epoch"])
    every = list(_all_curves(flow, layers, epochs))
    main = [curves for curves in every if curves.quantity.main] or every[:4]
    flags = flags_of(flow, layers)
    recorded = []
    if snapshots is not None and snapshots.losses:
        recorded = draw_recorded(snapshots.losses, snapshots.epochs.astype(float), epochs)
    colours = zip(layers, layer_colours(len(layers)), strict=True)
    page = _page_template().render(
        title=title or "Information flow",
        subtitle=_subtitle(flow, layers, epochs),
        severe=[flag for flag in flags if flag.severe],
        flags=flags,
        epochs=[epoch_name(epoch) for epoch in epochs],
        layers=[
            {"name": name, "colour": colour, "mark": MARKERS[k % len(MARKERS)][1]}
            for k, (name, colour) in enumerate(colours)
        ],
        planes=_planes(every),
        not_measured=[name for name in PLANES[0] if name not in set(flow["quantity"])],
        curves=_figures(every, main[:_MOST_MAIN]) + recorded,
        other_curves=_figures(every, [other for other in every if other not in main[:_MOST_MAIN]]),
        snapshots=snapshots,
        distances=draw_distances(snapshots, layers) if snapshots and snapshots.within.any() else [],
        pair_kinds=PAIR_KINDS,
        remembered=describe_layers(snapshots, flow, layers) if snapshots is not None else [],
        summary_head=[_heading(curves) for curves in main],
        summary=[
            (layer, [_cell(curves, k) for curves in main]) for k, layer in enumerate(layers)
        ],
        every_number=[
            _numbers(curves, k)
            for k in range(len(layers)) for curves in every if curves.measured[k, -1]
        ],
        settings=_in_words(flow.attrs),
        written_by=f"skinfo {__version__}, plotly {plotly.__version__}",
        sentences={curves.quantity.title: curves.quantity.sentence for curves in every},
        plotly=plotly.offline.get_plotlyjs(),
    )  # fmt: skip
    return str(page)


@cache
def _page_template() -> Any:
    with needs_extra("A report", "report"):
        from jinja2 import Environment, PackageLoader, StrictUndefined
    # With autoescape no name of a user becomes code; tojson escapes what could end a script.
    environment = Environment(
        loader=PackageLoader("skinfo.view", "report"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False}
    environment.filters |= {
        "plain": lambda value: json.dumps(value, ensure_ascii=False, default=str),
        "epoch_name": epoch_name,
        "first_layers": lambda names: name_some(names, _MOST_NAMED),
    }
    return environment.get_template("template.html")


def _all_curves(
    flow: pd.DataFrame, layers: tuple[str, ...], epochs: np.ndarray
) -> Iterable[Curves]:
    """Every quantity of every estimator; ceilings go with what they limit."""
    names = dict.fromkeys(flow["quantity"])
    ceilings = {describe_quantity(name, flow).ceiling for name in names}
    ceilings |= {"ceiling", "label_ceiling", "binned_ceiling"}
    for estimator, quantity in dict.fromkeys(zip(flow["estimator"], flow["quantity"], strict=True)):
        if quantity and quantity not in ceilings:
            curves = Curves.of(flow, estimator, quantity, layers=layers, epochs=epochs)
            if curves is not None:
                yield curves


def _subtitle(flow: pd.DataFrame, layers: tuple[str, ...], epochs: np.ndarray) -> str:
    def count(n: int, word: str) -> str:
        return f"{n} {word}{'' if n == 1 else 's'}"

    first, last = epoch_name(epochs[0]), epoch_name(epochs[-1])
    span = f"epochs {first} to {last}" if len(epochs) > 1 else f"epoch {first}"
    names = list(dict.fromkeys(flow["estimator"]))
    return (
        f"{count(len(layers), 'layer')}, {count(len(epochs), 'checkpoint')} ({span}), "
        f"{count(len(names), 'estimator')}: {', '.join(names)}"
    )


def _planes(every: list[Curves]) -> list[Figure]:
    """A plane for each estimator that measured both of its quantities."""
    by_name = {(curves.estimator, curves.quantity.name): curves for curves in every}
    # With labels that have a name, I(Y;T) is under that name, and I(X;T) under none.
    pairs = [
        (by_name[owner, across], by_name[estimator, up])
        for across, up in PLANES
        for estimator in dict.fromkeys(curves.estimator for curves in every)
        for owner in (estimator, estimator.rpartition(" (")[0])
        if (owner, across) in by_name and (estimator, up) in by_name
    ]
    return [
        draw_plane(information, label, several=len(pairs) > 1)
        for information, label in pairs
        if np.isfinite(information.value).any()
        and not (_is_at_ceiling(information) and _is_at_ceiling(label))
    ]


def _is_at_ceiling(curves: Curves) -> bool:
    """Whether bins tell all inputs apart everywhere, so that a plane has a single point."""
    return all("at ceiling" in split_notes(cell) for cell in curves.notes[curves.measured])


def _figures(every: list[Curves], chosen: list[Curves]) -> list[Figure]:
    titles = [curves.quantity.title for curves in every]
    return [draw_curves(c, several=titles.count(c.quantity.title) > 1) for c in chosen]


def _heading(curves: Curves) -> dict[str, str]:
    flat = curves.flat_ceiling(-1)
    below = [
        curves.estimator, curves.unit, noise_in_words(curves.noises),
        "" if flat is None else f"ceiling {number(flat)}",
    ]  # fmt: skip
    return {"title": curves.quantity.title, "below": " · ".join(filter(None, below))}


def _cell(curves: Curves, k: int) -> dict[str, Any] | None:
    """A layer at the last checkpoint; None where it was not measured."""
    if not curves.measured[k, -1]:
        return None
    below = [bracket(curves.lower[k, -1], curves.upper[k, -1])]
    below.append(curves.pattern_in_words(k, -1))
    if len(set(curves.noises)) > 1:
        below.append(noise_in_words([curves.noises[k]]))
    if curves.flat_ceiling(-1) is None and np.isfinite(curves.ceiling[k, -1]):
        below.append(f"ceiling {number(curves.ceiling[k, -1])}")
    return {
        "value": with_error(curves.value[k, -1], curves.stderr[k, -1]),
        "below": list(filter(None, below)),
        "notes": split_notes(curves.notes[k, -1]),
    }


def _numbers(curves: Curves, k: int) -> list[str]:
    """All that is known of a layer at the last checkpoint, a text per column."""
    stderr, ceiling = curves.stderr[k, -1], curves.ceiling[k, -1]
    return [
        curves.layers[k], curves.estimator, curves.quantity.title, number(curves.value[k, -1]),
        "unknown" if np.isnan(stderr) else number(stderr) if stderr else "exact",
        bracket(curves.lower[k, -1], curves.upper[k, -1]),
        "" if np.isnan(ceiling) else number(ceiling),
        curves.unit, ", ".join(split_notes(curves.notes[k, -1])),
    ]  # fmt: skip


def _in_words(settings: Mapping[Any, Any]) -> dict[Any, Any]:
    """Settings without what says nothing, and with what stands for each layer's own noise."""
    hidden = {"quantities"} | ({"errors"} if not settings.get("errors") else set())
    shown = {name: value for name, value in settings.items() if name not in hidden}
    estimators = shown.get("estimators")
    if isinstance(estimators, Mapping):
        shown["estimators"] = {name: _own_noise(given) for name, given in estimators.items()}
    return shown


def _own_noise(described: Any) -> Any:
    if isinstance(described, list | tuple):
        return [_own_noise(inner) for inner in described]
    if not isinstance(described, Mapping):
        return described
    steps = {name: _own_noise(value) for name, value in described.items() if name == "steps"}
    of_layers = described.get("sigma", "") is None
    own = {
        name: "each layer's own" for name in ("sigma", "noise") if of_layers and name in described
    }
    return {**described, **steps, **own}

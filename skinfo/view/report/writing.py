"""From a table to a page, and to a file."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from skinfo._files import write_atomically
from skinfo.flow.snapshots import Snapshots
from skinfo.flow.tables import check_output, is_curve, read_table
from skinfo.view.report.charts import Axis, Chart, as_flow, axis_of, charts_of, layers_of, planes_of
from skinfo.view.report.curves import draw_chart, draw_recorded
from skinfo.view.report.distances import draw_distances
from skinfo.view.report.figures import Figure, plotly_offline
from skinfo.view.report.flags import flags_of
from skinfo.view.report.page import document
from skinfo.view.report.plane import draw_plane
from skinfo.view.report.sections import (
    Section,
    curves_section,
    distances_section,
    notes_section,
    numbers_section,
    plane_section,
    reading_section,
    settings_section,
    summary_section,
    toolbar_html,
    warnings_html,
)
from skinfo.view.report.wording import epoch_name

# More main quantities than this are folded away with the others.
_MOST_MAIN = 12


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
        the .npz beside it is read as well. A curve against sigma gets a smaller page.
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
        or row), or the file is there already.
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
        page = make_report(
            read,
            snapshots or beside,
            title=title or f"Information flow: {file.name}",
            source=str(file),
        )
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
    curve = is_curve(table)
    flow = as_flow(table, source)
    axis = axis_of(flow, curve=curve)
    layers = layers_of(flow, snapshots.layers if snapshots is not None else ())
    settings: Mapping[Any, Any] = table.attrs | (
        snapshots.settings if snapshots is not None else {}
    )
    charts = charts_of(flow, layers, axis, settings)
    flags = flags_of(flow, layers, axis)
    last = [notes_section(flags), settings_section(settings, _written_by()), reading_section()]
    if curve:
        sections = [_curves(charts, snapshots, axis), numbers_section(charts, axis), *last]
        heading, toolbar = title or "Information against sigma", ""
        subtitle = f"One layer at {len(axis.places)} standard deviations of noise"
    else:
        sections = [
            _plane(charts), _curves(charts, snapshots, axis), _distances(snapshots, layers),
            summary_section(charts, layers, axis), *last,
        ]  # fmt: skip
        heading, toolbar = title or "Information flow", toolbar_html(layers, axis)
        subtitle = _subtitle(flow, layers, axis)
    return document(heading, subtitle, warnings_html(flags), toolbar, sections)


def _subtitle(flow: pd.DataFrame, layers: tuple[str, ...], axis: Axis) -> str:
    def count(n: int, word: str) -> str:
        return f"{n} {word}{'' if n == 1 else 's'}"

    first, last = epoch_name(axis.places[0]), epoch_name(axis.places[-1])
    span = f"epochs {first} to {last}" if len(axis.places) > 1 else f"epoch {first}"
    names = list(dict.fromkeys(flow["estimator"]))
    return (
        f"{count(len(layers), 'layer')}, {count(len(axis.places), 'checkpoint')} ({span}), "
        f"{count(len(names), 'estimator')}: {', '.join(names)}"
    )


def _written_by() -> Mapping[str, str]:
    def of(name: str) -> str:
        try:
            return version(name)
        except PackageNotFoundError:
            return "of unknown version"

    return {name: of(name) for name in ("skinfo", "plotly")}


def _several(charts: list[Chart], chart: Chart) -> bool:
    return sum(other.title == chart.title for other in charts) > 1


def _plane(charts: list[Chart]) -> Section:
    planes = planes_of(charts)
    figures = [
        draw_plane(across, up, several=len(planes) > 1)
        for across, up in planes
        if np.isfinite(across.value).any()
    ]
    measured = {chart.quantity for chart in charts}
    lacking = [name for name in ("mutual_info", "label_mutual_info") if name not in measured]
    missing = "No plane can be drawn: no estimator measured both mutual_info and label_mutual_info."
    if lacking:
        missing = (
            f"No plane can be drawn: the table holds no {' and no '.join(lacking)}. "
            "I(Y;T) is measured for runs that have labels."
        )
    return plane_section(figures, missing)


def _curves(charts: list[Chart], snapshots: Snapshots | None, axis: Axis) -> Section:
    main = [chart for chart in charts if chart.main][:_MOST_MAIN] or charts[:4]
    figures = [draw_chart(chart, several=_several(charts, chart)) for chart in main]
    others = [
        draw_chart(chart, several=_several(charts, chart)) for chart in charts if chart not in main
    ]
    missing = "" if charts else "The table holds no number: nothing could be measured."
    if axis.word == "sigma":
        return curves_section(figures, others, missing, title="Information against sigma")
    figures += _recorded(snapshots, axis)
    if snapshots is None:
        missing += (
            " Losses are kept in the .npz beside a table that skinfo analyze writes; there is none."
        )
    elif not snapshots.losses:
        missing += " The run has no losses on record."
    return curves_section(figures, others, missing.strip(), title="Curves")


def _recorded(snapshots: Snapshots | None, axis: Axis) -> list[Figure]:
    if snapshots is None or not snapshots.losses:
        return []
    own = Axis("epoch", "Epoch", tuple(float(epoch) for epoch in snapshots.epochs))
    return draw_recorded(snapshots.losses, own, axis.places)


def _distances(snapshots: Snapshots | None, layers: tuple[str, ...]) -> Section:
    if snapshots is None:
        missing = (
            "Distances are kept in the .npz beside a table that skinfo analyze writes; there is "
            "none."
        )
        return distances_section([], [], missing)
    if not snapshots.within.any():
        return distances_section([], [], "No distances are on record: the run has no labels.")
    return distances_section(
        draw_distances(snapshots, layers), [float(epoch) for epoch in snapshots.snapshot_epochs],
        "None of the layers of the table has distances on record.",
    )  # fmt: skip

"""skinfo plot and skinfo report: from a table to a picture or a page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from skinfo.cli.application import Force, app, check_output, headless, warn

_OF_DISTANCES = ("distances", "ridges")
_OF_SNAPSHOTS = (*_OF_DISTANCES, "inputs", "confusion")
_KINDS = ("overview", "plane", *_OF_SNAPSHOTS, "curve")
TablePath = Annotated[Path, typer.Argument(help="Table that `skinfo analyze` wrote.")]


@app.command()
def plot(
    table: TablePath,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Picture; default: the table's name.png.")
    ] = None,
    kind: Annotated[
        str, typer.Option(help="overview, plane, distances, ridges, inputs, confusion or curve.")
    ] = "overview",
    quantity: Annotated[
        str | None,
        typer.Option(help="What --kind curve draws: auc (default), silhouette, mutual_info, …"),
    ] = None,
    estimator: Annotated[
        str | None,
        typer.Option(help="Which is drawn, by name, of several estimators; default: the first."),
    ] = None,
    force: Force = False,
) -> None:
    """Draw a table: the overview of all curves, the information plane, distances, or one curve.

    Distances within and between classes are drawn at four checkpoints in cells, or as ridges. What
    each layer knows of each input, and which classes it confuses, were measured if
    `skinfo analyze` had --posterior-draws.
    A curve against sigma is drawn as one.
    """
    headless()
    from skinfo.flow.tables import is_curve, read_table
    from skinfo.view import SigmaCurveDisplay, save_figure

    _check_options(kind, quantity, estimator)
    quantity = quantity or "auc"
    name = quantity if kind == "curve" else kind
    target = output or table.with_suffix(".png" if kind == "overview" else f".{name}.png")
    check_output(target, force=force)
    flow, snapshots = read_table(table)
    if is_curve(flow):
        if kind != "overview":
            raise ValueError(f"{table} is a curve against sigma: nothing for --kind {kind}.")
        if estimator is not None:
            raise ValueError(f"{table} is a curve against sigma: --estimator has no effect.")
        figure = SigmaCurveDisplay.from_table(flow).plot().figure_
    elif snapshots is None and kind in _OF_SNAPSHOTS:
        kept = "the distances are" if kind in _OF_DISTANCES else f"what --kind {kind} draws is"
        raise ValueError(f"{table.with_suffix('.npz')}: {kept} kept there; not found.")
    else:
        figure = _draw(kind, flow, snapshots, quantity, estimator)
    save_figure(figure, target)
    typer.echo(f"Picture in {target}")


def _check_options(kind: str, quantity: str | None, estimator: str | None) -> None:
    if kind not in _KINDS:
        raise ValueError(f"--kind is {', '.join(_KINDS[:-1])} or {_KINDS[-1]}; got {kind!r}.")
    if quantity is not None and kind != "curve":
        raise ValueError(
            f"--quantity has no effect on --kind {kind}: "
            f"--kind curve --quantity {quantity} draws it."
        )
    if estimator is not None and kind in _OF_SNAPSHOTS:
        raise ValueError(f"--estimator has no effect on --kind {kind}: it shows the run itself.")


def _draw(kind: str, flow: Any, snapshots: Any, quantity: str, estimator: str | None) -> Any:
    from skinfo import view

    if kind == "distances":
        return view.plot_distances(snapshots)
    if kind == "ridges":
        return view.DistanceRidgesDisplay.from_snapshots(snapshots).plot().figure_
    if kind == "inputs":
        return view.plot_remembered(snapshots)
    if kind == "confusion":
        return view.plot_confusions(snapshots)
    display: Any
    if kind == "overview":
        display = view.InformationFlowDisplay.from_flow(flow, snapshots, estimator=estimator)
    elif kind == "plane":
        display = view.InformationPlaneDisplay.from_flow(flow, estimator=estimator)
    else:
        display = view.QuantityCurveDisplay.from_flow(flow, quantity, estimator=estimator)
    for drawn, others in display.left_out.items():
        if others and drawn != estimator:
            warn(f"{drawn} is drawn, {', '.join(others)} left out; --estimator chooses another.")
    return display.plot().figure_


@app.command()
def report(
    table: TablePath,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Page; default: the table's name.html.")
    ] = None,
    title: Annotated[
        str | None, typer.Option(help="Heading; default: the table's file name.")
    ] = None,
    force: Force = False,
) -> None:
    """Make a table one HTML file to send: plane, curves, distances, notes, settings.

    It needs no network; plotly.js is in it.
    """
    from skinfo.view import write_report

    target = output or table.with_suffix(".html")
    if target.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"{target}: a report ends in .html.")
    check_output(target, force=force)
    size = write_report(table, target, title=title, force=force)
    typer.echo(f"Report in {target}, {size / 1e6:.1f} MB")

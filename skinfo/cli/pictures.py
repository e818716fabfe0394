"""skinfo plot and skinfo report: from a table to a picture or a page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from skinfo.cli.application import Force, app, check_output, headless, warn

_OF_DISTANCES = ("distances", "ridges")
_OF_SNAPSHOTS = (*_OF_DISTANCES, "inputs", "confusion")
_KINDS = ("overview", "depth", "plane", *_OF_SNAPSHOTS, "curve")
TablePath = Annotated[Path, typer.Argument(help="Table that `skinfo analyze` wrote.")]


@app.command()
def plot(
    table: TablePath,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Picture; default: the table's name.png.")
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(
            help="overview, depth, plane, distances, ridges, inputs, confusion or curve; default: "
            "overview, or depth where there are more layers than checkpoints."
        ),
    ] = None,
    quantity: Annotated[
        str | None,
        typer.Option(help="What --kind curve draws: auc (default), silhouette, mutual_info, …"),
    ] = None,
    estimator: Annotated[
        str | None,
        typer.Option(help="Which is drawn, by name, of several estimators; default: the first."),
    ] = None,
    epochs: Annotated[
        str | None,
        typer.Option(
            help="Checkpoints that --kind depth and curves against sigma show, such as 1,10,100; "
            "default: the first, a middle one and the last."
        ),
    ] = None,
    force: Force = False,
) -> None:
    """Draw a table: all curves, values by depth, the information plane, distances, or one curve.

    Distances within and between classes are drawn at four checkpoints in cells, or as ridges. What
    each layer knows of each input, and which classes it confuses, were measured if
    `skinfo analyze` had --posterior-draws.
    Curves against sigma are drawn as such.
    """
    headless()
    from skinfo.flow.tables import is_curve, read_table
    from skinfo.view import save_figure

    shown = _read_epochs(epochs)
    if kind is not None or quantity is not None:
        _check_options(kind or "overview", quantity, estimator)
    quantity = quantity or "auc"
    name = quantity if kind == "curve" else kind
    of_all = kind in (None, "overview")
    target = output or table.with_suffix(".png" if of_all else f".{name}.png")
    check_output(target, force=force)
    flow, snapshots = read_table(table)
    if kind is None and not is_curve(flow):
        kind = "depth" if flow["layer"].nunique() > flow["epoch"].nunique() else "overview"
    if shown is not None and not (kind == "depth" or "sigma" in flow):
        raise ValueError(f"--epochs has no effect on --kind {kind}.")
    if is_curve(flow):
        if kind is not None:
            raise ValueError(f"{table} holds curves against sigma: nothing for --kind {kind}.")
        figure = _draw_sigmas(flow, shown, estimator, table)
    elif snapshots is None and kind in _OF_SNAPSHOTS:
        kept = "the distances are" if kind in _OF_DISTANCES else f"what --kind {kind} draws is"
        raise ValueError(f"{table.with_suffix('.npz')}: {kept} kept there; not found.")
    else:
        figure = _draw(kind or "", flow, snapshots, quantity, estimator, shown)
    save_figure(figure, target)
    typer.echo(f"Picture in {target}")


def _read_epochs(text: str | None) -> list[int] | None:
    try:
        return None if text is None else [int(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"--epochs is whole numbers with commas between; got {text!r}.") from None


def _draw_sigmas(curves: Any, epochs: list[int] | None, estimator: str | None, table: Path) -> Any:
    from skinfo.view import RunSigmasDisplay, SigmaCurveDisplay

    if "epoch" in curves:
        display = RunSigmasDisplay.from_table(curves, epochs=epochs, estimator=estimator)
        return display.plot().figure_
    if epochs is not None or estimator is not None:
        option = "--epochs" if estimator is None else "--estimator"
        raise ValueError(f"{table} is a curve against sigma: {option} has no effect.")
    return SigmaCurveDisplay.from_table(curves).plot().figure_


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


def _draw(
    kind: str,
    flow: Any,
    snapshots: Any,
    quantity: str,
    estimator: str | None,
    epochs: list[int] | None,
) -> Any:
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
    if kind == "depth":
        return view.DepthDisplay.from_flow(flow, epochs=epochs, estimator=estimator).plot().figure_
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

"""skinfo plot: from a table to a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from skinfo.cli.application import Force, app, check_output, complain, headless

_OF_DISTANCES = ("distances", "ridges")
_KINDS = ("overview", "plane", *_OF_DISTANCES, "curve")


@app.command()
def plot(
    table: Annotated[Path, typer.Argument(help="Table that `skinfo analyze` wrote.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Picture; default: the table's name.png.")
    ] = None,
    kind: Annotated[
        str, typer.Option(help="overview, plane, distances, ridges or curve.")
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

    Distances within and between classes are drawn at four checkpoints in cells, or as ridges.
    A curve against sigma is drawn as one.
    """
    headless()
    from skinfo.flow.tables import is_curve, read_table
    from skinfo.view.pictures import SigmaCurveDisplay, save_figure

    if kind not in _KINDS:
        raise ValueError(f"--kind is overview, plane, distances, ridges or curve; got {kind!r}.")
    _refuse_without_effect(kind, quantity, estimator)
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
    else:
        if snapshots is None and kind in _OF_DISTANCES:
            raise ValueError(
                f"{table.with_suffix('.npz')}: the distances are kept there; not found."
            )
        figure = _draw(kind, flow, snapshots, quantity, estimator)
    save_figure(figure, target)
    typer.echo(f"Picture in {target}")


def _refuse_without_effect(kind: str, quantity: str | None, estimator: str | None) -> None:
    if quantity is not None and kind != "curve":
        raise ValueError(
            f"--quantity has no effect on --kind {kind}: "
            f"--kind curve --quantity {quantity} draws it."
        )
    if estimator is not None and kind in _OF_DISTANCES:
        raise ValueError(f"--estimator has no effect on --kind {kind}: it shows the run itself.")


def _draw(kind: str, flow: Any, snapshots: Any, quantity: str, estimator: str | None) -> Any:
    from skinfo.view import pictures as plotting

    if kind == "distances":
        return plotting.plot_distances(snapshots)
    if kind == "ridges":
        return plotting.DistanceRidgesDisplay.from_snapshots(snapshots).plot().figure_
    display: Any
    if kind == "overview":
        display = plotting.InformationFlowDisplay.from_flow(flow, snapshots, estimator=estimator)
    elif kind == "plane":
        display = plotting.InformationPlaneDisplay.from_flow(flow, estimator=estimator)
    else:
        display = plotting.ClusteringCurveDisplay.from_flow(flow, quantity, estimator=estimator)
    _say_left_out(display.left_out, chosen=estimator)
    return display.plot().figure_


def _say_left_out(left_out: dict[str, list[str]], *, chosen: str | None) -> None:
    for drawn, others in left_out.items():
        if others and drawn != chosen:
            complain(
                f"{drawn} is drawn, {', '.join(others)} left out; --estimator chooses another.",
                "yellow",
            )

"""skinfo plot: from a table to a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from skinfo.cli.application import Force, app, headless


@app.command()
def plot(
    table: Annotated[Path, typer.Argument(help="Table that `skinfo analyze` wrote.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Picture; default: the table's name.png.")
    ] = None,
    kind: Annotated[
        str, typer.Option(help="panel, plane (information plane) or distances.")
    ] = "panel",
    force: Force = False,
) -> None:
    """Draw a table: the panel of all curves, the information plane, or the distances.

    A curve against sigma is drawn as one.
    """
    headless()
    from skinfo.plotting import (
        InformationFlowDisplay,
        InformationPlaneDisplay,
        SigmaCurveDisplay,
        plot_distances,
        save_figure,
    )
    from skinfo.tables import check_output, is_curve, read_table

    if kind not in ("panel", "plane", "distances"):
        raise ValueError(f"--kind is panel, plane or distances; got {kind!r}.")
    suffix = ".png" if kind == "panel" else f".{kind}.png"
    target = output or table.with_suffix(suffix)
    check_output(target, force=force)
    flow, panel = read_table(table)
    if is_curve(flow):
        if kind != "panel":
            raise ValueError(f"{table} is a curve against sigma: nothing for --kind {kind}.")
        figure = SigmaCurveDisplay.from_table(flow).plot().figure_
    elif kind == "panel":
        figure = InformationFlowDisplay.from_flow(flow, panel).plot().figure_
    elif kind == "plane":
        figure = InformationPlaneDisplay.from_flow(flow).plot().figure_
    else:
        if panel is None:
            raise ValueError(
                f"{table.with_suffix('.npz')}: the distances are kept there; not found."
            )
        figure = plot_distances(panel)
    save_figure(figure, target)
    typer.echo(f"Picture in {target}")

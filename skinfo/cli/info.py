"""skinfo info: what a run holds."""

from __future__ import annotations

import typer
from rich.markup import escape
from rich.table import Table

from skinfo.cli.application import RunPath, app, complain, complain_of_lost, console


@app.command()
def info(run: RunPath) -> None:
    """Show what a run holds: layers, sigmas, checkpoints, inputs."""
    from skinfo.errors import RunError
    from skinfo.runs import open_run

    opened = open_run(run)
    epochs = opened.epochs
    typer.echo(f"Run {opened.name}")
    span = f", epochs {epochs[0]} … {epochs[-1]}" if epochs else ""
    typer.echo(f"{len(epochs)} checkpoints{span}")
    if opened.labels is not None:
        import numpy as np

        classes = len(np.unique(opened.labels))
        trained = "" if opened.train is None else f", {int(opened.train.sum())} of them trained on"
        typer.echo(f"{len(opened.labels)} inputs of {classes} classes{trained}")
    complain_of_lost(opened)
    table = Table()
    for column in ("layer", "sigma", "noise before", "stored as"):
        table.add_column(column)
    unread: list[str] = []
    for layer in opened.layers:
        shape = "-"
        if epochs:
            try:
                array = opened.array(epochs[-1], layer.name)
                shape = f"{' x '.join(map(str, array.shape))} {array.dtype}"
            except RunError as error:
                unread.append(str(error))
                shape = "unreadable"
        sigma = "unknown" if layer.sigma is None else f"{layer.sigma:g}"
        table.add_row(escape(layer.name), sigma, "yes" if layer.noise_before else "no", shape)
    console.print(table)
    for message in unread:
        complain(message)
    if unread:
        raise typer.Exit(2)

"""skinfo info: what a run holds."""

from __future__ import annotations

from typing import Any

import typer
from rich.markup import escape
from rich.table import Table

from skinfo.cli.application import RunPath, app, complain, complain_of_lost, console


@app.command()
def info(run: RunPath) -> None:
    """Show what a run holds: format, layers, sigmas, checkpoints, inputs."""
    from skinfo.errors import RunError
    from skinfo.runs import open_run

    opened = open_run(run)
    epochs = opened.epochs
    typer.echo(f"Run {opened.name}")
    typer.echo(_format_line(opened))
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
                shape = _stored_as(opened, layer.name, epochs[-1])
            except RunError as error:
                unread.append(str(error))
                shape = "unreadable"
        sigma = "unknown" if layer.sigma is None else f"{layer.sigma:g}"
        table.add_row(escape(layer.name), sigma, "yes" if layer.noise_before else "no", shape)
    console.print(table)
    for layer in opened.layers:
        types = _types(opened, layer.name)
        if len(types) > 1:
            changes = ", ".join(f"{name} from epoch {first}" for name, first in types.items())
            typer.echo(f"{layer.name} holds {changes}")
    for message in unread:
        complain(message)
    if unread:
        raise typer.Exit(1)


def _format_line(opened: Any) -> str:
    size = float(opened.store.size())
    unit = "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if size < 1000:
            break
        size, unit = size / 1000, larger
    described = "not described" if opened.schema is None else f"described by schema {opened.schema}"
    return f"Format {opened.store.format}, {described}, {size:.3g} {unit}"


def _stored_as(opened: Any, layer: str, epoch: int) -> str:
    """Shape and type at the last checkpoint, which is read."""
    shape, dtype = opened.store.shape(epoch, layer)
    # Maps are read as they are analysed: as someone chooses then.
    if len(shape) < 4:
        opened.array(epoch, layer)
    return f"{' x '.join(map(str, shape))} {dtype}"


def _types(opened: Any, layer: str) -> dict[str, int]:
    """Types of a layer's numbers, each with the first epoch that has it."""
    from skinfo.errors import RunError

    found: dict[str, int] = {}
    for epoch in opened.epochs:
        try:
            found.setdefault(str(opened.store.shape(epoch, layer)[1]), epoch)
        except RunError:
            continue
    return found

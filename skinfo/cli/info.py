"""skinfo info: what a run holds."""

from __future__ import annotations

from typing import Any

import typer
from rich.markup import escape
from rich.table import Table

from skinfo.cli.application import (
    ORDER_FROM_NAMES,
    Json,
    Labels,
    LayerNames,
    RunPath,
    app,
    complain,
    complain_of_lost,
    console,
    write_json,
)
from skinfo.cli.sources import open_described
from skinfo.cli.unmeasured import complain_of_strangers, summarised


@app.command()
def info(
    run: RunPath, labels: Labels = None, layers: LayerNames = None, json: Json = False
) -> None:
    """Show what a run holds: format, layers, sigmas, checkpoints, inputs.

    Of every checkpoint it is looked up whether its layers can be read; the numbers of the last are.
    """
    opened = open_described(run, labels, layers)
    errors: list[dict[str, Any]] = []
    found = _described(opened, errors)
    if json:
        write_json(found)
    else:
        _show(found)
    complain_of_lost(opened)
    for message in summarised(errors):
        complain(message)
    complain_of_strangers(opened, [x["name"] for x in found["layers"] if _is_flat(x["shape"])])
    if found["unread"]:
        raise typer.Exit(1)


def _is_flat(shape: list[int] | None) -> bool:
    """Whether an array has too few axes to be a layer's."""
    return shape is not None and len(shape) < 2


def _described(opened: Any, errors: list[dict[str, Any]]) -> dict[str, Any]:
    """What there is to say of a run, as plain values; errors also with where they are."""
    layers = [_layer(opened, layer, errors) for layer in opened.layers]
    labels = opened.labels
    return {
        "run": opened.name,
        "format": opened.store.format,
        "schema": opened.schema,
        "bytes": opened.store.size(),
        "epochs": opened.epochs,
        "lost_epochs": opened.lost_epochs,
        "inputs": None if labels is None else len(labels),
        "classes": None if labels is None else len(set(labels.tolist())),
        "trained_on": None if opened.train is None else int(opened.train.sum()),
        "seed": opened.seed,
        "order_from_names": opened.order_from_names,
        "layers": layers,
        "unread": list(dict.fromkeys(error["message"] for error in errors)),
    }


def _layer(opened: Any, layer: Any, errors: list[dict[str, Any]]) -> dict[str, Any]:
    """A layer: its shape at the last checkpoint, and the first epoch of each type of numbers."""
    from skinfo.errors import RunError

    types: dict[str, int] = {}
    stored = None
    for epoch in opened.epochs:
        stored = None
        try:
            stored = opened.store.shape(epoch, layer.name)
        except RunError as error:
            errors.append({"epoch": epoch, "layer": layer.name, "message": str(error)})
        else:
            types.setdefault(str(stored[1]), epoch)
    # Maps are read as they are analysed: as someone chooses then.
    if stored is not None and len(stored[0]) < 4:
        last = opened.epochs[-1]
        try:
            opened.array(last, layer.name)
        except RunError as error:
            errors.append({"epoch": last, "layer": layer.name, "message": str(error)})
    return {
        "name": layer.name,
        "sigma": layer.sigma,
        "noise_before": layer.noise_before,
        "shape": None if stored is None else list(stored[0]),
        "dtype": None if stored is None else str(stored[1]),
        "types": types,
    }


def _show(found: dict[str, Any]) -> None:
    epochs, schema = found["epochs"], found["schema"]
    typer.echo(f"Run {found['run']}")
    described = "not described" if schema is None else f"described by schema {schema}"
    typer.echo(f"Format {found['format']}, {described}, {_size(found['bytes'])}")
    span = f", epochs {epochs[0]} … {epochs[-1]}" if epochs else ""
    typer.echo(f"{len(epochs)} checkpoints{span}")
    if found["inputs"] is not None:
        trained = found["trained_on"]
        split = "" if trained is None else f", {trained} of them trained on"
        typer.echo(f"{found['inputs']} inputs of {found['classes']} classes{split}")
    else:
        typer.echo("No labels: --labels FILE of skinfo analyze and convert gives them")
    if found["order_from_names"]:
        typer.echo(ORDER_FROM_NAMES[0].upper() + ORDER_FROM_NAMES[1:])
    table = Table()
    for column in ("layer", "sigma", "noise before", "stored as"):
        table.add_column(column)
    for layer in found["layers"]:
        sigma = "unknown" if layer["sigma"] is None else f"{layer['sigma']:g}"
        before = "yes" if layer["noise_before"] else "no"
        table.add_row(escape(layer["name"]), sigma, before, _stored_as(layer, epochs))
    console.print(table)
    for layer in found["layers"]:
        if len(layer["types"]) > 1:
            changes = ", ".join(f"{t} from epoch {first}" for t, first in layer["types"].items())
            typer.echo(f"{layer['name']} holds {changes}")


def _size(count: float) -> str:
    unit = "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if count < 1000:
            break
        count, unit = count / 1000, larger
    return f"{count:.3g} {unit}"


def _stored_as(layer: dict[str, Any], epochs: list[int]) -> str:
    if layer["shape"] is None:
        return "unreadable" if epochs else "-"
    return f"{' x '.join(map(str, layer['shape'])) or 'one'} {layer['dtype']}"

"""skinfo info: what a run holds."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import typer
from rich.filesize import decimal

from skinfo.cli.application import (
    Json,
    Labels,
    LayerNames,
    RunPath,
    app,
    complain,
    print_table,
    summarize_errors,
    warn_of_other_arrays,
    write_json,
)
from skinfo.cli.sigmas import propose
from skinfo.cli.sources import open_described


@app.command()
def info(
    run: RunPath, labels: Labels = None, layers: LayerNames = None, json: Json = False
) -> None:
    """Show what a run holds: format, layers, their noise, checkpoints, inputs, labels, padding.

    At every checkpoint it checks that the layers can be read, at the last also their numbers.
    """
    opened = open_described(run, labels, layers)
    errors: list[dict[str, Any]] = []
    description = _describe(opened, errors)
    if json:
        write_json(description)
    else:
        _show(description)
        flatten = None if opened.mask is None else _flattening_of(description["labels"])
        propose(opened, {"run": run, "labels": labels, "layers": layers, "flatten": flatten})
    for message in summarize_errors(errors):
        complain(message)
    warn_of_other_arrays(
        opened,
        # An array of fewer axes is no layer's.
        [
            x["name"]
            for x in description["layers"]
            if x["shape"] is not None and len(x["shape"]) < 2
        ],
    )
    if description["unread"]:
        raise typer.Exit(1)


def _describe(opened: Any, errors: list[dict[str, Any]]) -> dict[str, Any]:
    """Describe a run in plain values; errors are added with their places."""
    from skinfo.runs.beside import label_sets

    stored = _look(opened, errors)
    layers = [_describe_layer(opened, layer, stored[layer.name], errors) for layer in opened.layers]
    sets = label_sets(opened.labels)
    mask = opened.mask
    counted = next(iter(sets.values()), mask)
    return {
        "run": opened.name,
        "format": opened.store.format,
        "schema": opened.schema,
        "bytes": opened.store.size(),
        "epochs": opened.epochs,
        "inputs": None if counted is None else len(counted),
        "labels": [_describe_labels(name, labels, mask) for name, labels in sets.items()],
        "tokens": None if mask is None else mask.shape[1],
        "padding": None if mask is None else 1 - float(mask.mean()),
        "trained_on": None if opened.train is None else int(opened.train.sum()),
        "seed": opened.seed,
        "settings": dict(opened.settings),
        "order_from_names": opened.order_from_names,
        "layers": layers,
        "unread": list(dict.fromkeys(error["message"] for error in errors)),
    }


def _describe_labels(name: str, labels: Any, mask: Any) -> dict[str, Any]:
    per_token = labels.ndim == 2
    counted = labels[mask] if per_token and mask is not None else labels.ravel()
    return {"name": name, "per_token": per_token, "classes": len(set(counted.tolist()))}


def _flattening_of(sets: list[dict[str, Any]]) -> str:
    """What to propose for tokens: a row per input, unless labels are per token."""
    return "tokens" if any(one["per_token"] for one in sets) else "token_mean"


def _look(opened: Any, errors: list[dict[str, Any]]) -> dict[str, dict[int, Any]]:
    """Find shape and type of each layer at each epoch; None where it cannot be read."""
    from skinfo.errors import RunError

    found: dict[str, dict[int, Any]] = {layer.name: {} for layer in opened.layers}
    # A file is opened once for all its layers.
    for epoch, layer in product(opened.epochs, found):
        try:
            found[layer][epoch] = opened.store.shape(epoch, layer)
        except RunError as error:
            found[layer][epoch] = None
            errors.append({"epoch": epoch, "layer": layer, "message": str(error)})
    return found


def _describe_layer(
    opened: Any, layer: Any, found: dict[int, Any], errors: list[dict[str, Any]]
) -> dict[str, Any]:
    """Give a layer's shape at the last checkpoint, and the first epoch of each type of numbers."""
    from skinfo.errors import RunError

    types: dict[str, int] = {}
    stored = None
    for epoch, stored in found.items():
        if stored is not None:
            types.setdefault(str(stored[1]), epoch)
    # How to flatten maps is chosen when they are analyzed.
    if stored is not None and len(stored[0]) < 4:
        try:
            _with_tokens(opened, layer, stored[0]).load(epoch, layer.name)
        except RunError as error:
            errors.append({"epoch": epoch, "layer": layer.name, "message": str(error)})
    return {
        "name": layer.name,
        "sigma": layer.sigma,
        "noise": layer.noise,
        "noise_before": layer.noise_before,
        "shape": None if stored is None else list(stored[0]),
        "dtype": None if stored is None else str(stored[1]),
        "types": types,
    }


def _with_tokens(opened: Any, layer: Any, shape: tuple[int, ...]) -> Any:
    """Take for tokens what is described as no replicas: how to flatten it is chosen later."""
    from skinfo.runs.flatten import Flattening

    described = opened.mask is not None or opened.schema is not None
    of_tokens = described and (not layer.noise_before or opened.n_tokens in shape[1:2])
    return replace(opened, flattening=Flattening("tokens")) if of_tokens else opened


def _show(run: dict[str, Any]) -> None:
    epochs, schema = run["epochs"], run["schema"]
    typer.echo(f"Run {run['run']}")
    described = "not described" if schema is None else f"described by schema {schema}"
    typer.echo(f"Format {run['format']}, {described}, {decimal(run['bytes'])}")
    span = f", epochs {epochs[0]} … {epochs[-1]}" if epochs else ""
    if len(epochs) == 1:
        span = f", epoch {epochs[0]}"
    typer.echo(f"{len(epochs)} checkpoint{'' if len(epochs) == 1 else 's'}{span}")
    if run["inputs"] is not None:
        trained = run["trained_on"]
        split = "" if trained is None else f", {trained} of them trained on"
        typer.echo(f"{run['inputs']} inputs{_classes_of(run['labels'])}{split}")
    if run["padding"] is not None:
        typer.echo(
            f"Up to {run['tokens']} tokens per input, {run['padding']:.1%} of all are padding; "
            "--flatten token_mean, token_last or tokens of skinfo analyze says what becomes a row"
        )
    if not run["labels"]:
        typer.echo("No labels: --labels FILE of skinfo analyze and convert gives them")
    if "recording" in run["settings"]:
        options = run["settings"]["recording"].items()
        given = ", ".join(f"{k} {v}" for k, v in options if v is not False and v not in (None, {}))
        typer.echo(f"Recorded from {run['settings'].get('model')}: {given}")
    if run["order_from_names"]:
        typer.echo("Order of layers taken from names; --layers sets it")
    print_table(
        ["layer", "noise", "noise before", "stored as"],
        [
            [
                layer["name"],
                _noise_of(layer),
                "yes" if layer["noise_before"] else "no",
                _stored_as(layer, epochs),
            ]
            for layer in run["layers"]
        ],
    )
    for layer in run["layers"]:
        if len(layer["types"]) > 1:
            changes = ", ".join(f"{t} from epoch {first}" for t, first in layer["types"].items())
            typer.echo(f"{layer['name']} holds {changes}")


def _classes_of(sets: list[dict[str, Any]]) -> str:
    """Say how many classes each set of labels has."""
    named = [
        f"{one['classes']} classes"
        + (" of tokens" if one["per_token"] else "")
        + (f" ({one['name']})" if one["name"] else "")
        for one in sets
    ]
    return f" of {', '.join(named)}" if named else ""


def _noise_of(layer: dict[str, Any]) -> str:
    from skinfo.noise.words import noise_in_words

    if layer["sigma"]:
        return noise_in_words([(layer["noise"], layer["sigma"])])
    if layer["sigma"] is not None:
        return "none"
    return "unknown" if layer["noise"] == "additive" else f"{layer['noise']}, σ unknown"


def _stored_as(layer: dict[str, Any], epochs: list[int]) -> str:
    if layer["shape"] is None:
        return "unreadable" if epochs else "-"
    return f"{' x '.join(map(str, layer['shape'])) or 'one'} {layer['dtype']}"

"""skinfo convert: from one format of a run to another."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from skinfo.cli.application import Force, Json, Labels, LayerNames, app, write_json
from skinfo.cli.sources import open_described, parse_sigma


@app.command()
def convert(
    source: Annotated[
        Path, typer.Argument(help="The run, or activations that something else saved.")
    ],
    target: Annotated[
        Path, typer.Argument(help="Where to: a directory, of .npz without --format.")
    ],
    format: Annotated[  # noqa: A002
        str | None, typer.Option(help="npz, npy, safetensors, hdf5 or zarr.")
    ] = None,
    labels: Labels = None,
    sigma: Annotated[
        str | None,
        typer.Option(
            help="Noise of all layers, for a run without a record of them: one number, or one per "
            "unit, as 0.1,0.2."
        ),
    ] = None,
    noise: Annotated[
        str | None,
        typer.Option(
            help="What noise that is: additive, multiplicative (Gaussian dropout), lognormal, or "
            "affine with --sigma A,B."
        ),
    ] = None,
    layers: LayerNames = None,
    json: Json = False,
    force: Force = False,
) -> None:
    """Write a run in another format, checkpoint by checkpoint, with the same bits.

    The target appears when it is complete. A conversion that was killed goes on where it stopped
    when it is started again.
    """
    from skinfo._progress import reporting
    from skinfo.runs import convert_run

    opened = open_described(source, labels, layers, sigma=parse_sigma(sigma), noise=noise)
    with reporting(None, len(opened.epochs), "Checkpoints") as report:
        converted = convert_run(opened, target, format=format, overwrite=force, progress=report)
    if json:
        store: Any = converted.store
        written = {"run": str(target), "format": store.format, "epochs": converted.epochs}
        write_json(written | {"bytes": store.size()})
    else:
        typer.echo(f"{len(converted.epochs)} checkpoints in {target}")

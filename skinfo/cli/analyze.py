"""skinfo analyze: from a run to a table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from skinfo.cli.application import Force, Jobs, RunPath, app, complain, complain_of_lost


@app.command()
def analyze(
    run: RunPath,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Table to write: .parquet or .csv.")
    ] = Path("flow.parquet"),
    sigma: Annotated[
        float | None, typer.Option(help="Noise to measure with; default: each layer's own.")
    ] = None,
    bin_width: Annotated[
        float | None,
        typer.Option(
            help="Width of bins; default: 30 bins over the range of each layer in the whole run."
        ),
    ] = None,
    tol: Annotated[float, typer.Option(help="Standard error to reach, in units.")] = 0.01,
    sampled: Annotated[
        bool, typer.Option("--sampled", help="The inputs are drawn from a larger population.")
    ] = False,
    units: Annotated[str, typer.Option(help="nats or bits.")] = "nats",
    subset: Annotated[
        str | None, typer.Option(help="Only the inputs of the run's train or test split.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the draws.")] = 0,
    jobs: Jobs = 2,
    memory: Annotated[
        Path | None, typer.Option(help="Directory that keeps estimates, to resume from.")
    ] = None,
    force: Force = False,
) -> None:
    """Measure every layer at every checkpoint of a run and write a tidy table.

    Layers without noise, and runs whose sigma is unknown, are binned and clustered only.
    Beside the table a .npz of the same name holds what `skinfo plot` draws.
    """
    from dataclasses import asdict, replace

    import pandas as pd

    from skinfo.estimators import BinningMIEstimator, ClusteringScore, NoisyMIEstimator
    from skinfo.estimators.noisy import check_sigma
    from skinfo.flow import information_flow, subset_mask
    from skinfo.measures.clustering import makes_pairs
    from skinfo.measures.quantity import NOTES
    from skinfo.runs import open_run
    from skinfo.tables import check_output, check_table_name, collect_panel, write_table

    check_table_name(output)
    check_output(output, force=force)
    check_output(output.with_suffix(".npz"), force=force)
    opened = open_run(run)
    if not opened.epochs:
        raise ValueError(f"{run}: the run has no checkpoints yet.")
    complain_of_lost(opened)
    estimators: dict[str, Any] = {
        "binned": BinningMIEstimator(bin_width=bin_width, bin_range="run", units=units)
    }
    mask = subset_mask(subset, opened)
    labels = opened.labels if opened.labels is None or mask is None else opened.labels[mask]
    if labels is not None and makes_pairs(labels):
        estimators["clustering"] = ClusteringScore()
    noisy = NoisyMIEstimator(
        sigma, tol=tol, inputs="sampled" if sampled else "given", units=units, random_state=seed
    )
    if sigma is not None:
        check_sigma(sigma)
    silent = [] if sigma is not None else [x.name for x in opened.layers if not x.sigma]
    if silent:
        complain(
            f"{', '.join(silent)}: no noise on record, so binned and clustered only; with --sigma "
            "it is measured with noise added at each layer alone.",
            "yellow",
        )
    store = None if memory is None else str(memory)
    everything = {"noisy": noisy, **estimators}
    if not silent:
        parts = [(everything, opened)]
    elif len(silent) == len(opened.layers):
        everything, parts = estimators, [(estimators, opened)]
    else:
        loud = replace(opened, layers=tuple(x for x in opened.layers if x.name not in silent))
        parts = [({"noisy": noisy}, loud), (estimators, opened)]
    table = pd.concat(
        [information_flow(e, r, subset=subset, n_jobs=jobs, memory=store) for e, r in parts]
    )
    order = {layer.name: place for place, layer in enumerate(opened.layers)}
    table = table.sort_values(
        ["epoch", "layer"],
        key=lambda column: column.map(order) if column.name == "layer" else column,
        kind="stable",
        ignore_index=True,
    )
    settings = {
        "run": str(run),
        "layers": [asdict(layer) for layer in opened.layers],
        "seed": opened.seed,
        "subset": subset,
        "estimators": {name: " ".join(str(e).split()) for name, e in everything.items()},
        "run settings": dict(opened.settings),
        "versions": dict(opened.versions),
    }
    panel = collect_panel(opened, subset=mask, settings=settings)
    write_table(output, table, panel)
    typer.echo(f"{len(table)} rows in {output}")
    for note in NOTES:
        count = int(table["notes"].str.contains(note, regex=False).sum())
        if count:
            typer.echo(f"{count} of them noted: {note}")
    unread = int(table["notes"].str.contains("read error").sum())
    if unread:
        complain(f"{unread} activations could not be read.")
        raise typer.Exit(1)

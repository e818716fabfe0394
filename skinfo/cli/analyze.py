"""skinfo analyze: from a run to a table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from skinfo.cli.application import (
    Force,
    Jobs,
    Json,
    Labels,
    LayerNames,
    RunPath,
    app,
    check_output,
    complain,
    complain_of_labels,
    complain_of_lost,
    complain_of_order,
    write_json,
)
from skinfo.cli.config import make_estimators, read_config
from skinfo.cli.sources import open_described
from skinfo.cli.unmeasured import measure


def _settings(context: typer.Context, path: Path | None) -> Path | None:
    """Let a file stand for the options that the command line does not give."""
    if path is not None:
        options = [p.name for p in context.command.params if p.name and not _is_own(p.name)]
        context.default_map = read_config(path, options)
    return path


def _is_own(name: str) -> bool:
    return name in ("config", "run", "install_completion", "show_completion")


@app.command()
def analyze(
    context: typer.Context,
    run: RunPath,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Table to write: .parquet or .csv.")
    ] = Path("flow.parquet"),
    labels: Labels = None,
    layers: LayerNames = None,
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
    population: Annotated[
        bool, typer.Option("--population", help="The inputs are drawn from a larger population.")
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
    memory_limit: Annotated[
        str | None, typer.Option(help="Memory that it stays within, for example 2GB.")
    ] = None,
    flatten: Annotated[
        str | None,
        typer.Option(
            help="How maps and sequences become units: all, channel_mean, spatial, token_mean, "
            "token_last or tokens."
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            callback=_settings,
            is_eager=True,
            help="TOML file of these options, and of estimators in tables \\[estimators.NAME].",
        ),
    ] = None,
    json: Json = False,
    force: Force = False,
) -> None:
    """Measure every layer at every checkpoint of a run and write a tidy table.

    Layers without noise, and runs whose sigma is unknown, are binned and clustered only. Where
    files do not describe themselves, --labels and --layers do, or `skinfo convert` makes a run of
    them, which keeps its noise too.
    Beside the table a .npz of the same name holds what `skinfo plot` draws.
    """
    from skinfo.flow.defaults import default_estimators
    from skinfo.flow.tables import check_table_name, write_table
    from skinfo.noisy.estimator import check_sigma

    check_table_name(output)
    check_output(output, force=force)
    check_output(output.with_suffix(".npz"), force=force)
    opened = open_described(run, labels, layers, flatten=flatten)
    complain_of_lost(opened)
    complain_of_order(opened)
    described = (context.default_map or {}).get("estimators")
    if described is not None and config is not None:
        _refuse_beside_estimators(context, config)
        estimators = make_estimators(described, config)
    else:
        if sigma is not None:
            check_sigma(sigma)
        estimators = default_estimators(
            opened, subset=subset, sigma=sigma, bin_width=bin_width, tol=tol, units=units,
            population=population, random_state=seed,
        )  # fmt: skip
        complain_of_labels(opened, estimators)
        if sigma is None:
            _complain_of_silence(opened, estimators)
    table, snapshots = measure(
        opened, estimators, subset=subset, n_jobs=jobs,
        memory=None if memory is None else str(memory), memory_limit=memory_limit,
    )  # fmt: skip
    write_table(output, table, snapshots)
    _report(output, table, json=json)


def _complain_of_silence(run: Any, estimators: Any) -> None:
    """Say which layers have no noise to measure with, and what is done with them."""
    silent = [layer.name for layer in run.layers if not layer.sigma]
    if silent:
        done = "binned and clustered" if "clustered" in estimators else "binned"
        complain(
            f"{', '.join(silent)}: no noise on record, so {done} only; with --sigma it is measured "
            "with noise added at each layer alone.",
            "yellow",
        )


def _refuse_beside_estimators(context: typer.Context, config: Path) -> None:
    """Options that a file's own estimators would leave without effect are a mistake."""
    for name in ("sigma", "bin_width", "tol", "population", "units", "seed"):
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            raise ValueError(
                f"--{name.replace('_', '-')} has no effect: {config} describes the estimators."
            )


def _report(output: Path, table: Any, *, json: bool) -> None:
    """Say what was written and noted; what could not be read ends in exit code 1."""
    from skinfo.flow.tables import count_unmeasured
    from skinfo.quantities import NOTES

    notes = {note: int(table["notes"].str.contains(note, regex=False).sum()) for note in NOTES}
    notes = {note: count for note, count in notes.items() if count}
    unread = count_unmeasured(table)
    if json:
        write_json({"table": str(output), "rows": len(table), "notes": notes, "unread": unread})
    else:
        typer.echo(f"{len(table)} rows in {output}")
        for note, count in notes.items():
            typer.echo(f"{count} of them noted: {note}")
    if unread:
        complain(f"{unread} rows of the table could not be read or measured; why is said above.")
        raise typer.Exit(1)

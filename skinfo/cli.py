"""The command line: demo, info, analyze, plot. Heavy imports wait until a command needs them."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Annotated, Any

try:
    import typer
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table
except ImportError:  # pragma: no cover - exercised in a subprocess
    sys.stderr.write("skinfo: the command line needs an extra: pip install 'skinfo[cli]'\n")
    sys.exit(2)

app = typer.Typer(
    help="Information flow in neural networks, measured with error bars.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
_output = Console()

RunPath = Annotated[Path, typer.Argument(help="Directory of a run, with a run.json.")]
Force = Annotated[bool, typer.Option("--force", help="Overwrite files that exist.")]
Jobs = Annotated[int, typer.Option(help="Threads; the numbers do not depend on it.")]


def main() -> None:
    """Run the command line; a user's mistake ends in one line and exit code 2."""
    warnings.showwarning = lambda message, *_: _complain(str(message), "yellow")
    try:
        sys.exit(app(sys.argv[1:] or ["--help"], standalone_mode=False))
    except (ValueError, ImportError) as error:
        _complain(str(error))
        sys.exit(2)
    except OSError as error:
        _complain(str(error))
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        # What typer raises for a command line that it does not understand.
        if not hasattr(error, "format_message"):
            raise
        _complain(f"{error.format_message()} Try --help.")
        sys.exit(2)


def _complain(message: str, colour: str = "red") -> None:
    """Say what is wrong in one line, however long, on the error stream."""
    typer.secho(f"skinfo: {' '.join(message.split())}", fg=colour, err=True)


def _version(show: bool) -> None:
    if show:
        from skinfo import __version__

        typer.echo(f"skinfo {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


@app.command()
def demo(
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Directory of the results.")
    ] = Path("skinfo-demo"),
    epochs: Annotated[
        int, typer.Option(min=1, help="Training epochs; 10000 for the paper's run.")
    ] = 2000,
    replicas: Annotated[int, typer.Option(min=2, help="Noisy passes recorded of each input.")] = 24,
    checkpoints: Annotated[int, typer.Option(min=1, help="About so many, log-spaced.")] = 25,
    seed: Annotated[int, typer.Option(min=0, help="Seed of everything.")] = 0,
    jobs: Jobs = 2,
    timings: Annotated[bool, typer.Option("--timings", help="Print where the time goes.")] = False,
) -> None:
    """Train the SZT network with noise and measure its information flow: the paper's main figure.

    A demo that was killed goes on where it stopped when it is started again.
    """
    _headless()
    try:
        from skinfo import networks  # noqa: F401
        from skinfo.demo import DemoSettings, layer_summary, run_demo
    except ImportError as error:
        raise _named(error) from error
    from skinfo.progress import progress_bar

    settings = DemoSettings(epochs, replicas, checkpoints, seed)
    with progress_bar() as bar:
        tasks: dict[str, Any] = {}

        def report(part: str, done: int, total: int) -> None:
            if part not in tasks:
                tasks[part] = bar.add_task(part, total=total)
            bar.update(tasks[part], completed=done)

        result = run_demo(output, settings, n_jobs=jobs, progress=report)
    _print_summary(layer_summary(result.table), f"After {epochs} epochs, in nats")
    typer.echo(f"Test accuracy {result.accuracy:.4f}.")
    for name, path in (
        ("Table", result.table_path),
        ("Panel", result.panel_path),
        ("Plane", result.plane_path),
    ):
        typer.echo(f"{name:<9}{path}")
    if timings:
        for part, seconds in result.seconds.items():
            typer.echo(f"{part:<18}{seconds:8.1f} s")
        typer.echo(f"{'together':<18}{sum(result.seconds.values()):8.1f} s")


def _print_summary(lines: Any, title: str) -> None:
    from skinfo.measures.quantity import NOTES

    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1))
    table.add_column("layer", no_wrap=True)
    for column in ("I(X;T)", "stderr", "bracket", "I(Y;T)", "bracket", "H(Bin)", "AUC"):
        table.add_column(column, justify="right", no_wrap=True)
    for _, line in lines.iterrows():
        table.add_row(
            escape(line["layer"]),
            f"{line['I(X;T)']:.3f}",
            f"{line['stderr']:.4f}",
            f"{line['lower']:.2f}–{line['upper']:.2f}",
            f"{line['I(Y;T)']:.3f}",
            f"{line['Y lower']:.2f}–{line['Y upper']:.2f}",
            f"{line['H(Bin(T))']:.3f}",
            f"{line['AUC']:.3f}",
        )
    _output.print(table)
    for note, meaning in NOTES.items():
        layers = [line["layer"] for _, line in lines.iterrows() if note in line["notes"]]
        if layers:
            typer.echo(f"{', '.join(layers)}: {note} ({meaning}).")


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
    _complain_of_lost(opened)
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
    _output.print(table)
    for message in unread:
        _complain(message)
    if unread:
        raise typer.Exit(2)


def _complain_of_lost(run: Any) -> None:
    if run.lost_epochs:
        lost = ", ".join(map(str, run.lost_epochs))
        _complain(
            f"{run.name}: the activations of epochs {lost} are on record but not there.", "yellow"
        )


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
    _complain_of_lost(opened)
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
        _complain(
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
        _complain(f"{unread} activations could not be read.")
        raise typer.Exit(1)


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
    _headless()
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


def _headless() -> None:
    """Draw into files: no window system is needed."""
    try:
        import matplotlib as mpl
    except ImportError as error:
        raise ImportError("Drawing needs an extra: pip install 'skinfo[plot]'") from error
    mpl.use("Agg")


def _named(error: ImportError) -> ImportError:
    """Name the extra of a module that is not installed."""
    extras = {"torch": "torch", "matplotlib": "plot", "pyarrow": "runs", "rich": "cli"}
    extra = extras.get((error.name or "").split(".")[0])
    if extra is None:
        return error
    return ImportError(f"This needs an extra: pip install 'skinfo[{extra}]'")


if __name__ == "__main__":
    main()

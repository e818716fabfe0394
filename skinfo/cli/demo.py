"""skinfo demo: the paper's main experiment, or real digits."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any

import typer

from skinfo.cli.application import Jobs, app, headless, print_notes, print_table


@app.command()
def demo(
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Directory of the results.")
    ] = Path("skinfo-demo"),
    real: Annotated[
        bool,
        typer.Option("--real", help="A convolutional network that learns real digits instead."),
    ] = False,
    epochs: Annotated[
        int | None,
        typer.Option(
            min=1, help="Training epochs, 2000 (10000 for the paper's run); of digits 30."
        ),
    ] = None,
    replicas: Annotated[
        int | None, typer.Option(min=2, help="Noisy passes of each input, 24; of digits 8.")
    ] = None,
    checkpoints: Annotated[
        int | None, typer.Option(min=1, help="About so many, log-spaced, 25; of digits 10.")
    ] = None,
    random_state: Annotated[int, typer.Option(min=0, help="Seed of everything.")] = 0,
    noise: Annotated[
        str,
        typer.Option(
            help="Noise of the hidden layers: additive, multiplicative (Gaussian dropout) or "
            "lognormal (information dropout)."
        ),
    ] = "additive",
    sigma: Annotated[
        float | None,
        typer.Option(
            help="Its standard deviation; without it 0.005 where it is added, 0.2 elsewhere; of "
            "digits 0.5."
        ),
    ] = None,
    jobs: Jobs = 2,
    timings: Annotated[bool, typer.Option("--timings", help="Print where the time goes.")] = False,
) -> None:
    """Train the SZT network with noise and measure its information flow: the paper's main figure.

    With --real, the same of a small convolutional network that learns 4,000 digits of MNIST, of
    1,000 others.

    A demo that was killed goes on where it stopped when it is started again.
    """
    headless()
    from skinfo._progress import progress_bar
    from skinfo.noise.words import noise_in_words
    from skinfo.szt import SztSettings
    from skinfo.szt.demo import DirectoryTakenError, layer_summary, main_finding, run_demo
    from skinfo.szt.digits import DigitSettings
    from skinfo.szt.recording import DROPOUT_SIGMA

    if sigma is None and noise != "additive" and not real:
        sigma = DROPOUT_SIGMA
    given = {
        "epochs": epochs, "n_replicas": replicas, "n_checkpoints": checkpoints, "sigma": sigma,
        "random_state": random_state, "noise": noise,
    }  # fmt: skip
    chosen: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    settings = DigitSettings(**chosen) if real else SztSettings(**chosen)
    with progress_bar() as bar:
        tasks: dict[str, Any] = {}

        def report(part: str, done: int, total: int) -> None:
            if part not in tasks:
                tasks[part] = bar.add_task(part, total=total)
            bar.update(tasks[part], completed=done)

        try:
            result = run_demo(output, settings, n_jobs=jobs, progress=report)
        except DirectoryTakenError as error:
            raise ValueError(f"{error} with --output.") from error
    words = noise_in_words([(settings.noise, settings.sigma)])
    _print_summary(layer_summary(result.table), f"After {settings.epochs} epochs, in nats; {words}")
    typer.echo(f"Test accuracy {result.accuracy:.4f}.")
    typer.echo(main_finding(result.table))
    for name, path in (
        ("Table", result.table_path),
        ("Overview", result.overview_path),
        ("Plane", result.plane_path),
    ):
        typer.echo(f"{name:<9}{path}")
    if timings:
        for part, seconds in result.seconds.items():
            typer.echo(f"{part:<18}{seconds:8.1f} s")
        typer.echo(f"{'together':<18}{sum(result.seconds.values()):8.1f} s")


def _print_summary(summary: Any, title: str) -> None:
    from skinfo.quantities import split_notes

    lines = summary.to_dict("records")
    print_table(
        ["layer", "I(X;T)", "stderr", "bracket", "I(Y;T)", "bracket", "H(Bin)", "AUC"],
        [
            [
                line["layer"],
                _number(line["I(X;T)"], 3),
                _number(line["stderr"], 4),
                _bracket(line["lower"], line["upper"]),
                _number(line["I(Y;T)"], 3),
                _bracket(line["Y lower"], line["Y upper"]),
                f"{line['H(Bin(T))']:.3f}",
                f"{line['AUC']:.3f}",
            ]
            for line in lines
        ],
        title=title,
    )
    print_notes((line["layer"], note) for line in lines for note in split_notes(line["notes"]))


def _number(value: float, decimals: int) -> str:
    """A value, or nothing where a layer has none."""
    return "" if math.isnan(value) else f"{value:.{decimals}f}"


def _bracket(lower: float, upper: float) -> str:
    return "" if math.isnan(lower) else f"{lower:.2f}–{upper:.2f}"

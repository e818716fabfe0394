"""skinfo demo: the paper's main experiment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from skinfo.cli.application import Jobs, app, headless, print_notes, print_table


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
            help="Its standard deviation; without it 0.005 where it is added, 0.2 elsewhere."
        ),
    ] = None,
    jobs: Jobs = 2,
    timings: Annotated[bool, typer.Option("--timings", help="Print where the time goes.")] = False,
) -> None:
    """Train the SZT network with noise and measure its information flow: the paper's main figure.

    A demo that was killed goes on where it stopped when it is started again.
    """
    headless()
    from skinfo._progress import progress_bar
    from skinfo.noise.words import noise_in_words
    from skinfo.szt import SztSettings
    from skinfo.szt.demo import DirectoryTakenError, layer_summary, run_demo
    from skinfo.szt.recording import DROPOUT_SIGMA, SIGMA

    if sigma is None:
        sigma = SIGMA if noise == "additive" else DROPOUT_SIGMA
    settings = SztSettings(epochs, replicas, checkpoints, random_state, sigma, noise)
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
    title = f"After {epochs} epochs, in nats; {noise_in_words([(noise, sigma)])}"
    _print_summary(layer_summary(result.table), title)
    typer.echo(f"Test accuracy {result.accuracy:.4f}.")
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
                f"{line['I(X;T)']:.3f}",
                f"{line['stderr']:.4f}",
                f"{line['lower']:.2f}–{line['upper']:.2f}",
                f"{line['I(Y;T)']:.3f}",
                f"{line['Y lower']:.2f}–{line['Y upper']:.2f}",
                f"{line['H(Bin(T))']:.3f}",
                f"{line['AUC']:.3f}",
            ]
            for line in lines
        ],
        title=title,
    )
    print_notes((line["layer"], note) for line in lines for note in split_notes(line["notes"]))

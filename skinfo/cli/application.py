"""What all commands share: the application, its options, and how a mistake ends."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from skinfo.errors import needs_extra

app = typer.Typer(
    help="Information flow in neural networks, measured with error bars.",
    epilog="Exit codes: 0 all done; 1 some activations could not be read, or a file not written; "
    "2 nothing done, a mistake in the command or in what it was given; 130 interrupted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
console = Console()
ORDER_FROM_NAMES = "order of layers taken from names; --layers sets it"

RunPath = Annotated[
    Path, typer.Argument(help="A run: a directory, an HDF5 file or a zarr container.")
]
Force = Annotated[bool, typer.Option("--force", help="Overwrite files that exist.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
Labels = Annotated[
    Path | None, typer.Option(help="A .npy of one label an input, for a run that has none.")
]
LayerNames = Annotated[
    str | None,
    typer.Option(
        "--layers",
        help="Layers in network order, joined by commas, for a run that does not say it.",
    ),
]
Jobs = Annotated[int, typer.Option(help="Threads; the numbers do not depend on it.")]


def main() -> None:
    """Run the command line; a user's mistake ends in one line and exit code 2."""
    warnings.showwarning = lambda message, *_: complain(str(message), "yellow")
    try:
        code = app(sys.argv[1:] or ["--help"], standalone_mode=False)
        # What typer makes of an interrupt.
        if code == 130:
            complain("interrupted; what was finished is kept where --memory or the demo keeps it.")
        sys.exit(code)
    except (ValueError, ImportError) as error:
        complain(str(error))
        sys.exit(2)
    except OSError as error:
        complain(str(error))
        sys.exit(1)
    except Exception as error:
        # What typer raises for a command line that it does not understand.
        if not hasattr(error, "format_message"):
            raise
        complain(f"{error.format_message()} Try --help.")
        sys.exit(2)


def complain(message: str, colour: str = "red") -> None:
    """Say what is wrong in one line, however long, on the error stream."""
    typer.secho(f"skinfo: {' '.join(message.split())}", fg=colour, err=True)


def write_json(found: Any) -> None:
    """Print plain values as JSON, the only thing on the output stream."""
    import json

    typer.echo(json.dumps(found, indent=1, allow_nan=False))


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


def complain_of_lost(run: Any) -> None:
    """Say which checkpoints a run knows of but does not hold."""
    if run.lost_epochs:
        lost = ", ".join(map(str, run.lost_epochs))
        complain(
            f"{run.name}: the activations of epochs {lost} are on record but not there.", "yellow"
        )


def complain_of_order(run: Any) -> None:
    """Say that nothing but their names orders the layers."""
    if run.order_from_names:
        complain(f"{run.name}: {ORDER_FROM_NAMES}.", "yellow")


def complain_of_labels(run: Any, estimators: Any) -> None:
    """Say that nothing is clustered, where labels are what it lacks."""
    if run.labels is None:
        complain(
            f"{run.name}: no labels, so not clustered, and nothing about Y; --labels FILE of "
            "`skinfo analyze` gives them, a .npy of one label an input.",
            "yellow",
        )
    elif "clustered" not in estimators:
        complain(
            f"{run.name}: no two inputs of one class and others of another, so not clustered.",
            "yellow",
        )


def check_output(path: Path, *, force: bool) -> None:
    """Check that a file may be written; of one that exists the error names the option."""
    from skinfo.flow.tables import check_output

    if path.exists() and not force:
        raise ValueError(f"{path} exists; choose another name or add --force to overwrite it.")
    check_output(path, force=force)


def headless() -> None:
    """Draw into files: no window system is needed."""
    with needs_extra("Drawing", "plot"):
        import matplotlib as mpl
    mpl.use("Agg")

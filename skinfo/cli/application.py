"""What all commands share: the application, its options, what it prints, how a mistake ends."""

from __future__ import annotations

import os
import re
import signal
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from skinfo.errors import name_some, needs_extra

app = typer.Typer(
    help="Information flow in neural networks, measured with error bars.",
    epilog="Exit codes: 0 all done; 1 some activations could not be read, or a file not written; "
    "2 nothing done, a mistake in the command or in what it was given; 130 interrupted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
console = Console()

RunPath = Annotated[
    Path, typer.Argument(help="A run: a directory, an HDF5 file or a zarr container.")
]
Force = Annotated[bool, typer.Option("--force", help="Overwrite files that exist.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
Labels = Annotated[
    str | None,
    typer.Option(
        help="A .npy of one label per input, or per token, for a run that has none; or which of "
        "the run's sets of labels to take, by its name."
    ),
]
LayerNames = Annotated[
    str | None,
    typer.Option(
        "--layers",
        help="Layers in network order, joined by commas, for a run without a record of them.",
    ),
]
Jobs = Annotated[int, typer.Option(help="Threads; the numbers do not depend on it.")]


def main() -> None:
    """Run the command line; a user's mistake ends in one line and exit code 2."""
    warnings.showwarning = lambda message, *_: warn(str(message))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            # A name that a terminal or pipe cannot show is no reason to show nothing.
            stream.reconfigure(errors="backslashreplace")
    with _interrupts() as interrupts:
        try:
            code = app(sys.argv[1:] or ["--help"], standalone_mode=False)
            if sys.stdout is not None:
                sys.stdout.flush()
        except BaseException as error:
            # Libraries make other errors of an interrupt.
            code = 130 if interrupts or isinstance(error, KeyboardInterrupt) else _end(error)
        # What typer makes of an interrupt.
        if interrupts or code == 130:
            complain("interrupted; what was finished is kept where --memory or the demo keeps it.")
            code = 130
    sys.exit(code)


@contextmanager
def _interrupts() -> Iterator[list[int]]:
    """Collect interrupts: the first stops the work, the second the process, whatever still runs."""
    interrupts: list[int] = []

    def interrupt(number: int, _: Any) -> None:
        if interrupts:
            os._exit(130)
        interrupts.append(number)
        raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        # Nobody is to hear them.
        yield interrupts
        return
    signal.signal(signal.SIGINT, interrupt)
    try:
        yield interrupts
    finally:
        signal.signal(signal.SIGINT, before)


def _end(error: BaseException) -> int:
    """Say what ended a command, and choose its exit code; raise what nobody foresaw."""
    if isinstance(error, BrokenPipeError):
        # Nobody reads on; nothing is left to be written at the end.
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    if isinstance(error, ValueError | ImportError):
        complain(str(error))
        return 2
    if isinstance(error, OSError):
        complain(str(error))
        return 1
    if isinstance(error, MemoryError):
        complain(f"there is not enough memory. {error}")
        return 1
    # What typer raises for a command line that it does not understand.
    if hasattr(error, "format_message"):
        complain(f"{error.format_message()} Try --help.")
        return 2
    raise error


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


def complain(message: str, colour: str = "red") -> None:
    """Say what is wrong on the error stream, in one line however long it is."""
    typer.secho(f"skinfo: {' '.join(message.split())}", fg=colour, err=True)


def warn(message: str) -> None:
    """Say what may be wrong on the error stream."""
    complain(message, "yellow")


def warn_of_other_arrays(run: Any, unreadable: list[str]) -> None:
    """Say how to leave out arrays that are no layers, where the files do not name the layers."""
    readable = [layer.name for layer in run.layers if layer.name not in unreadable]
    if run.schema is None and unreadable and readable and "," not in "".join(readable):
        warn(
            f"{name_some(unreadable)}: could not be read at any checkpoint; if these are no "
            f"layers, --layers {','.join(readable)} leaves them out."
        )


def summarize_errors(errors: list[dict[str, Any]]) -> list[str]:
    """Give the first of similar errors in full, with how many layers and checkpoints have it.

    Examples
    --------
    >>> errors = [
    ...     {"epoch": e, "layer": "y", "message": f"run, epoch {e}, layer 'y': has shape (9,)"}
    ...     for e in (1, 2, 3)
    ... ]
    >>> summarize_errors(errors)
    ["run, epoch 1, layer 'y': has shape (9,); the same at 3 checkpoints of layer y"]
    """
    similar: dict[str, list[dict[str, Any]]] = {}
    for error in errors:
        # Without its place and its numbers.
        message = error["message"].split(f"layer {error['layer']!r}: ", 1)[-1]
        message = re.sub(r"\d+", "#", message.replace(repr(error["layer"]), "layer"))
        similar.setdefault(message, []).append(error)
    return [_with_counts(group) for group in similar.values()]


def _with_counts(errors: list[dict[str, Any]]) -> str:
    first = str(errors[0]["message"])
    n_epochs = len({error["epoch"] for error in errors})
    layers = list(dict.fromkeys(error["layer"] for error in errors))
    if n_epochs == len(layers) == 1:
        return first
    checkpoints = f"{n_epochs} checkpoint{'s' if n_epochs > 1 else ''}"
    word = "layer" if len(layers) == 1 else "layers"
    return f"{first.rstrip('.;')}; the same at {checkpoints} of {word} {name_some(layers)}"


def write_json(values: Any) -> None:
    """Print plain values as JSON, the only thing on the output stream."""
    import json

    typer.echo(json.dumps(values, indent=1, allow_nan=False))


def print_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    title: str | None = None,
    styles: Sequence[str | None] | None = None,
) -> None:
    """Print a table whole: a narrow terminal breaks its lines, but no number is cut.

    Numbers are aligned to the right, words in the first and last column to the left.
    """
    table = Table(
        title=None if title is None else escape(title), title_justify="left", box=SIMPLE_HEAD,
        pad_edge=False, padding=(0, 1, 0, 0),
    )  # fmt: skip
    for place, column in enumerate(columns):
        words = place == 0 or column in ("change", "about", "stored as")
        table.add_column(escape(column), justify="left" if words else "right")
    for place, row in enumerate(rows):
        table.add_row(*map(escape, row), style=styles[place] if styles else None)
    natural = console.measure(table, options=console.options.update(max_width=1000)).maximum
    wide = Console(width=max(natural, console.width))
    wide.print(table)


def print_notes(notes: Iterable[tuple[str, str]]) -> None:
    """Print notes, given with their places, as footnotes: each once, with what it means."""
    from skinfo.comparison import POOLING_NOTES
    from skinfo.quantities import NOTES

    places: dict[str, dict[str, None]] = {}
    for place, note in notes:
        places.setdefault(note, {})[place] = None
    for note, of_note in places.items():
        meaning = (NOTES | POOLING_NOTES).get(note)
        typer.echo(f"{', '.join(of_note)}: {note}{f' ({meaning})' if meaning else ''}.")


def check_output(path: Path, *, force: bool) -> None:
    """Check that a file may be written; the error names the option that overwrites."""
    from skinfo.flow.tables import check_output

    if path.exists() and not force:
        raise ValueError(f"{path} exists; choose another name or add --force to overwrite it.")
    check_output(path, force=force)
    if path.is_dir():
        raise ValueError(f"{path} is a directory; choose another name.")
    try:
        # As the result is written: beside it, under a longer name.
        tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.").close()
    except OSError as error:
        raise ValueError(f"{path} cannot be written: {error.strerror}.") from error


def headless() -> None:
    """Draw into files: no window system is needed."""
    with needs_extra("Drawing", "plot"):
        import matplotlib as mpl
    mpl.use("Agg")

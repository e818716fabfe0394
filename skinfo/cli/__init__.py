"""The command line, one file per command. Heavy imports wait until a command needs them."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any


def _leave(*_: Any) -> None:
    os._exit(130)


# Nothing has begun: an interrupt while modules are imported ends the process, and is no fault of
# theirs.
_FREE = signal.getsignal(signal.SIGINT) is signal.default_int_handler
try:
    if _FREE:
        signal.signal(signal.SIGINT, _leave)
except ValueError:
    # Another thread than the first hears no interrupts.
    _FREE = False

try:
    import rich  # noqa: F401
    import typer  # noqa: F401
except ImportError:  # pragma: no cover - exercised in a subprocess
    sys.stderr.write("skinfo: the command line needs an extra: pip install 'skinfo[cli]'\n")
    sys.exit(2)

# Each registers its commands.
from skinfo.cli import analyze, compare, convert, demo, info, pictures  # noqa: E402, F401
from skinfo.cli.application import app, main  # noqa: E402

if _FREE:
    signal.signal(signal.SIGINT, signal.default_int_handler)

__all__ = ["app", "main", "run"]


def run() -> None:
    """Be the process of a command, which ends with its last word: at no moment but with a code."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave)
    try:
        main()
    except SystemExit as stop:
        os._exit(int(stop.code or 0))

"""The command line, a file a command. Heavy imports wait until a command needs them."""

from __future__ import annotations

import sys

try:
    import rich  # noqa: F401
    import typer  # noqa: F401
except ImportError:  # pragma: no cover - exercised in a subprocess
    sys.stderr.write("skinfo: the command line needs an extra: pip install 'skinfo[cli]'\n")
    sys.exit(2)

from skinfo.cli import analyze, application, compare, convert, demo, info, plot, report
from skinfo.cli.application import app, main

__all__ = [
    "analyze", "app", "application", "compare", "convert", "demo", "info", "main", "plot", "report",
]  # fmt: skip

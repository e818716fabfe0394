"""The command line, one file per command. Heavy imports wait until a command needs them."""

from __future__ import annotations

import sys

try:
    import rich  # noqa: F401
    import typer  # noqa: F401
except ImportError:  # pragma: no cover - exercised in a subprocess
    sys.stderr.write("skinfo: the command line needs an extra: pip install 'skinfo[cli]'\n")
    sys.exit(2)

# Each registers its commands.
from skinfo.cli import analyze, compare, convert, demo, info, pictures  # noqa: F401
from skinfo.cli.application import app, main

__all__ = ["app", "main"]

"""Where the tables of full-size runs go: ``docs/results/<name>.csv``, ``<name>.json`` beside it."""

from __future__ import annotations

import json
import platform
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pandas as pd

from skinfo._files import write_atomically

#: Whether the size of the paper was asked for; a gallery passes no arguments.
FULL = "--full" in sys.argv
RESULTS = Path(__file__).resolve().parents[1] / "docs" / "results"


def write_results(
    name: str, table: pd.DataFrame, *, seconds: float, script: str = "", **facts: Any
) -> None:
    """Write a table and beside it how it was made: command, facts, seconds, date, versions."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    described = {
        "command": f"python examples/plot_{script or name}.py --full",
        **facts,
        "seconds": round(seconds),
        "date": datetime.now(UTC).date().isoformat(),
        "versions": {"python": platform.python_version(), **_versions("numpy", "skinfo", "torch")},
    }
    with write_atomically(RESULTS / f"{name}.csv") as file:
        file.write(table.to_csv(index=False, float_format="%.6g").encode())
    with write_atomically(RESULTS / f"{name}.json") as file:
        file.write((json.dumps(described, indent=2) + "\n").encode())


def _versions(*packages: str) -> dict[str, str]:
    installed = {}
    for package in packages:
        try:
            installed[package] = version(package)
        except PackageNotFoundError:
            continue
    return installed

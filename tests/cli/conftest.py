"""A run, and its tables in both formats, that tests of the commands share."""

import pytest
from typer.testing import CliRunner

from skinfo import cli

from .written import QUICK, write_run


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture(scope="session")
def tables(run, tmp_path_factory):
    """A directory with the table of the run in both formats."""
    folder = tmp_path_factory.mktemp("tables")
    for name in ("flow.parquet", "other.csv"):
        done = CliRunner().invoke(cli.app, ["analyze", str(run), "-o", str(folder / name), *QUICK])
        assert done.exit_code == 0, done.output
    return folder

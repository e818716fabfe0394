"""What the README shows runs and prints what it says."""

import re
import shlex
from pathlib import Path

import pytest

from skinfo import open_run

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", README, flags=re.DOTALL)
PYTHON = [code for kind, code in BLOCKS if kind == "python"]
COMMANDS = re.findall(r"^    skinfo (.*)$", README, flags=re.MULTILINE)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Where the second example has recorded its run."""
    place, names = tmp_path_factory.mktemp("readme"), {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        for code in PYTHON:
            exec(compile(code, "README.md", "exec"), names)
    assert open_run(place / "my-run").epochs == [1, 10]
    return place


def test_the_first_example_prints_what_the_readme_says(capsys):
    exec(compile(PYTHON[0], "README.md", "exec"), {})
    assert capsys.readouterr().out.strip() == dict(BLOCKS)[""].strip()


def test_the_commands_work(call, place, monkeypatch):
    monkeypatch.chdir(place)
    assert [command.split()[0] for command in COMMANDS] == [
        "info", "analyze", "plot", "report", "compare", "convert",
    ]  # fmt: skip
    for command in COMMANDS:
        if command.startswith("compare"):
            (place / "other.parquet").write_bytes((place / "flow.parquet").read_bytes())
        code, _, error = call(*shlex.split(command, comments=True))
        assert code == 0, error
    assert open_run("my-run-zarr").epochs == [1, 10]
    assert "<html" in Path("report.html").read_text(encoding="utf-8")

"""What the documentation's pages show runs and prints what they say."""

import doctest
import importlib
import inspect
import re
import shlex
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest

from skinfo import open_run
from skinfo.comparison import CHANGES, SCOPES
from skinfo.errors import RunError
from skinfo.noise import NOISES

from reference import line_truth

mpl.use("Agg")

import matplotlib.pyplot as plt

DOCS = Path(__file__).parents[1] / "docs"


def blocks_of(page):
    text = (DOCS / page).read_text(encoding="utf-8")
    return re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)


def test_the_first_minutes_print_what_they_say(call, tmp_path, monkeypatch):
    """The page's commands run on what its examples have written."""
    monkeypatch.chdir(tmp_path)
    session = doctest.DocTestParser().get_doctest(
        "\n".join(blocks_of("start.md")), {}, "start.md", None, 0
    )
    result = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(
        session, clear_globs=False
    )
    plt.close("all")
    assert result.attempted > 40
    assert not result.failed
    assert open_run("recorded").layers[1].noise_before
    assert set(session.globs["changes"]["change"]) <= {*CHANGES, ""}

    page = (DOCS / "start.md").read_text(encoding="utf-8")
    Path("settings.toml").write_text(re.search(r"```toml\n(.*?)```", page, re.DOTALL)[1])
    commands = re.findall(r"^    skinfo (.*)$", page, flags=re.MULTILINE)
    assert len(commands) == 7
    for command in commands:
        code, _, error = call(*shlex.split(command.replace("RUN", "recorded"), comments=True))
        assert code == 0, error


def test_the_ways_to_extend_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names, blocks = {}, blocks_of("extending.md")
    assert len(blocks) == 5
    for block in blocks[:2]:
        exec(compile(block, "extending.md", "exec"), names)
    assert names["flow"]["quantity"].tolist() == ["participation_ratio"]
    assert 3 < names["flow"]["value"].item() <= 4
    # Eight replicas that share nothing: all but what their mean varies.
    assert names["share"] == pytest.approx(7 / 8, abs=0.02)
    try:
        exec(compile(blocks[2], "extending.md", "exec"), names)
    finally:
        NOISES.pop("shot", None)
    # Half of the rows are zero for certain; of the others the noise is 0.5 and 1.
    within, *_ = line_truth("per row", [0.5, 1.0], [1.0, 4.0])
    truth = pytest.approx(np.log(2) + within / 2, abs=1e-9)
    assert names["camera"].mutual_info_ == truth
    assert names["camera"].pattern_information_ == pytest.approx(np.log(2), abs=1e-12)
    assert names["counts"].set_index("quantity")["value"]["mutual_info"] == truth
    with pytest.raises(RunError, match="layer 'sensor': noise is one of .*got 'shot'.*imported"):
        open_run("camera")
    exec(compile(blocks[3], "extending.md", "exec"), names)
    assert names["est"].bracket_[1] == pytest.approx(3.12, abs=0.01)
    assert names["ring"].bracket_[1] == pytest.approx(3.09, abs=0.01)
    exec(compile(blocks[4], "extending.md", "exec"), names)
    assert names["run"].epochs == [1, 2, 3]
    assert names["run"].load(2, "hidden").noisy_sample().X.shape == (1000, 16)


def test_the_page_on_formats_prints_what_it_says():
    session = doctest.DocTestParser().get_doctest(
        "\n".join(blocks_of("formats.md")), {}, "formats.md", None, 0
    )
    result = doctest.DocTestRunner().run(session)
    assert (result.attempted, result.failed) == (14, 0)


def test_words_for_changes_mean_the_same_everywhere():
    rows = re.findall(r"^\| `(.*?)` \| (.*?) \|$", (DOCS / "report.md").read_text("utf-8"), re.M)
    assert dict(rows) == CHANGES | SCOPES


NAMES = re.findall(r"^   ([\w.]+)$", (DOCS / "api.rst").read_text("utf-8"), re.MULTILINE)


@pytest.mark.parametrize("name", NAMES)
def test_every_name_of_the_reference_is_public_and_has_an_example(name):
    """The examples themselves run as doctests."""
    room, _, name = f"skinfo.{name}".rpartition(".")
    module = importlib.import_module(room)
    assert name in module.__all__
    assert ">>>" in inspect.getdoc(getattr(module, name))

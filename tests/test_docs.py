"""What the documentation's pages show runs and prints what they say."""

import doctest
import importlib
import inspect
import re
from pathlib import Path

import pytest

from skinfo.comparison import CHANGES

DOCS = Path(__file__).parents[1] / "docs"


def blocks_of(page):
    text = (DOCS / page).read_text(encoding="utf-8")
    return re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)


def test_the_five_minutes_print_what_they_say():
    session = doctest.DocTestParser().get_doctest(
        "\n".join(blocks_of("start.md")), {}, "start.md", None, 0
    )
    found = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(session)
    assert found.attempted > 10
    assert not found.failed


def test_the_ways_to_extend_run():
    names, blocks = {}, blocks_of("extending.md")
    for block in blocks[:2]:
        exec(compile(block, "extending.md", "exec"), names)
    assert names["flow"]["quantity"].tolist() == ["participation_ratio"]
    assert 3 < names["flow"]["value"].item() <= 4
    # Eight replicas that share nothing: all but what their mean varies.
    assert names["share"] == pytest.approx(7 / 8, abs=0.02)
    exec(compile(blocks[2], "extending.md", "exec"), names)
    assert names["run"].epochs == [1, 2, 3]
    assert names["run"].load(2, "hidden").noisy_sample().X.shape == (1000, 16)


def test_words_for_changes_mean_the_same_everywhere():
    rows = re.findall(r"^\| `(.*?)` \| (.*?) \|$", (DOCS / "report.md").read_text("utf-8"), re.M)
    assert dict(rows) == CHANGES


NAMES = re.findall(r"^   ([\w.]+)$", (DOCS / "api.rst").read_text("utf-8"), re.MULTILINE)


@pytest.mark.parametrize("name", NAMES)
def test_every_name_of_the_reference_is_public_and_has_an_example(name):
    """The examples themselves run as doctests."""
    room, _, name = f"skinfo.{name}".rpartition(".")
    module = importlib.import_module(room)
    assert name in module.__all__
    assert ">>>" in inspect.getdoc(getattr(module, name))

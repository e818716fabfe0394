"""The page "where things are" names every file that holds a formula, and no file that is not."""

import re
from pathlib import Path

import pytest

import skinfo

ROOT = Path(skinfo.__file__).parent
PAGE = Path(__file__).parents[1] / "docs" / "where.md"
NAMED = set(re.findall(r"`([a-z_/]+(?:\.py|/))`", PAGE.read_text(encoding="utf-8")))


@pytest.mark.parametrize("room", ["measures", "kernels"])
def test_every_formula_is_found_from_the_page(room):
    files = {f"{room}/{path.name}" for path in (ROOT / room).glob("*.py")} - {f"{room}/__init__.py"}
    assert files <= NAMED, sorted(files - NAMED)


def test_every_room_is_found_from_the_page():
    rooms = {f"{path.parent.name}/" for path in ROOT.glob("*/__init__.py")}
    rooms |= {path.name for path in ROOT.glob("*.py") if path.stem != "__init__"}
    assert rooms <= NAMED, sorted(rooms - NAMED)


def test_what_the_page_names_is_there():
    places = [ROOT, ROOT.parent, PAGE.parents[1]]
    assert not [name for name in NAMED if not any((place / name).exists() for place in places)]

"""The page "where things are" names what exists."""

import re
from pathlib import Path

import skinfo

PACKAGE = Path(skinfo.__file__).parent
PAGE = Path(__file__).parents[1] / "docs" / "where.md"


def test_what_the_page_names_exists():
    named = set(re.findall(r"`([a-z_/]+(?:\.py|/))`", PAGE.read_text(encoding="utf-8")))
    assert len(named) > 30
    places = (PACKAGE, PAGE.parents[1])
    assert not [name for name in named if not any((place / name).exists() for place in places)]

"""How the documentation is built: sphinx-build -W docs docs/_build/html."""

import os
from datetime import date
from importlib.metadata import version as version_of
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
# Compiled kernels and the examples' threads: what a reader's machine would do.
os.environ.setdefault("OMP_NUM_THREADS", "2")

project = "skinfo"
author = "The skinfo developers"
copyright = f"{date.today().year}, {author}"  # noqa: A001
version = release = version_of("skinfo")

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
]
templates_path = ["_templates"]
exclude_patterns = ["_build", "_generated"]
myst_enable_extensions = ["amsmath", "colon_fence", "dollarmath"]
myst_heading_anchors = 3
autosummary_generate = True
numpydoc_show_class_members = False
numpydoc_xref_param_type = False
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"plot_",
    "ignore_pattern": r"^(?!plot_).*\.py$",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "remove_config_comments": True,
    "show_memory": False,
    "reference_url": {"skinfo": None},
    "nested_sections": False,
}

html_theme = "pydata_sphinx_theme"
html_title = "skinfo"
html_static_path = ["_static"] if Path(__file__).with_name("_static").is_dir() else []
# Only the gallery and the reference have pages below them to navigate to.
html_sidebars = {page.stem: [] for page in Path(__file__).parent.glob("*.md")}
html_theme_options = {
    "show_prev_next": True,
    "navbar_align": "left",
    "secondary_sidebar_items": ["page-toc"],
    "show_toc_level": 2,
}


def _write_tables() -> None:
    """Write the tables of quantities and of notes that "how to read the numbers" includes."""
    from skinfo.comparison import POOLING_NOTES
    from skinfo.quantities import NOTES, QUANTITIES

    notes = NOTES | {n: f"of a pooled table: {m}" for n, m in POOLING_NOTES.items()}
    tables = {
        "quantities": ["| quantity | axis | what it says |", "|---|---|---|"]
        + [f"| `{q.name}` | {q.title} | {q.sentence} |" for q in QUANTITIES.values()],
        "notes": [
            "| note | meaning |",
            "|---|---|",
            *(f"| `{n}` | {m} |" for n, m in notes.items()),
        ],
    }
    place = Path(__file__).with_name("_generated")
    place.mkdir(exist_ok=True)
    for name, lines in tables.items():
        text = "\n".join(lines).replace("h(T|X)", "h(T\\|X)") + "\n"
        (place / f"{name}.md").write_text(text, encoding="utf-8")


_write_tables()

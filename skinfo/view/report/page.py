"""From sections to one HTML document that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from importlib.resources import files

from skinfo.view.report.figures import plotly_offline
from skinfo.view.report.sections import Section

# The browser refuses whatever is not in the page itself.
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src data: blob:; base-uri 'none'; form-action 'none'"
)


def document(
    title: str, subtitle: str, warnings: str, toolbar: str, sections: Sequence[Section]
) -> str:
    """Put the page together, plotly.js, style and script inside.

    Parameters
    ----------
    title, subtitle : str
        Plain text.
    warnings, toolbar : str
        HTML.
    sections : sequence of Section
        In order.
    """
    links = "".join(
        f'<a href="#{section.name}">{escape(section.title)}</a>' for section in sections
    )
    body = "".join(
        f'<section id="{section.name}"><h2>{escape(section.title)}</h2>{section.html}</section>'
        for section in sections
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>{escape(title)}</title>
<style>{_own("page.css")}</style>
</head>
<body>
<header><h1>{escape(title)}</h1><p>{escape(subtitle)}</p><nav>{links}</nav></header>
<noscript><p class="absent">The figures need JavaScript; tables and notes do not.</p></noscript>
{warnings}
{toolbar}
<main>{body}</main>
<script>{plotly_offline().offline.get_plotlyjs()}</script>
<script>{_own("page.js")}</script>
</body>
</html>
"""


def _own(name: str) -> str:
    return files("skinfo.view.report").joinpath(name).read_text(encoding="utf-8")

"""A page as one HTML file with tables and figures, which fetches nothing.

The file carries plotly.js once and the figures as data. Its policy forbids the browser to load anything else, and
every text from outside is escaped.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.common.text import escape_text

if TYPE_CHECKING:
    import plotly.graph_objects as go

LONGEST = 600  # characters of a text that is clipped
_HERE = Path(__file__).parent


class HtmlPage:
    """Sections in order, and the figures they refer to."""

    def __init__(self) -> None:
        self.sections: list[str] = []
        self.figures: list[dict[str, Any]] = []

    def section(self, heading: str, body: str) -> None:
        self.sections.append(f"<section>{f'<h2>{escape(heading)}</h2>' if heading else ''}{body}</section>")

    def chart(self, figure: go.Figure, title: str, caption: str, *, wide: bool = True) -> str:
        """The place of a figure. Its caption says what it shows, also to people who cannot see it."""
        drawn = json.loads(figure.update_layout(template="none").to_json())
        self.figures.append({"data": drawn["data"], "layout": drawn["layout"]})
        height = int(drawn["layout"]["height"])
        return (
            f"<figure{' class=wide' if wide else ''}><h3>{escape(title)}</h3>"
            f'<div class="chart" style="height:{height}px" role="img" aria-label="{escape(caption)}"></div>'
            f"<figcaption>{escape(caption)}</figcaption></figure>"
        )

    def file(self, title: str) -> str:
        """The whole file."""
        from plotly.offline import get_plotlyjs

        style, script = ((_HERE / f"report.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
        figures = json.dumps(self.figures, ensure_ascii=False).replace("<", "\\u003c")
        policy = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"
        return (
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            '<meta name="color-scheme" content="light dark">\n'
            f"<title>{text(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n"
            + "\n".join(self.sections)
            + f"\n</main>\n<script>{get_plotlyjs()}</script>\n"
            f'<script id="figures" type="application/json">{figures}</script>\n'
            f"<script>\n{script}</script>\n</body>\n</html>\n"
        )


def table(
    titles: Sequence[str], rows: Iterable[Sequence[str]], numbers: Iterable[int] = (), samples: bool = False
) -> str:
    """A table of cells that are HTML already; `numbers` are the columns aligned to the right."""
    right = set(numbers)
    cell = [' class="number"' if column in right else "" for column in range(len(titles))]
    head = "".join(f"<th{cell[at]}>{escape(name)}</th>" for at, name in enumerate(titles)) if any(titles) else ""
    body = "".join(
        "<tr>" + "".join(f"<td{cell[at]}>{value}</td>" for at, value in enumerate(row)) + "</tr>" for row in rows
    )
    head = f"<thead><tr>{head}</tr></thead>" if head else ""
    kind = ' class="samples"' if samples else ""
    return f'<div class="scroll"><table{kind}>{head}<tbody>{body}</tbody></table></div>'


def text(value: object) -> str:
    """Text from outside, with nothing in it that acts."""
    return escape(escape_text(str(value)))


def clipped(value: str) -> str:
    """The beginning of a text from outside."""
    return text(value if len(value) <= LONGEST else value[:LONGEST].rstrip() + " …")

"""The story of one run as a single HTML file, for somebody without the app: nothing in it is fetched from anywhere.

The file carries plotly.js once and the figures as data. Its policy forbids the browser to load anything else, and
every text of a sample is escaped.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.analysis import pruning
from engine.analysis import samples as samples_words
from engine.analysis.pruning_results import Results, results_of
from engine.common import formats
from engine.common.formats import duration, share
from engine.common.text import escape_text
from engine.config import toml
from engine.config.pruning import METRICS
from engine.storage.ledger import Ledger, Run
from engine.storage.store import SampleQuery, Store
from pages.playground import answer
from pages.shared import arm_charts, charts

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

SHOWN = 20  # samples in each table
LONGEST = 600  # characters of each of their texts
_HERE = Path(__file__).parent

GLOSSARY = {
    "Teacher and student": "A larger and a smaller language model of one family. The student is to learn; the teacher "
    "shows what there is to learn.",
    "Divergence (KL)": "How differently the two expect the next token, in nats, averaged over the tokens of a sample. "
    "Zero means that they expect the same; high means that the student has something to learn, or that the text is "
    "odd. The number cannot tell these two apart.",
    "Threshold (τ)": "The bar: samples whose score is above it are kept, all others are pruned. In dynamic pruning the "
    "bar rises after every epoch.",
    "Epoch": "One round of scoring every sample and then training on those kept.",
    "Arm": "One way of choosing samples. All arms train the same student from the same seeds.",
    "Seed": "The number all chance is drawn from. A difference that is smaller than the spread between seeds is not "
    "settled.",
    "Perplexity": "How many tokens the model hesitates between, on samples it never read. Lower is better.",
}


@dataclass(frozen=True)
class Chart:
    figure: go.Figure
    title: str
    said: str  # what it shows, in a sentence: the caption, and the text for those who cannot see it


def html_report(store: Store, ledger: Ledger, run: Run, query: SampleQuery) -> str:
    """The whole file. `query` names the ranking and the cut (τ and decisions by hand); its filters are not applied.

    Raises WinnowError where the run has no scores there.
    """
    cut = SampleQuery(query.scoring, tau=query.tau, overrides=query.overrides)
    page = _Page()
    page.section("", _opening(store, run, cut, page))
    results = results_of(store, run) if run.kind == "dynamic-pruning" else None
    if results is not None:
        page.section("What did raising the bar do?", _pruning(results, page))
    page.section("Which samples are kept?", _samples(store, cut))
    page.section("How was it made?", _made(ledger, run, cut))
    page.section("How to read this", _glossary())
    return page.html(f"Winnow: {run.id}")


class _Page:
    """Sections in order, and the figures they refer to."""

    def __init__(self) -> None:
        self.sections: list[str] = []
        self.figures: list[dict[str, Any]] = []

    def section(self, heading: str, body: str) -> None:
        self.sections.append(f"<section>{f'<h2>{escape(heading)}</h2>' if heading else ''}{body}</section>")

    def chart(self, chart: Chart, wide: bool = True) -> str:
        drawn = json.loads(chart.figure.update_layout(template="none").to_json())
        self.figures.append({"data": drawn["data"], "layout": drawn["layout"]})
        height = int(drawn["layout"]["height"])
        return (
            f"<figure{' class=wide' if wide else ''}><h3>{escape(chart.title)}</h3>"
            f'<div class="chart" style="height:{height}px" role="img" aria-label="{escape(chart.said)}"></div>'
            f"<figcaption>{escape(chart.said)}</figcaption></figure>"
        )

    def html(self, title: str) -> str:
        from plotly.offline import get_plotlyjs

        style, script = ((_HERE / f"report.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
        figures = json.dumps(self.figures, ensure_ascii=False).replace("<", "\\u003c")
        policy = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"
        return (
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            '<meta name="color-scheme" content="light dark">\n'
            f"<title>{escape(escape_text(title))}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n"
            + "\n".join(self.sections)
            + f"\n</main>\n<script>{get_plotlyjs()}</script>\n"
            f'<script id="figures" type="application/json">{figures}</script>\n'
            f"<script>\n{script}</script>\n</body>\n</html>\n"
        )


def _opening(store: Store, run: Run, cut: SampleQuery, page: _Page) -> str:
    """The question, the answer, and the two pictures of the scores."""
    scoring = cut.scoring
    name = METRICS[scoring.metric]
    source = str(run.recipe["data"]["source"])
    kept, everything = store.count(replace(cut, show="kept")), store.count(SampleQuery(scoring))
    by_hand = store.count(replace(cut, by_hand="any")).samples
    half, numbered = store.half_of_total(scoring)
    histogram = store.histogram(scoring, query=replace(cut, show="kept"))
    when = "before any training" if scoring.epoch == 1 else f"in epoch {scoring.epoch}, seed {scoring.seed}"
    models = run.recipe["models"]
    parts = [
        f'<p class="kicker">Winnow · {time.strftime("%-d %B %Y")} · run {_text(run.id)}</p>',
        f"<h1>Which samples of {_text(_short(source))} matter?</h1>",
        f'<p class="lead">{escape(samples_words.kept(kept, everything, by_hand))}</p>',
        f"<p>Every sample was read by two language models, {_text(models['teacher'])} as the teacher and "
        f"{_text(models['student'])} as the student, and scored by {escape(name)} {escape(when)}. "
        f"{_bar(cut.tau)} {escape(samples_words.missing(histogram.missing))}</p>",
        page.chart(
            Chart(
                answer.placed(histogram, cut.tau, f"{name}, {samples_words.unit(scoring.metric)}"),
                "How the scores are spread",
                "Each bar counts the samples with about that score. Blue is kept, hatched orange is pruned; what lies "
                "far out is gathered in the bars at the ends.",
            )
        ),
    ]
    if half:
        carry = "carries" if half == 1 else "carry"
        parts.append(
            page.chart(
                Chart(
                    charts.concentration(
                        store.concentration(scoring),
                        (half, numbered),
                        "divergence" if scoring.metric in ("kl", "kl_response") else "it",
                    ),
                    f"{half:,} of {numbered:,} samples {carry} half of all {name}",
                    f"All samples from the highest score to the lowest: {half:,} of them ({share(half, numbered)}) "
                    f"{carry} half of the total. On the dotted line all would carry the same.",
                )
            )
        )
    return "".join(parts)


def _bar(tau: float | None) -> str:
    if tau is None:
        return "Nothing was cut."
    return f"What scored above the threshold τ = {formats.value(tau, 4)} is kept."


def _pruning(found: Results, page: _Page) -> str:
    """The finding of the arms in words, its picture, the curves, and what each arm cost."""
    ending, verdict = pruning.ending(found.last), pruning.verdict(found.last)
    parts = [f'<p class="lead">{escape(ending or "No arm has come to its end yet.")}</p>']
    if verdict:
        parts.append(f"<p>{escape(verdict)}</p>")
    if len(found.finished) < len(found.recipe.seeds):
        parts.append(f"<p>{len(found.finished)} of {len(found.recipe.seeds)} seeds have come to their end so far.</p>")
    if len(pruning.differences(found.last, "perplexity", "dynamic", "random")):
        parts.append(
            page.chart(
                Chart(
                    arm_charts.forest(found.last),
                    "Dynamic pruning against each other arm",
                    "Difference in final perplexity. Each ring is one seed, the bar the range in which the true "
                    "difference lies 95 times out of 100; where it crosses the dotted line, chance could explain it.",
                )
            )
        )
    panels = [
        Chart(
            arm_charts.curves(found.table, "perplexity", "tokens_read"), "Perplexity against tokens read",
            "Further left has read less, lower is better. Bands are 95 % intervals over seeds.",
        ),
        Chart(
            arm_charts.curves(found.table, "loss", "epoch"), "Validation loss by epoch",
            "Mean cross-entropy on samples no arm trained on, in nats per token.",
        ),
        Chart(
            arm_charts.curves(found.table, "accuracy", "epoch"), "Token accuracy by epoch",
            "How often the first guess for the next token is right, on samples no arm trained on.",
        ),
        Chart(
            arm_charts.kept(found.table, found.samples), "Kept in each epoch",
            "How many samples were above the bar, mean over seeds, and the bar τ below.",
        ),
    ]  # fmt: skip
    parts.append(f'<div class="grid">{"".join(page.chart(panel, wide=False) for panel in panels)}</div>')
    if len(found.last):
        parts.append(_cost(pruning.cost(found.last), found.last))
    return "".join(parts)


def _cost(table: pd.DataFrame, last: pd.DataFrame) -> str:
    perplexity = last.groupby("arm")["perplexity"].mean().to_dict()
    spent: dict[Any, Any] = table.to_dict("index")
    rows = []
    for arm, look in arm_charts.LOOKS.items():
        if arm not in spent:
            continue
        arm_spent = spent[arm]
        part = arm_spent["share"]
        rows.append(
            (
                escape(f"{look.sign} {look.name}"),
                f"{perplexity[arm]:.3f}",
                f"{arm_spent['tokens_read']:,.0f}",
                "" if math.isnan(part) else share(part, 1),
                escape(duration(arm_spent["seconds"])),
                f"{arm_spent['seeds']:.0f}",
            )
        )
    heads = ("arm", "perplexity at the end", "tokens read", "of everything", "time, scoring included", "seeds")
    return f"<h3>What each arm cost</h3>{_table(heads, rows, numbers=range(1, 6))}"


def _samples(store: Store, cut: SampleQuery) -> str:
    """The highest of what is kept, and the samples on both sides of the threshold."""
    top = store.page(replace(cut, show="kept"), 0, SHOWN)
    parts = [f"<h3>The {formats.count(len(top), 'sample')} that are kept first</h3>" if len(top) else "<p>None.</p>"]
    parts.append(_listed(top))
    if cut.tau is not None:
        border = store.offset_at(cut, cut.tau)
        around = store.page(cut, max(0, border - SHOWN // 2), SHOWN)
        parts.append("<h3>Around the threshold</h3><p>The last that are kept, and the first that are not.</p>")
        parts.append(_listed(around))
    return "".join(parts)


def _listed(rows: pd.DataFrame) -> str:
    if not len(rows):
        return ""
    listed = []
    for row in rows.to_dict("records"):
        mark = '<span class="kept">● kept</span>' if row["kept"] else '<span class="pruned">⊘ pruned</span>'
        asked = f"<p>{_clipped(row['instruction'])}</p>"
        if row["input"]:
            asked += f'<p class="quiet">{_clipped(row["input"])}</p>'
        listed.append(
            (
                f"{row['rank']:,}",
                "NaN" if math.isnan(row["value"]) else f"{row['value']:.3f}",
                mark + ("<br>by hand" if row["decision"] else ""),
                asked,
                f"<p>{_clipped(row['response'])}</p>",
            )
        )
    return _table(("rank", "score", "", "instruction and input", "response"), listed, numbers=(0, 1), samples=True)


def _made(ledger: Ledger, run: Run, cut: SampleQuery) -> str:
    """The recipe, and what another person needs to repeat the run."""
    facts: dict[str, Any] = {
        "run": run.id,
        "state": run.state,
        "ranking": f"{cut.scoring.metric}, arm {cut.scoring.arm}, seed {cut.scoring.seed}, epoch {cut.scoring.epoch}",
        "threshold": "none" if cut.tau is None else repr(cut.tau),
        "decisions by hand": len(cut.overrides),
        **toml.flat({key: value for key, value in run.provenance.items() if key != "recipe"}),
    }
    here = str(ledger.workspace.root)  # where it lies on this machine is nobody else's business
    rows = [
        (_text(str(key).replace("_", " ")), f"<code>{_clipped(str(value).replace(here, '(workspace)'))}</code>")
        for key, value in facts.items()
    ]
    return (
        "<h3>Settings</h3><p>The whole recipe; saved as a file, the same run is started with it.</p>"
        f"<pre>{_text(toml.as_toml(run.recipe))}</pre><h3>Provenance</h3>{_table(('', ''), rows)}"
    )


def _glossary() -> str:
    return f"<dl>{''.join(f'<dt>{escape(term)}</dt><dd>{escape(said)}</dd>' for term, said in GLOSSARY.items())}</dl>"


def _table(
    heads: Sequence[str], rows: Iterable[Sequence[str]], numbers: Iterable[int] = (), samples: bool = False
) -> str:
    """A table of cells that are HTML already; `numbers` are columns set to the right."""
    right = set(numbers)
    cell = [' class="number"' if column in right else "" for column in range(len(heads))]
    head = "".join(f"<th{cell[at]}>{escape(name)}</th>" for at, name in enumerate(heads)) if any(heads) else ""
    body = "".join(
        "<tr>" + "".join(f"<td{cell[at]}>{value}</td>" for at, value in enumerate(row)) + "</tr>" for row in rows
    )
    head = f"<thead><tr>{head}</tr></thead>" if head else ""
    kind = ' class="samples"' if samples else ""
    return f'<div class="scroll"><table{kind}>{head}<tbody>{body}</tbody></table></div>'


def _text(text: object) -> str:
    """Text from anywhere, inert and escaped."""
    return escape(escape_text(str(text)))


def _clipped(text: str) -> str:
    return _text(text if len(text) <= LONGEST else text[:LONGEST].rstrip() + " …")


def _short(source: str) -> str:
    return "Winnow's demo" if source == "demo" else re.sub(r"\.(jsonl|json|csv|parquet)$", "", Path(source).name)

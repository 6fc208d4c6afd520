"""The report of one run as a single HTML file, for people without the app: which samples are kept, and what it did."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.analysis import samples
from engine.analysis.pruning_results import Results, results_of
from engine.analysis.tournament import difference_text, multiplier_cell, net_text, remarks, tournament
from engine.common import formats
from engine.common.formats import duration, share
from engine.config import toml
from engine.config.kinds import PRUNING
from engine.config.rankings import RANKINGS
from engine.storage import uploads
from engine.storage.ledger import Ledger, Run
from engine.storage.store import SampleQuery, Store
from pages.shared import arm_charts, charts
from pages.shared.arm_styles import Styles, styles
from pages.shared.html import HtmlPage, clipped, table, text

if TYPE_CHECKING:
    import pandas as pd

SHOWN = 20  # samples in each table

GLOSSARY = {
    "Teacher and student": "A larger and a smaller language model of one family. The student is trained; the teacher "
    "shows what there is to learn.",
    "Divergence (KL)": "How differently the two expect the next token, in nats, averaged over the tokens of a sample. "
    "Zero means that they expect the same; high means that the student has something to learn, or that the text is "
    "odd. The score cannot tell these two apart.",
    "Threshold (τ)": "Samples whose score is above the threshold are kept, all others are pruned. In dynamic pruning "
    "the threshold rises after every epoch.",
    "Epoch": "One round of scoring every sample and then training on those kept.",
    "Arm": "One way of choosing samples. All arms train the same student from the same seeds.",
    "Compute multiplier": "How many times the tokens of an arm random choice has to train on for as low a loss, read "
    "off its measured curve. Net of choosing counts seconds instead, with those of scoring the samples.",
    "Settled": "Where several arms are compared with random choice, some would look better by chance. Settled is what "
    "Holm's correction leaves: at most one study in twenty settles a difference that is none.",
    "Seed": "The number that all random numbers are derived from. A difference that is smaller than the spread between "
    "seeds is not settled.",
    "Perplexity": "How many tokens the model hesitates between, on samples it was not trained on. Lower is better.",
}


def html_report(store: Store, ledger: Ledger, run: Run, query: SampleQuery) -> str:
    """The whole file. `query` names the ranking, τ and the decisions by hand; its filters are not applied.

    Raises WinnowError if the run has no scores there.
    """
    query = SampleQuery(query.scoring, tau=query.tau, overrides=query.overrides)
    page = HtmlPage()
    page.section("", _opening(store, run, query, page))
    results = results_of(store, run) if run.kind == PRUNING.name else None
    if results is not None:
        page.section("Which way of choosing samples pays?", _pruning(results, page))
    page.section("Which samples are kept?", _samples(store, query))
    page.section("How was it made?", _provenance(ledger, run, query))
    page.section("How to read this", _glossary())
    return page.file(f"Winnow: {run.id}")


def _opening(store: Store, run: Run, query: SampleQuery, page: HtmlPage) -> str:
    """The question, the answer, and the two charts of the scores."""
    scoring = query.scoring
    name = RANKINGS[scoring.metric]
    kept, total = store.count(replace(query, show="kept")), store.count(SampleQuery(scoring))
    by_hand = store.count(replace(query, by_hand="any")).samples
    half, scored = store.half_of_total(scoring)
    histogram = store.histogram(scoring, query=replace(query, show="kept"))
    when = "before any training" if scoring.epoch == 1 else f"in epoch {scoring.epoch}, seed {scoring.seed}"
    models = run.recipe["models"]
    rule = "No threshold was set."
    if query.tau is not None:
        rule = f"Samples that scored above the threshold τ = {formats.value(query.tau, 4)} are kept."
    parts = [
        f'<p class="kicker">Winnow · {time.strftime("%-d %B %Y")} · run {text(run.id)}</p>',
        f"<h1>Which samples of {text(_short(str(run.recipe['data']['source'])))} matter?</h1>",
        f'<p class="lead">{escape(samples.kept(kept, total, by_hand))}</p>',
        f"<p>Every sample was read by two language models, {text(models['teacher'])} as the teacher and "
        f"{text(models['student'])} as the student, and scored by {escape(name)} {escape(when)}. "
        f"{rule} {escape(samples.missing(histogram.missing))}</p>",
        page.chart(
            charts.ranking(histogram, query.tau, f"{name}, {samples.unit(scoring.metric)}"),
            "How the scores are spread",
            "Each bar counts the samples with about that score. Blue is kept, hatched orange is pruned; outliers are "
            "gathered in the bars at the ends.",
        ),
    ]
    if half:
        carry = "carries" if half == 1 else "carry"
        measure = "divergence" if scoring.metric in ("kl", "kl_response") else "it"
        parts.append(
            page.chart(
                charts.concentration(store.concentration(scoring), (half, scored), measure),
                f"{half:,} of {scored:,} samples {carry} half of all {name}",
                f"All samples from the highest score to the lowest: {half:,} of them ({share(half, scored)}) "
                f"{carry} half of the total. On the dotted line all would carry the same.",
            )
        )
    return "".join(parts)


def _pruning(results: Results, page: HtmlPage) -> str:
    """The verdict in a sentence, its chart, the curves, and a table of all arms."""
    arms, compared = styles(results), tournament(results)
    parts = [f'<p class="lead">{escape(results.headline or "No seed has finished with every arm yet.")}</p>']
    parts += [f"<p>{escape(remark)}</p>" for remark in remarks(results)]
    if len(results.finished) < len(results.recipe.seeds):
        parts.append(f"<p>{len(results.finished)} of {len(results.recipe.seeds)} seeds have finished so far.</p>")
    elif results.pick is not None:
        parts.append(f"<p><b>Recommended: {escape(results.pick.arm)}.</b> {escape(results.pick.sentence)}</p>")
    if len(arm_charts.compared(compared)):
        parts.append(
            page.chart(
                arm_charts.forest(results, compared, arms),
                "Each selection against random choice",
                "Difference in final validation loss at the same tokens. Each ring is one seed, the bar the range in "
                "which the true difference lies 95 times out of 100; a hollow mean is not settled.",
            )
        )
    curves = arm_charts.curves
    panels = [
        (
            curves(results.table, arms, "perplexity", "tokens_read"), "Perplexity against tokens read",
            "Further left has read less, lower is better. Bands are 95 % intervals over seeds.",
        ),
        (
            curves(results.table, arms, "loss", "epoch"), "Validation loss by epoch",
            "Mean cross-entropy on samples no arm trained on, in nats per token.",
        ),
        (
            curves(results.table, arms, "accuracy", "epoch"), "Token accuracy by epoch",
            "How often the first guess for the next token is right, on samples no arm trained on.",
        ),
    ]  # fmt: skip
    if "dynamic" in arms:
        panels.append(
            (
                arm_charts.kept(results.table, results.samples), "Kept in each epoch",
                "How many samples were above the threshold, mean over seeds, and the threshold τ below.",
            )
        )  # fmt: skip
    parts.append(f'<div class="grid">{"".join(page.chart(*panel, wide=False) for panel in panels)}</div>')
    if len(results.last):
        parts.append(_arms(compared, arms))
    return "".join(parts)


def _arms(compared: pd.DataFrame, arms: Styles) -> str:
    rows = [
        (
            escape(arms[arm["arm"]].label),
            escape(arm["does"]),
            escape(" ".join(filter(None, (difference_text(arm), arm["verdict"])))),
            escape(multiplier_cell(arm)),
            escape(net_text(arm["net"], arm["net_bound"], arm["seeds"])),
            f"{arm['perplexity']:.3f}",
            f"{arm['tokens']:,.0f}",
            escape(duration(arm["seconds_scoring"] + arm["seconds_training"])),
            f"{arm['seeds']:.0f}",
        )
        for arm in compared.to_dict("records")
    ]
    titles = ["arm", "what it does", "loss beside random", "compute multiplier", "net of choosing"]
    titles += ["perplexity", "tokens", "time, choosing included", "seeds"]
    return f"<h3>Every arm</h3>{table(titles, rows, numbers=range(2, 9))}"


def _samples(store: Store, query: SampleQuery) -> str:
    """The highest of the kept samples, and the samples on both sides of the threshold."""
    top = store.page(replace(query, show="kept"), 0, SHOWN)
    parts = [f"<h3>The {formats.count(len(top), 'sample')} that are kept first</h3>" if len(top) else "<p>None.</p>"]
    parts.append(_listed(top))
    if query.tau is not None:
        border = store.offset_at(query, query.tau)
        around = store.page(query, max(0, border - SHOWN // 2), SHOWN)
        parts.append("<h3>Around the threshold</h3><p>The last that are kept, and the first that are not.</p>")
        parts.append(_listed(around))
    return "".join(parts)


def _listed(rows: pd.DataFrame) -> str:
    if not len(rows):
        return ""
    cells = []
    for row in rows.to_dict("records"):
        mark = '<span class="kept">● kept</span>' if row["kept"] else '<span class="pruned">⊘ pruned</span>'
        prompt = f"<p>{clipped(row['instruction'])}</p>"
        if row["input"]:
            prompt += f'<p class="quiet">{clipped(row["input"])}</p>'
        cells.append(
            (
                f"{row['rank']:,}",
                "NaN" if math.isnan(row["value"]) else f"{row['value']:.3f}",
                mark + ("<br>by hand" if row["decision"] else ""),
                prompt,
                f"<p>{clipped(row['response'])}</p>",
            )
        )
    return table(("rank", "score", "", "instruction and input", "response"), cells, numbers=(0, 1), samples=True)


def _provenance(ledger: Ledger, run: Run, query: SampleQuery) -> str:
    """The recipe, and what another person needs to repeat the run."""
    scoring = query.scoring
    facts: dict[str, Any] = {
        "run": run.id,
        "state": run.state,
        "ranking": f"{scoring.metric}, arm {scoring.arm}, seed {scoring.seed}, epoch {scoring.epoch}",
        "threshold": "none" if query.tau is None else repr(query.tau),
        "decisions by hand": len(query.overrides),
        **toml.flat({key: value for key, value in run.provenance.items() if key != "recipe"}),
    }
    root = str(ledger.workspace.root)  # paths of this machine are left out of a file that is passed on
    rows = [
        (text(str(key).replace("_", " ")), f"<code>{clipped(str(value).replace(root, '(workspace)'))}</code>")
        for key, value in facts.items()
    ]
    return (
        "<h3>Settings</h3><p>The whole recipe; saved as a file, the same run is started with it.</p>"
        f"<pre>{text(toml.as_toml(run.recipe))}</pre><h3>Provenance</h3>{table(('', ''), rows)}"
    )


def _glossary() -> str:
    terms = "".join(f"<dt>{escape(term)}</dt><dd>{escape(meaning)}</dd>" for term, meaning in GLOSSARY.items())
    return f"<dl>{terms}</dl>"


def _short(source: str) -> str:
    return "Winnow's demo" if source == "demo" else uploads.stem_of(Path(source).name)

"""The finding of a distilled set: the sentence, the figures behind it, and whether it is settled."""

from __future__ import annotations

import streamlit as st

from engine.analysis import distillation
from engine.analysis.distilled_sets import DistilledSet
from engine.common import formats
from engine.storage.ledger import Run
from pages.shared import data_note, session
from pages.shared.escape import escape_markdown

MOST_NOTES = 5  # the newest; the log of the run has them all


def headline(shown: DistilledSet) -> None:
    """The finding first, and whether it is one."""
    evaluations, key, inputs = shown.evaluations, shown.key, shown.inputs
    sentence = distillation.headline(evaluations, key, inputs, shown.guessing.share)
    st.subheader(sentence or f"{inputs.phrase()}, not measured yet.", anchor=False)
    if figures := distillation.figures(evaluations, key, inputs, shown.guessing):
        st.markdown(figures)
    against = distillation.against_real(evaluations, key, inputs)
    if below := f"{against} {distillation.spent(evaluations, key, shown.distilling)}".strip():
        st.caption(below)
    with st.container(horizontal=True, gap="small"):
        st.badge("machine-made", icon=":material/precision_manufacturing:", color="green")
        word, colour = distillation.verdict(evaluations, key, inputs)
        if word:
            rule = evaluations.against_real(key, distillation.compared(inputs)).rule("comparison")
            help_ = f"{rule} Fresh starts repeat the training, not the distillation."
            st.badge(word, icon=":material/balance:", color=colour, help=help_)
        wanted = len(shown.recipe.sets())
        if wanted > 1:
            st.badge(
                f"{len(shown.sets):,} of {formats.count(wanted, 'set')}",
                icon=":material/check:" if len(shown.sets) == wanted else ":material/timelapse:",
                color="gray" if len(shown.sets) == wanted else "blue",
            )
        if shown.step is None:
            st.badge("still being learned", icon=":material/autorenew:", color="blue")
    session.explain(
        "Nobody wrote these inputs. A machine changed numbers step by step until a model that was trained on nothing "
        "else answered real questions well. The share says how much of the accuracy of a training on everything is "
        "left; guessing reaches some accuracy too, so compare with that. Every measurement is repeated with several "
        "fresh starts, each with newly drawn weights of the last layer, and ± is the range the mean lies in 95 times "
        "out of 100."
    )


def notes(run: Run) -> None:
    """What was read, and what the engine had to do otherwise than the recipe asks: both are part of the finding."""
    data_note.draw(run)
    for note in run.provenance.get("notes", [])[-MOST_NOTES:]:
        st.caption(f":material/info: {escape_markdown(str(note))}")

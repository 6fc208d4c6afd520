"""Which set of a distillation is on the screen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from engine.analysis import distillation
from engine.common.text import one_line
from engine.config.distillation import SetKey
from pages.shared import run_select


def pick(sets: Sequence[SetKey]) -> SetKey:
    """The set looked at, by a control for each thing in which those that are left differ; all in the address."""
    left = list(sets)
    wide = {"task": 220, "student": 300, "per_class": 170, "inner_steps": 170, "seed": 120}
    labels = {
        "task": "Task",
        "student": "Learned for",
        "per_class": "Inputs per class",
        "inner_steps": "Inner steps",
        "seed": "Seed",
    }
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        for field, label in labels.items():
            options = list(dict.fromkeys(getattr(key, field) for key in left))
            name = f"distilled_{field}"
            run_select.forget_unless(name, options)  # another choice before this one may have had it
            value: Any = options[0]
            if len(options) > 1:
                value = st.selectbox(
                    label, options, key=name, bind="query-params", width=wide[field],
                    format_func=_label if field in ("task", "student") else "{:,}".format,
                )  # fmt: skip
            left = [key for key in left if getattr(key, field) == value]
    return left[0]


def _label(value: str) -> str:
    return distillation.TASKS.get(value, one_line(value, 60))

"""A form that is a recipe: start from one, change it, have the engine check the pair, and only then start it."""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Mapping
from typing import Any

import streamlit as st

from engine.common.hashing import digest
from engine.config.load import RecipeError, parse_recipe, parse_value, read_toml, ready_made, to_dict
from engine.config.pruning import ARMS, METRICS
from engine.config.toml import as_toml
from engine.storage.ledger import Ledger
from pages.shared import cluster_choice, run_check
from pages.shared.escape import escape_markdown

ABOVE = "the run above"


def draw(ledger: Ledger, on_screen: Mapping[str, Any] | None) -> None:
    """The whole form; `on_screen` is the recipe of the run above it, which one may start from as well."""
    starts = [name for name in ready_made() if read_toml(name).get("kind") == "dynamic-pruning"]
    starts.sort(key=lambda name: name != "demo-kl")  # the one that needs no network first
    starts = [ABOVE, *starts] if on_screen is not None else starts
    if not starts:
        st.caption("There is no ready-made recipe for dynamic pruning here; put one into `recipes/`.")
        return
    start = st.selectbox("Start from", starts, key="form_start", on_change=_use, args=(None,), width=360)
    base = st.session_state.get("form_base")
    if base is None:
        base = to_dict(parse_recipe(dict(on_screen) if start == ABOVE and on_screen else read_toml(start), start))
    raw = _fields(base, ledger)
    settled = _toml(raw)
    try:
        recipe = parse_recipe(raw, "This recipe")
    except RecipeError as error:
        st.error(escape_markdown(str(error)), icon=":material/edit_note:")
        recipe = None
    run_check.draw(recipe if settled else None)


def begin_with(base: dict[str, Any]) -> None:
    """Let the form begin from a recipe, and stand first on its page until the results are asked for."""
    st.session_state["form_base"] = base
    st.session_state["form_first"] = True


def comes_first() -> bool:
    """Whether a person came to start something, not to read results; the way back to those is drawn with it."""
    if not st.session_state.get("form_first"):
        return False
    st.button("See the results instead", icon=":material/arrow_downward:", key="form_later", on_click=_later)
    return True


def _later() -> None:
    st.session_state["form_first"] = False


def _use(base: dict[str, Any] | None) -> None:
    """Let the fields begin from another recipe; None for the one chosen above them."""
    st.session_state["form_base"] = base


def _toml(raw: dict[str, Any]) -> bool:
    """The recipe as text that can be edited too; the answer is whether the text and the fields agree."""
    shown = as_toml(raw)
    panel = st.expander("The recipe as TOML", icon=":material/code:", on_change="rerun", key="form_toml_panel")
    if not panel.open:
        return True
    with panel:
        text = st.text_area("TOML", shown, height=420, key=f"form_toml_{digest(raw)}", label_visibility="collapsed")
        if text.strip() == shown.strip():
            st.caption("Everything the fields leave out can be set here.")
            return True
        try:
            edited = to_dict(parse_recipe(tomllib.loads(text), "This text"))
        except tomllib.TOMLDecodeError as error:
            st.error(escape_markdown(f"This text is not valid TOML ({error})."), icon=":material/edit_note:")
        except RecipeError as error:
            st.error(escape_markdown(str(error)), icon=":material/edit_note:")
        else:
            st.button("Use this text", type="primary", on_click=_use, args=(edited,), key="form_toml_use")
        return False


def _fields(base: dict[str, Any], ledger: Ledger) -> dict[str, Any]:
    """Every setting people change often, each with what it does; the answer is the recipe with those changes."""
    key = digest(base)  # new fields for a new base, so that each begins with the value of its base
    raw = copy.deepcopy(base)
    data, pruning, training = base["data"], base["pruning"], base["training"]

    with st.container(border=True):
        st.markdown("**Data**")
        known = {str(entry["name"]): entry["settings"] for entry in ledger.datasets()}
        left, middle, right = st.columns([2, 1, 1])
        source = left.selectbox(
            "Source", list(dict.fromkeys([data["source"], "demo", *known])), accept_new_options=True,
            key=f"form_source_{key}", help="A Hub id, a path on this machine, data you added, or the demo.",
        )  # fmt: skip
        raw["data"] = known.get(source, data | {"source": source or ""})
        of_source = digest([key, source])  # data that was added brings its own limit
        limit = middle.number_input(
            "Rows", min_value=0, value=raw["data"].get("limit") or 0, step=100, key=f"form_limit_{of_source}",
            help="How many rows to read from the start; 0 reads all.",
        )  # fmt: skip
        raw["data"]["limit"] = limit or None
        raw["data"]["valid_fraction"] = right.number_input(
            "Share for validation", value=data["valid_fraction"], step=0.05, format="%.2f", key=f"form_valid_{key}",
            help="Held back at random: no arm trains on it, every arm is measured on it.",
        )  # fmt: skip

        st.markdown("**Models**")
        left, right = st.columns(2)
        raw["models"]["teacher"] = left.text_input(
            "Teacher", base["models"]["teacher"], key=f"form_teacher_{key}",
            help="The larger model, frozen. A Hub id, a local folder, or scratch:NAME.",
        )  # fmt: skip
        raw["models"]["student"] = right.text_input(
            "Student", base["models"]["student"], key=f"form_student_{key}",
            help="The smaller model of the same tokenizer; a LoRA on it is trained.",
        )  # fmt: skip

    with st.container(border=True):
        st.markdown("**The bar**")
        _bar(raw, pruning, key)

    with st.container(border=True):
        st.markdown("**Training**")
        columns = st.columns(4)
        training_raw = raw["training"]
        training_raw["epochs"] = columns[0].number_input("Epochs", value=training["epochs"], key=f"form_epochs_{key}")
        seeds = columns[1].text_input(
            "Seeds", ", ".join(map(str, base["seeds"])), key=f"form_seeds_{key}",
            help="Every arm is trained once with each. One seed cannot tell a difference from chance.",
        )  # fmt: skip
        raw["seeds"] = [parse_value(part.strip()) for part in seeds.split(",") if part.strip()]
        training_raw["batch_size"] = columns[2].number_input(
            "Samples a step", value=training["batch_size"], key=f"form_batch_{key}"
        )
        training_raw["learning_rate"] = columns[3].number_input(
            "Learning rate", value=training["learning_rate"], format="%.1e", step=1e-5, key=f"form_rate_{key}"
        )
        lora = training["lora"]
        columns = st.columns(4)
        training_raw["lora"] = {
            "r": columns[0].number_input("LoRA rank", value=lora["r"], key=f"form_rank_{key}"),
            "alpha": columns[1].number_input("LoRA alpha", value=lora["alpha"], key=f"form_alpha_{key}"),
            "dropout": columns[2].number_input(
                "LoRA dropout", value=lora["dropout"], step=0.05, key=f"form_dropout_{key}"
            ),
        }
        raw["arms"] = st.pills(
            "Arms", ARMS, selection_mode="multi", default=base["arms"], key=f"form_arms_{key}",
            help="What dynamic pruning is measured against. Without random subsets nothing can be claimed for it.",
        )  # fmt: skip
    raw["cluster"] = cluster_choice.choose(base, "form")
    raw["name"] = st.text_input("Name of the run", base["name"], key=f"form_name_{key}", width=360)
    return raw


def _bar(raw: dict[str, Any], pruning: dict[str, Any], key: str) -> None:
    """Metric, first threshold, its growth and its ceiling."""
    bar = raw["pruning"]
    columns = st.columns(4)
    bar["metric"] = columns[0].selectbox(
        "Rank by", list(METRICS), index=list(METRICS).index(pruning["metric"]), key=f"form_metric_{key}",
        format_func=lambda metric: METRICS[metric],
    )  # fmt: skip
    ways = ["share pruned", "tau"]
    way = columns[1].segmented_control(
        "First bar given as", ways, default=ways[pruning["tau"] is not None], required=True, key=f"form_way_{key}",
        help="A share of the first epoch's scores, or the threshold itself.",
    )  # fmt: skip
    if way == "tau":
        bar["tau"], bar["tau_quantile"] = columns[2].number_input(
            "tau", value=pruning["tau"] if pruning["tau"] is not None else 1.0, step=0.1, key=f"form_tau_{key}",
        ), None  # fmt: skip
    else:
        bar["tau"], bar["tau_quantile"] = None, columns[2].number_input(
            "Share pruned at first", value=pruning["tau_quantile"] if pruning["tau_quantile"] is not None else 0.3,
            step=0.05, format="%.2f", key=f"form_quantile_{key}",
        )  # fmt: skip
    bar["tau_growth"] = columns[3].number_input(
        "tau growth (alpha)", value=pruning["tau_growth"], step=0.05, format="%.2f", key=f"form_growth_{key}",
        help="After each epoch tau is multiplied by 1 + this.",
    )  # fmt: skip
    columns = st.columns(4)
    ceilings = {"none": None, "share pruned": "tau_max_quantile", "tau": "tau_max"}
    given = next((word for word, name in ceilings.items() if name and pruning[name] is not None), "none")
    ceiling = columns[0].segmented_control(
        "Ceiling of tau", list(ceilings), default=given, required=True, key=f"form_ceiling_{key}"
    )
    bar["tau_max"] = bar["tau_max_quantile"] = None
    if name := ceilings[ceiling or "none"]:
        usual = {"tau_max": 2.0, "tau_max_quantile": 0.9}[name]
        bar[name] = columns[1].number_input(
            "tau never above" if name == "tau_max" else "Never above this share of the first scores",
            value=pruning[name] if pruning[name] is not None else usual, step=0.05, key=f"form_{name}_{key}",
        )  # fmt: skip
    bar["min_samples"] = columns[3].number_input(
        "Stop below (N min)", value=pruning["min_samples"], step=10, key=f"form_min_{key}",
        help="Dynamic pruning ends early where fewer samples than this clear the bar.",
    )  # fmt: skip

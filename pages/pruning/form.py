"""Starting dynamic pruning: a recipe as fields or as text, its check by the engine, and only then the start."""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from engine.analysis.arms import called, described
from engine.common.hashing import digest
from engine.config.arms import ARMS
from engine.config.kinds import PRUNING
from engine.config.load import RecipeError, parse_recipe, to_dict
from engine.config.pruning import DynamicPruningRecipe
from engine.config.rankings import METRICS, RANKINGS
from engine.config.toml import as_toml
from engine.storage.ledger import Ledger
from pages.shared import form, run_check
from pages.shared.escape import escape_markdown

READY = [name for name in RANKINGS if name != "random"]
"""The rankings that can be added as an arm: highest first, chosen once."""
DEMOS = ("demo-kl",)  # the one that needs no network


def draw(ledger: Ledger, on_screen: Mapping[str, Any] | None) -> None:
    """The whole form; `on_screen` is the recipe of the run above it, which one may start from as well."""
    above = {"the run above": on_screen} if on_screen is not None else {}
    chosen = form.begin(PRUNING, DEMOS, above, key="form_start", on_change=lambda: _use(None))
    if chosen is None:
        return
    raw = _fields(st.session_state.get("form_base") or chosen, ledger)
    settled = _toml(raw)
    recipe = form.checked(raw, PRUNING)
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
    fields = form.Fields("form", base)
    raw = copy.deepcopy(base)
    with st.container(border=True):
        st.markdown("**Data**")
        raw["data"] = _data(fields, {str(entry["name"]): entry["settings"] for entry in ledger.datasets()})
        st.markdown("**Models**")
        left, right = st.columns(2)
        raw["models"]["teacher"] = left.text_input(
            "Teacher", base["models"]["teacher"], key=fields.key("teacher"),
            help="The larger model, frozen. A Hub id, a local folder, or scratch:NAME.",
        )  # fmt: skip
        raw["models"]["student"] = right.text_input(
            "Student", base["models"]["student"], key=fields.key("student"),
            help="The smaller model of the same tokenizer; a LoRA on it is trained. exit:LAYER is the teacher cut "
            "short.",
        )  # fmt: skip
    with st.container(border=True):
        st.markdown("**The threshold**")
        raw["pruning"] |= _threshold(fields)
    with st.container(border=True):
        st.markdown("**Training**")
        columns = st.columns(4)
        training = raw["training"]
        training["epochs"] = columns[0].number_input("Epochs", value=training["epochs"], key=fields.key("epochs"))
        raw["seeds"] = fields.seeds(
            columns[1], "Every arm is trained once with each. One seed cannot tell a difference from chance."
        )
        training["batch_size"] = columns[2].number_input(
            "Samples a step", value=training["batch_size"], key=fields.key("batch")
        )
        training["learning_rate"] = columns[3].number_input(
            "Learning rate", value=training["learning_rate"], format="%.1e", step=1e-5, key=fields.key("rate")
        )
        columns, lora = st.columns(4), training["lora"]
        lora["r"] = columns[0].number_input("LoRA rank", value=lora["r"], key=fields.key("rank"))
        lora["alpha"] = columns[1].number_input("LoRA alpha", value=lora["alpha"], key=fields.key("alpha"))
        lora["dropout"] = columns[2].number_input(
            "LoRA dropout", value=lora["dropout"], step=0.05, key=fields.key("dropout")
        )
        training["kd_weight"] = columns[3].number_input(
            "Weight of the teacher", value=training["kd_weight"], step=0.1, key=fields.key("kd_weight"),
            help="0: every arm learns from the answers alone; 1: from what the teacher would say; between: from both.",
        )  # fmt: skip
    with st.container(border=True):
        st.markdown("**Arms**")
        raw["arms"], raw["budget"] = _arms(fields, raw)
    raw["cluster"] = fields.cluster()
    raw["name"] = st.text_input("Name of the run", base["name"], key=fields.key("name"), width=360)
    return raw


def _arms(fields: form.Fields, raw: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any] | None]:
    """What is compared, and what each arm keeps in an epoch. Tables of the recipe stay as they are, by their names."""
    known: dict[str, Any] = {name: name for name in ARMS} | {name: _ready(name) for name in READY}
    known |= {arm if isinstance(arm, str) else arm["name"]: arm for arm in fields.base["arms"]}
    default = [arm if isinstance(arm, str) else arm["name"] for arm in fields.base["arms"]]
    names = st.multiselect(
        "What is compared", list(known), default, format_func=called, key=fields.key("arms"), select_all=False,
        help="Random choice is what all others are measured against: without it nothing can be claimed for them.",
    )  # fmt: skip
    budget = fields.base["budget"] or {"fraction": None, "of": "tokens"}
    left, right, _ = st.columns([1, 1, 2], vertical_alignment="bottom")
    fraction = left.number_input(
        "Share kept in an epoch", value=budget["fraction"], step=0.05, format="%.2f", key=fields.key("budget"),
        placeholder="as many samples as dynamic",
        help="Of every arm but dynamic and everything. Empty: as many samples as dynamic keeps.",
    )  # fmt: skip
    of = right.segmented_control(
        "of all", ["tokens", "samples"], default=budget["of"], required=True, key=fields.key("budget_of"),
        help="Equal tokens are equal training cost.", disabled=fraction is None,
    )  # fmt: skip
    chosen = [known[name] for name in names]
    settled = None if fraction is None else {"fraction": fraction, "of": of}
    _say(chosen, raw, settled)
    return chosen, settled


def _ready(ranking: str) -> dict[str, Any]:
    return {"name": ranking, "selection": {"rank_by": ranking}, "schedule": "once"}


def _say(chosen: Sequence[Any], raw: Mapping[str, Any], budget: dict[str, Any] | None) -> None:
    """What each arm does, in plain words; nothing of a recipe that `form.checked` refuses."""
    try:
        recipe = parse_recipe({**raw, "arms": chosen, "budget": budget}, "This recipe")
    except RecipeError:
        return
    assert isinstance(recipe, DynamicPruningRecipe)
    lines = [f"**{called(arm.name)}** {escape_markdown(described(arm, recipe))}" for arm in recipe.entries]
    st.caption("  \n".join(lines))


def _data(fields: form.Fields, known: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The `data` table: `known` are data sets a person added, by name, each with its own source, columns and limit."""
    base = fields.base["data"]
    left, middle, right = st.columns([2, 1, 1])
    source = left.selectbox(
        "Source", list(dict.fromkeys([base["source"], "demo", *known])), accept_new_options=True,
        key=fields.key("source"), help="A Hub id, a path on this machine, data you added, or the demo.",
    )  # fmt: skip
    own: dict[str, Any] = {} if source == base["source"] else {"valid_only": {}}  # another source has other columns
    data = dict(known.get(source, base | {"source": source or ""} | own))
    of_source = digest([fields.digest, source])  # data that was added brings its own limit
    data["limit"] = form.rows(middle, data.get("limit"), f"form_limit_{of_source}")
    data["valid_fraction"] = right.number_input(
        "Share for validation", value=base["valid_fraction"], step=0.05, format="%.2f", key=fields.key("valid"),
        help="Held out at random: no arm trains on it, every arm is measured on it.",
    )  # fmt: skip
    return data


def _threshold(fields: form.Fields) -> dict[str, Any]:
    """Metric, first threshold, its growth and its ceiling."""
    base, found = fields.base["pruning"], dict[str, Any]()
    columns = st.columns(4)
    found["metric"] = fields.choice(columns[0], "Rank by", METRICS, base["metric"], "metric")
    ways = ["share pruned", "tau"]
    way = columns[1].segmented_control(
        "First threshold given as", ways, default=ways[base["tau"] is not None], required=True, key=fields.key("way"),
        help="A share of the first epoch's scores, or the threshold itself.",
    )  # fmt: skip
    found["tau"] = found["tau_quantile"] = None
    if way == "tau":
        found["tau"] = columns[2].number_input(
            "tau", value=base["tau"] if base["tau"] is not None else 1.0, step=0.1, key=fields.key("tau")
        )
    else:
        found["tau_quantile"] = columns[2].number_input(
            "Share pruned at first", value=base["tau_quantile"] if base["tau_quantile"] is not None else 0.3,
            step=0.05, format="%.2f", key=fields.key("quantile"),
        )  # fmt: skip
    found["tau_growth"] = columns[3].number_input(
        "tau growth (alpha)", value=base["tau_growth"], step=0.05, format="%.2f", key=fields.key("growth"),
        help="After each epoch tau is multiplied by 1 + this.",
    )  # fmt: skip
    columns = st.columns(4)
    ceilings = {"none": None, "share pruned": "tau_max_quantile", "tau": "tau_max"}
    given = next((word for word, name in ceilings.items() if name and base[name] is not None), "none")
    ceiling = columns[0].segmented_control(
        "Ceiling of tau", list(ceilings), default=given, required=True, key=fields.key("ceiling")
    )
    found["tau_max"] = found["tau_max_quantile"] = None
    if name := ceilings[ceiling or "none"]:
        default = {"tau_max": 2.0, "tau_max_quantile": 0.9}[name]
        found[name] = columns[1].number_input(
            "tau never above" if name == "tau_max" else "Never above this share of the first scores",
            value=base[name] if base[name] is not None else default, step=0.05, key=fields.key(name),
        )  # fmt: skip
    found["min_samples"] = columns[3].number_input(
        "Stop below (N min)", value=base["min_samples"], step=10, key=fields.key("min"),
        help="Dynamic pruning ends early if fewer samples than this are above the threshold.",
    )  # fmt: skip
    return found

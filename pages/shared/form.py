"""What the forms of all kinds of run share: a recipe to begin from, fields, the check, an estimate, the start."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import streamlit as st

from engine.common import formats
from engine.common.hashing import digest
from engine.common.text import escape_text
from engine.config.kinds import Kind, R
from engine.config.load import RecipeError, parse_recipe, parse_value, read_toml, ready_made, to_dict
from engine.config.toml import as_toml
from engine.storage.ledger import Run
from pages.shared import cluster_choice, session
from pages.shared.escape import escape_markdown


def begin(
    kind: Kind[Any],
    demos: Sequence[str],
    of_runs: Mapping[str, Mapping[str, Any]],
    *,
    key: str,
    first: str | None = None,
    on_change: Callable[[], None] | None = None,
) -> dict[str, Any] | None:
    """The recipe that the fields begin from, defaults included; None, and a sentence, if there is none to choose.

    `of_runs` are recipes of runs by what they are called here; ready-made ones follow them, `demos` first.
    """
    ready = [name for name in ready_made() if read_toml(name).get("kind") == kind.name]
    ready.sort(key=lambda name: demos.index(name) if name in demos else len(demos))
    starts = [*of_runs, *ready]
    if not starts:
        st.caption(f"There is no ready-made recipe for {kind.label} here; put one into `recipes/`.")
        return None
    index = starts.index(first) if first else 0
    start = st.selectbox("Start from", starts, index, key=key, on_change=on_change, width=360)
    return to_dict(parse_recipe(dict(of_runs[start]) if start in of_runs else read_toml(start), start))


def begin_with_run(
    kind: Kind[Any], demos: Sequence[str], runs: Iterable[Run], shown: Run | None, *, prefix: str
) -> dict[str, Any] | None:
    """`begin` from one of `runs` or a ready-made recipe, first from the run on the screen."""
    name = "the run {}".format
    # A key for each run on the screen: another run brings its own recipe along.
    return begin(
        kind, demos, {name(run.id): run.recipe for run in runs}, first=name(shown.id) if shown else None,
        key=f"{prefix}_start_{shown.id if shown else ''}",
    )  # fmt: skip


class Fields:
    """The widgets of one form. Their keys end with the recipe they begin from, so that each has the value of that."""

    def __init__(self, prefix: str, base: Mapping[str, Any]) -> None:
        self.prefix, self.base = prefix, base
        self.digest = digest(base)

    def key(self, name: str) -> str:
        return f"{self.prefix}_{name}_{self.digest}"

    def data(self, left: Any, middle: Any, help: str) -> dict[str, Any]:
        """The `data` table with another source and another number of rows."""
        data = self.base["data"]
        source = left.text_input("Data", data["source"], key=self.key("source"), help=help)
        return {**data, "source": source, "limit": rows(middle, data.get("limit"), self.key("limit"))}

    def numbers(self, column: Any, label: str, values: Sequence[float], name: str, help: str) -> list[Any]:
        """A list of numbers as text, separated by commas; what is no number stays as it is, to be refused by name."""
        shown = ", ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in values)
        text = column.text_input(label, shown, key=self.key(name), help=help)
        return [parse_value(part.strip()) for part in str(text).split(",") if part.strip()]

    def seeds(self, column: Any, help: str) -> list[Any]:
        return self.numbers(column, "Seeds", self.base["seeds"], "seeds", help)

    def choice(
        self, column: Any, label: str, options: Mapping[str, str], value: str, name: str, help: str | None = None
    ) -> str:
        """One of a few values of a recipe, each by what people call it."""
        chosen: str = column.selectbox(
            label, list(options), list(options).index(value), format_func=options.__getitem__, key=self.key(name),
            help=help,
        )  # fmt: skip
        return chosen

    def cluster(self) -> dict[str, Any]:
        return cluster_choice.choose(self.base, self.prefix)


def rows(column: Any, limit: int | None, key: str) -> int | None:
    """How many rows of the data are read; None for all."""
    return (
        column.number_input(
            "Rows", min_value=0, value=limit or 0, step=100, key=key,
            help="How many rows to read from the start; 0 reads all.",
        )
        or None
    )  # fmt: skip


def checked(raw: Mapping[str, Any], kind: Kind[R]) -> R | None:
    """The recipe of the fields; None, and the reason in one sentence on the page, if it cannot be run."""
    try:
        recipe = parse_recipe(dict(raw), "This recipe")
    except RecipeError as error:
        st.error(escape_markdown(str(error)), icon=":material/edit_note:")
        return None
    assert isinstance(recipe, kind.recipe)  # the kind is no field of a form
    return recipe


def estimate(
    what: str, recipe: R, runs: Iterable[Run], kind: Kind[R], name: str, cost: Callable[[R], tuple[float, int]]
) -> str:
    """`what`, and how long it takes if a run of the same `name` was timed in the same place. Markdown.

    `cost` gives the work of a recipe, in any unit, and how many things are made by it.
    """
    for run in runs:
        seconds = run.seconds if run.name == name and run.state == "done" else None
        if seconds and cluster_choice.alike(run.recipe, recipe.model_dump(mode="json")):
            work, made = cost(run.recipe_as(kind))
            about = formats.duration(seconds * cost(recipe)[0] / work)
            return f"{what}: about {about}, as {escape_markdown(run.id)} took {formats.duration(seconds)} for {made:,}."
    return f"{what}; how long that takes is known once a run of this name has been timed in the same place."


def show_toml(raw: Mapping[str, Any]) -> None:
    with st.expander("The recipe as TOML", icon=":material/code:"):
        st.code(escape_text(as_toml(raw)), language="toml")


def start_button(label: str, recipe: Any, kind: Kind[Any], *, key: str) -> None:
    """The button that queues the recipe, if there is one, and shows its run on this page."""
    st.button(
        label, icon=":material/play_arrow:", type="primary", disabled=recipe is None, key=key, on_click=_submit,
        args=(recipe, kind.query),
    )  # fmt: skip


def _submit(recipe: Any, opens: str) -> None:
    with session.show_errors():
        if recipe is not None:
            st.session_state[opens] = session.ledger().submit(recipe)

"""Recipes of distillation: which sets they ask for, in which order, and the one sentence for what is not accepted."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.config.distillation import MAIN, MERGED, METHODS, OTHER, PROMPTS, REPLAYS, DistillationRecipe, SetKey
from engine.config.load import RecipeError, load_recipe, parse_recipe, read_toml, ready_made, set_value

TEXT = {"source": "rows.jsonl", "task": "text"}
ENCODER = {"layers": 1, "width": 8, "heads": 2}


def raw(**changes: Any) -> dict[str, Any]:
    """A small valid recipe for texts, with `a__b=value` setting a.b."""
    tables: dict[str, Any] = {"kind": "distillation", "data": {**TEXT}, "students": [{"model": "some/bert"}]}
    for key, value in changes.items():
        set_value(tables, key.replace("__", "."), value)
    return tables


def recipe_of(**changes: Any) -> DistillationRecipe:
    recipe = parse_recipe(raw(**changes))
    assert isinstance(recipe, DistillationRecipe)
    return recipe


def pictures(**changes: Any) -> dict[str, Any]:
    return {"data": {"source": "digits"}, "students": [{"model": "mlp"}], **changes}


def sentence(**changes: Any) -> str:
    with pytest.raises(RecipeError) as caught:
        parse_recipe(raw(**changes), "mine.toml")
    text = str(caught.value)
    assert text.startswith("mine.toml: ")
    assert text[-1] in ".?"
    assert "\n" not in text
    return text.removeprefix("mine.toml: ")


def distinct(values: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    return st.lists(values, min_size=1, max_size=4, unique=True)


students = st.lists(
    st.sampled_from(["google/bert_uncased", "distilbert-base", "scratch:small", "/models/my encoder/", "a/ß.ö"]),
    min_size=1,
    max_size=4,
    unique=True,
)


@st.composite
def recipes(draw: st.DrawFn) -> DistillationRecipe:
    changes: dict[str, Any] = {
        "students": [{"model": model} for model in draw(students)],
        "scratch": {"small": ENCODER},
        "seeds": draw(distinct(st.integers(0, 99))),
        "synthetic__per_class": draw(distinct(st.integers(1, 50))),
        "inner__steps": draw(distinct(st.integers(1, 30))),
    }
    if draw(st.booleans()):
        changes["other"] = TEXT | {"source": "others.jsonl"}
    return recipe_of(**changes)


@given(recipe=recipes())
def test_the_sets_of_a_recipe(recipe: DistillationRecipe) -> None:
    """The shown one first, none twice, and every size, number of steps, student and task with every seed."""
    sets = recipe.sets()
    size, steps = recipe.synthetic.per_class, recipe.inner.steps
    models = [student.model for student in recipe.students]
    assert sets[0] == SetKey(MAIN, models[0], size[0], steps[0], recipe.seeds[0])
    assert len(set(sets)) == len(sets)
    points = len(models) + len(size) - 1 + len(steps) - 1 + bool(recipe.other)
    assert len(sets) == points * len(recipe.seeds)
    for key in sets:
        base = (MAIN, models[0], size[0], steps[0])
        assert sum(a != b for a, b in zip(key[:4], base, strict=True)) <= 1
        assert {key._replace(seed=seed) for seed in recipe.seeds} <= set(sets)
    assert {key.student for key in sets} == set(models)
    assert {key.per_class for key in sets} == set(size)
    assert {key.inner_steps for key in sets} == set(steps)
    assert {key.task for key in sets} == ({MAIN, OTHER} if recipe.other else {MAIN})


@given(recipe=recipes())
def test_sets_have_names_of_their_own(recipe: DistillationRecipe) -> None:
    """Files and curves are told apart by them, also where a system takes no slash, blank or colon."""
    names = [key.name for key in recipe.sets()]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[\w-]+", name) and len(name) < 100 for name in names)


def test_a_name_says_what_the_set_is() -> None:
    """It is read by people in file names and legends."""
    assert SetKey(MAIN, "google/bert-tiny/", 2, 5, 1).name == "main-bert-tiny-k2-T5-s1"
    assert SetKey(OTHER, "scratch:small", 1, 3, 0).name == "other-scratch-small-k1-T3-s0"


def test_defaults() -> None:
    """One input per class, five steps, one seed, one set; labels of any size, real samples to start from."""
    recipe = recipe_of()
    assert recipe.sets() == [SetKey(MAIN, "some/bert", 1, 5, 0)]
    assert (recipe.synthetic.labels, recipe.synthetic.initialization, recipe.inner.optimizer) == (
        "unrestricted",
        "samples",
        "sgd",
    )
    assert recipe.inner.window is None
    assert recipe.prompting is None


def test_tables_tell_what_is_compared_apart() -> None:
    """All of them are methods in one table."""
    names = [*METHODS, *MERGED, *REPLAYS, *PROMPTS]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"students": [{"model": "mlp"}]},
            "mlp reads no text; name a text classifier of the Hub, its folder, or scratch:",
        ),
        ({"students": [{"model": "some/bert"}, {"model": "cnn"}]}, "cnn reads no text"),
        ({"evaluation__transfer": [{"model": "mlp"}]}, "mlp reads no text"),
        (
            {"students": [{"model": "scratch:big"}], "scratch": {"small": ENCODER}},
            "scratch:big is to be trained from scratch, but there is no [scratch.big] that says how",
        ),
        ({"evaluation__transfer": [{"model": "scratch:big"}]}, "there is no [scratch.big]"),
        ({"seeds": [1, 2, 1]}, "seeds names something twice"),
        ({"students": [{"model": "a"}, {"model": "a", "width": 3}]}, "students names something twice"),
        ({"synthetic__per_class": [5, 5]}, "synthetic.per_class names something twice"),
        ({"inner__steps": [2, 3, 2]}, "inner.steps names something twice"),
        ({"data__task": "numbers"}, "data.task is numbers, and distillation needs classes"),
        (pictures(data={"source": "diabetes", "task": "numbers"}), "data.task is numbers, and distillation needs"),
        ({"other": {"source": "digits"}}, "other.task is images, but data.task is text"),
        ({"other": {"source": "x", "task": "numbers"}}, "other.task is numbers, but data.task is text"),
        ({"inner__window": 6}, "inner.window is 6, longer than 5 inner steps"),
        ({"inner": {"window": 4, "steps": [9, 3]}}, "inner.window is 4, longer than 3 inner steps"),
        (
            {"synthetic": {"attention_labels": True, "labels": "hard"}},
            'synthetic.attention_labels are learned, so synthetic.labels cannot be "hard"',
        ),
        (
            pictures(students=[{"model": "scratch:small"}], scratch={"small": ENCODER}),
            "scratch:small would read text, and this data has images; choose mlp or cnn",
        ),
        (
            pictures(synthetic__embedding_penalty=0.1),
            "synthetic.embedding_penalty draws vectors to tokens, and images have none",
        ),
        (pictures(synthetic__attention_labels=True), "synthetic.attention_labels belong to text"),
        (
            pictures(other={"source": "digits"}),
            "other, prompting, evaluation.transfer and synthetic.attention_labels belong",
        ),
        (pictures(prompting={"model": "gpt2"}), "belong to text, and this data has images"),
        (pictures(evaluation__transfer=[{"model": "mlp"}]), "belong to text, and this data has images"),
    ],
)
def test_what_does_not_go_together(changes: dict[str, Any], words: str) -> None:
    """One sentence before anything is downloaded or trained."""
    assert words in sentence(**changes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"synthetic__lenght": 3}, "there is no key synthetic.lenght; did you mean length?"),
        ({"inner__learning_rat": 0.1}, "there is no key inner.learning_rat; did you mean learning_rate?"),
        ({"synthetic__length": 0}, "synthetic.length"),
        ({"synthetic__length": 513}, "synthetic.length"),
        ({"synthetic__per_class": []}, "synthetic.per_class"),
        ({"synthetic__per_class": [1, 0]}, "synthetic.per_class"),
        ({"synthetic__labels": "fuzzy"}, "synthetic.labels"),
        ({"synthetic__similarity": "manhattan"}, "synthetic.similarity"),
        ({"synthetic__embedding_penalty": -1}, "synthetic.embedding_penalty"),
        ({"inner__optimizer": "adagrad"}, "inner.optimizer"),
        ({"inner__steps": []}, "inner.steps"),
        ({"inner__learning_rate": 0}, "inner.learning_rate"),
        ({"outer__steps": 0}, "outer.steps"),
        ({"outer__dtype": "float16"}, "outer.dtype"),
        ({"evaluation__eval_seeds": 1}, "evaluation.eval_seeds"),
        ({"evaluation__learning_rates": []}, "evaluation.learning_rates"),
        ({"prompting__draws": 3}, "the key prompting.model is missing"),
        ({"students": []}, "students"),
        ({"seeds": []}, "seeds"),
        ({"scratch": {"a b": ENCODER}}, "scratch.a b"),
    ],
)
def test_the_wrong_key_is_named(changes: dict[str, Any], words: str) -> None:
    """The sentence leads to the place in the file."""
    assert words in sentence(**changes)


def test_what_does_go_together() -> None:
    """No refusal is wider than its sentence."""
    assert recipe_of(inner={"window": 5, "steps": [9, 5]}).inner.window == 5
    for labels in ("soft", "unrestricted"):
        assert recipe_of(synthetic={"attention_labels": True, "labels": labels}).synthetic.attention_labels
    assert recipe_of(**pictures(students=[{"model": "mlp"}, {"model": "cnn"}, {"model": "some/vit"}])).students
    made = recipe_of(
        students=[{"model": "scratch:small"}], scratch={"small": ENCODER}, evaluation__transfer=[{"model": "b"}]
    )
    assert made.scratch["small"].width == 8


DISTILLATIONS = [name for name in ready_made() if read_toml(name)["kind"] == "distillation"]


@pytest.mark.parametrize("name", DISTILLATIONS)
def test_ready_made_distillations(name: str) -> None:
    """Each that comes with Winnow is accepted, is called as its file, and has sets with names of their own."""
    recipe = load_recipe(name)
    assert isinstance(recipe, DistillationRecipe)
    assert recipe.name == name
    assert len({key.name for key in recipe.sets()}) == len(recipe.sets()) > 0


def test_there_are_ready_made_distillations() -> None:
    """One for texts and one for pictures, both with what comes with Winnow."""
    assert {"demo-text-distill", "demo-digits-distill"} <= set(DISTILLATIONS)

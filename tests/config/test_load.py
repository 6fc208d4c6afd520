"""Recipes: what is accepted, and the one sentence for what is not."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.config.load import RecipeError, load_recipe, parse_recipe, parse_value, ready_made, set_value, to_dict
from engine.config.pruning import DynamicPruningRecipe
from engine.config.toml import as_toml


def raw(**changes: Any) -> dict[str, Any]:
    """A small valid recipe, with `a__b=value` setting a.b."""
    tables: dict[str, Any] = {
        "kind": "dynamic-pruning",
        "data": {"source": "rows.jsonl"},
        "models": {"teacher": "big", "student": "small"},
        "pruning": {"tau": 0.5},
    }
    for key, value in changes.items():
        set_value(tables, key.replace("__", "."), value)
    return tables


def sentence(**changes: Any) -> str:
    with pytest.raises(RecipeError) as caught:
        parse_recipe(raw(**changes), "mine.toml")
    text = str(caught.value)
    assert text.startswith("mine.toml: ")
    assert "\n" not in text
    return text


@pytest.mark.parametrize("name", ready_made())
def test_ready_made_recipes_are_valid(name: str) -> None:
    """Nobody should meet an error in what comes with Winnow."""
    assert load_recipe(name).name == name


def test_the_named_recipes_are_there() -> None:
    """The three the README speaks of."""
    assert {"alpaca-kl", "alpaca-kl-scratch", "demo-kl"} <= set(ready_made())


def test_defaults_are_those_of_the_method() -> None:
    """LoRA r=8, alpha=16, dropout 0.1, AdamW at 1e-4, 90 % train and 10 % validation, four arms."""
    recipe = parse_recipe(raw())
    assert isinstance(recipe, DynamicPruningRecipe)
    lora = recipe.training.lora
    assert (lora.r, lora.alpha, lora.dropout) == (8, 16, 0.1)
    assert recipe.training.learning_rate == 1e-4
    assert recipe.data.valid_fraction == 0.1
    assert set(recipe.arms) == {"dynamic", "full", "random", "static"}
    for name in ("alpaca-kl", "alpaca-kl-scratch"):
        ready = load_recipe(name)
        assert isinstance(ready, DynamicPruningRecipe)
        assert ready.training.lora == lora
        assert (ready.data.source, ready.data.limit) == ("tatsu-lab/alpaca", 2000)
        assert ready.training.learning_rate == 1e-4


def test_unknown_key_is_named_with_the_closest_one() -> None:
    """A typing error is found, not ignored."""
    assert "there is no key pruning.tau_grwth; did you mean tau_growth?" in sentence(pruning__tau_grwth=0.1)


def test_missing_key_is_named() -> None:
    tables = raw()
    del tables["data"]["source"]
    with pytest.raises(RecipeError, match=r"the key data\.source is missing"):
        parse_recipe(tables)


def test_negative_tau_is_refused() -> None:
    assert "pruning.tau is -1" in sentence(pruning__tau=-1)


@pytest.mark.parametrize("fraction", [0, 1, 1.5, -0.1])
def test_fractions_outside_their_range_are_refused(fraction: float) -> None:
    """Nothing would be left for training or for validation."""
    assert "data.valid_fraction" in sentence(data__valid_fraction=fraction)


def test_tau_is_a_number_or_a_quantile_not_both() -> None:
    assert "give either tau or tau_quantile" in sentence(pruning__tau_quantile=0.3)


def test_tau_max_below_tau_is_refused() -> None:
    assert "tau_max 0.1 is below tau 0.5" in sentence(pruning__tau_max=0.1)


def test_a_scratch_model_needs_its_settings() -> None:
    assert "scratch.models.tiny" in sentence(models__teacher="scratch:tiny")


def test_an_arm_without_a_budget_needs_the_dynamic_arm() -> None:
    """It keeps as many samples as that one."""
    assert 'random has no budget, so it would keep as many samples as "dynamic"' in sentence(arms=["full", "random"])
    assert parse_recipe(raw() | {"arms": ["full", "random"], "budget": {"fraction": 0.3}})


def arm(**changes: Any) -> str:
    """The sentence for a recipe with one arm more, made of these keys."""
    return sentence(arms=["dynamic", {"name": "x", **changes}])


def test_a_wrong_arm_is_named_by_its_place_and_key() -> None:
    """The sentence names the key as it stands in the recipe."""
    assert "arms.1.schedule is 'onc'" in arm(schedule="onc")
    assert "arms.1.selection.rank_by: there is no ranking kll; there are kl," in arm(selection={"rank_by": "kll"})
    assert "arms.0 is 'dynamc'" in sentence(arms=["dynamc"])
    assert "arms.1: ifd is scored once" in arm(selection={"rank_by": "ifd"}, schedule="every_epoch")
    assert "weight of kl must be a number other than zero" in arm(selection={"rank_by": {"kl": 0}})
    assert "random cannot be summed" in arm(selection={"rank_by": {"kl": 1, "random": 1}})
    assert 'skip_top belongs to spread = "window"' in arm(selection={"skip_top": 0.1})
    assert "must be called" in arm(schedule="threshold")
    assert "keeps what lies above the threshold" in arm(schedule="threshold", budget={"fraction": 0.5})
    assert "arms.1.budget.fraction is 0" in arm(budget={"fraction": 0})
    assert "base is the student before training" in arm(name="base")
    assert "names something twice" in sentence(arms=["dynamic", {"name": "dynamic", "schedule": "threshold"}])


def test_the_kind_of_an_arm_follows_from_what_it_reads() -> None:
    """What is random, everything or an oracle is not counted among the choices of a comparison."""
    entries = [
        "dynamic",
        "full",
        "random",
        {"name": "a", "selection": {"rank_by": "random", "leave_out": {"near_duplicates": 0.8}}},
        {"name": "b", "selection": {"rank_by": {"field:value": 1, "kl": 0.5}}},
        {"name": "c", "selection": {"rank_by": "target_gain"}},
    ]
    recipe = parse_recipe(raw() | {"arms": entries})
    assert isinstance(recipe, DynamicPruningRecipe)
    kinds = {arm.name: arm.kind for arm in recipe.entries}
    assert kinds == {
        "dynamic": "choice", "full": "everything", "random": "random", "a": "choice", "b": "oracle", "c": "choice"
    }  # fmt: skip
    assert [arm.name for arm in recipe.entries if arm.uses_target] == ["c"]
    assert parse_recipe(tomllib.loads(as_toml(to_dict(recipe)))) == recipe


def test_seeds_may_not_repeat() -> None:
    assert "seeds names something twice" in sentence(seeds=[1, 1])


def test_unknown_kind_is_refused() -> None:
    with pytest.raises(RecipeError, match="kind is 'distil'"):
        parse_recipe(raw() | {"kind": "distil"})


def test_overrides_reach_the_recipe(tmp_path: Path) -> None:
    """`--set` on the command line and the file are one recipe."""
    path = tmp_path / "mine.toml"
    path.write_text('kind = "dynamic-pruning"\n[data]\nsource = "a"\n[models]\nteacher = "t"\nstudent = "s"\n')
    recipe = load_recipe(str(path), ["pruning.tau=0.25", "data.limit=20", "data.source=b.jsonl", "seeds=[4]"])
    assert isinstance(recipe, DynamicPruningRecipe)
    assert (recipe.pruning.tau, recipe.data.limit, recipe.data.source, recipe.seeds) == (0.25, 20, "b.jsonl", [4])


@pytest.mark.parametrize("override", ["data.limit", "=3", "data.source.deep=1"])
def test_overrides_that_make_no_sense_are_named(override: str) -> None:
    with pytest.raises(RecipeError, match=override.split("=")[0] or "--set"):
        load_recipe("demo-kl", [override])


def test_a_recipe_that_is_not_there_names_the_closest() -> None:
    with pytest.raises(RecipeError, match="did you mean demo-kl"):
        load_recipe("demo-kll")


def test_a_file_that_is_no_toml_is_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.toml"
    path.write_bytes(b"kind = \xff")
    with pytest.raises(RecipeError, match=r"broken\.toml is not valid TOML"):
        load_recipe(str(path))


@given(
    tau=st.floats(0, 10),
    growth=st.floats(0, 5),
    limit=st.none() | st.integers(1, 10**6),
    seeds=st.lists(st.integers(0, 99), min_size=1, max_size=4, unique=True),
)
def test_a_resolved_recipe_reads_back_as_itself(tau: float, growth: float, limit: int | None, seeds: list[int]) -> None:
    """The ledger keeps recipes as JSON; nothing may change on the way."""
    recipe = parse_recipe(raw(pruning__tau=tau, pruning__tau_growth=growth, data__limit=limit, seeds=seeds))
    assert parse_recipe(to_dict(recipe)) == recipe


@given(st.text(alphabet="abc é✓", min_size=1).filter(lambda text: text.strip() == text))
def test_a_value_that_is_no_toml_is_text(text: str) -> None:
    assert parse_value(text) == text


LONG = "x" * 5000


@pytest.mark.parametrize(
    ("override", "words"),
    [
        (LONG, "write it as key.path=value"),
        (f"data.{LONG}=1", "there is no key data.xxx"),
        (f"data.limit={LONG}", "data.limit is 'xxx"),
        (f'data.columns=["{LONG}"]', "data.columns is ['xxx"),
        (f"data.source.{LONG}=1", ": source is a value, not a table"),
        (f"models.teacher=scratch:{LONG}", "models.teacher is scratch:xxx"),
        (f"data={{{LONG} = 1}}", "the key data.source is missing"),
        (f"data.source=0x{'f' * 5000}", "data.source is a number of thousands of digits"),
        (f"data.limit={'9' * 5000}", "data.limit is '999"),
        (f"data.limit={'[' * 5000}", "data.limit is '[[["),
        (f'kind=["{LONG}"]', "kind is ['xxx"),
    ],
)
def test_values_of_any_length_are_quoted_in_short(override: str, words: str) -> None:
    """A sentence stays one that a person can read, whatever was written."""
    with pytest.raises(RecipeError) as caught:
        load_recipe("alpaca-kl-scratch", [override])
    assert words in str(caught.value)
    assert len(str(caught.value)) < 700
    assert str(caught.value).isprintable()


def test_a_name_that_no_file_can_have() -> None:
    """A system that refuses the name is no reason to stop with its error."""
    with pytest.raises(RecipeError, match="no ready-made recipe called xxx"):
        load_recipe(LONG)


def test_a_number_that_python_does_not_read(tmp_path: Path) -> None:
    """TOML has integers of any length."""
    (tmp_path / "a.toml").write_text(f"seed = {'9' * 5000}")
    with pytest.raises(RecipeError, match=r"a\.toml is not valid TOML"):
        load_recipe(str(tmp_path / "a.toml"))

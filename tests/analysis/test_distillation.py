"""What is said of a distilled set, from measurements whose means and intervals are known by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from engine.analysis import distillation, wording
from engine.analysis.distilled_sets import Inputs, along
from engine.analysis.evaluations import Evaluations, Result
from engine.analysis.wording import Chance
from engine.common.choices import Similarity
from engine.config.distillation import MAIN, MERGED, OTHER, REPLAYS, SetKey
from engine.storage.tables import EVALUATION
from pages.distillation import cards, figures
from tests.fixtures import sentences

KEY = SetKey(MAIN, "bert", 1, 5, 0)
TWO = Inputs(2, pictures=False)


def rows(method: str, accuracies: list[float], key: SetKey = KEY, trained: str = "", **values: Any) -> pd.DataFrame:
    """A measurement of each eval seed; `values` may change any other column."""
    if method == "full":
        key = SetKey(key.task, key.student, 0, 0, -1)
    usual = {"samples": 2, "learning_rate": 1e-4, "steps": 40, "loss": 0.5, "seconds": 2.0, "flops": 1e12}
    table = pd.DataFrame({"eval_seed": range(len(accuracies)), "accuracy": accuracies, "valid": accuracies})
    return table.assign(**key._asdict(), method=method, trained=trained or key.student, **(usual | values))


def measured(*tables: pd.DataFrame, pictures: bool = False) -> Evaluations:
    columns = [name for name in EVALUATION.names if name != "run"]
    return Evaluations(
        pd.concat(tables, ignore_index=True)[columns] if tables else pd.DataFrame(columns=columns), pictures
    )


FULL = rows("full", [0.9, 0.9, 0.9], samples=6920, seconds=31.0, steps=650, flops=4e15)
LEARNED = rows("embeddings", [0.80, 0.82, 0.84], seconds=0.4, steps=5, flops=2.5e10, learning_rate=math.nan)
TEXT = rows("text", [0.54, 0.55, 0.56])
RANDOM = rows("random", [0.51, 0.51, 0.51])
HERDING = rows("herding", [0.62, 0.63, 0.64])
QUARTER = Chance(0.25, "one of 4 classes")


def test_headline_has_the_shares_of_the_means() -> None:
    """0.82 of 0.9 is 91 %, 0.55 of 0.9 is 61 %; the numbers of samples are those that were trained on.

    Of as many real samples the strongest is named: 0.63 of 0.9 is 70 %.
    """
    said = distillation.headline(measured(FULL, LEARNED, TEXT), KEY, TWO, 1 / 2)
    assert said == (
        "2 synthetic sentences reach 91 % of the accuracy of 6,920 real ones; read as plain words they keep 61 %."
    )
    assert distillation.headline(measured(FULL, LEARNED, TEXT, RANDOM, HERDING), KEY, TWO, 1 / 2) == (
        said.removesuffix(".") + "; 2 herding real samples reach 70 %."
    )
    assert distillation.headline(measured(FULL, LEARNED, rows("random", [0.5, 0.5])), KEY, TWO, 1 / 2).endswith(
        "; 2 random real samples reach no more than guessing."
    )
    one = distillation.headline(measured(FULL, LEARNED, TEXT), KEY, Inputs(1, False), 1 / 2)
    assert one.startswith("1 synthetic sentence reaches 91 %")
    assert one.endswith("it keeps 61 %.")


def test_headline_of_pictures() -> None:
    """Pictures are learned pictures, and nothing is read as words."""
    said = distillation.headline(measured(FULL, LEARNED, pictures=True), KEY, Inputs(10, True), 1 / 10)
    assert said == "10 learned pictures reach 91 % of the accuracy of 6,920 real ones."


def test_headline_says_what_is_missing() -> None:
    """Without a training on everything there is no share; with nothing measured there is no sentence."""
    assert "82 % right; what all real samples reach is not known yet." in distillation.headline(
        measured(LEARNED), KEY, TWO, 1 / 2
    )
    assert distillation.headline(measured(), KEY, TWO, 1 / 2) == ""
    assert distillation.headline(measured(FULL), KEY, TWO, 1 / 2) == ""
    only = distillation.headline(measured(FULL, TEXT), KEY, TWO, 1 / 2)
    assert only == "Read as plain words, 2 synthetic sentences keep 61 % of the accuracy of 6,920 real ones."


def test_no_share_is_claimed_for_guessing() -> None:
    """50 of 51 % is 98 % of nothing: what an interval cannot tell from guessing is called that."""
    lost = measured(rows("full", [0.50, 0.51, 0.52], samples=432), LEARNED, TEXT)
    assert distillation.headline(lost, KEY, TWO, 1 / 2) == (
        "Nothing was learned here: with all 432 real samples the model is 51 % right, and guessing gives 50 %."
    )
    weak = measured(FULL, LEARNED, rows("text", [0.5, 0.5, 0.5]))
    assert distillation.headline(weak, KEY, TWO, 1 / 2).endswith("plain words they teach no more than guessing.")
    assert "61 %" in distillation.headline(measured(FULL, LEARNED, TEXT), KEY, TWO, 1 / 2)
    both = measured(FULL, rows("embeddings", [0.4, 0.6]), rows("text", [0.5, 0.5]))
    assert distillation.headline(both, KEY, Inputs(1, False), 1 / 2) == (
        "1 synthetic sentence teaches no more than guessing; read as plain words it teaches no more than guessing."
    )


def test_an_unchanged_sentence_is_no_distilled_text() -> None:
    """Where no token has changed nothing is claimed for words; where some have not, the headline says how many."""
    all_same, some = Inputs(2, False, 2), Inputs(2, False, 1)
    found = measured(FULL, LEARNED, TEXT, RANDOM)
    assert "plain words" not in distillation.headline(found, KEY, all_same, 1 / 2)
    assert "decoded" not in distillation.figures(found, KEY, all_same, QUARTER)
    assert distillation.verdict(found, KEY, all_same) == (sentences.CAPTION_UNCHANGED, "gray")
    assert "decoded" not in distillation.against_real(found, KEY, all_same)
    assert distillation.unchanged(all_same).startswith(sentences.NO_TEXT_CHANGED)
    assert distillation.headline(found, KEY, some, 1 / 2).endswith(
        "they keep 61 % (1 of 2 unchanged); 2 random real samples reach 57 %."
    )
    assert distillation.verdict(found, KEY, some)[0] == "decoded text (1 of 2 unchanged) beats random real samples"
    assert distillation.unchanged(some).startswith("1 of 2 texts has not changed")
    assert distillation.unchanged(TWO) == ""


def test_intervals_are_those_of_student_over_eval_seeds() -> None:
    """Three eval seeds 0.80, 0.82, 0.84: standard error 0.02 / sqrt(3), t(0.95, 2) = 4.3027, half 4.97 points."""
    over = measured(LEARNED).accuracy(KEY, "embeddings")
    assert over.mean == pytest.approx(0.82)
    assert over.high - over.mean == pytest.approx(4.302653 * 0.02 / math.sqrt(3), rel=1e-5)
    assert distillation.spread(over) == "82 % right ± 5.0"
    said = distillation.figures(measured(FULL, LEARNED, TEXT), KEY, TWO, QUARTER)
    assert said == (
        "all real samples: 90 % right in every start (+65.0 above guessing) · distilled embeddings: 82 % right ± 5.0 "
        "(+57.0) · decoded text: 55 % right ± 2.5 (+30.0) · guessing: 25 %, one of 4 classes · "
        "±: 95 % over 3 fresh starts"
    )
    beside = distillation.figures(measured(FULL, LEARNED, RANDOM, HERDING), KEY, TWO, QUARTER)
    assert " · herding real samples: 63 % right ± 2.5 (+38.0) · " in beside  # the strongest of as many real ones
    assert "random" not in beside
    assert distillation.figures(measured(), KEY, TWO, QUARTER) == ""


def test_two_methods_are_compared_within_each_eval_seed() -> None:
    """Differences 3, 4 and 5 points: mean 4, half 4.3027 / sqrt(3) = 2.48, so settled; turned round it is a loss."""
    found = measured(TEXT, RANDOM)
    difference = found.difference(KEY, "text", "random")
    assert (difference.mean, difference.seeds) == (pytest.approx(0.04), 3)
    assert difference.high - difference.mean == pytest.approx(0.01 * 4.302653 / math.sqrt(3), rel=1e-5)
    assert distillation.verdict(found, KEY, TWO) == ("decoded text beats random real samples", "green")
    swapped = measured(rows("text", [0.50, 0.51, 0.52]), rows("random", [0.53, 0.55, 0.57]))
    assert distillation.verdict(swapped, KEY, TWO) == ("random real samples beat decoded text", "red")
    close = measured(TEXT, rows("random", [0.52, 0.56, 0.55]))
    assert distillation.verdict(close, KEY, TWO)[0] == "decoded text against random real samples: not settled"
    assert "decoded text +0.7 (± 3.8, not settled)" in distillation.against_real(close, KEY, TWO)
    assert distillation.verdict(measured(TEXT), KEY, TWO) == ("", "gray")


def test_one_eval_seed_settles_nothing() -> None:
    """With one eval seed there is no interval, and so no verdict."""
    found = measured(rows("text", [0.9]), rows("random", [0.5]))
    assert distillation.verdict(found, KEY, TWO)[0].endswith(sentences.NOT_SETTLED)
    assert "(one start, not settled)" in distillation.against_real(found, KEY, TWO)


def test_equal_differences_settle_nothing() -> None:
    """Starts that all differ by the same have no spread, and so no interval and no verdict."""
    found = measured(TEXT, rows("random", [0.51, 0.52, 0.53]))
    assert distillation.verdict(found, KEY, TWO)[0].endswith(sentences.NOT_SETTLED)
    assert "decoded text +3.0 (equal in every start, not settled)" in distillation.against_real(found, KEY, TWO)


def test_a_win_is_one_over_the_strongest_real_samples() -> None:
    """What beats random samples and not those of herding is not called a win, and every comparison is counted."""
    random = rows("random", [0.51, 0.515, 0.518])
    lost = measured(TEXT, random, rows("herding", [0.62, 0.635, 0.64]))
    assert lost.strongest_real(KEY) == "herding"
    assert distillation.verdict(lost, KEY, TWO) == ("herding real samples beat decoded text", "red")
    assert distillation.against_real(lost, KEY, TWO) == (
        "Against 2 herding real samples, in points over 3 fresh starts: decoded text −8.2 (± 0.7). "
        "Of all 2 comparisons with as many real samples, 1 is won, 1 lost, 0 not settled."
    )
    close = measured(TEXT, random, rows("herding", [0.53, 0.56, 0.55]))
    assert distillation.verdict(close, KEY, TWO) == ("decoded text against herding real samples: not settled", "gray")
    assert distillation.against_real(close, KEY, TWO).endswith("1 is won, 0 lost, 1 not settled.")


def test_another_model_has_rivals_of_its_own() -> None:
    """What another model reads is compared with what that model reaches on real samples."""
    other = [rows("text", [0.60, 0.62, 0.61], trained="roberta"), rows("random", [0.55, 0.55, 0.57], trained="roberta")]
    found = measured(TEXT, HERDING, *other)
    assert distillation.against_real(found, KEY, TWO, "roberta") == (
        "Against 2 random real samples, in points over 3 fresh starts: decoded text +5.3 (± 3.8)."
    )


def test_holm_counts_every_comparison_with_real_samples() -> None:
    """A difference that is settled alone is not if it is one of nine."""
    near = rows("random", [0.525, 0.535, 0.515])
    text = rows("text", [0.54, 0.56, 0.535])
    assert measured(text, near).difference(KEY, "text", "random").settled
    alone = measured(text, near)
    assert distillation.verdict(alone, KEY, TWO)[1] == "green"
    rng = np.random.default_rng(0)
    noise = [rows(method, list(0.5 + rng.normal(0, 0.02, 3))) for method in ("embeddings", "text_labels")]
    real = [rows(method, list(0.48 + rng.normal(0, 0.02, 3))) for method in ("k_center", "herding")]
    many = measured(text, near, *noise, *real)
    assert many.strongest_real(KEY) == "random"
    assert distillation.verdict(many, KEY, TWO) == ("decoded text against random real samples: not settled", "gray")
    assert "Of all 9 comparisons" in distillation.against_real(many, KEY, TWO)


def test_more_of_something_is_compared_with_the_least() -> None:
    """Five inputs per class against one: mean and interval over fresh starts, and nothing with one number alone."""
    five = KEY._replace(per_class=5)
    found = measured(LEARNED, rows("embeddings", [0.85, 0.88, 0.89], key=five))
    assert distillation.more(found, [KEY, five], "per_class", "inputs per class") == (
        "Distilled embeddings, inputs per class: 5 ends 5.3 points above 1 (±1.4, 95 % over 3 fresh starts)."
    )
    assert distillation.more(found, [KEY], "per_class", "inputs per class") == ""


def test_the_table_says_chance_and_all_seconds() -> None:
    """Accuracy also above guessing; what was learned carries the seconds of learning, real samples do not."""
    table = measured(FULL, LEARNED, RANDOM).summary(KEY, chance=0.5, distilling=100.0).set_index("trained on")
    assert table["above chance"].tolist() == pytest.approx([40.0, 32.0, 1.0])
    assert table["in all"].tolist() == pytest.approx([31.0, 100.4, 2.0])
    assert "1 random real sample" in measured(rows("random", [0.5], samples=1)).label(KEY, "random")


def test_real_samples_are_those_of_the_size() -> None:
    """Random samples measured for another set of the same size stand for this one; distilled ones never do."""
    other = KEY._replace(inner_steps=1)
    found = measured(rows("random", [0.5, 0.6], key=other), rows("text", [0.7, 0.8], key=other))
    assert found.accuracy(KEY, "random").mean == pytest.approx(0.55)
    assert found.accuracy(KEY, "text").seeds == 0
    assert found.accuracy(KEY._replace(per_class=5), "random").seeds == 0


def test_transfers_are_other_models_that_learned_from_it() -> None:
    """A model that only saw real samples, or was prompted, is no transfer."""
    found = measured(
        TEXT, rows("text", [0.6, 0.6], trained="roberta"), rows("full", [0.9, 0.9], trained="roberta"),
        rows("full", [0.9, 0.9], trained="gpt"), rows("prompt_text", [0.6, 0.6], trained="gpt"),
    )  # fmt: skip
    assert found.transfers(KEY) == ["roberta"]
    assert found.methods(KEY, "roberta") == ["full", "text"]
    assert found.accuracy(KEY, "full", "roberta").mean == pytest.approx(0.9)


def test_merged_and_replayed_are_looked_up_by_task() -> None:
    """Each task has its own measurements, of the seed on the screen where it has some."""
    second = KEY._replace(task=OTHER)
    found = measured(
        rows("merged_text", [0.6, 0.6]), rows("merged_text", [0.7, 0.7], key=KEY._replace(seed=1)),
        rows("merged_text", [0.8, 0.8], key=second), rows("replay_none", [0.5, 0.5]),
    )  # fmt: skip

    def mean(task: str, key: SetKey) -> float:
        (result,) = found.among(MERGED, task, key)
        return result.over.mean

    assert mean(MAIN, KEY) == pytest.approx(0.6)
    assert mean(MAIN, KEY._replace(seed=1)) == pytest.approx(0.7)
    assert mean(OTHER, KEY) == pytest.approx(0.8)
    assert [result.method for result in found.among(REPLAYS, MAIN, KEY)] == ["replay_none"]


def test_what_is_saved_and_when_it_pays() -> None:
    """31 s against 0.4 s wins 30.6 s a training, so 134 s are won back after five."""
    found = measured(FULL, LEARNED)
    said = distillation.saved(found, KEY, "embeddings")
    assert said == (
        "Training on it takes 0.4 s instead of 31 s, and 5 steps instead of 650, for 82 % right instead of 90 %."
    )
    assert distillation.saved(measured(FULL, LEARNED, RANDOM, HERDING), KEY, "embeddings").endswith(
        "; 2 herding real samples, which need no learning, give 63 %."
    )
    assert distillation.spent(found, KEY, 134.0) == (
        "Learning the set took 2 min 14 s, training on it 0.4 s; on everything 31 s."
    )
    assert distillation.spent(found, KEY, math.nan) == distillation.spent(measured(LEARNED), KEY, 134.0) == ""
    assert distillation.paid(found, KEY, "embeddings", 134.0) == (
        "Learning the set took 2 min 14 s once; that is won back after 5 trainings."
    )
    assert "by the first training" in distillation.paid(found, KEY, "embeddings", 3.0)
    slow = measured(rows("full", [0.9, 0.9], seconds=1.0), rows("text", [0.6, 0.6], seconds=2.0))
    assert "never won back" in distillation.paid(slow, KEY, "text", 3.0)
    assert distillation.paid(found, KEY, "embeddings", math.nan) == ""
    assert distillation.saved(measured(LEARNED), KEY, "embeddings") == ""


@pytest.mark.parametrize(
    ("number", "said"),
    [(5, "5 FLOP"), (2.5e10, "25 GFLOP"), (4e15, "4 PFLOP"), (1e24, "1e+06 EFLOP"), (0, ""), (math.nan, "")],
)
def test_floating_point_operations(number: float, said: str) -> None:
    """Three figures and the prefix people read."""
    assert wording.flops(number) == said


def test_how_many_tokens_differ() -> None:
    """The count, its grammar, its initialization, and nothing for a picture."""
    assert distillation.changed(29, 32) == "29 of 32 tokens differ from the sentence it started from"
    assert distillation.changed(1, 32) == "1 of 32 tokens differs from the sentence it started from"
    assert distillation.changed(3, 32, "noise").endswith("the noise it started from")
    assert distillation.changed(0, 8).startswith("unchanged: all 8 tokens")
    assert distillation.changed(0, 0) == ""


def test_a_line_of_sets_differs_in_one_thing() -> None:
    """Sizes at the inner steps of the set on the screen, or at the first where only those have several."""
    sets = [KEY, *(KEY._replace(per_class=size) for size in (5, 2)), KEY._replace(inner_steps=20)]
    assert [key.per_class for key in along(sets, KEY, "per_class")] == [1, 2, 5]
    assert [key.inner_steps for key in along(sets, KEY, "inner_steps")] == [5, 20]
    from_other = along(sets, KEY._replace(inner_steps=20), "per_class")
    assert [key.per_class for key in from_other] == [1, 2, 5]
    assert along([KEY], KEY, "per_class") == [KEY]


def test_the_span_holds_every_point_and_guessing() -> None:
    """Nothing that is drawn lies outside of the axis."""
    values = [0.55, 0.6, 0.91]
    over = measured(rows("text", values)).accuracy(KEY, "text")
    low, high = figures.span([Result("text", "text", values, over)], 0.5)
    assert low < 0.5
    assert high > 0.91


def tokens(*read: str, values: list[float] | None = None) -> pd.DataFrame:
    near = values or [0.5] * len(read)
    return pd.DataFrame(
        {
            "input": 0,
            "position": range(len(read)),
            "start": "the",
            "nearest": [[token, "b", "c", "d", "e"] for token in read],
            "similarity": [[value, value / 2, 0.0, -0.1, -0.2] for value in near],
        }
    )


def inputs(labels: list[list[float]], names: list[str], **columns: Any) -> pd.DataFrame:
    usual: dict[str, Any] = {"text": "x", "changed": 1, "length": 2, "image": None, "best": True}
    table = pd.DataFrame({"input": range(len(labels)), "label": names, "labels": labels})
    table["near_rows"], table["near_values"] = [[3, 9]] * len(labels), [[0.8, 0.7]] * len(labels)
    return table.assign(**(usual | columns))


def test_tokens_flow_as_their_tokenizer_writes_them() -> None:
    """WordPiece glues what begins with ##, byte-pair encodings begin a word with a mark; a plain # is a token."""
    table = inputs([[1.0, 0.0]], ["good"])
    cells = cards.prepared(table, tokens("warm", "##ish", "#"), "texts")["classes"][0]["cards"][0]["tokens"]
    assert [(cell["text"], cell["space"]) for cell in cells] == [("warm", True), ("ish", False), ("#", True)]
    cells = cards.prepared(table, tokens("Ġwarm", "ish"), "texts")["classes"][0]["cards"][0]["tokens"]
    assert [(cell["text"], cell["space"]) for cell in cells] == [("warm", True), ("ish", False)]


def test_weak_matches_are_fainter_by_any_similarity() -> None:
    """Cosine is drawn from 0 to 1; distances and products from the least to the largest there are."""
    table = inputs([[1.0, 0.0]], ["good"])
    cases: list[tuple[Similarity, list[float]]] = [("cosine", [0.9, 0.3]), ("l2", [-1.0, -7.0]), ("dot", [50.0, 4.0])]
    for similarity, values in cases:
        drawn = cards.prepared(table, tokens("a", "b", values=values), "texts", similarity=similarity)
        strong, weak = (cell["strength"] for cell in drawn["classes"][0]["cards"][0]["tokens"])
        assert 0 <= weak < strong <= 1
    assert strong == 1


def test_learned_labels_stay_the_numbers_they_are() -> None:
    """Negative numbers are shown as negative, beside the class they belong to, on one scale for the whole set."""
    drawn = cards.prepared(inputs([[2.5, -0.5], [0.1, 3.0]], ["bad", "good"]), tokens("a"), "texts")
    assert (drawn["negative"], drawn["most"]) == (True, 3.0)
    assert drawn["classes"][0]["cards"][0]["labels"] == [("bad", 2.5), ("good", -0.5)]
    many = [float(value) for value in np.linspace(-3, 1, 40)]
    names = [f"class {place}" for place in range(40)]
    shown = cards.prepared(inputs([many] * 40, names), tokens("a"), "texts")["classes"][0]["cards"][0]
    assert len(shown["labels"]) == cards.MOST_LABELS
    assert shown["labels"][0] == ("class 0", -3.0)


def test_neighbours_only_where_they_are_known() -> None:
    """A row the samples do not have is left out; what is no PNG is no picture; text becomes one inert line."""
    near = {3: {"words": "a\x1b[31m\u202eb\nc", "image": b"<svg onload=alert(1)>"}}
    drawn = cards.prepared(inputs([[1.0]], ["good"], image=b"<svg>"), tokens("a"), "texts", near=near)
    card = drawn["classes"][0]["cards"][0]
    assert card["image"] == ""
    (only,) = card["near"]
    assert (only["row"], only["value"], only["image"]) == (3, 0.8, "")
    assert not set("\x1b\u202e\n") & set(only["words"])


def test_a_trajectory_shows_what_changes_and_nothing_else() -> None:
    """Labels, neighbours and badges belong to the cards; a trajectory is text and how far it has come."""
    drawn = cards.prepared(inputs([[1.0]], ["good"]), tokens("a"), "trajectory")
    card = drawn["classes"][0]["cards"][0]
    assert (drawn["badge"], card["labels"], card["near"]) == ("", [], [])
    assert card["changed"].startswith("1 of 2 tokens differs")

"""The demo set: what is common, rare, repeated or damaged, how much of each there is, and that columns say so."""

import re
from collections import Counter
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from engine.common.hashing import digest
from engine.data.demo.damage import KINDS_OF_DAMAGE, can_suffer, damage, garble, truncate
from engine.data.demo.draft import Draft
from engine.data.demo.instructions import COMMON_TASKS, OPENINGS, RARE_TASKS, TASKS, demo_corpus, demo_samples
from engine.data.loading import DEMO_CORPUS_ROWS

COLUMNS = {"instruction", "input", "response", "task", "rarity", "difficulty", "corrupted", "true_response"}
OF_SAMPLES = {"repeats", "original", "value"}
COPIES = ("exact copy", "near copy")
CORPUS_ROWS = 9000

Row = dict[str, str]


def question(row: Row) -> tuple[str, str]:
    return row["instruction"], row["input"]


def text(row: Row) -> str:
    return f"{row['instruction']} {row['input']}"


@pytest.fixture(scope="module")
def samples() -> list[Row]:
    return demo_samples()


@pytest.fixture(scope="module")
def corpus() -> list[Row]:
    return demo_corpus(CORPUS_ROWS)


def without_copies(rows: list[Row]) -> list[Row]:
    return [row for row in rows if row["repeats"] not in COPIES]


@pytest.fixture(scope="module")
def corrupted(samples: list[Row]) -> list[Row]:
    return [row for row in samples if row["corrupted"] != "no"]


# --- the table ---


def test_columns(samples: list[Row], corpus: list[Row]) -> None:
    """Every column is text and only the input may be empty; samples say more about themselves than the corpus."""
    assert all(set(row) == COLUMNS for row in corpus)
    assert all(set(row) == COLUMNS | OF_SAMPLES for row in samples)
    for row in samples + corpus:
        assert all(isinstance(value, str) for value in row.values())
        assert all(value.strip() == value for value in row.values())
        assert all(row[column] for column in COLUMNS - {"input"})
        assert not any(sign in value for value in row.values() for sign in "{}\n")


def test_size_and_variety(samples: list[Row]) -> None:
    """Every task is there, none fills more than a fifth, and every level of difficulty is."""
    tasks = Counter(row["task"] for row in samples)
    levels = Counter(row["difficulty"] for row in samples)
    assert len(samples) == 2400
    assert set(tasks) == {task.name for task in TASKS}
    assert max(tasks.values()) <= 0.2 * len(samples)
    assert set(levels) == {"easy", "medium", "hard"}
    assert min(levels.values()) >= 0.15 * len(samples)


def test_common_and_rare_tasks(samples: list[Row], corpus: list[Row]) -> None:
    """Most samples are of a few common tasks; many rare ones have few samples each, and fewer rows of the corpus."""
    assert len(RARE_TASKS) >= 2 * len(COMMON_TASKS)
    rare = [row for row in samples if row["rarity"] == "rare"]
    assert {row["task"] for row in rare} == {task.name for task in RARE_TASKS}
    assert 0.37 <= len(rare) / len(without_copies(samples)) <= 0.43
    assert max(Counter(row["task"] for row in rare).values()) < 0.03 * len(samples)
    common = Counter(row["task"] for row in samples if row["rarity"] == "common")
    assert set(common) == {task.name for task in COMMON_TASKS}
    assert min(common.values()) > 0.02 * len(samples)
    assert 0.05 <= sum(row["rarity"] == "rare" for row in corpus) / len(corpus) <= 0.09


def test_copies(samples: list[Row]) -> None:
    """Three samples in ten repeat an earlier one, which says so: with the same answer, asked the same or nearly."""
    copies = [row for row in samples if row["repeats"] in COPIES]
    assert len(copies) == 0.3 * len(samples)
    assert min(Counter(row["repeats"] for row in copies).values()) >= 0.4 * len(copies)
    repeated = {row["original"] for row in copies}
    for number, row in enumerate(samples):
        assert (row["original"] == str(number)) == (row["repeats"] not in COPIES)
        assert (row["repeats"] == "repeated") == (str(number) in repeated)
    for row in copies:
        original = samples[int(row["original"])]
        assert original["repeats"] == "repeated"
        assert [row[key] for key in COLUMNS - {"instruction"}] == [original[key] for key in COLUMNS - {"instruction"}]
        openings = OPENINGS if row["repeats"] == "near copy" else ("",)
        assert row["instruction"] in [opening + original["instruction"] for opening in openings]
        assert row["corrupted"] == "no"


def test_value(samples: list[Row]) -> None:
    """An order by value has clean samples of rare tasks first, then of common ones; copies and corrupted ones last."""
    for row in samples:
        useless = row["corrupted"] != "no" or row["repeats"] in COPIES
        assert row["value"] == ("0" if useless else "1" if row["rarity"] == "rare" else "0.5")


def test_no_template_dominates(samples: list[Row]) -> None:
    """Wordings vary: every task has at least two, and the commonest of all fills less than a twentieth."""
    shapes: dict[str, set[str]] = {}
    for row in samples:
        shapes.setdefault(row["task"], set()).add(re.sub(r"[\d:]+", "#", row["instruction"]))
    assert min(map(len, shapes.values())) >= 2
    assert max(Counter(row["instruction"] for row in samples).values()) < 0.05 * len(samples)


def test_lengths(samples: list[Row], corpus: list[Row]) -> None:
    """Prompt and response together are about 20 to 45 tokens, so that the demo's models train quickly."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=1024, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator((f"{text(row)}\n{row['response']}" for row in corpus), trainer)
    lengths = sorted(len(tokenizer.encode(f"{text(row)}\n{row['response']}").ids) for row in samples)
    assert 20 <= lengths[len(lengths) // 2] <= 45
    assert lengths[-1] <= 96


@settings(max_examples=15, deadline=None)
@given(n=st.integers(0, 400), seed=st.integers(0, 10**6))
def test_any_size_and_seed(n: int, seed: int) -> None:
    """For any size and seed: the same rows again, no question twice but in copies, exact shares of both."""
    rows = demo_samples(n, seed)
    assert rows == demo_samples(n, seed)
    assert len(rows) == n
    assert len(without_copies(rows)) == len({question(row) for row in without_copies(rows)}) == n - round(0.3 * n)
    assert sum(row["corrupted"] != "no" for row in rows) == round(0.1 * n)


def test_written_as_before(samples: list[Row]) -> None:
    """Scores and trained models are stored under the hash of the rows: another word would make them all anew."""
    assert digest(samples) == "efa6d08828064abd"
    assert digest(demo_corpus(500, seed=3)) == "d60f96d1501d081b"


def test_seeds_differ(samples: list[Row]) -> None:
    """Another seed writes another set."""
    assert len({question(row) for row in demo_samples(seed=1)} & {question(row) for row in samples}) < 1200


def test_tasks_that_run_out_give_way() -> None:
    """Ten times the rows are still all different but for copies: small tasks leave their share to the others."""
    rows = without_copies(demo_samples(24_000))
    assert len(rows) == len({question(row) for row in rows}) == 0.7 * 24_000
    counts = Counter(row["task"] for row in rows)
    shares = {task.name: counts[task.name] / task.weight for task in RARE_TASKS}
    assert min(shares.values()) < 0.7 * max(shares.values())


# --- the corruption ---


def test_corrupted_share(samples: list[Row], corrupted: list[Row]) -> None:
    """Exactly a tenth is corrupted, each kind about equally often, over all levels and most tasks."""
    assert len(corrupted) == round(0.1 * len(samples))
    kinds = Counter(row["corrupted"] for row in corrupted)
    assert set(kinds) == set(KINDS_OF_DAMAGE)
    assert min(kinds.values()) >= 0.15 * len(corrupted)
    assert len({row["task"] for row in corrupted}) >= 0.8 * len(TASKS)
    for level in ("easy", "medium", "hard"):
        of_level = [row["corrupted"] != "no" for row in samples if row["difficulty"] == level]
        assert 0.05 <= sum(of_level) / len(of_level) <= 0.15


def test_corrupted_rows_are_wrong(samples: list[Row]) -> None:
    """A row is marked as corrupted if and only if its response is not the true one."""
    for row in samples:
        assert (row["corrupted"] != "no") == (row["response"] != row["true_response"]), row


def test_kinds_of_damage_look_as_named(corrupted: list[Row]) -> None:
    """Truncated ones break off inside a word, garbled ones keep their length, off-topic ones are sentences."""
    for row in corrupted:
        answer, true = row["response"], row["true_response"]
        if row["corrupted"] == "truncated":
            assert true.startswith(answer)
            assert answer[-1].isalpha()
            assert true[len(answer)].isalpha()
        if row["corrupted"] == "garbled":
            assert len(answer) == len(true)
            assert [sign for sign in answer if not sign.isalpha()] == [sign for sign in true if not sign.isalpha()]
        if row["corrupted"] == "off topic":
            assert re.match("[A-Z]", answer)
            assert answer.count(" ") >= 3
        if row["corrupted"] == "wrong answer":
            assert len(answer.split()) - len(true.split()) in range(-4, 5)


def test_swapped_answer_has_another_topic() -> None:
    """A swapped answer is never taken from a question with the same right answer."""
    drafts = [Draft("easy", f"question {i}", "", f"answer {i}", "wrong", topic) for i, topic in enumerate("aab")]
    remaining = iter(drafts[1:])
    assert damage(Random(0), "swapped", drafts[0], lambda rng: next(remaining), lambda rng: drafts[0]) == "answer 2"


@given(st.text("abYZé 1-.", max_size=40), st.integers(0, 1000))
def test_damage_always_changes_the_answer(answer: str, seed: int) -> None:
    """Whatever the answer: if a damage is possible, its result differs from the answer."""
    draft = Draft("easy", "question", "", answer, "wrong", "topic")
    if can_suffer("garbled", draft):
        assert garble(Random(seed), answer) != answer
    if can_suffer("truncated", draft):
        assert truncate(Random(seed), answer) != answer


# --- the corpus ---


def test_corpus_is_clean(corpus: list[Row]) -> None:
    """The corpus holds right answers alone, of every task, and is the same for the same seed."""
    assert len(corpus) == CORPUS_ROWS
    assert all(row["corrupted"] == "no" and row["response"] == row["true_response"] for row in corpus)
    assert {row["task"] for row in corpus} == {task.name for task in TASKS}
    assert corpus == demo_corpus(CORPUS_ROWS)
    assert corpus != demo_corpus(CORPUS_ROWS, seed=1)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_no_sample_is_in_any_corpus(seed: int, corpus_seed: int) -> None:
    """No question of a sample set, and so no corrupted answer, stands in a corpus, whatever the seeds."""
    in_corpus = {question(row) for row in demo_corpus(2000, corpus_seed)}
    assert not in_corpus & {question(row) for row in demo_samples(500, seed)}


def test_corpus_knows_the_wordings(samples: list[Row]) -> None:
    """Common samples are asked in words that the corpus uses often, and nine rare ones in ten in words that it uses."""

    def words_of(row: Row) -> set[str]:
        return {word for word in re.findall(r"\w{3,}", text(row)) if word.isalpha() and not word.isupper()}

    known = Counter(word for row in demo_corpus(DEMO_CORPUS_ROWS) for word in words_of(row))
    common = [row for row in samples if row["rarity"] == "common"]
    rare = [row for row in samples if row["rarity"] == "rare"]
    assert all(known[word] >= 3 for row in common for word in words_of(row))
    assert sum(all(known[word] for word in words_of(row)) for row in rare) >= 0.9 * len(rare)

"""From rows to what the models read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from engine.common.errors import WinnowError
from engine.config.data import ColumnMap
from engine.data.records import Records
from engine.data.samples import NO_TOKENS, TOO_LONG, EncodedSample, Prepared, content_id, encode_rows, prepare
from engine.data.sources import Row, Rows, read_rows, to_rows
from engine.data.templates import Template
from engine.storage.parts import part_path, write_part
from engine.storage.tables import SAMPLES
from engine.storage.workspace import Workspace

Make = Callable[..., PreTrainedTokenizerFast]


def rows_of(pairs: list[tuple[str, str]], skip: int = 0) -> Rows:
    records = [{"q": prompt, "a": response, "task": "t"} for prompt, response in pairs]
    return to_rows(Records("a list", ["q", "a"], records, skip, None), ColumnMap(instruction="q", response="a"))


def prepared(
    pairs: list[tuple[str, str]], tokenizer: PreTrainedTokenizerFast, max_length: int = 512, **changes: Any
) -> Prepared:
    settings: dict[str, Any] = {"template": "plain", "valid_fraction": 0.1, "split_seed": 0} | changes
    return prepare(rows_of(pairs), tokenizer=tokenizer, max_length=max_length, **settings)


def encoded(
    instruction: str, response: str, tokenizer: PreTrainedTokenizerFast, max_length: int | None
) -> EncodedSample:
    row = Row(row=0, instruction=instruction, input="", response=response, system="", turns=[], fields={})
    [sample] = encode_rows([row], "plain", tokenizer, max_length)
    assert isinstance(sample, EncodedSample)
    return sample


def start_of(sample: EncodedSample) -> int:
    """The first position whose label belongs to the response, after which all do."""
    start = int(np.argmax(sample.response))
    assert sample.response[start:].all()
    return start


PAIRS = [(f"Name the capital of {i}.", f"Paris {i}") for i in range(30)]


def test_one_sample_by_hand(tokenizer: PreTrainedTokenizerFast, make: Make) -> None:
    """Positions read the prompt and the response, labels are what follows, the end token is the last of them."""
    for reader, begin in ((tokenizer, []), (make(adds_begin=True), [0])):
        prompt = reader("q\n", add_special_tokens=False)["input_ids"]
        response = reader("baba", add_special_tokens=False)["input_ids"]
        sample = encoded("q", "baba", reader, 512)
        assert sample.input_ids.tolist() == begin + prompt + response
        assert sample.labels.tolist() == [*begin, *prompt, *response, reader.eos_token_id][1:]
        assert sample.labels[start_of(sample) :].tolist() == [*response, reader.eos_token_id]
        assert sample.response_length == len(response) + 1
        assert sample.input_ids.dtype == sample.labels.dtype == np.int32
        assert not sample.truncated


def test_no_merge_crosses_the_border(tokenizer: PreTrainedTokenizerFast) -> None:
    """The response begins with its own first token even if the joined text would merge across the border."""
    joined = tokenizer.convert_ids_to_tokens(tokenizer("q\nba", add_special_tokens=False)["input_ids"])
    assert any("Ċb" in token for token in joined)  # Ċ is how such vocabularies write a line end
    sample = encoded("q", "ba", tokenizer, 512)
    assert tokenizer.decode(sample.labels[start_of(sample) : -1]) == "ba"
    assert tokenizer.decode(sample.input_ids[: start_of(sample) + 1]) == "q\n"


def test_bare_text(tokenizer: PreTrainedTokenizerFast, make: Make) -> None:
    """Without a prompt the response starts at once; a begin token, if there is one, predicts its first token."""
    ids = tokenizer("baba", add_special_tokens=False)["input_ids"]
    bare = encoded("", "baba", tokenizer, 512)
    assert start_of(bare) == 0
    assert bare.labels.tolist() == [*ids[1:], 1]
    begun = encoded("", "baba", make(adds_begin=True), 512)
    assert start_of(begun) == 0
    assert begun.labels.tolist() == [*ids, 1]


def test_special_tokens_in_a_sample_are_text(tokenizer: PreTrainedTokenizerFast) -> None:
    """A sample that spells the end token cannot end itself early."""
    sample = encoded("<s>a</s>", "b</s>c", tokenizer, 512)
    assert 0 not in sample.input_ids
    assert 1 not in sample.input_ids
    assert tokenizer.decode(sample.labels[start_of(sample) : -1]) == "b</s>c"


def test_truncation_at_every_length(tokenizer: PreTrainedTokenizerFast) -> None:
    """A row that is cut keeps its true next token as the last label, and counts as cut."""
    whole = encoded("Name", "xyz uvw", tokenizer, None)
    for max_length in range(1, whole.length + 2):
        cut = encoded("Name", "xyz uvw", tokenizer, max_length)
        assert cut.length == min(max_length, whole.length)
        assert cut.input_ids.tolist() == whole.input_ids[:max_length].tolist()
        assert cut.labels.tolist() == whole.labels[:max_length].tolist()
        assert cut.truncated == (max_length < whole.length)
        assert cut.response_length == max(cut.length - start_of(whole), 0)
    assert start_of(whole) >= 2  # so that lengths without any response were among them


def test_rows_without_a_response_token_are_dropped(tokenizer: PreTrainedTokenizerFast) -> None:
    """Cutting is counted, and a row whose whole response is cut away is dropped and counted, never kept as nothing."""
    pairs = [("q", "ba"), ("xyz" * 20, "ba"), ("q", "xyz" * 20), ("q", "bb")]
    result = prepared(pairs, tokenizer, max_length=16)
    assert [sample.row for sample in result.samples] == [0, 2, 3]
    assert result.dropped == {TOO_LONG: 1}
    assert result.truncated == 1
    assert [sample.truncated for sample in result.samples] == [False, True, False]


def test_a_response_that_becomes_no_token(make: Make) -> None:
    """A tokenizer that drops characters can leave nothing of a response; such a row is counted."""
    from tokenizers import normalizers

    tokenizer = make()
    tokenizer.backend_tokenizer.normalizer = normalizers.Replace("~", "")
    result = prepared([("q", "~~"), ("q", "ba"), ("q", "bb")], tokenizer)
    assert [sample.row for sample in result.samples] == [1, 2]
    assert result.dropped == {NO_TOKENS: 1}


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=40)


@given(
    pairs=st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=25),
    max_length=st.integers(8, 60),
    fraction=st.floats(0.01, 0.99),
    seed=st.integers(0, 5),
    template=st.sampled_from(["alpaca", "plain"]),
)
def test_every_row_becomes_one_sample_or_is_counted(
    tokenizer: PreTrainedTokenizerFast,
    pairs: list[tuple[str, str]],
    max_length: int,
    fraction: float,
    seed: int,
    template: Template,
) -> None:
    """Kept and dropped rows add up, labels are inputs shifted by one, the split is a partition of the right sizes."""
    pairs = [*pairs, ("q", "ba"), ("q", "bb")]
    rows = rows_of(pairs, skip=7)
    context = max_length + (250 if template == "alpaca" else 0)  # its own words are about 150 tokens here
    result = prepare(rows, template, tokenizer, context, fraction, seed)

    kept = [sample.row for sample in result.samples]
    assert kept == sorted(set(kept))
    assert set(kept) <= set(range(7, 7 + len(pairs)))
    assert len(kept) + sum(result.dropped.values()) == rows.read == len(pairs)
    assert [text["row"] for text in result.texts] == kept
    assert result.truncated == sum(sample.truncated for sample in result.samples)

    for sample, text in zip(result.samples, result.texts, strict=True):
        assert sample.input_ids[1:].tolist() == sample.labels[:-1].tolist()
        assert len(sample.input_ids) == len(sample.labels) == sample.length <= context
        assert 0 <= start_of(sample) < sample.length
        assert sample.response_length == sample.length - start_of(sample) >= 1
        if not sample.truncated:
            assert sample.labels[-1] == tokenizer.eos_token_id
            assert tokenizer.decode(sample.labels[start_of(sample) : -1]) == text["response"]

    valid = sum(sample.split == "valid" for sample in result.samples)
    assert {sample.split for sample in result.samples} == {"train", "valid"}
    assert valid == min(max(round(fraction * len(kept)), 1), len(kept) - 1)


def test_split_follows_its_seed(tokenizer: PreTrainedTokenizerFast) -> None:
    """The same seed gives the same split, another seed another one."""
    splits = [[sample.split for sample in prepared(PAIRS, tokenizer, split_seed=seed).samples] for seed in (0, 0, 1, 2)]
    assert splits[0] == splits[1]
    assert splits[0] != splits[2] != splits[3]


def test_validation_of_named_rows_alone(tokenizer: PreTrainedTokenizerFast) -> None:
    """Only rows with the values asked for are held out, as many as the share says, drawn by the same seed."""
    records = [{"q": "q", "a": "ba", "checked": "yes" if row % 3 == 0 else "no", "n": row % 2} for row in range(60)]
    rows = to_rows(Records("a list", [*records[0]], records, 0, None), ColumnMap(instruction="q", response="a"))

    def split(**only: str) -> Prepared:
        return prepare(rows, "plain", tokenizer, 64, 0.15, 0, only)

    held = [sample.row for sample in split(checked="yes", n="1").samples if sample.split == "valid"]
    assert len(held) == 9
    assert all(row % 6 == 3 for row in held)
    assert split().dataset == prepare(rows, "plain", tokenizer, 64, 0.15, 0).dataset != split(checked="yes").dataset
    with pytest.raises(WinnowError) as caught:
        split(checked="y" * 300)
    assert str(caught.value) == (
        f"0 of 60 samples have checked = {'y' * 200}…, as data.valid_only wants, and data.valid_fraction = 0.15 holds "
        "out 9; lower valid_fraction, or check the columns of valid_only."
    )


def test_too_few_rows(tokenizer: PreTrainedTokenizerFast) -> None:
    """One row cannot both train and validate; the sentence says where the others went."""
    with pytest.raises(WinnowError) as caught:
        prepared([("q", "ba"), ("xyz" * 20, "ba")], tokenizer, max_length=16)
    assert str(caught.value) == (
        "Training and validation need at least two samples, and 1 of 2 rows is left "
        "(1 dropped: longer than the context: no response left); "
        "give more rows, or raise models.max_length (now 16 tokens)."
    )


def test_a_tokenizer_without_an_end(make: Make) -> None:
    """A response that could not be taught to end is refused."""
    with pytest.raises(WinnowError, match="has no end token; choose a pair that has one"):
        prepared(PAIRS, make(end=None))


def test_dataset_id_changes_with_everything_that_changes_the_samples(
    tokenizer: PreTrainedTokenizerFast, make: Make
) -> None:
    """Two runs share a dataset exactly when they read the same samples."""
    base = prepared(PAIRS, tokenizer).dataset
    assert base == prepared(PAIRS, make()).dataset
    others = {
        prepared(PAIRS[:-1], tokenizer).dataset,
        prepared(PAIRS, make(adds_begin=True)).dataset,
        prepared(PAIRS, tokenizer, max_length=511).dataset,
        prepared(PAIRS, tokenizer, template="alpaca").dataset,
        prepared(PAIRS, tokenizer, valid_fraction=0.2).dataset,
        prepared(PAIRS, tokenizer, split_seed=1).dataset,
    }
    assert len(others | {base}) == 7


def test_content_id_is_of_the_text_alone() -> None:
    """The same sample is recognised in another file or place, and texts that only join alike stay different."""
    assert content_id("a", "b", "c") == content_id("a", "b", "c")
    assert (
        len({content_id("a", "b", "c"), content_id("ab", "", "c"), content_id("a", "bc", ""), content_id("", "", "")})
        == 4
    )


def test_sample_columns_fit_the_table(tokenizer: PreTrainedTokenizerFast, workspace: Workspace) -> None:
    """What is prepared can be written as the samples part of a run and read back."""
    import pyarrow.parquet as pq

    result = prepared([*PAIRS, ("\x1b[31m <b>q</b>", "\u202e ba")], tokenizer)
    write_part(workspace, "run", "samples", "samples", result.sample_columns())
    table = pq.read_table(part_path(workspace, "run", "samples", "samples"))
    assert table.schema.names == SAMPLES.names
    last = table.to_pylist()[-1]
    sample = result.samples[-1]
    assert last == {
        "dataset": result.dataset,
        "row": 30,
        "content_id": content_id("\x1b[31m <b>q</b>", "", "\u202e ba"),
        "split": sample.split,
        "instruction": "\x1b[31m <b>q</b>",
        "input": "",
        "response": "\u202e ba",
        "system": "",
        "turns": None,
        "fields": [("task", "t")],
        "length": sample.length,
        "response_length": sample.response_length,
        "truncated": False,
        "image": None,
        "label": None,
    }


def test_first_rows_of_alpaca(real_data: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    """The published set passes through: each response is read back from its labels, 10 % are for validation."""
    rows = read_rows(str(real_data / "alpaca.parquet"), limit=300)
    result = prepare(rows, "alpaca", tokenizer, 4096, 0.1, 0)
    assert len(result.samples) + sum(result.dropped.values()) == 300
    assert result.truncated == 0
    assert sum(sample.split == "valid" for sample in result.samples) == round(0.1 * len(result.samples))
    for sample, text in zip(result.samples, result.texts, strict=True):
        assert tokenizer.decode(sample.labels[start_of(sample) : -1]) == text["response"]

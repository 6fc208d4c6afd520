"""Encoders made from scratch: whole words as tokens, words masked by BERT's rule, trained once and resumable."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertForPreTraining,
    PreTrainedTokenizerBase,
)

from engine.config.models import ScratchModel
from engine.data.demo.texts import feelings, topics
from engine.models.scratch import encoder, folders
from engine.storage.workspace import Workspace

CPU = torch.device("cpu")
SETTINGS = ScratchModel(layers=1, width=16, heads=2, batch_size=8, epochs=3.5, learning_rate=1e-2)
TEXTS = ["The cat sat on the mat.", "A dog, not a cat, barked!", "the mat is the dog's", "Zebras sat."] * 8
LONGEST = 16


def tokenizer_of(
    workspace: Workspace, texts: list[str] = TEXTS, vocab_size: int = 200
) -> tuple[Path, PreTrainedTokenizerBase]:
    folder = encoder.word_tokenizer_folder(workspace, lambda: texts, f"{len(texts)} texts", vocab_size)
    return folder, AutoTokenizer.from_pretrained(folder)


def silent(_done: int, _total: int) -> None:
    """No progress is reported."""


def make(
    workspace: Workspace, tick: Callable[[int, int], object] = silent, settings: ScratchModel = SETTINGS
) -> tuple[Path, float | None]:
    place, tokenizer = tokenizer_of(workspace)
    folder = encoder.encoder_folder(workspace, "tiny", settings, place, LONGEST, "texts")
    texts = tokenizer(TEXTS)["input_ids"]
    return folder, encoder.make_encoder(workspace, folder, settings, tokenizer, texts, LONGEST, CPU, tick)


def test_tokens_are_whole_words(workspace: Workspace) -> None:
    """Every word of the demo has a token of its own and comes back, in lower case, as it was written."""
    texts = [row["text"] for row in feelings() + topics()]
    _, tokenizer = tokenizer_of(workspace, texts, 4000)
    for text, ids in zip(texts, tokenizer(texts)["input_ids"], strict=True):
        assert tokenizer.convert_ids_to_tokens([ids[0], ids[-1]]) == ["[CLS]", "[SEP]"]
        assert tokenizer.unk_token_id not in ids
        decoded = tokenizer.decode(ids, skip_special_tokens=True)
        assert decoded.replace(" ", "") == text.lower().replace(" ", "")
    assert tokenizer.tokenize("The dinner, warmed up") == ["the", "dinner", ",", "warmed", "up"]


def test_special_tokens_are_known_by_name(workspace: Workspace) -> None:
    """What is padded, masked or unknown is what the encoder takes it for; rare words are the first to go."""
    _, tokenizer = tokenizer_of(workspace, vocab_size=12)
    known = [tokenizer.pad_token, tokenizer.unk_token, tokenizer.cls_token, tokenizer.sep_token, tokenizer.mask_token]
    assert tuple(known) == encoder.SPECIALS
    assert tokenizer.convert_tokens_to_ids(known) == list(range(5))
    assert len(tokenizer) == 12
    assert tokenizer.tokenize("the zebras") == ["the", "[UNK]"]


def test_a_tokenizer_is_made_once_for_a_content(tmp_path: Path) -> None:
    """The second run does not read the texts again; another workspace makes the very same file."""
    first = Workspace(tmp_path / "a").create()
    folder, _ = tokenizer_of(first)

    def unread() -> list[str]:
        raise AssertionError("the tokenizer is there")

    assert encoder.word_tokenizer_folder(first, unread, "32 texts", 200) == folder
    assert encoder.word_tokenizer_folder(first, lambda: TEXTS, "32 texts", 12) != folder
    assert encoder.word_tokenizer_folder(first, lambda: TEXTS, "others", 200) != folder
    other, _ = tokenizer_of(Workspace(tmp_path / "b").create())
    assert (other.name, (other / "tokenizer.json").read_bytes()) == (
        folder.name,
        (folder / "tokenizer.json").read_bytes(),
    )


@given(
    lengths=st.lists(st.integers(0, 40), min_size=1, max_size=6), seed=st.integers(0, 2**32), vocab=st.integers(6, 90)
)
def test_which_words_are_hidden(lengths: list[int], seed: int, vocab: int) -> None:
    """15 % of each text and at least one word; special tokens are never selected, changed or put in by chance."""
    rng = np.random.default_rng(seed)
    ids = np.zeros((len(lengths), max(lengths) + 2), dtype=np.int64)
    for row, length in enumerate(lengths):
        ids[row, : length + 2] = [2, *rng.integers(5, vocab, length), 3]
        ids[row, 1 : 1 + length][rng.random(length) < 0.1] = 1  # unknown
    masked, labels = encoder.mask_words(ids, vocab, rng)
    selected = labels != encoder.IGNORED
    count = (ids >= 5).sum(axis=1)
    assert (selected.sum(axis=1) >= (count > 0)).all()
    assert (abs(selected.sum(axis=1) - 0.15 * count) <= 0.85).all()
    assert (labels[selected] == ids[selected]).all()
    assert (ids[selected] >= 5).all()
    assert (masked[~selected] == ids[~selected]).all()
    assert np.isin(masked[selected & (masked < 5)], [4]).all()
    assert (masked < vocab).all()


def test_the_80_10_10_rule() -> None:
    """Devlin et al. 2019, section 3.1; with 995 words one in 995 random words is the word itself."""
    rng = np.random.default_rng(0)
    ids = rng.integers(5, 1000, (2000, 40))
    masked, labels = encoder.mask_words(ids, 1000, rng)
    selected = labels != encoder.IGNORED
    assert selected.sum() == 2000 * 6
    spread = 4 * (0.1 * 0.9 / selected.sum()) ** 0.5  # four standard errors
    assert (masked[selected] == 4).mean() == pytest.approx(0.8, abs=1.4 * spread)
    assert ((masked != 4) & (masked != ids))[selected].mean() == pytest.approx(0.1, abs=spread)
    assert (masked == ids)[selected].mean() == pytest.approx(0.1, abs=spread)
    assert selected.mean(axis=0) == pytest.approx(np.full(40, 0.15), abs=0.04)  # no place is preferred


def test_the_learning_rate_rises_and_falls() -> None:
    """Linear up to the peak in the first tenth, then linear down to the last step, which still learns."""
    rates = [encoder.learning_rate(step, 100, 1.0) for step in range(101)]
    assert rates[:10] == pytest.approx([0.1 * (i + 1) for i in range(10)])
    assert rates[10:] == pytest.approx([(100 - step) / 90 for step in range(10, 101)])


def test_an_encoder_is_made_once_and_reads_as_a_classifier(workspace: Workspace) -> None:
    """The body is the one that was trained and the head is new; the tokenizer lies beside it."""
    folder, loss = make(workspace)
    assert loss is not None
    assert loss > 0
    assert make(workspace) == (folder, None)
    trained = BertForPreTraining.from_pretrained(folder)
    tied = trained.cls.predictions.decoder.weight
    assert tied.data_ptr() == trained.get_input_embeddings().weight.data_ptr()
    classifier = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=3)
    body = classifier.bert.state_dict()
    learned = trained.bert.state_dict()
    assert learned.keys() == body.keys()
    assert all(torch.equal(body[name], value) for name, value in learned.items())
    batch = AutoTokenizer.from_pretrained(folder)(TEXTS[:3], padding=True, return_tensors="pt")
    assert classifier(**batch).logits.shape == (3, 3)
    assert not list(workspace.models.glob("*.training.safetensors"))


def test_the_pooling_layer_passes_the_first_token_on(workspace: Workspace) -> None:
    """Training never reaches it; a random one would hide what [CLS] has learned from the head that reads it."""
    folder, _ = make(workspace)
    model = BertForPreTraining.from_pretrained(folder)
    assert model.bert.pooler is not None
    assert torch.equal(model.bert.pooler.dense.weight, 0.5 * torch.eye(SETTINGS.width))
    assert not model.bert.pooler.dense.bias.any()


def test_heads_start_as_small_as_those_of_bert(workspace: Workspace) -> None:
    """The body starts wide for its width; the configuration of the folder has 0.02, for heads put on it."""
    folder, _ = make(workspace)
    assert AutoModelForSequenceClassification.from_pretrained(folder).config.initializer_range == 0.02
    model = encoder.build_encoder(SETTINGS.model_copy(update={"width": 64}), 500, LONGEST)
    assert float(model.bert.embeddings.word_embeddings.weight.detach().std()) == pytest.approx(64**-0.5, rel=0.05)


def test_words_start_at_their_vectors(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Known words start at their vectors, the others at random, and so does the layer that predicts them."""
    tokenizer = tokenizer_of(workspace)[1]
    started: list[Tensor] = []

    def no_training(*given: object, **_settings: object) -> float:
        model = given[0]
        assert isinstance(model, BertForPreTraining)
        started.append(model.bert.embeddings.word_embeddings.weight.detach().clone())
        assert torch.equal(model.cls.predictions.decoder.weight, started[0])
        return 0.0

    monkeypatch.setattr(folders, "pretrain", no_training)
    make(workspace)
    vectors = encoder.word_vectors(tokenizer(TEXTS)["input_ids"], len(tokenizer), SETTINGS.width)
    chance = encoder.build_encoder(SETTINGS, len(tokenizer), LONGEST).bert.embeddings.word_embeddings.weight
    known = vectors.any(1)
    assert known.any()
    assert not known.all()
    assert torch.equal(started[0][known], vectors[known])
    assert torch.equal(started[0][~known], chance[~known])


SPECIALS = len(encoder.SPECIALS)
texts_of = st.lists(st.lists(st.integers(0, 14), max_size=8), max_size=12)


def counted(texts: list[list[int]], vocab_size: int) -> np.ndarray:
    """Positive pointwise mutual information in float64, pair by pair from its definition."""
    pairs = [(a, b) for text in texts for a in {*text} for b in {*text} if a != b and min(a, b) >= SPECIALS]
    found = np.zeros((vocab_size, vocab_size))
    for a, b in {*pairs}:
        both = pairs.count((a, b)) / len(pairs)
        alone = [sum(first == word for first, _ in pairs) / len(pairs) for word in (a, b)]
        found[a, b] = max(float(np.log(both / (alone[0] * alone[1]))), 0.0)
    return found


@given(texts=texts_of)
def test_word_vectors_are_those_of_mutual_information(texts: list[list[int]]) -> None:
    """Of full width they span what |PPMI| spans, each row of length 1; special tokens and words never seen are zero."""
    found = encoder.word_vectors(texts, 15, 15).double()
    information = counted(texts, 15)
    values, vectors = np.linalg.eigh(information)
    # left and right singular vectors of a symmetric matrix differ in sign alone: U S Uᵀ is its absolute value
    rows = vectors * np.sqrt(abs(values))
    lengths = np.linalg.norm(rows, axis=1)
    assert found.shape == (15, 15)
    assert found.isfinite().all()
    neighbours = {
        word for text in texts for word in text if word >= SPECIALS and any(a >= SPECIALS and a != word for a in text)
    }
    assert not found[[word for word in range(15) if word not in neighbours]].any()
    for a in neighbours:
        for b in neighbours:
            if min(lengths[a], lengths[b]) > 1e-6:  # a word beside all others has no information
                cosine = rows[a] @ rows[b] / (lengths[a] * lengths[b])
                assert float(found[a] @ found[b]) == pytest.approx(cosine, abs=1e-4)


def test_fewer_numbers_are_the_leading_ones() -> None:
    """Of U √S the columns with the largest singular values; a width above the vocabulary is filled with zeros."""
    rng = np.random.default_rng(0)
    texts = [rng.integers(5, 25, 6).tolist() for _ in range(80)]
    left, values, _ = np.linalg.svd(counted(texts, 25))
    for width in (3, 8):
        rows = left[5:, :width] * np.sqrt(values[:width])
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        found = encoder.word_vectors(texts, 25, width)[5:].double().numpy()
        assert found @ found.T == pytest.approx(rows @ rows.T, abs=1e-5)
    wide = encoder.word_vectors(texts, 25, 40)
    assert wide.shape == (25, 40)
    assert not wide[:, 25:].any()
    assert wide.dtype == torch.float32


def test_words_that_keep_the_same_company_start_alike() -> None:
    """Two words that never stand in one text, but beside the same ones, are nearer than two of other neighbours."""
    rng = np.random.default_rng(0)
    kitchen, garden = list(range(7, 15)), list(range(17, 25))
    texts = []
    for place in range(200):
        words, pair = ((kitchen, (5, 6)), (garden, (15, 16)))[place % 2]
        texts.append([2, pair[place // 2 % 2], *rng.choice(words, 4, replace=False).tolist(), 3])
    found = encoder.word_vectors(texts, 26, 4)
    assert float(found[5] @ found[6]) > 0.9
    assert float(found[15] @ found[16]) > 0.9
    assert abs(float(found[5] @ found[15])) < 0.3
    assert not found[:5].any()
    assert not found[25].any()


def test_an_encoder_learns_from_words_around(workspace: Workspace) -> None:
    """Predicting masked words gets better than chance, and than always predicting the most frequent one."""
    folder, _ = make(workspace, settings=SETTINGS.model_copy(update={"epochs": 40.0}))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = BertForPreTraining.from_pretrained(folder).eval()
    ids = tokenizer(TEXTS, padding=True, return_tensors="np")["input_ids"]
    masked, labels = encoder.mask_words(ids, len(tokenizer), np.random.default_rng(1))
    words = labels[labels != encoder.IGNORED]
    with torch.inference_mode():
        named = encoder.masked_logits(model, ids, masked, labels).argmax(-1).numpy()
    assert (named == words).mean() > np.bincount(ids[ids >= 5]).max() / (ids >= 5).sum() + 0.3


def test_padding_changes_nothing(workspace: Workspace) -> None:
    """What a batch is padded to depends on the other texts in it."""
    tokenizer = tokenizer_of(workspace)[1]
    model = encoder.build_encoder(SETTINGS, len(tokenizer), LONGEST).eval()
    ids = np.array([tokenizer(TEXTS[0])["input_ids"]])
    masked, labels = encoder.mask_words(ids, len(tokenizer), np.random.default_rng(0))
    wide = [
        np.pad(array, ((0, 0), (0, 4)), constant_values=fill) for array, fill in ((ids, 0), (masked, 0), (labels, -100))
    ]
    with torch.inference_mode():
        short, long = encoder.masked_logits(model, ids, masked, labels), encoder.masked_logits(model, *wide)
    torch.testing.assert_close(short, long)


def test_an_encoder_killed_while_it_is_made_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends with the weights of one that was left alone, dropout and masked words included."""
    monkeypatch.setattr(folders, "SAVE_SECONDS", 0.0)

    class Killed(BaseException):
        pass

    def kill_at(step: int) -> Callable[[int, int], None]:
        def tick(done: int, total: int) -> None:
            assert total == 14  # four batches a pass, three and a half passes
            if done == step:
                raise Killed

        return tick

    weights = []
    for name, kills in (("alone", ()), ("killed", (3, 9))):
        workspace = Workspace(tmp_path / name).create()
        for step in kills:
            with pytest.raises(Killed):
                make(workspace, kill_at(step))
        seen: list[int] = []
        folder, _ = make(workspace, lambda done, total, seen=seen: seen.append(done))
        assert seen[0] == (9 if kills else 1)  # the step that was killed before it was saved is done again
        weights.append(BertForPreTraining.from_pretrained(folder).state_dict())
    assert all(torch.equal(weights[0][name], value) for name, value in weights[1].items())


def test_a_place_for_everything_that_determines_it(workspace: Workspace) -> None:
    """Two settings that differ give two folders, and the same give one."""
    place, other = workspace.models / "words-1", workspace.models / "words-2"

    def of(settings: ScratchModel = SETTINGS, words: Path = place, length: int = 16, data: str = "x") -> Path:
        return encoder.encoder_folder(workspace, "tiny", settings, words, length, data)

    assert of() == of()
    longer = SETTINGS.model_copy(update={"epochs": 4.0})
    assert len({of(), of(longer), of(words=other), of(length=17), of(data="y")}) == 5


def test_unknown_words_alone_teach_nothing_and_break_nothing(workspace: Workspace) -> None:
    """A batch with no word to predict has a loss of 0 and not of nan, which would spoil every weight."""
    place, tokenizer = tokenizer_of(workspace)
    folder = encoder.encoder_folder(workspace, "tiny", SETTINGS, place, LONGEST, "unknown")
    texts = [[2, 1, 1, 3]] * 8
    assert encoder.make_encoder(workspace, folder, SETTINGS, tokenizer, texts, LONGEST, CPU, silent) == 0
    assert all(value.isfinite().all() for value in BertForPreTraining.from_pretrained(folder).state_dict().values())


@pytest.mark.parametrize("texts", [[], [[]], [[2, 5, 3], [2, *[5] * 15, 3]]])
def test_texts_that_do_not_fit(workspace: Workspace, texts: list[list[int]]) -> None:
    """The caller truncates texts; one that is too long would end in an index error inside the model."""
    place, tokenizer = tokenizer_of(workspace)
    folder = encoder.encoder_folder(workspace, "tiny", SETTINGS, place, LONGEST, "bad")
    with pytest.raises(ValueError, match="texts of 1 to 16 tokens"):
        encoder.make_encoder(workspace, folder, SETTINGS, tokenizer, texts, LONGEST, CPU, silent)

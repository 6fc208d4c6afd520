"""Small BERTs made from scratch, to be fine-tuned as text classifiers: a tokenizer of whole words, and its encoder.

An encoder is trained on texts alone, to predict masked words (Devlin et al. 2019, section 3.1).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from torch import Tensor, nn
from transformers import BertConfig, BertForPreTraining, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from engine.common.hashing import digest
from engine.common.random_streams import Stream, stream_rng
from engine.common.schedules import warmup_decay
from engine.config.models import ScratchModel
from engine.models.scratch.folders import tokenizer_once, train_once
from engine.storage.workspace import Workspace
from engine.training.finetune import Tick
from engine.training.pretrain import Loss

PAD, UNKNOWN, BEGIN, END, MASK = SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
SELECTED = 0.15  # fraction of the words of a text that are to be predicted
MASKED, REPLACED = 0.8, 0.1  # fractions of the selected words; the rest stay as they are
IGNORED = -100  # the label of a token that is not to be predicted
WARMUP = 0.1  # fraction of all steps
VERSION = 2  # raise it when the same settings would give another tokenizer or encoder


def word_tokenizer_folder(
    workspace: Workspace, texts: Callable[[], Iterable[str]], fingerprint: str, vocab_size: int
) -> Path:
    """The folder of a tokenizer whose tokens are whole words and marks in lower case, made unless it is there.

    It knows the `vocab_size` - 5 most frequent words of `texts()`, whose content `fingerprint` stands for, and puts
    [CLS] before and [SEP] after every text.
    """

    def learn() -> PreTrainedTokenizerBase:
        tokenizer = Tokenizer(models.WordLevel(unk_token=UNKNOWN))
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tokenizer.decoder = decoders.WordPiece()  # no space before a comma or a full stop
        trainer = trainers.WordLevelTrainer(vocab_size=vocab_size, special_tokens=list(SPECIALS), show_progress=False)
        tokenizer.train_from_iterator(texts(), trainer)
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{BEGIN} $A {END}",
            pair=f"{BEGIN} $A {END} $B:1 {END}:1",
            special_tokens=[(token, SPECIALS.index(token)) for token in (BEGIN, END)],
        )
        return PreTrainedTokenizerFast(
            tokenizer_object=tokenizer,
            pad_token=PAD,
            unk_token=UNKNOWN,
            cls_token=BEGIN,
            sep_token=END,
            mask_token=MASK,
        )

    key = digest(["word tokenizer", VERSION, fingerprint, vocab_size])
    return tokenizer_once(workspace, workspace.models / f"words-{key}", learn)


def encoder_folder(
    workspace: Workspace, name: str, settings: ScratchModel, tokenizer: Path, max_length: int, data: str
) -> Path:
    """Where an encoder with these settings lies, or will lie; `data` is the hash of the texts it is trained on."""
    key = digest(["encoder", VERSION, settings.model_dump(), tokenizer.name, max_length, data])
    return workspace.models / f"{name}-{key}"


def build_encoder(settings: ScratchModel, vocab_size: int, max_length: int) -> BertForPreTraining:
    """An untrained BERT for texts of at most `max_length` tokens; its weights depend on the settings alone.

    Inner layers are four times as wide, dropout is 0.1, and input and output embeddings are tied, as in BERT.
    """
    torch.manual_seed(settings.seed)
    model = BertForPreTraining(
        BertConfig(
            vocab_size=vocab_size,
            hidden_size=settings.width,
            intermediate_size=4 * settings.width,
            num_hidden_layers=settings.layers,
            num_attention_heads=settings.heads,
            max_position_embeddings=max_length,
            initializer_range=settings.width**-0.5,  # BERT's 0.02 is made for a width of 768
            pad_token_id=SPECIALS.index(PAD),
        )
    )
    assert model.bert.pooler is not None
    with torch.no_grad():  # predicting masked words teaches the pooling layer nothing, so it passes [CLS] on
        nn.init.eye_(model.bert.pooler.dense.weight).mul_(0.5)
    model.config.initializer_range = 0.02  # of the head that is put on it
    return model


def make_encoder(
    workspace: Workspace,
    folder: Path,
    settings: ScratchModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[Sequence[int]],
    max_length: int,
    device: torch.device,
    tick: Tick,
) -> float | None:
    """Train the encoder of `folder` on `texts` unless it is there.

    `texts` are token ids of `tokenizer` with its [CLS] and [SEP], at most `max_length` of them each; `tick(steps done,
    steps)` may raise to stop. Returns the mean loss of the last tenth of the steps, in nats per word to be predicted:
    None if the encoder was there, NaN if no step was left to do. Killed at any moment it goes on from a checkpoint.
    Raises ValueError if there are no texts, or one is too long.
    """
    lengths = [len(text) for text in texts]
    longest = max(lengths, default=0)
    if not 0 < longest <= max_length:
        raise ValueError(f"an encoder needs texts of 1 to {max_length} tokens, and the longest has {longest}")

    def build() -> BertForPreTraining:
        model = build_encoder(settings, len(tokenizer), max_length)
        vectors = word_vectors(texts, len(tokenizer), settings.width)
        known = vectors.any(1)
        with torch.no_grad():
            model.bert.embeddings.word_embeddings.weight[known] = vectors[known]
        return model

    def loss(model: BertForPreTraining) -> Loss:
        return masked_loss(model, texts, settings.seed)

    return train_once(workspace, folder, settings, tokenizer, lengths, build, loss, learning_rate, device, tick)


def mask_words(
    ids: NDArray[np.int64], vocab_size: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The (B, L) ids of a batch with words masked, and the (B, L) labels: the word itself if it is to be predicted.

    Of the n words of each text round(SELECTED · n), at least one, are selected. [MASK] takes the place of a selected
    word with probability MASKED, a random word with probability REPLACED. Special tokens, padding among them, are
    neither selected nor put in. Other labels are IGNORED. Devlin et al. 2019, section 3.1, where the fraction is one of
    the whole corpus: of a short text it would often select no word at all.
    """
    words = ids >= len(SPECIALS)
    count = words.sum(axis=1, keepdims=True)
    count = np.minimum(np.maximum(np.floor(SELECTED * count + 0.5), 1), count)
    rank = np.where(words, rng.random(ids.shape), 2.0).argsort(axis=1).argsort(axis=1)
    selected = rank < count
    draw = rng.random(ids.shape)
    replacements = rng.integers(len(SPECIALS), vocab_size, ids.shape)
    masked = np.where(selected & (draw < MASKED), SPECIALS.index(MASK), ids)
    masked = np.where(selected & (draw >= MASKED) & (draw < MASKED + REPLACED), replacements, masked)
    return masked, np.where(selected, ids, IGNORED)


def masked_logits(
    model: BertForPreTraining, ids: NDArray[np.int64], masked: NDArray[np.int64], labels: NDArray[np.int64]
) -> Tensor:
    """(words to be predicted, V) logits, in row-major order of `labels`; all arrays are (B, L)."""
    device = next(model.parameters()).device
    states = model.bert(
        input_ids=torch.from_numpy(masked).to(device),
        attention_mask=torch.from_numpy((ids != SPECIALS.index(PAD)).astype(np.int64)).to(device),
    ).last_hidden_state
    logits: Tensor = model.cls.predictions(states[torch.from_numpy(labels != IGNORED).to(device)])
    return logits


def word_vectors(texts: Sequence[Sequence[int]], vocab_size: int, width: int) -> Tensor:
    """(V, width) float32: a first vector for each word, from the words beside it; zero for special and unseen tokens.

    Positive pointwise mutual information of words in one text, and its leading singular vectors, scaled by the roots
    of the singular values, each row then to length 1 (Levy, Goldberg 2014, "Neural Word Embedding as Implicit Matrix
    Factorization"). A thousand short texts teach a transformer grammar; what words mean they teach only through counts.
    """
    pairs = np.zeros((vocab_size, vocab_size))
    for text in texts:
        words = np.unique([token for token in text if token >= len(SPECIALS)]).astype(np.int64)
        pairs[np.ix_(words, words)] += 1
    np.fill_diagonal(pairs, 0)
    alone = pairs.sum(1)
    total = max(float(alone.sum()), 1.0)
    expected = np.maximum(np.outer(alone, alone) / total, 1e-12)
    information = np.log(np.maximum(pairs / expected, 1.0))
    left, values, _ = np.linalg.svd(information, hermitian=True)
    found = np.zeros((vocab_size, width))
    rank = min(width, vocab_size)
    found[:, :rank] = left[:, :rank] * np.sqrt(values[:rank])
    lengths = np.linalg.norm(found, axis=1, keepdims=True)
    # A word that was never beside another has rounding errors for a vector.
    return torch.from_numpy(np.where(alone[:, None] > 0, found / np.maximum(lengths, 1e-12), 0.0)).float()


def learning_rate(step: int, steps: int, peak: float) -> float:
    """Linear warm-up over the first WARMUP of the steps, then linear decay, with which the step after the last is 0."""
    return peak * warmup_decay(step, steps, round(WARMUP * steps))


def masked_loss(model: BertForPreTraining, texts: Sequence[Sequence[int]], seed: int) -> Loss:
    """Cross-entropy over the words to be predicted; which they are, and dropout, depends on (seed, step) alone."""
    device = next(model.parameters()).device

    def loss(indices: NDArray[np.int64], step: int) -> Tensor:
        rng = stream_rng(Stream.MASKED_WORDS, seed, step)
        torch.manual_seed(int(rng.integers(2**63)))  # dropout
        ids = _padded([texts[i] for i in indices])
        masked, labels = mask_words(ids, model.config.vocab_size, rng)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            logits = masked_logits(model, ids, masked, labels)
        words = torch.from_numpy(labels[labels != IGNORED]).to(device)
        # A batch of unknown words alone has nothing to predict, and its loss is 0.
        return F.cross_entropy(logits.float(), words, reduction="sum") / max(len(words), 1)

    return loss


def _padded(texts: Sequence[Sequence[int]]) -> NDArray[np.int64]:
    ids = np.full((len(texts), max(len(text) for text in texts)), SPECIALS.index(PAD), dtype=np.int64)
    for row, text in enumerate(texts):
        ids[row, : len(text)] = text
    return ids

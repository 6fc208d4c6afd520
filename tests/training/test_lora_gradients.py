"""Gradients of single samples for LoRA: exact, whatever the batch, and their projections keep inner products."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from transformers import MixtralConfig, MixtralForCausalLM

from engine.config.pruning import LoraSettings
from engine.models.lora import attach_lora
from engine.training.finetune import train_epoch
from engine.training.lora_gradients import LoraGradients, Projection, lora_gradients
from tests.fixtures.models import VOCAB, Sample, build, random_samples

CPU = torch.device("cpu")
LENGTHS = [5, 23, 11, 2, 17, 11, 30]


def silent(_done: int, _total: int) -> None:
    pass


def scattered(model: nn.Module, dtype: torch.dtype = torch.float64) -> nn.Module:
    """With LoRA as after some training: no weight is zero."""
    torch.manual_seed(3)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight.add_(0.2 * torch.randn_like(weight))
    return model.to(dtype).eval()


def student(family: str) -> nn.Module:
    return scattered(attach_lora(build(family), LoraSettings(r=4, dropout=0.1), seed=0))


def gradients_of(model: nn.Module, samples: list[Sample], **settings: Any) -> LoraGradients:
    defaults: dict[str, Any] = {"batch_size": 3, "loss_on": "response", "seed": 0, "tick": silent}
    return lora_gradients(model, samples, **(defaults | settings))


def by_autograd(model: nn.Module, sample: Sample, loss_on: str = "response") -> list[Tensor]:
    """The plain way: one sample, whole logits, one backward pass."""
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    logits = model(input_ids=torch.from_numpy(sample.input_ids.astype(np.int64))[None]).logits[0]
    counts = torch.from_numpy(sample.response) if loss_on == "response" else slice(None)
    loss = F.cross_entropy(logits[counts], torch.from_numpy(sample.labels.astype(np.int64))[counts])
    found = torch.autograd.grad(loss, weights, allow_unused=True)
    return [torch.zeros_like(w) if g is None else g for w, g in zip(weights, found, strict=True)]


def plain_norms(model: nn.Module, samples: list[Sample], loss_on: str = "response") -> NDArray[np.float64]:
    return np.array([torch.cat([g.flatten() for g in by_autograd(model, s, loss_on)]).norm() for s in samples])


@pytest.mark.parametrize("family", ["gpt2", "llama", "qwen2"])
@pytest.mark.parametrize("loss_on", ["response", "all"])
def test_norms_are_those_of_plain_autograd(family: str, loss_on: str) -> None:
    """With Conv1D and linear layers below the adapters, and dropout that must not act."""
    model, samples = student(family), random_samples(LENGTHS)
    found = gradients_of(model.train(), samples, loss_on=loss_on)
    assert model.training
    assert all(weight.grad is None for weight in model.parameters())
    np.testing.assert_allclose(found.norms, plain_norms(model.eval(), samples, loss_on), rtol=1e-9)
    assert (found.norms.dtype, found.projected.dtype) == (np.float64, np.float32)
    assert found.projected.shape == (len(samples), 512)


@pytest.mark.parametrize("batch_size", [1, 2, 100])
def test_neither_the_batch_size_nor_the_order_matters(batch_size: int) -> None:
    """Padding and neighbours add nothing; and a sample of one batch can be compared with one of another call."""
    model, samples = student("llama"), random_samples(LENGTHS)
    expected = gradients_of(model, samples)
    found = gradients_of(model, samples[::-1], batch_size=batch_size)
    np.testing.assert_allclose(found.norms[::-1], expected.norms, rtol=1e-9)
    np.testing.assert_allclose(found.projected[::-1], expected.projected, rtol=1e-4, atol=1e-6)


def test_one_backward_pass_does_for_a_batch() -> None:
    """Tokens are counted to the end, batch by batch."""
    ticks: list[tuple[int, int]] = []
    samples = random_samples(LENGTHS)
    gradients_of(student("llama"), samples, batch_size=3, tick=lambda *at: ticks.append(at))
    assert [done for done, _ in ticks] == [70, 97, 99]
    assert {total for _, total in ticks} == {sum(LENGTHS)}


def test_fresh_adapters_say_nothing_about_a() -> None:
    """B = 0 makes the gradient of every A zero; after a moment of training it is not. So a warm-up matters."""
    model, samples = attach_lora(build("llama"), LoraSettings(r=4), seed=0), random_samples([12] * 8)

    def parts() -> tuple[float, float]:
        names = [name for name, weight in model.named_parameters() if weight.requires_grad]
        gradients = dict(zip(names, by_autograd(model, samples[0]), strict=True))
        norms = {key: sum(float(g.norm()) for name, g in gradients.items() if key in name) for key in ("A", "B")}
        return norms["A"], norms["B"]

    of_a, of_b = parts()
    assert of_a == 0
    assert of_b > 0
    fresh = gradients_of(model, samples[:1]).norms
    np.testing.assert_allclose(fresh, plain_norms(model, samples[:1]), rtol=1e-5)
    optimizer = torch.optim.AdamW([weight for weight in model.parameters() if weight.requires_grad], lr=1e-2)
    kept = np.arange(8) < 4
    train_epoch(model, optimizer, samples, kept, batch_size=2, loss_on="all", seed=0, epoch=1, tick=silent)
    assert parts()[0] > 0


def matrix(size: int, width: int, seed: int, place: int) -> Tensor:
    """(size, width): a projection, written out by what it does to the unit vectors."""
    return Projection(size, width, seed, place, CPU)(torch.eye(size, dtype=torch.float64))


def test_the_projection_is_the_one_written_out() -> None:
    """Inner products of what is returned are those of the gradient vectors times explicit matrices."""
    model, samples = student("gpt2"), random_samples(LENGTHS)
    explicit = []
    for sample in samples:
        parts = [g.flatten() for g in by_autograd(model, sample)]
        explicit.append(sum(g @ matrix(len(g), 96, 5, place) for place, g in enumerate(parts)))
    expected = torch.stack(explicit).numpy()  # type: ignore[arg-type]
    found = gradients_of(model, samples, width=96, seed=5).projected.astype(np.float64)
    np.testing.assert_allclose(found, expected, atol=1e-6 * np.abs(expected).max())
    np.testing.assert_allclose(found @ found.T, expected @ expected.T, atol=1e-5 * (expected @ expected.T).max())
    assert not np.allclose(found, gradients_of(model, samples, width=96, seed=6).projected)


@pytest.mark.parametrize(("size", "width"), [(70, 16), (5, 16), (48, 16)])
def test_a_projection_reads_every_number_once(size: int, width: int) -> None:
    """One place and one sign for each number, and places that are evenly filled."""
    written_out = matrix(size, width, 0, 0)
    assert (written_out.abs().sum(1) == 1).all()
    assert written_out.abs().sum(0).max() <= -(-size // width)
    assert not torch.equal(written_out, matrix(size, width, 0, 1))
    assert torch.equal(written_out, matrix(size, width, 0, 0))


def test_projected_inner_products_are_right_on_average() -> None:
    """Over 2,000 seeds: the mean is the inner product, the variance is at most what is promised."""
    rng = np.random.default_rng(0)
    pair = torch.from_numpy(rng.standard_normal((2, 100)))
    pair[1] += pair[0]
    products = []
    for seed in range(2000):
        first, second = Projection(60, 16, seed, 0, CPU), Projection(40, 16, seed, 1, CPU)
        g, h = first(pair[:, :60]) + second(pair[:, 60:])
        products.append(float(g @ h))
    exact = float(pair[0] @ pair[1])
    variance = (float(pair[0].square().sum() * pair[1].square().sum()) + exact**2) / 16
    assert abs(np.mean(products) - exact) < 4 * np.sqrt(variance / 2000)
    assert 0.6 * variance < np.var(products) < 1.1 * variance


def test_512_numbers_keep_the_cosines_of_gradients() -> None:
    """Of a real model, to a few hundredths, also where the rank of the adapters is far below 512."""
    model, samples = student("llama"), random_samples(LENGTHS)
    whole = np.stack([torch.cat([g.flatten() for g in by_autograd(model, s)]).numpy() for s in samples])
    found = gradients_of(model, samples)

    def cosines(vectors: NDArray[np.floating]) -> NDArray[np.floating]:
        unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return (unit @ unit.T)[np.triu_indices(len(unit), 1)]

    assert np.abs(cosines(found.projected) - cosines(whole)).mean() < 0.06
    assert np.abs(np.linalg.norm(found.projected, axis=1) / found.norms - 1).mean() < 0.06


def test_a_sample_of_which_nothing_counts_has_no_gradient() -> None:
    """NaN, not zero; and its neighbours are as without it."""
    model, samples = student("llama"), random_samples(LENGTHS)
    mute = Sample(7, samples[1].input_ids, samples[1].labels, np.zeros_like(samples[1].response))
    found = gradients_of(model, [samples[0], mute, *samples[2:]])
    expected = gradients_of(model, samples)
    assert np.isnan(found.norms[1])
    assert np.isnan(found.projected[1]).all()
    np.testing.assert_allclose(np.delete(found.norms, 1), np.delete(expected.norms, 1), rtol=1e-9)


def test_a_model_without_trainable_weights_is_refused() -> None:
    with pytest.raises(ValueError, match="attach LoRA"):
        gradients_of(build("llama").requires_grad_(False), random_samples([4]))


class Tower(nn.Module):
    """A causal model that is made of one layer on embeddings, in a way that a test chooses."""

    def __init__(self, forward: Callable[[nn.Linear, Tensor], Tensor]) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCAB, 6).requires_grad_(False)
        self.layer, self.way = nn.Linear(6, 6, bias=False), forward
        self.head = nn.Linear(6, VOCAB).requires_grad_(False)

    def forward(self, input_ids: Tensor) -> SimpleNamespace:
        return SimpleNamespace(logits=self.head(torch.tanh(self.way(self.layer, self.embedding(input_ids)))))


def twice(layer: nn.Linear, x: Tensor) -> Tensor:
    return layer(torch.tanh(layer(x)))


def turned(layer: nn.Linear, x: Tensor) -> Tensor:
    """Positions in another order than that of the samples, as experts read them."""
    flat = x.reshape(-1, x.shape[-1])
    return layer(flat.flip(0)).flip(0).view_as(x)


def weight_alone(layer: nn.Linear, x: Tensor) -> Tensor:
    return x @ layer.weight.T


def also_weight(layer: nn.Linear, x: Tensor) -> Tensor:
    return layer(x) + 0.3 * x @ layer.weight


@pytest.mark.parametrize(("way", "batches"), [(twice, 3), (turned, 7), (weight_alone, 7), (also_weight, 7)])
def test_layers_that_are_used_in_other_ways(way: Callable[[nn.Linear, Tensor], Tensor], batches: int) -> None:
    """A layer that is used twice adds up; what hooks cannot tell apart, or would miss, is read sample by sample."""
    model, samples, ticks = scattered(Tower(way)), random_samples(LENGTHS), []
    found = gradients_of(model, samples, tick=lambda *at: ticks.append(at))
    np.testing.assert_allclose(found.norms, plain_norms(model, samples), rtol=1e-9)
    assert len(ticks) == batches


def mixtral() -> nn.Module:
    sizes: dict[str, Any] = {"vocab_size": VOCAB, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2}
    config = MixtralConfig(**sizes, num_attention_heads=2, num_key_value_heads=2, num_local_experts=4)
    torch.manual_seed(0)
    return attach_lora(MixtralForCausalLM(config), LoraSettings(r=4, dropout=0.0), seed=0)


def dora() -> nn.Module:
    return get_peft_model(build("llama"), LoraConfig(r=4, target_modules="all-linear", use_dora=True))


def embedding_lora() -> nn.Module:
    return get_peft_model(build("llama"), LoraConfig(r=4, target_modules=["embed_tokens", "q_proj"]))


def biases() -> nn.Module:
    return get_peft_model(build("qwen2"), LoraConfig(r=4, target_modules="all-linear", bias="lora_only"))


@pytest.mark.parametrize("make", [mixtral, dora, embedding_lora, biases])
def test_adapters_that_no_hook_covers_are_not_missed(make: Callable[[], nn.Module]) -> None:
    """Experts in one parameter, magnitudes, embeddings and biases: the norm is over all that is trained."""
    model, samples = scattered(make(), torch.float32), random_samples(LENGTHS[:4])  # experts know no float64
    found = gradients_of(model, samples, batch_size=4)
    np.testing.assert_allclose(found.norms, plain_norms(model, samples), rtol=1e-4)

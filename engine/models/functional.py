"""Students as functions of their weights, for training that is differentiated through.

A functional model has a list of weights θ and no state: `init(seed)` is θ_0, `forward` gives the logits of real
samples, and `forward_embeds` those of synthetic ones, which are vectors in the place of token embeddings, or pixels.
Dropout is off throughout.
"""

from __future__ import annotations

import logging
import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedTokenizerBase

from engine.common.errors import WinnowError
from engine.common.text import reason
from engine.config.models import NetworkSettings
from engine.models.loading import explain_load_errors
from engine.models.networks import Classifier, make_network, token_table
from engine.models.padding import TOLERANCE, padding_of, sample_ids
from engine.models.positions import positions_of
from engine.models.weights import require_whole

log = logging.getLogger(__name__)

EAGER = "eager"  # the only attention of transformers whose gradient can be differentiated again on every device


class FunctionalModel:
    """A network whose weights are passed with every call. `weights[i]` belongs to `names[i]`.

    `head_names` are those of the weights that are drawn at random; the others are the pretrained body. `frozen` are the
    ids of weights that are no part of θ.
    """

    head_names: set[str]

    def __init__(self, name: str, network: nn.Module, frozen: set[int], device: torch.device) -> None:
        self.name = name  # as the recipe writes it
        self.network = network.to(device).eval().requires_grad_(False)
        self.device = device
        parameters = {name: weight for name, weight in network.named_parameters() if id(weight) not in frozen}
        self.names = list(parameters)
        self._base = [weight.detach() for weight in parameters.values()]

    @property
    def parameters(self) -> int:
        """Weights that are trained."""
        return sum(weight.numel() for weight in self._base)

    def init(self, seed: int) -> list[Tensor]:
        """θ_0 of a seed: a pretrained body with a random head, or a random network."""
        raise NotImplementedError

    def forward(self, weights: list[Tensor], *inputs: Tensor) -> Tensor:
        """Logits (n, C) of real samples, as `Samples.take` gives them."""
        raise NotImplementedError

    def forward_embeds(
        self, weights: list[Tensor], inputs: Tensor, attention: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Logits (n, C) of synthetic inputs (n, …), and with `attention` how the first token attends to all.

        The attention (n, layers, heads, tokens) sums to 1 over the tokens; None without `attention`.
        """
        raise NotImplementedError

    def _call(self, weights: list[Tensor], *inputs: Tensor, **named: Any) -> Any:
        return functional_call(self.network, dict(zip(self.names, weights, strict=True)), inputs, named)


class ImageModel(FunctionalModel):
    """A network for images: of one made here all weights are random at first, of one of transformers the head alone."""

    def __init__(self, settings: NetworkSettings, shape: tuple[int, ...], classes: int, device: torch.device) -> None:
        self.settings, self.shape, self.classes = settings, shape, classes
        network = make_network(settings, "images", shape, classes, 0)
        model: Any = network.model if isinstance(network, Classifier) else None
        if model is not None:
            model.set_attn_implementation(EAGER)
        super().__init__(settings.model, network, set(), device)
        self.head_names = set(self.names) if model is None else _head_names(model, "model.")
        self._std = None if model is None else _initializer_range(model)

    def init(self, seed: int) -> list[Tensor]:
        if self._std is not None:
            return _with_random_head(self.names, self._base, self.head_names, self._std, seed)
        fresh = dict(make_network(self.settings, "images", self.shape, self.classes, seed).named_parameters())
        return [fresh[name].detach().to(self.device) for name in self.names]

    def forward(self, weights: list[Tensor], *inputs: Tensor) -> Tensor:
        return self._call(weights, *inputs)

    def forward_embeds(
        self, weights: list[Tensor], inputs: Tensor, attention: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        if attention:
            raise ValueError("images have no attention labels")
        return self._call(weights, inputs), None


class TextModel(FunctionalModel):
    """A text classifier of transformers whose inputs are (ids, mask), or vectors in the place of token embeddings.

    The embedding table is no part of θ: vectors do not pass through it, so training on them could not change it.
    `table` (V, d) is that table; `prefix` (p, d) and `suffix` (s, d) are the embeddings of the special tokens that the
    tokenizer puts around a text, and stand around synthetic vectors as well.
    """

    def __init__(
        self,
        settings: NetworkSettings,
        source: str,
        tokenizer: PreTrainedTokenizerBase,
        classes: int,
        device: torch.device,
    ) -> None:
        model, fresh, asked = _text_classifier(settings, source, classes)
        if asked != EAGER:
            log.info("%s asks for %s attention, which has no second derivative; switched to eager", source, asked)
        words = token_table(model)
        if words is None:
            raise WinnowError(
                f"{settings.model} has no table of token embeddings, so learned vectors could not be read as text; "
                "choose an encoder that has one, such as BERT."
            )
        self.padding = padding_of(model, settings.model)
        if not self.padding.ignored:
            raise WinnowError(
                f"{settings.model} reads the padding of a text, so its answers would depend on the other texts of a "
                "batch; choose an encoder that reads its attention mask, such as BERT."
            )
        _require_reads_vectors(settings.model, model, words)
        super().__init__(settings.model, model, {id(words.weight)}, device)
        self.head_names, self._std = _head_names(model) | fresh, _initializer_range(model)
        self.table = words.weight.detach()
        before, after = _special_tokens(tokenizer)
        self.prefix, self.suffix = self.table[before], self.table[after]
        self.context = positions_of(model.config)

    def init(self, seed: int) -> list[Tensor]:
        return _with_random_head(self.names, self._base, self.head_names, self._std, seed)

    def forward(self, weights: list[Tensor], *inputs: Tensor) -> Tensor:
        ids, mask = self.padding.arrange(inputs[0], inputs[1])
        return self._call(weights, input_ids=ids, attention_mask=mask).logits

    def add_special_tokens(self, inputs: Tensor) -> Tensor:
        """Vectors (n, L, d) with the p of the prefix and the s of the suffix around them, (n, p + L + s, d)."""
        prefix, suffix = (part.expand(len(inputs), -1, -1) for part in (self.prefix, self.suffix))
        return torch.cat([prefix, inputs, suffix], 1)

    def strip_special_tokens(self, inputs: Tensor) -> Tensor:
        """What `add_special_tokens` was given."""
        return inputs[:, len(self.prefix) : inputs.shape[1] - len(self.suffix)]

    def forward_embeds(
        self, weights: list[Tensor], inputs: Tensor, attention: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        embeds = self.add_special_tokens(inputs)
        mask = torch.ones(embeds.shape[:2], dtype=torch.long, device=embeds.device)
        out = self._call(weights, inputs_embeds=embeds, attention_mask=mask, output_attentions=attention)
        return out.logits, torch.stack([layer[:, :, 0] for layer in out.attentions], 1) if attention else None


def _text_classifier(settings: NetworkSettings, source: str, classes: int) -> tuple[Any, set[str], str]:
    """The classifier with eager attention, names of weights that are in no file, and the attention it asks for."""
    with explain_load_errors("model", source) as options:
        config = AutoConfig.from_pretrained(source, **options)
        with torch.device("meta"):
            asked = AutoModelForSequenceClassification.from_config(config).config._attn_implementation
        model, loaded = AutoModelForSequenceClassification.from_pretrained(
            source,
            num_labels=classes,
            ignore_mismatched_sizes=True,
            use_safetensors=True,
            attn_implementation=EAGER,
            output_loading_info=True,
            **options,
        )
    require_whole(source, model, loaded, fresh_head=True)
    return model, {*loaded["missing_keys"], *(name for name, *_ in loaded["mismatched_keys"])}, str(asked)


def _require_reads_vectors(name: str, model: Any, words: nn.Embedding) -> None:
    """Raises WinnowError if vectors in the place of token embeddings are not read as their tokens are, or if the
    gradient of that has no gradient."""
    ids = sample_ids(model)
    vectors = words(ids).detach().requires_grad_()
    mask = torch.ones_like(ids)
    unfit = f"{name} takes no vectors in the place of token embeddings"
    advice = "so nothing could be learned for it; choose an encoder that does, such as BERT."
    try:
        logits = model(inputs_embeds=vectors, attention_mask=mask).logits
        (gradient,) = torch.autograd.grad(logits.square().sum(), vectors, create_graph=True)
        torch.autograd.grad(gradient.square().sum(), vectors)
    except Exception as error:
        raise WinnowError(f"{unfit} ({type(error).__name__}: {reason(error)}), {advice}") from error
    with torch.no_grad():
        off = (model(input_ids=ids, attention_mask=mask).logits - logits).abs().max()
    if off > TOLERANCE * logits.abs().max():
        raise WinnowError(f"{unfit}: it reads them otherwise than the tokens they stand for, {advice}")


def _head_names(model: Any, before: str = "") -> set[str]:
    """Names of the weights after the pretrained body."""
    body = f"{model.base_model_prefix}."
    return {before + name for name, _ in model.named_parameters() if not name.startswith(body)}


def _initializer_range(model: Any) -> float:
    return float(getattr(model.config, "initializer_range", None) or 0.02)


def _with_random_head(names: list[str], base: list[Tensor], head: set[str], std: float, seed: int) -> list[Tensor]:
    """The body as it is; of the head, matrices from N(0, std²), scales 1, biases 0, as transformers draws them."""
    generator = torch.Generator().manual_seed(seed)
    weights = []
    for name, weight in zip(names, base, strict=True):
        if name not in head:
            weights.append(weight)
        elif weight.dim() > 1:
            weights.append((torch.randn(weight.shape, generator=generator) * std).to(weight))
        else:
            weights.append(torch.full_like(weight, float(name.endswith(".weight"))))  # the scale of a norm
    return weights


def _special_tokens(tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], list[int]]:
    """The ids that the tokenizer puts before and after a text."""
    plain = tokenizer("a", add_special_tokens=False)["input_ids"]
    whole = tokenizer("a")["input_ids"]
    for start in range(len(whole) - len(plain) + 1):
        if whole[start : start + len(plain)] == plain:
            return whole[:start], whole[start + len(plain) :]
    return [], []


def softplus_inverse(value: float) -> float:
    """x with log(1 + exp(x)) = value."""
    return value + math.log(-math.expm1(-value))

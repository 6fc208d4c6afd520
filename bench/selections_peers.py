"""The packages of `bench.selections`, each asked by its own classes. Nothing here is needed by anything else.

Each function can be called if `missing` says None of its package.
"""

from __future__ import annotations

import importlib
import io
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

from engine.data.sources import Row
from engine.pruning.instruction_scores import ifd

Scores = NDArray[np.float64]

PACKAGES = ("wana", "dprune", "datacull")


def missing(package: str) -> str | None:
    """The module that cannot be imported: the package, or one that it needs; None if it is all there."""
    try:
        importlib.import_module(package)
    except ModuleNotFoundError as error:
        return error.name or package
    return None


def status(package: str) -> str:
    gone = missing(package)
    if gone is None:
        return f"{package} {version(package)}"
    return f"{package}: not installed" if gone == package else f"{package}: not installed, {gone} is missing"


def wana_ifd(source: str, dtype: torch.dtype | None = None) -> Callable[[Sequence[Row]], Scores]:
    """IFD of rows by wana's transformers adapter; ratios above 1, which it leaves out, are negative as in Winnow."""
    from wana.adapters.io.jsonl import parse_record
    from wana.adapters.logprob.transformers_cpu import TransformersCPU
    from wana.adapters.scoring.ifd import IFDScorer

    provider = TransformersCPU(source)
    if dtype is not None:
        provider.model.to(dtype)
    scorer = IFDScorer(provider)

    def score(rows: Sequence[Row]) -> Scores:
        found = []
        for row in rows:
            record = {"instruction": row["instruction"], "input": row["input"], "output": row["response"]}
            _, prompted, bare = scorer.score(parse_record(record, str(row["row"])))
            found.append((prompted.value, bare.value))
        return ifd(*np.array(found).T)

    return score


def dprune_states(source: str, texts: Sequence[str]) -> NDArray[np.float32]:
    """What dprune clusters: the last layer's state of each text at its first token."""
    from datasets import Dataset
    from dprune.scorers.unsupervised import _get_embeddings

    with redirect_stderr(io.StringIO()):
        states: NDArray[np.float32] = _get_embeddings(
            Dataset.from_dict({"text": list(texts)}), *_model(source), "text", batch_size=8
        )
    return states


def dprune_distance(source: str, texts: Sequence[str], clusters: int) -> Scores:
    return _distance(*_model(source), texts, clusters)


def dprune_distance_of(states: NDArray[np.floating], clusters: int) -> Scores:
    """The same arithmetic on states (n, d) of someone else."""
    hidden = torch.from_numpy(states)[:, None]
    return _distance(_Outputs(hidden_states=[hidden]), _numbers, [str(i) for i in range(len(states))], clusters)


def dprune_cross_entropy(logits: Tensor, labels: Tensor) -> Scores:
    """Of logits (n, C) that a model would have put out."""
    from datasets import Dataset
    from dprune import CrossEntropyScorer

    numbers = [str(i) for i in range(len(labels))]
    dataset = Dataset.from_dict({"text": numbers, "label": labels.tolist()})
    with redirect_stderr(io.StringIO()):
        scored = CrossEntropyScorer(_Outputs(logits=logits), _numbers, "text", "label", 64).score(dataset)
    return np.array(scored["score"], dtype=np.float64)


def dprune_forgetting(logits: Tensor, labels: Tensor) -> Scores:
    """Of the logits (T, n, C) of each epoch of a training."""
    from dprune import ForgettingCallback

    epochs = iter(logits.numpy())
    callback = ForgettingCallback()
    callback.trainer = SimpleNamespace(
        train_dataset=labels,
        predict=lambda _: SimpleNamespace(predictions=next(epochs), label_ids=labels.numpy()),
    )
    for _ in logits:
        callback.on_epoch_end(None, None, None)
    return np.array(callback.calculate_forgetting_scores(), dtype=np.float64)


def datacull_aum(logits: Tensor, labels: Tensor, folder: Path) -> Scores:
    """Minus its area under the margin, so that high = keep as in Winnow; its log of every epoch is written as well."""
    from datacull import AUMImportance, DCLogger

    folder.mkdir()
    logger = DCLogger(f"{folder}/")
    for epoch, each in enumerate(logits):
        logger.log_metric(epoch, torch.arange(len(each)), each)
    with redirect_stderr(io.StringIO()):
        found = AUMImportance(_labelled(labels), len(logits), logger).compute_importance()
    return -found.astype(np.float64)


def datacull_strata(
    hard: Scores, labels: Tensor, fraction: float, skip_hardest: float, strata: int
) -> NDArray[np.bool_]:
    """(n,) what its coverage-centric selection keeps, from scores (n,) of which high is hard."""
    from datacull import CCSDataLoader

    np.random.seed(0)  # its only source of random numbers
    loader = CCSDataLoader(_labelled(labels), fraction, skip_hardest, strata, descending=True)
    kept = np.zeros(len(hard), np.bool_)
    kept[loader.compute_subset(hard)] = True
    return kept


@lru_cache(maxsize=1)
def _model(source: str) -> tuple[Any, Any]:
    """As its users load them, but in float32."""
    return AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32), AutoTokenizer.from_pretrained(source)


def _distance(model: Any, tokenizer: Any, texts: Sequence[str], clusters: int) -> Scores:
    from datasets import Dataset
    from dprune import KMeansCentroidDistanceScorer

    scorer = KMeansCentroidDistanceScorer(model, tokenizer, "text", clusters)
    with redirect_stderr(io.StringIO()):
        scored = scorer.score(Dataset.from_dict({"text": list(texts)}))
    return np.array(scored["score"], dtype=np.float64)


class _Outputs(torch.nn.Module):
    """In the place of a model: of sample i it puts out row i of what it was given."""

    def __init__(self, logits: Tensor | None = None, hidden_states: Sequence[Tensor] = ()) -> None:
        super().__init__()
        self.logits, self.hidden_states = logits, hidden_states

    def forward(self, rows: Tensor, **_: Any) -> SimpleNamespace:
        return SimpleNamespace(
            logits=None if self.logits is None else self.logits[rows],
            hidden_states=[layer[rows] for layer in self.hidden_states],
        )


def _numbers(texts: Sequence[str], **_: Any) -> dict[str, Tensor]:
    """In the place of a tokenizer: each text is the number of a sample."""
    return {"rows": torch.tensor([int(text) for text in texts])}


def _labelled(labels: Tensor) -> Any:
    from datacull import DCDataset

    class Numbers(torch.utils.data.Dataset[tuple[int, int]]):
        targets = labels.tolist()

        def __len__(self) -> int:
            return len(self.targets)

        def __getitem__(self, index: int) -> tuple[int, int]:
            return index, self.targets[index]

    return DCDataset(Numbers())

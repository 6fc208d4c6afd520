"""Winnow's side of `bench.selections`: a student, its scores by Winnow's own functions, and a proxy run on digits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from engine.batching.batch import collate
from engine.common.errors import WinnowError
from engine.config.data import LabelledSettings
from engine.config.models import NetworkSettings, ScratchModel
from engine.data.labelled.samples import read_labelled
from engine.data.loading import DEMO_CORPUS
from engine.data.samples import EncodedSample, encode_rows, readable
from engine.data.sources import Row, read_rows
from engine.data.templates import Template, pieces
from engine.data.tokenizers import context_token
from engine.models.loading import load_model, load_tokenizer
from engine.models.networks import make_network
from engine.models.scratch import causal
from engine.pruning.dynamics import TrainingDynamics
from engine.pruning.instruction_scores import ifd
from engine.scoring.hidden import final_hidden
from engine.scoring.response_states import projection, response_states
from engine.storage.workspace import open_workspace
from engine.training.target_tuning import bare_response, losses

Scores = NDArray[np.float64]

DEVICE = torch.device("cpu")
BATCH = 8
CHAT = (  # for a tokenizer that has none
    "{% for message in messages %}{{ message['role'] + ':\\n' + message['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant:\\n' }}{% endif %}"
)


@dataclass(frozen=True)
class Student:
    source: str
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase

    def texts(self, rows: Sequence[Row]) -> list[str]:
        """Prompt and response of each row in Alpaca's form."""
        return ["".join(piece.text for piece in pieces("alpaca", row)) for row in rows]


def load_student(source: str) -> Student:
    """In float32. Raises WinnowError if it has no chat template."""
    tokenizer = load_tokenizer(source)
    if not tokenizer.chat_template:
        raise WinnowError(f"{source} has no chat template, without which wana reads no prompt; choose one that has.")
    return Student(source, load_model(source, source, torch.float32, DEVICE).model, tokenizer)


def scratch_student(folder: Path, corpus_rows: int = 400) -> str:
    """The folder of a small model that was trained for a moment on the corpus of the demo."""
    workspace = open_workspace(folder / "workspace")
    rows = read_rows(DEMO_CORPUS, limit=corpus_rows).rows
    texts = ["".join(piece.text for piece in pieces("alpaca", row)) for row in rows]
    at = causal.tokenizer_folder(workspace, lambda: texts, f"demo-{corpus_rows}", 1024)
    tokenizer = load_tokenizer(str(at))
    settings = ScratchModel(layers=2, width=64, heads=4, epochs=2)
    made = causal.model_folder(workspace, "student", settings, at, 512, f"demo-{corpus_rows}")
    samples = readable(rows, "alpaca", tokenizer, 512)
    causal.make(workspace, made, settings, tokenizer, samples, 512, DEVICE, lambda done, total: None)
    tokenizer.chat_template = CHAT
    tokenizer.save_pretrained(made)
    return str(made)


def student_ifd(
    student: Student,
    rows: Sequence[Row],
    *,
    template: Template,
    ends: bool = True,
) -> Scores:
    """(n,) IFD as a run computes it, text read as tokens included; without `ends` the end token does not count."""
    samples = _encoded(student, rows, template)
    if not ends:
        samples = [_without_end(sample) for sample in samples]
    context = context_token(student.tokenizer)
    bare = [bare_response(sample, context) for sample in samples]
    with_prompt, without = (
        losses(student.model, each, batch_size=BATCH, tick=lambda done, total: None) for each in (samples, bare)
    )
    return ifd(with_prompt, without)


def student_states(student: Student, rows: Sequence[Row]) -> NDArray[np.float32]:
    """(n, 64): the mean state over each response, as a run stores it, text read as tokens included."""
    samples = _encoded(student, rows, "alpaca")
    matrix = projection(student.model.config.hidden_size)
    order = np.argsort([-sample.length for sample in samples], kind="stable")
    found = np.empty((len(samples), matrix.shape[1]), np.float32)
    for start in range(0, len(order), BATCH):
        chosen = order[start : start + BATCH]
        batch = [samples[i] for i in chosen]
        hidden = final_hidden(student.model, collate(batch, DEVICE))
        found[chosen] = response_states(hidden, [sample.response for sample in batch], matrix).numpy()
    return found


class Proxy(NamedTuple):
    logits: Tensor  # (T, n, C) of every sample after each epoch
    labels: Tensor  # (n,), some of them wrong


def digits_proxy(epochs: int, flipped: float, seed: int) -> Proxy:
    """One small network trained on digits, a share of whose labels is drawn anew."""
    data = read_labelled(LabelledSettings(source="digits"))
    inputs = torch.from_numpy(data.inputs[data.split == "train"]).float() / 255
    labels = torch.from_numpy(data.labels[data.split == "train"]).clone()
    random = torch.Generator().manual_seed(seed)
    wrong = torch.rand(len(labels), generator=random) < flipped
    labels[wrong] = torch.randint(10, (int(wrong.sum()),), generator=random)
    network = make_network(NetworkSettings(width=64, depth=2), "images", tuple(inputs.shape[1:]), 10, seed)
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3)
    logits = []
    for _ in range(epochs):
        network.train()
        for index in torch.randperm(len(labels), generator=random).split(32):
            optimizer.zero_grad()
            F.cross_entropy(network(inputs[index]), labels[index]).backward()
            optimizer.step()
        network.eval()
        with torch.no_grad():
            logits.append(network(inputs))
    return Proxy(torch.stack(logits), labels)


def dynamics_of(outputs: Tensor, labels: Tensor) -> TrainingDynamics:
    """What Winnow records of the outputs (T, n, C) of one proxy run."""
    epochs, n, classes = outputs.shape
    dynamics = TrainingDynamics(1, epochs, n, classes)
    for epoch, each in enumerate(outputs, 1):
        dynamics.update(epoch, torch.arange(n), each[None], labels)
    return dynamics


def _encoded(student: Student, rows: Sequence[Row], template: Template) -> list[EncodedSample]:
    found = []
    for sample in encode_rows(rows, template, student.tokenizer, None):
        if isinstance(sample, str):
            raise ValueError(f"a row that cannot be read: {sample}")
        found.append(sample)
    return found


def _without_end(sample: EncodedSample) -> EncodedSample:
    response = sample.response.copy()
    response[np.flatnonzero(response)[-1]] = False
    return replace(sample, response=response)

"""What the scoring bench works on: real rows, models of real shapes with random weights, and the machine."""

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from engine.data.templates import render
from engine.scoring.score import SampleScores, score_samples

DATA = Path(os.environ.get("WINNOW_TEST_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
V = 49_152  # SmolLM2
MAX_TOKENS = 512


@dataclass(frozen=True)
class Row:
    row: int
    input_ids: NDArray[np.int32]
    labels: NDArray[np.int32]
    response: NDArray[np.bool_]


class Shape(NamedTuple):
    """A Llama with tied embeddings."""

    width: int
    layers: int
    heads: int
    kv_heads: int
    inner: int
    vocab: int


class Pair(NamedTuple):
    name: str
    teacher: Shape
    student: Shape


@dataclass(frozen=True)
class Setting:
    device: torch.device
    dtype: torch.dtype
    token_budget: int
    tile: int


CPU = Setting(torch.device("cpu"), torch.float32, token_budget=8192, tile=1024)
GPU = Setting(torch.device("cuda"), torch.bfloat16, token_budget=16_384, tile=1024)
CPU_PAIRS = (
    Pair("a deep teacher of four times the student", Shape(576, 14, 9, 3, 1536, V), Shape(256, 8, 4, 2, 768, V)),
    Pair("small bodies", Shape(256, 6, 4, 2, 768, V), Shape(256, 2, 4, 2, 768, V)),
)
GPU_PAIRS = (Pair("SmolLM2 360M and 135M", Shape(960, 32, 15, 5, 2560, V), Shape(576, 30, 9, 3, 1536, V)),)


def alpaca(count: int) -> list[Row]:
    """`count` random ones of the first 2,000 Alpaca rows, in the order of the file, as tokens of a BPE of their own."""
    rows = pq.read_table(DATA / "alpaca.parquet").slice(0, 2000).to_pylist()
    prompts = [render("alpaca", row["instruction"], row["input"]) for row in rows]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(vocab_size=16_384, special_tokens=["<|end|>"], show_progress=False)
    tokenizer.train_from_iterator([text for row in rows for text in row.values()] + prompts[:1], trainer)
    chosen = np.sort(np.random.default_rng(0).permutation(len(rows))[:count])
    samples = []
    for i in chosen:
        prompt, reply = (tokenizer.encode(text).ids for text in (prompts[i], rows[i]["output"]))
        ids = np.array([*prompt, *reply, 0][: MAX_TOKENS + 1], dtype=np.int32)
        response = np.arange(len(ids) - 1) >= len(prompt) - 1
        samples.append(Row(int(i), ids[:-1], ids[1:], response))
    return samples


def llama(shape: Shape, where: Setting, seed: int = 0) -> LlamaForCausalLM:
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=shape.vocab,
        hidden_size=shape.width,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        intermediate_size=shape.inner,
        max_position_embeddings=MAX_TOKENS,
        tie_word_embeddings=True,
    )
    model = LlamaForCausalLM(config).eval()
    nn.Module.to(model, where.device, where.dtype)  # in place; transformers' own annotation hides these arguments
    return model


def parameters(model: nn.Module) -> int:
    return sum(weight.numel() for weight in model.parameters())


def machine(where: Setting) -> str:
    system = psutil.virtual_memory().total / 2**30
    processor = torch.cuda.get_device_name() if where.device.type == "cuda" else cpu_name()
    return (
        f"{processor}, {torch.get_num_threads()} threads, {system:.0f} GiB, load before {os.getloadavg()[0]:.1f}; "
        f"Python {platform.python_version()}, torch {torch.__version__}, {where.dtype}"
    )


def cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())


def tiled(
    teacher: LlamaForCausalLM, student: nn.Module, rows: Sequence[Row], where: Setting, **more: Any
) -> list[SampleScores]:
    return score_samples(
        teacher,
        student,
        rows,
        vocab_size=teacher.config.vocab_size,
        token_budget=where.token_budget,
        tile=where.tile,
        **more,
    )

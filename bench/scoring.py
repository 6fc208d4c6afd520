"""How fast, how exact and how large Winnow's scoring is, on real Alpaca rows, in one run.

    python -m bench.scoring [--rows 32] [--repeats 2]

Aims on a CPU in float32: at least 3 times as fast as the plain loop, at least 0.75 of the floor (the bare matrix
products of both models and both heads), a later epoch at most 0.6 of the first for a teacher of four times the
student's size, every sample within 1e-4 of float64 also where KL is near 1e-4, and working memory that does not grow
with the vocabulary. On a GPU the pair has the shapes of SmolLM2 360M and 135M and computes in bfloat16.

Weights are random: time and memory do not depend on them. The tuned copy is a model trained for a moment, against
itself after a few steps of LoRA. Every timing is the best of `--repeats` rounds that take turns. The rows are read
from alpaca.parquet in the folder WINNOW_TEST_DATA (default ../shared/data).
"""

import argparse
import copy
import ctypes
import gc
import os
import platform
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from peft import LoraConfig, get_peft_model
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from bench.scoring_rivals import floor, ids_of, padded_batches, plain_loop
from engine.data.templates import render
from engine.scoring.batches import collate
from engine.scoring.hidden import HiddenCache, final_hidden, head_of
from engine.scoring.kl import reference_kl
from engine.scoring.score import SampleScores, score_samples

DATA = Path(os.environ.get("WINNOW_TEST_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
VOCAB = 49_152
MAX_TOKENS = 512


@dataclass(frozen=True)
class Row:
    row: int
    input_ids: NDArray[np.int32]
    labels: NDArray[np.int32]
    response_start: int


@dataclass(frozen=True)
class Setting:
    device: torch.device
    dtype: torch.dtype
    teacher: tuple[int, int, int, int, int]  # width, layers, heads, key-value heads, inner width
    student: tuple[int, int, int, int, int]
    token_budget: int
    tile: int


def setting() -> Setting:
    if torch.cuda.is_available():
        shapes = (960, 32, 15, 5, 2560), (576, 30, 9, 3, 1536)
        return Setting(torch.device("cuda"), torch.bfloat16, *shapes, token_budget=16_384, tile=8192)
    shapes = (576, 14, 9, 3, 1536), (256, 8, 4, 2, 768)
    return Setting(torch.device("cpu"), torch.float32, *shapes, token_budget=8192, tile=2048)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=2)
    options = parser.parse_args()
    where = setting()
    samples = alpaca(options.rows)
    print(machine(where))
    speed(where, samples, options.repeats)
    memory(where, samples)
    accuracy(where, samples)


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
        prompt, response = (tokenizer.encode(text).ids for text in (prompts[i], rows[i]["output"]))
        ids = np.array([*prompt, *response, 0][: MAX_TOKENS + 1], dtype=np.int32)
        samples.append(Row(int(i), ids[:-1], ids[1:], len(prompt) - 1))
    return samples


def llama(shape: tuple[int, int, int, int, int], where: Setting, vocab: int = VOCAB, seed: int = 0) -> LlamaForCausalLM:
    width, layers, heads, kv_heads, inner = shape
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=vocab,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        intermediate_size=inner,
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


def speed(where: Setting, samples: Sequence[Row], repeats: int) -> None:
    teacher, student = llama(where.teacher, where), llama(where.student, where)
    tokens = sum(len(sample.input_ids) for sample in samples)
    print(
        f"\n{len(samples)} Alpaca rows, {tokens:,} tokens; teacher {parameters(teacher) / 1e6:.0f} M parameters, "
        f"student {parameters(student) / 1e6:.0f} M, vocabulary {VOCAB:,}, tile {where.tile:,}, "
        f"{where.token_budget:,} tokens at once"
    )
    with tempfile.TemporaryDirectory(prefix="winnow-bench-") as folder:
        winnow = partial(tiled, teacher, student, where=where)

        def cache(turn: int) -> HiddenCache:
            return HiddenCache(Path(folder) / str(turn), 2**40)

        ways: dict[str, Callable[[Sequence[Row], int], object]] = {
            "plain loop": lambda rows, _: plain_loop(teacher, student, rows),
            "padded batch of 16": lambda rows, _: padded_batches(teacher, student, rows),
            "Winnow, first epoch": lambda rows, turn: winnow(rows, cache=cache(turn), cache_key="rows"),
            "Winnow, later epoch": lambda rows, turn: winnow(rows, cache=cache(turn), cache_key="rows"),
            "Winnow, first epoch, with top 5 tokens": lambda rows, _: winnow(rows, top_k=5),
            "floor: bare matrix products": lambda rows, _: floor(
                (teacher, student), rows, where.token_budget, where.tile
            ),
        }
        seconds: dict[str, float] = {}
        for turn in range(-1, repeats):  # turn -1 warms up on two rows
            for name, way in ways.items():
                took = timed(way, samples[:2] if turn < 0 else samples, turn, where)
                if turn >= 0:
                    seconds[name] = min(took, seconds.get(name, took))
        estimate = HiddenCache.estimate(tokens, where.teacher[0], where.dtype)
        size = cache(0).bytes
    base, bare = seconds["plain loop"], seconds["floor: bare matrix products"]
    print("\n| way | seconds | tokens/s | times the plain loop | share of the floor |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for name, took in seconds.items():
        print(f"| {name} | {took:.2f} | {tokens / took:,.0f} | {base / took:.2f} | {bare / took:.2f} |")
    print(f"\nlater epoch / first epoch: {seconds['Winnow, later epoch'] / seconds['Winnow, first epoch']:.2f}")
    print(f"hidden-state cache: {estimate:,} bytes foretold, {size:,} on disk")


def tiled(
    teacher: nn.Module, student: nn.Module, rows: Sequence[Row], where: Setting, vocab: int = VOCAB, **more: Any
) -> list[SampleScores]:
    return score_samples(
        teacher, student, rows, vocab_size=vocab, token_budget=where.token_budget, tile=where.tile, **more
    )


def timed(way: Callable[[Sequence[Row], int], object], rows: Sequence[Row], turn: int, where: Setting) -> float:
    started = time.perf_counter()
    way(rows, turn)
    if where.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def memory(where: Setting, samples: Sequence[Row]) -> None:
    """Peak working memory above the models for a small and a large vocabulary at equal tile."""
    print("\n| vocabulary | peak above the models: Winnow | plain loop |\n| ---: | ---: | ---: |")
    for vocab in (32_768, 151_936):
        teacher, student = (llama((256, 2, 4, 2, 768), where, vocab, seed) for seed in (0, 1))
        peaks = []
        for way in (partial(tiled, where=where, vocab=vocab, top_k=5), plain_loop):
            way(teacher, student, samples[:1])
            with peak(where) as found:
                way(teacher, student, samples)
            peaks.append(f"{found[0] / 2**20:,.0f} MiB")
        print(f"| {vocab:,} | {peaks[0]} | {peaks[1]} |")


@contextmanager
def peak(where: Setting) -> Iterator[list[int]]:
    """Bytes at the peak above the start, in a list of one: allocated on the GPU, or resident, looked at every ms."""
    found = [0]
    if where.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        yield found
        found[0] = torch.cuda.max_memory_allocated() - before
        return
    give_back_free_memory()
    process, done = psutil.Process(), threading.Event()
    before = process.memory_info().rss

    def watch() -> None:
        while not done.wait(0.001):
            found[0] = max(found[0], process.memory_info().rss - before)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield found
    finally:
        done.set()
        watcher.join()


def give_back_free_memory() -> None:
    """What glibc keeps for reuse would hide the next allocations; elsewhere nothing is kept back from the count."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def accuracy(where: Setting, samples: Sequence[Row]) -> None:
    """The largest relative error of a sample's KL against float64: of the scoring alone, and of the models as well."""
    samples = samples[:12]
    teacher, student = llama(where.student, where), llama((256, 4, 4, 2, 768), where, seed=1)
    untuned = copy.deepcopy(teacher)
    tune(teacher, samples, steps=10, rate=1e-3)
    print("\n| pair | KL of the samples | error, scoring | error, whole models |\n| --- | ---: | ---: | ---: |")
    show(where, "trained for a moment, another model", teacher, student, samples)
    show(where, "trained for a moment, untrained copy", teacher, untuned, samples)
    tuned = get_peft_model(copy.deepcopy(teacher), LoraConfig(target_modules=["q_proj", "v_proj"], lora_alpha=16))
    tune(tuned, samples, steps=3, rate=2e-3)
    show(where, "lightly tuned LoRA copy, head copied", teacher, tuned, samples)
    tuned.get_output_embeddings().weight = teacher.get_output_embeddings().weight
    show(where, "lightly tuned LoRA copy, head shared", teacher, tuned, samples)


def tune(model: nn.Module, samples: Sequence[Row], steps: int, rate: float) -> None:
    model.train()
    optimizer = torch.optim.AdamW([weight for weight in model.parameters() if weight.requires_grad], lr=rate)
    for step in range(steps):
        for sample in samples[step % 3 :: 3]:
            ids = ids_of(sample, next(model.parameters()).device)[None]
            model(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.eval()


def show(where: Setting, name: str, teacher: nn.Module, student: nn.Module, samples: Sequence[Row]) -> None:
    found = score_samples(teacher, student, samples, vocab_size=VOCAB, token_budget=where.token_budget, tile=where.tile)
    kl = np.array([result.metrics()["kl"] for result in found])
    states = [kl_float64(teacher, student, sample, where) for sample in samples]
    doubled = copy.deepcopy(teacher).double(), copy.deepcopy(student).double()
    whole = [kl_float64(*doubled, sample, where) for sample in samples]
    errors = [f"{np.max(np.abs(kl / np.array(exact) - 1)):.1e}" for exact in (states, whole)]
    print(f"| {name} | {kl.min():.1e} to {kl.max():.1e} | {errors[0]} | {errors[1]} |")


def kl_float64(teacher: nn.Module, student: nn.Module, sample: Row, where: Setting) -> float:
    batch = collate([sample], where.device)
    hidden = final_hidden(teacher, batch), final_hidden(student, batch)
    with torch.inference_mode():
        return float(reference_kl(*hidden, head_of(teacher), head_of(student), vocab_size=VOCAB).mean())


if __name__ == "__main__":
    main()

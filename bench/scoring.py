"""How fast, how exact and how large Winnow's scoring is, on real Alpaca rows, in one run.

    python -m bench.scoring [--rows 32] [--repeats 2]

Aims on a CPU in float32: at least 3 times as fast as the plain loop, at least 0.75 of the floor (the bare matrix
products of both models and both heads), a later epoch at most 0.6 of the first for a teacher of four times the
student's size, every sample within 1e-4 of float64 also where KL is near 1e-4, and working memory that does not grow
with the vocabulary. On a GPU the pair has the shapes of SmolLM2 360M and 135M and computes in bfloat16.

Weights are random: time and memory do not depend on them. The tuned copy is a model trained for a moment, against
itself after a few steps of LoRA. Winnow and the floor take turns, and the best of `--repeats` counts. The rows are read
from alpaca.parquet in the folder WINNOW_TEST_DATA (default ../shared/data).
"""

import argparse
import copy
import ctypes
import gc
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import LlamaForCausalLM

from bench.scoring_baselines import floor, ids_of, padded_batches, plain_loop
from bench.scoring_setup import (
    CPU,
    CPU_PAIRS,
    GPU,
    GPU_PAIRS,
    Pair,
    Row,
    Setting,
    Shape,
    V,
    alpaca,
    llama,
    machine,
    parameters,
    tiled,
)
from engine.batching.batch import collate
from engine.scoring.hidden import HiddenCache, final_hidden, lm_head_of
from engine.scoring.kl import reference_kl

PLAIN, PADDED, FLOOR = "plain loop", "padded batch of 16", "floor: bare matrix products"
FIRST, LATER, TOP = "Winnow, first epoch", "Winnow, later epoch", "Winnow, first epoch, with top 5 tokens"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=2)
    options = parser.parse_args()
    where, pairs = (GPU, GPU_PAIRS) if torch.cuda.is_available() else (CPU, CPU_PAIRS)
    samples = alpaca(options.rows)
    print(machine(where))
    for pair in pairs:
        speed(where, pair, samples, options.repeats)
    memory(where, samples)
    accuracy(where, samples[:12])


def speed(where: Setting, pair: Pair, samples: Sequence[Row], repeats: int) -> None:
    """Every way takes turns; the two slow baselines get one turn, and the padded batch the first 16 rows alone."""
    teacher, student = llama(pair.teacher, where), llama(pair.student, where)
    tokens = sum(len(sample.input_ids) for sample in samples)
    print(
        f"\n{pair.name}: teacher {parameters(teacher) / 1e6:.0f} M parameters, student "
        f"{parameters(student) / 1e6:.0f} M, vocabulary {pair.teacher.vocab:,}; {len(samples)} Alpaca rows, "
        f"{tokens:,} tokens; tile {where.tile:,}, {where.token_budget:,} tokens at once"
    )
    with tempfile.TemporaryDirectory(prefix="winnow-bench-") as folder:
        winnow = partial(tiled, teacher, student, where=where)

        def cache(turn: int) -> HiddenCache:
            return HiddenCache(Path(folder) / str(turn), 2**40)

        ways: dict[str, Callable[[Sequence[Row], int], object]] = {
            PLAIN: lambda rows, _: plain_loop(teacher, student, rows),
            PADDED: lambda rows, _: padded_batches(teacher, student, rows),
            FIRST: lambda rows, turn: winnow(rows, cache=cache(turn), cache_key="rows"),
            LATER: lambda rows, turn: winnow(rows, cache=cache(turn), cache_key="rows"),
            TOP: lambda rows, _: winnow(rows, top_k=5),
            FLOOR: lambda rows, _: floor((teacher, student), rows, where.token_budget, where.tile),
        }
        cost: dict[str, float] = {}  # seconds per token
        for turn in range(-1, repeats):  # turn -1 warms up on two rows
            for name, way in ways.items():
                if turn > 0 and name in (PLAIN, PADDED):
                    continue
                rows = samples[:2] if turn < 0 else samples[:16] if name == PADDED else samples
                each = timed(way, rows, turn, where) / sum(len(row.input_ids) for row in rows)
                if turn >= 0:
                    cost[name] = min(each, cost.get(name, each))
        size = cache(0).bytes
    print("\n| way | tokens/s | times the plain loop | share of the floor |\n| --- | ---: | ---: | ---: |")
    for name, each in cost.items():
        print(f"| {name} | {1 / each:,.0f} | {cost[PLAIN] / each:.2f} | {cost[FLOOR] / each:.2f} |")
    estimate = HiddenCache.estimate(tokens, pair.teacher.width, where.dtype)
    print(
        f"\nlater / first epoch: {cost[LATER] / cost[FIRST]:.2f}; hidden-state cache: {estimate:,} bytes estimated, ",
        end="",
    )
    print(f"{size:,} on disk")


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
        teacher, student = (llama(Shape(256, 2, 4, 2, 768, vocab), where, seed) for seed in (0, 1))
        peaks = []
        for way in (partial(tiled, where=where, top_k=5), plain_loop):
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
    teacher, student = llama(Shape(256, 8, 4, 2, 768, V), where), llama(Shape(256, 4, 4, 2, 768, V), where, seed=1)
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


def show(where: Setting, name: str, teacher: LlamaForCausalLM, student: nn.Module, samples: Sequence[Row]) -> None:
    kl = np.array([result.metrics()["kl"] for result in tiled(teacher, student, samples, where)])
    states = [kl_float64(teacher, student, sample, where) for sample in samples]
    doubled = copy.deepcopy(teacher).double(), copy.deepcopy(student).double()
    whole = [kl_float64(*doubled, sample, where) for sample in samples]
    errors = [f"{np.max(np.abs(kl / np.array(exact) - 1)):.1e}" for exact in (states, whole)]
    print(f"| {name} | {kl.min():.1e} to {kl.max():.1e} | {errors[0]} | {errors[1]} |")


def kl_float64(teacher: nn.Module, student: nn.Module, sample: Row, where: Setting) -> float:
    batch = collate([sample], where.device)
    hidden = final_hidden(teacher, batch), final_hidden(student, batch)
    with torch.inference_mode():
        return float(reference_kl(*hidden, lm_head_of(teacher), lm_head_of(student), vocab_size=V).mean())


if __name__ == "__main__":
    main()

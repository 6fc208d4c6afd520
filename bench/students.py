"""How many students of a grid Winnow trains in a minute, beside the loop people write.

    python -m bench.students [--students 60] [--plain 3]

The loop: one network at a time, a DataLoader that shuffles, the teacher's forward pass in every step. Winnow: the same
students as one group, the teacher's outputs computed once. Same data (scikit-learn's digits), network, steps, schedule
and loss; the accuracies stand beside the times. Aim: 3 times as many on a CPU, over the whole digits grid.
"""

from __future__ import annotations

import argparse
import time
from statistics import mean

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from bench.scoring_setup import CPU, GPU, machine
from engine.config.data import LabelledSettings
from engine.config.models import NetworkSettings
from engine.data.labelled.samples import read_labelled
from engine.models.networks import make_network
from engine.training.group import Group, outputs_of
from engine.training.students import Schedule, Student, measure, train_group
from engine.training.views import Samples, make_samples

NETWORK = NetworkSettings(model="mlp", width=64, depth=2)
SCHEDULE = Schedule(epochs=30, batch_size=32, learning_rate=2e-3, weight_decay=1e-2, temperature=4.0)
KD_WEIGHT = 0.5
FRACTIONS = (0.05, 0.1, 0.3, 1.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--students", type=int, default=60)
    parser.add_argument("--plain", type=int, default=3)
    options = parser.parse_args()
    where = GPU if torch.cuda.is_available() else CPU
    print(machine(where))
    device = where.device
    data = read_labelled(LabelledSettings(source="digits"))
    values, labels = torch.from_numpy(data.inputs), torch.from_numpy(data.labels).to(device)
    places = {split: torch.from_numpy((data.split == split).nonzero()[0]) for split in ("train", "test")}
    train, test = (make_samples(values[p], None, values[places["train"]], device=device) for p in places.values())
    known, unknown = (labels[p.to(device)] for p in places.values())
    print(
        f"digits: {len(train):,} training samples, mlp of {NETWORK.width} by {NETWORK.depth}, 30 epochs, weight 0.5\n"
    )

    teacher = group(train, [999], device)
    train_group(teacher, [Student(np.arange(len(train)), 999)], train, known, SCHEDULE)
    teacher_logits = outputs_of(teacher, train).to(device)
    print("| kept | plain loop, students/min | Winnow, students/min | ratio | accuracy, plain | accuracy, Winnow |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: |")
    plain_total, group_total = 0.0, 0.0
    for fraction in FRACTIONS:
        count = round(fraction * len(train))
        kept = [np.random.default_rng(seed).permutation(len(train))[:count] for seed in range(options.students)]
        started = time.perf_counter()
        accuracies = [
            plain_student(train, known, test, unknown, kept[seed], seed, teacher.network(0))
            for seed in range(options.plain)
        ]
        plain = (time.perf_counter() - started) / options.plain
        started = time.perf_counter()
        students = [Student(rows, seed, KD_WEIGHT, teacher=teacher_logits) for seed, rows in enumerate(kept)]
        trained = group(train, range(options.students), device)
        train_group(trained, students, train, known, SCHEDULE)
        results = measure(outputs_of(trained, test), unknown.cpu())
        each = (time.perf_counter() - started) / options.students
        plain_total, group_total = plain_total + plain, group_total + each
        print(
            f"| {fraction:.0%} | {60 / plain:,.0f} | {60 / each:,.0f} | {plain / each:.1f} | {mean(accuracies):.3f} "
            f"({options.plain}) | {mean(result.accuracy for result in results):.3f} ({options.students}) |"
        )
    print(f"\na grid with as many cells at each fraction: {plain_total / group_total:.1f} times as fast")


def group(samples: Samples, seeds: list[int] | range, device: torch.device) -> Group:
    shape = tuple(samples.values.shape[1:])
    return Group([make_network(NETWORK, "images", shape, 10, seed) for seed in seeds], device)


def plain_student(
    train: Samples, known: Tensor, test: Samples, unknown: Tensor, kept: np.ndarray, seed: int, teacher: nn.Module
) -> float:
    """One student by the usual loop: its test accuracy."""
    rows = torch.from_numpy(kept).to(known.device)
    (inputs,) = train.take(rows)
    loader = DataLoader(TensorDataset(inputs, known[rows]), SCHEDULE.batch_size, shuffle=True)
    network = make_network(NETWORK, "images", tuple(train.values.shape[1:]), 10, seed).to(known.device)
    optimizer = torch.optim.AdamW(network.parameters(), SCHEDULE.learning_rate, weight_decay=SCHEDULE.weight_decay)
    total = SCHEDULE.steps_of(len(rows))
    rate = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, SCHEDULE.learning_rate, total, pct_start=0.1, anneal_strategy="linear", cycle_momentum=False
    )
    t = SCHEDULE.temperature
    for _ in range(SCHEDULE.epochs):
        for x, y in loader:
            with torch.no_grad():
                target = F.softmax(teacher(x) / t, -1)
            logits = network(x)
            kd = F.kl_div(F.log_softmax(logits / t, -1), target, reduction="batchmean")
            loss = (1 - KD_WEIGHT) * F.cross_entropy(logits, y) + KD_WEIGHT * t * t * kd
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            rate.step()
    with torch.no_grad():
        logits = network(*test.take(torch.arange(len(test), device=known.device)))
    return float((logits.argmax(-1) == unknown).double().mean())


if __name__ == "__main__":
    main()

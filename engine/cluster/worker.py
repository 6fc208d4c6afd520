"""A worker: an actor that opens a run once, models and data in memory, and does one shard after the other."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from typing import Any

import ray
import torch

from engine.cluster.seat import ClerkHandler, Seat, SeatJob
from engine.runs import distillation, dynamic_pruning, pruned_kd, score
from engine.runs.job import Job
from engine.shards import Opened, Shard

OPENED: dict[str, Callable[[Job], Opened]] = {
    "score": score.opened,
    "dynamic-pruning": dynamic_pruning.opened,
    "pruned-kd": pruned_kd.opened,
    "distillation": distillation.opened,
}


def node_name() -> str:
    """This node as people know it: its host, and the beginning of Ray's own name for it."""
    return f"{socket.gethostname()} {ray.get_runtime_context().get_node_id()[:6]}"


class Worker:
    def __init__(self, seat: Seat) -> None:
        self.seat = seat
        self.opened: Opened | None = None

    def ready(self) -> dict[str, Any]:
        """Say where this worker is; it has been placed and can be given shards."""
        torch.set_num_threads(max(1, int(self.seat.settings.cpus)))
        node = node_name()
        logging.getLogger("engine").setLevel(logging.INFO)
        logging.getLogger().addHandler(ClerkHandler(self.seat.clerk, node))
        self.job = SeatJob(self.seat, str(ray.get_runtime_context().get_actor_id()))
        return {"node": node, "id": ray.get_runtime_context().get_node_id(), "device": self.job.device_name}

    def do(self, shard: Shard) -> tuple[str, list[tuple[str, str]]]:
        """Do one shard; the answer is who did it and the parts recorded. What goes wrong is the engine's to say."""
        self.job.begin(shard.name)
        if self.opened is None:
            self.opened = OPENED[self.seat.run.kind](self.job)
        self.opened.do(shard.key)
        self.job.end()
        return self.job.worker, self.job.made

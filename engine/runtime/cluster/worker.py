"""A worker: an actor that opens a run once, models and data in memory, and does one shard after the other."""

from __future__ import annotations

import logging
import socket
from typing import Any

import ray
import torch

from engine.runtime.cluster.remote_job import CoordinatorHandler, RemoteJob, WorkerSpec
from engine.studies.registry import study_of
from engine.studies.work_units import OpenRun, WorkUnit


def node_name() -> str:
    """This node as people know it: its host, and the beginning of Ray's own name for it."""
    return f"{socket.gethostname()} {ray.get_runtime_context().get_node_id()[:6]}"


class Worker:
    def __init__(self, seat: WorkerSpec) -> None:
        self.seat = seat
        self.opened: OpenRun | None = None

    def ready(self) -> dict[str, Any]:
        """Say where this worker is; it has been placed and can be given shards."""
        torch.set_num_threads(max(1, int(self.seat.settings.cpus)))
        node = node_name()
        logging.getLogger("engine").setLevel(logging.INFO)
        logging.getLogger().addHandler(CoordinatorHandler(self.seat.clerk, node))
        self.job = RemoteJob(self.seat, str(ray.get_runtime_context().get_actor_id()))
        return {"node": node, "id": ray.get_runtime_context().get_node_id(), "device": self.job.device_name}

    def do(self, shard: WorkUnit) -> tuple[str, list[tuple[str, str]]]:
        """Do one shard; the answer is who did it and the parts recorded. What goes wrong is the engine's to say."""
        self.job.begin(shard.name)
        if self.opened is None:
            recipe = self.seat.run.parsed()
            self.opened = study_of(recipe).open_run(self.job, recipe)
        self.opened.do(shard.key)
        self.job.end()
        return self.job.worker, self.job.made

"""A worker: an actor that opens a run once, models and data in memory, and does one work unit after the other."""

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
    """This node's host name, and the beginning of Ray's own id for it."""
    return f"{socket.gethostname()} {ray.get_runtime_context().get_node_id()[:6]}"


class Worker:
    def __init__(self, spec: WorkerSpec) -> None:
        self.spec = spec
        self.open_run: OpenRun | None = None

    def ready(self) -> dict[str, Any]:
        """Set up logging and the job. Returns where this worker has been placed; it can be assigned units from now."""
        torch.set_num_threads(max(1, int(self.spec.settings.cpus)))
        node = node_name()
        logging.getLogger("engine").setLevel(logging.INFO)
        logging.getLogger().addHandler(CoordinatorHandler(self.spec.coordinator, node))
        self.job = RemoteJob(self.spec, str(ray.get_runtime_context().get_actor_id()))
        return {"node": node, "id": ray.get_runtime_context().get_node_id(), "device": self.job.device_name}

    def do(self, unit: WorkUnit) -> tuple[str, list[tuple[str, str]]]:
        """Do one unit. Returns this worker's id and the parts recorded; errors are reported by the engine."""
        self.job.begin_unit(unit.name)
        if self.open_run is None:
            recipe = self.spec.run.parsed()
            self.open_run = study_of(recipe).open_run(self.job, recipe)
        self.open_run.do(unit.key)
        self.job.end_unit()
        return self.job.worker, self.job.unit_parts

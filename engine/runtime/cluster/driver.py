"""The engine's side of a cluster: it has workers do the units of a run, and repeats those that are lost."""

from __future__ import annotations

import math
import shutil
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from engine.common.errors import WinnowError
from engine.config.cluster import ClusterSettings
from engine.runtime.cluster.artifacts import ArtifactSync
from engine.runtime.cluster.connect import alive_nodes, describe_node, first_line, join
from engine.runtime.cluster.coordinator import Coordinator
from engine.runtime.cluster.remote_job import WorkerSpec
from engine.runtime.cluster.storage import Storage
from engine.runtime.cluster.workers import Workers
from engine.studies.job import Job
from engine.studies.work_units import WorkUnit

MAX_LOSSES = 3  # of one unit, before the unit itself is taken for the cause
ENGINE_ENDED = "the engine ended"


@contextmanager
def on_cluster(job: Job, settings: ClusterSettings) -> Iterator[None]:
    """Let the job do its units on a cluster; whatever happens, its actors are gone afterwards.

    Raises WinnowError if the cluster cannot be joined, or fails as a whole.
    """
    join(settings)
    try:
        cluster = RayExecutor(job, settings)
        job.cluster = cluster
        try:
            yield
        finally:
            cluster.close()
            job.cluster = None
    except RayError as error:
        job.log.error("%s", error)
        raise WinnowError(
            f"The Ray cluster failed ({first_line(error)}); what is finished is kept: resume the run."
        ) from error
    finally:
        ray.shutdown()


class RayExecutor:
    """Does units on the workers of a cluster; see `engine.studies.job.Executor`."""

    def __init__(self, job: Job, settings: ClusterSettings) -> None:
        self.job = job
        nodes = alive_nodes()
        self.gpus = any(node["Resources"].get("GPU") for node in nodes) if settings.gpus is None else settings.gpus > 0
        gpus = (1.0 if self.gpus else 0.0) if settings.gpus is None else settings.gpus
        self.capacity = settings.workers or _capacity(nodes, {"CPU": settings.cpus, "GPU": gpus})
        if not self.capacity:
            raise WinnowError(
                f"No node of the cluster has room for a worker of {settings.cpus:g} CPUs and {gpus:g} GPUs; lower "
                "cluster.cpus or cluster.gpus, or name cluster.workers where the cluster grows by itself."
            )
        self.storage = Storage(settings.storage, job.workspace.root)
        self.staging = job.workspace.staging / job.run.id
        self._clear_staging()
        self.coordinator: Any = (
            ray.remote(Coordinator)
            .options(
                num_cpus=0,
                # Beside this process: the ledger is a file of this machine.
                scheduling_strategy=NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False),
            )
            .remote(job.workspace.root, job.run.id, settings.storage)
        )
        spec = WorkerSpec(job.run, job.workspace.root, settings, self.gpus, self.coordinator)
        self.workers = Workers(job, spec, {"num_cpus": settings.cpus, "num_gpus": gpus})
        self.artifacts = ArtifactSync(self.storage, self.coordinator, self.storage.name_of(self.staging / "engine"))
        if settings.storage:
            self.artifacts.restore(job.ledger.parts(job.run.id))
        job.ledger.end_units(job.run.id, "lost", ENGINE_ENDED)  # those of an engine that was killed
        address = ray.get_runtime_context().gcs_address
        facts = {"address": address, "workers": self.capacity, "nodes": [describe_node(node) for node in nodes]}
        job.ledger.set_provenance(job.run.id, cluster=facts)
        job.log.info("on the Ray cluster at %s: %d nodes, at most %d workers", address, len(nodes), self.capacity)

    def broadcast(self, name: str, value: Any) -> None:
        """Give every worker a value that the engine has made."""
        ray.get(self.coordinator.broadcast.remote(name, [ray.put(value)]))

    def each(self, units: Sequence[WorkUnit], message: str) -> None:
        """Do the units on the workers, each of them once recorded; what is lost with a node or a worker is repeated.

        Raises Cancelled, what a unit raises, and WinnowError for a unit that loses one worker after another.
        """
        if not units:
            return
        self.artifacts.fetch()  # first, so that nothing is uploaded that was downloaded
        self.artifacts.publish()
        self.workers.request(min(len(units), self.capacity) - len(self.workers))
        losses: Counter[str] = Counter()
        # Units without planned operations come first, as they may refuse the rest; then the longest, so that no worker
        # is left alone with a long one at the end.
        waiting = deque(sorted(units, key=lambda unit: -(unit.flops or math.inf)))
        done, left, total = 0.0, len(units), sum(unit.flops for unit in units)
        with self.job.phase(message, total) as tick:
            while left:
                tick(done + self._flops_in_progress(), total, self._message(message, len(units), left))
                self.workers.admit()
                self.workers.diagnose()
                # One at a time, so that a worker that is lost has no second unit assigned.
                while waiting and self.workers.pool.has_free():
                    self.workers.assign(waiting.popleft())
                outcome = self.workers.next_outcome()
                if outcome is None:
                    continue
                if outcome.error is None:
                    done, left = done + outcome.unit.flops, left - 1
                    continue
                losses[outcome.unit.name] += 1
                if losses[outcome.unit.name] == MAX_LOSSES:
                    raise self._too_many_losses(outcome.unit) from outcome.error
                # To another worker: Ray itself would wait until this very one can be placed again, and if a node is
                # gone for good that is never.
                waiting.append(outcome.unit)
                self.workers.request(1)
        self.artifacts.fetch()

    def close(self) -> None:
        """End every actor at once. What they had not recorded is not done."""
        self.job.ledger.end_units(self.job.run.id, "cancelled")
        ray.kill(self.coordinator)
        self.workers.close()
        try:
            self._clear_staging()
        except WinnowError as error:  # the error that ended the run matters more; the next start clears again
            self.job.log.warning("%s", error)

    def _clear_staging(self) -> None:
        """Remove what was written and never recorded."""
        self.storage.remove(self.storage.name_of(self.staging))
        shutil.rmtree(self.staging, ignore_errors=True)

    def _too_many_losses(self, unit: WorkUnit) -> WinnowError:
        attempts = [attempt for attempt in self.job.ledger.attempts(self.job.run.id) if attempt.name == unit.name]
        return WinnowError(
            f"{unit.name} lost its worker {MAX_LOSSES} times, the last time because {attempts[-1].why} "
            f"({attempts[-1].node}); give workers more memory by lowering cluster.workers, or make the work of one "
            "smaller (scoring.token_budget, training.batch_size), and resume the run."
        )

    def _flops_in_progress(self) -> float:
        """Operations done of units that are not finished, as their workers last reported."""
        done = ray.get(self.coordinator.progress.remote())
        units = [assignment.unit for assignment in self.workers.assignments.values()]
        return sum(min(done.get(unit.name, 0.0), unit.flops) for unit in units)

    def _message(self, message: str, total: int, left: int) -> str:
        busy = self.workers.assignments
        if not busy:
            return f"{message}: waiting for room on the cluster"
        nodes = len({self.workers.admitted[worker].node for worker in busy})
        return (
            f"{message}: {total - left} of {total} units done, {len(busy)} workers on {nodes} node{'s' * (nodes > 1)}"
        )


def _capacity(nodes: Sequence[dict[str, Any]], resources: dict[str, float]) -> int:
    """How many workers that need these resources the nodes could hold if they had nothing else to do."""
    return sum(
        min(math.floor(node["Resources"].get(kind, 0.0) / amount) for kind, amount in resources.items() if amount)
        for node in nodes
    )

"""The engine's side of a cluster: it hires workers, hands them shards, and knows which node has done what."""

from __future__ import annotations

import math
import shutil
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import ActorDiedError, OutOfMemoryError, RayActorError, RayError, RayTaskError
from ray.util import ActorPool
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from engine.common.errors import WinnowError
from engine.config.cluster import ClusterSettings
from engine.runtime.cluster.artifacts import ArtifactSync
from engine.runtime.cluster.connect import alive, described, first_line, join
from engine.runtime.cluster.coordinator import Coordinator
from engine.runtime.cluster.remote_job import WorkerSpec
from engine.runtime.cluster.storage import Storage
from engine.runtime.cluster.worker import Worker
from engine.studies.job import Job
from engine.studies.work_units import WorkUnit

LOOK_SECONDS = 0.5  # between two looks at progress and cancelling
LAST_SECONDS = 2.0  # for Ray to say what became of workers that were lost
MOST_LOSSES = 3  # of one shard, before it is taken to be its own fault

NODE_LOST, OUT_OF_MEMORY, WORKER_DIED = "the node was lost", "its worker was killed: out of memory", "its worker died"
GONE = (RayActorError, OutOfMemoryError)  # what a call to a worker raises that is no longer there
UNREACHED, ENGINE_ENDED = "its worker could not be reached", "the engine ended"


@contextmanager
def on_cluster(job: Job, settings: ClusterSettings) -> Iterator[None]:
    """Let the job do its shards on a cluster; whatever happens, its actors are gone afterwards.

    Raises WinnowError where the cluster cannot be joined, or fails as a whole.
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


@dataclass(frozen=True)
class WorkerInfo:
    """A worker that has been placed."""

    node: str
    node_id: str


@dataclass(frozen=True)
class Assignment:
    """A shard that a worker has been given."""

    shard: WorkUnit
    attempt: int


def _told(error: BaseException) -> BaseException:
    """What went wrong in a worker, or in the clerk when a worker asked it for something."""
    while isinstance(error, RayTaskError) and error.cause:
        error = error.cause
    return error


def _why(error: RayError, hired: WorkerInfo) -> str:
    """What became of a worker, in a few words."""
    if isinstance(error, OutOfMemoryError) or "low on memory" in str(error):
        return OUT_OF_MEMORY  # by Ray's own monitor; what the kernel kills has merely died
    if not isinstance(error, ActorDiedError):
        return UNREACHED
    return NODE_LOST if hired.node_id not in {node["NodeID"] for node in alive()} else WORKER_DIED


class RayExecutor:
    def __init__(self, job: Job, settings: ClusterSettings) -> None:
        self.job, self.settings = job, settings
        nodes = alive()
        self.gpus = any(node["Resources"].get("GPU") for node in nodes) if settings.gpus is None else settings.gpus > 0
        self._each = {
            "num_cpus": settings.cpus,
            "num_gpus": (1.0 if self.gpus else 0.0) if settings.gpus is None else settings.gpus,
        }
        self.room = settings.workers or self._room(nodes)
        if not self.room:
            raise WinnowError(
                f"No node of the cluster has room for a worker of {settings.cpus:g} CPUs and "
                f"{self._each['num_gpus']:g} GPUs; lower cluster.cpus or cluster.gpus, or "
                "name cluster.workers where the cluster grows by itself."
            )
        self.storage = Storage(settings.storage, job.workspace.root)
        self.staging = job.workspace.staging / job.run.id
        self._sweep()
        self.pool = ActorPool([])
        self.hired: dict[str, WorkerInfo] = {}  # by actor
        self.doing: dict[str, Assignment] = {}  # by actor
        self.starting: dict[Any, Any] = {}  # waiting to be placed: the promise of being ready -> actor
        self.unexplained: dict[
            Any, tuple[Any, Assignment, WorkerInfo]
        ] = {}  # lost workers: the promise of an answer -> who
        self.actors: list[Any] = []
        self._stillborn = 0  # workers that died before they were ready, since the last that was
        self.clerk: Any = (
            ray.remote(Coordinator)
            .options(
                num_cpus=0,
                # Beside this process: the ledger is a file of this machine.
                scheduling_strategy=NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False),
            )
            .remote(job.workspace.root, job.run.id, settings.storage)
        )
        self.shelf = ArtifactSync(self.storage, self.clerk, self.storage.name_of(self.staging / "engine"))
        if settings.storage:
            self.shelf.stock(job.ledger.parts(job.run.id))
        job.ledger.end_units(job.run.id, "lost", ENGINE_ENDED)  # those of an earlier life
        address = ray.get_runtime_context().gcs_address
        facts = {"address": address, "workers": self.room, "nodes": [described(node) for node in nodes]}
        job.ledger.set_provenance(job.run.id, cluster=facts)
        job.log.info("on the Ray cluster at %s: %d nodes, room for %d workers", address, len(nodes), self.room)

    def _room(self, nodes: Sequence[dict[str, Any]]) -> int:
        """How many workers the cluster could hold if it had nothing else to do."""
        wanted = {"CPU": self._each["num_cpus"], "GPU": self._each["num_gpus"]}
        return sum(
            min(math.floor(node["Resources"].get(kind, 0.0) / amount) for kind, amount in wanted.items() if amount)
            for node in nodes
        )

    # -- for the run --------------------------------------------------------------------------------------------

    def broadcast(self, name: str, value: Any) -> None:
        """Give every worker a value that the engine has made."""
        ray.get(self.clerk.broadcast.remote(name, [ray.put(value)]))

    def each(self, shards: Sequence[WorkUnit], words: str) -> None:
        """Do the shards on the workers, each of them once recorded; what is lost with a node or a worker is repeated.

        Raises Cancelled, what a shard raises, and WinnowError for a shard that loses one worker after another.
        """
        if not shards:
            return
        self.shelf.fetch()  # first, so that nothing goes there that came from there
        self.shelf.leave()
        self._hire(min(len(shards), self.room) - len(self.hired) - len(self.starting))
        losses: Counter[str] = Counter()
        # What is no work comes first, as it may refuse the rest; then the longest, so that no worker is left alone with
        # one at the end.
        waiting = deque(sorted(shards, key=lambda shard: -(shard.flops or math.inf)))
        done, left, total = 0.0, len(shards), sum(shard.flops for shard in shards)
        with self.job.phase(words, total) as tick:
            while left:
                tick(done + self._going_on(), total, self._said(words, len(shards), left))
                self._welcome()
                self._explain()
                # One by one, so that a worker that is struck has nothing else in hand.
                while waiting and self.pool.has_free():
                    self.pool.submit(self._give, waiting.popleft())
                if not self.pool.has_next():
                    continue
                try:
                    worker, parts = self.pool.get_next_unordered(timeout=LOOK_SECONDS)
                except TimeoutError:
                    continue
                except RayTaskError as error:  # before the next: it may be both
                    raise _told(error) from error
                except GONE as error:
                    shard = self._lost(error)
                    losses[shard.name] += 1
                    if losses[shard.name] == MOST_LOSSES:
                        raise self._too_often(shard) from error
                    # To another worker: Ray itself would wait until this very one can be placed again, and where a
                    # node is gone for good that is never.
                    waiting.append(shard)
                    self._hire(1)
                else:
                    done, left = done + self._finished(worker, parts).flops, left - 1
        self.shelf.fetch()

    def close(self) -> None:
        """Let every actor go at once. What they had not recorded is not done."""
        self.job.ledger.end_units(self.job.run.id, "cancelled")
        asked = {actor for actor, _, _ in self.unexplained.values()}
        for actor in [*(actor for actor in self.actors if actor not in asked), self.clerk]:
            ray.kill(actor)
        self._explain(LAST_SECONDS)
        for actor in asked:
            ray.kill(actor)
        try:
            self._sweep()
        except WinnowError as error:  # what ended the run is more worth saying; the next life sweeps again
            self.job.log.warning("%s", error)

    def _sweep(self) -> None:
        """Throw away what was written and never recorded."""
        self.storage.drop(self.storage.name_of(self.staging))
        shutil.rmtree(self.staging, ignore_errors=True)

    # -- workers ------------------------------------------------------------------------------------------------

    def _hire(self, count: int) -> None:
        """Ask Ray for more workers. They get their first shard once they have been placed and are ready."""
        seat = WorkerSpec(self.job.run, self.job.workspace.root, self.settings, self.gpus, self.clerk)
        for _ in range(count):
            actor: Any = ray.remote(Worker).options(**self._each).remote(seat)
            self.actors.append(actor)
            self.starting[actor.ready.remote()] = actor

    def _welcome(self) -> None:
        """Take workers that are ready into the pool; where there is nothing else to wait for, wait for one."""
        if not self.starting:
            return
        patience = LOOK_SECONDS if not self.pool.has_next() and not self.pool.has_free() else 0.0
        ready, _ = ray.wait(list(self.starting), num_returns=1, timeout=patience)
        for promise in ready:
            actor = self.starting.pop(promise)
            try:
                facts = ray.get(promise)
            except RayTaskError as error:
                raise _told(error) from error
            except GONE as error:
                self._stillborn += 1
                if self._stillborn == MOST_LOSSES:
                    raise WinnowError(
                        f"{MOST_LOSSES} workers one after the other died before they had begun; is there memory for "
                        f"them, and everything of requirements.txt, on every node? The last one: {error}"
                    ) from error
                self.job.log.warning("a worker died before it had begun; asking for another")
                self._hire(1)
                continue
            self._stillborn = 0
            self.job.log.info("a worker on %s is ready (%s)", facts["node"], facts["device"])
            self.hired[actor._actor_id.hex()] = WorkerInfo(facts["node"], facts["id"])
            self.pool.push(actor)

    def _give(self, actor: Any, shard: WorkUnit) -> Any:
        worker = actor._actor_id.hex()
        attempt = self.job.ledger.begin_unit(self.job.run.id, shard.name, self.hired[worker].node)
        self.doing[worker] = Assignment(shard, attempt)
        return actor.do.remote(shard)

    def _finished(self, worker: str, parts: list[tuple[str, str]]) -> WorkUnit:
        doing = self.doing.pop(worker)
        self.job.ledger.end_units(self.job.run.id, "done", attempts=[doing.attempt])
        self.job.recorded(parts)
        return doing.shard

    def _lost(self, error: RayError) -> WorkUnit:
        """Strike a worker that is gone, or cannot be reached, and note the shard it had in hand."""
        if isinstance(error, ActorDiedError):
            worker = error.actor_id
        else:  # the pool has kept it, as the last of the idle ones
            actor: Any = self.pool.pop_idle()
            worker = actor._actor_id.hex()
        doing, hired = self.doing.pop(worker), self.hired.pop(worker)
        why = _why(error, hired)
        if why == UNREACHED:
            self.unexplained[actor.ready.remote()] = actor, doing, hired
        self.job.ledger.end_units(self.job.run.id, "lost", why, [doing.attempt])
        self.job.log.warning("%s on %s: %s; it is done again", doing.shard.name, hired.node, why)
        return doing.shard

    def _explain(self, patience: float = 0.0) -> None:
        """Say why workers could not be reached, where Ray has found out by now."""
        if not self.unexplained:
            return
        for promise in ray.wait(list(self.unexplained), timeout=patience)[0]:
            actor, doing, hired = self.unexplained.pop(promise)
            try:
                ray.get(promise)
                ray.kill(actor)  # out of reach for a while; its shard has gone to another
            except GONE as error:
                why = _why(error, hired)
                if why == UNREACHED:
                    self.unexplained[actor.ready.remote()] = actor, doing, hired
                self.job.ledger.end_units(self.job.run.id, "lost", why, [doing.attempt])

    def _too_often(self, shard: WorkUnit) -> WinnowError:
        attempts = [attempt for attempt in self.job.ledger.attempts(self.job.run.id) if attempt.name == shard.name]
        return WinnowError(
            f"{shard.name} lost its worker {MOST_LOSSES} times, the last time because {attempts[-1].why} "
            f"({attempts[-1].node}); give workers more memory by lowering cluster.workers, or make the work of one "
            "smaller (scoring.token_budget, training.batch_size), and resume the run."
        )

    # -- progress -----------------------------------------------------------------------------------------------

    def _going_on(self) -> float:
        """Work that is done of shards that are not finished, as their workers last told."""
        told = ray.get(self.clerk.told.remote())
        return sum(min(told.get(doing.shard.name, 0.0), doing.shard.flops) for doing in self.doing.values())

    def _said(self, words: str, total: int, left: int) -> str:
        if not self.doing:
            return f"{words}: waiting for room on the cluster"
        nodes = len({self.hired[worker].node for worker in self.doing})
        where = f"{len(self.doing)} workers on {nodes} node{'s' * (nodes > 1)}"
        return f"{words}: {total - left} of {total} shards done, {where}"

"""The workers of a run on a cluster: requested from Ray, admitted when they are ready, assigned units, and lost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import ActorDiedError, OutOfMemoryError, RayActorError, RayError, RayTaskError
from ray.util import ActorPool

from engine.common.errors import WinnowError
from engine.runtime.cluster.connect import alive_nodes
from engine.runtime.cluster.remote_job import WorkerSpec
from engine.runtime.cluster.worker import Worker
from engine.studies.job import Job
from engine.studies.work_units import WorkUnit

POLL_SECONDS = 0.5  # between two checks of progress and cancelling
LAST_SECONDS = 2.0  # for Ray to find out what became of workers that were lost
MAX_FAILED_STARTS = 3  # in a row, before the run fails

NODE_LOST, OUT_OF_MEMORY, WORKER_DIED = "the node was lost", "its worker was killed: out of memory", "its worker died"
UNREACHABLE = "its worker could not be reached"
GONE = (RayActorError, OutOfMemoryError)  # what a call to a worker that is gone raises


@dataclass(frozen=True)
class WorkerInfo:
    """A worker that has been placed."""

    node: str
    node_id: str


@dataclass(frozen=True)
class Assignment:
    """A unit that a worker is doing."""

    unit: WorkUnit
    attempt: int


@dataclass(frozen=True)
class Outcome:
    """What became of an assigned unit."""

    unit: WorkUnit
    error: RayError | None = None  # None if the unit is done, else its worker is gone


def _cause(error: BaseException) -> BaseException:
    """What was raised in a worker, or in the coordinator when a worker called it."""
    while isinstance(error, RayTaskError) and error.cause:
        error = error.cause
    return error


def _reason(error: RayError, worker: WorkerInfo) -> str:
    """Why a worker was lost, in a few words."""
    if isinstance(error, OutOfMemoryError) or "low on memory" in str(error):
        return OUT_OF_MEMORY  # by Ray's own monitor; a worker that the kernel kills counts as died
    if not isinstance(error, ActorDiedError):
        return UNREACHABLE
    return NODE_LOST if worker.node_id not in {node["NodeID"] for node in alive_nodes()} else WORKER_DIED


class Workers:
    """Those that are starting, those admitted to the pool, and those lost whose reason Ray does not know yet."""

    def __init__(self, job: Job, spec: WorkerSpec, resources: dict[str, float]) -> None:
        self.job, self.spec = job, spec
        self.resources = resources  # of one worker, as options of an actor
        self.pool = ActorPool([])
        self.admitted: dict[str, WorkerInfo] = {}  # by actor id
        self.assignments: dict[str, Assignment] = {}  # by actor id
        self.actors: list[Any] = []
        self._starting: dict[Any, Any] = {}  # reference to the result of `ready` -> actor
        self._undiagnosed: dict[Any, tuple[Any, Assignment, WorkerInfo]] = {}  # reference to a last call -> who
        self._failed_starts = 0  # since the last worker that became ready

    def __len__(self) -> int:
        return len(self.admitted) + len(self._starting)

    def request(self, count: int) -> None:
        """Ask Ray for more workers. They are assigned units once they have been placed and are ready."""
        for _ in range(count):
            actor: Any = ray.remote(Worker).options(**self.resources).remote(self.spec)
            self.actors.append(actor)
            self._starting[actor.ready.remote()] = actor

    def admit(self) -> None:
        """Take workers that are ready into the pool; if nothing else is going on, wait for one."""
        if not self._starting:
            return
        timeout = POLL_SECONDS if not self.pool.has_next() and not self.pool.has_free() else 0.0
        ready, _ = ray.wait(list(self._starting), num_returns=1, timeout=timeout)
        for reference in ready:
            actor = self._starting.pop(reference)
            try:
                facts = ray.get(reference)
            except RayTaskError as error:
                raise _cause(error) from error
            except GONE as error:
                self._failed_starts += 1
                if self._failed_starts == MAX_FAILED_STARTS:
                    raise WinnowError(
                        f"{MAX_FAILED_STARTS} workers in a row died while they started; is there memory for them, and "
                        f"everything of requirements.txt, on every node? The last one: {error}"
                    ) from error
                self.job.log.warning("a worker died while it started; requesting another")
                self.request(1)
                continue
            self._failed_starts = 0
            self.job.log.info("a worker on %s is ready (%s)", facts["node"], facts["device"])
            self.admitted[actor._actor_id.hex()] = WorkerInfo(facts["node"], facts["id"])
            self.pool.push(actor)

    def assign(self, unit: WorkUnit) -> None:
        """Let an idle worker do the unit."""
        self.pool.submit(self._begin, unit)

    def _begin(self, actor: Any, unit: WorkUnit) -> Any:
        worker = actor._actor_id.hex()
        attempt = self.job.ledger.begin_unit(self.job.run.id, unit.name, self.admitted[worker].node)
        self.assignments[worker] = Assignment(unit, attempt)
        return actor.do.remote(unit)

    def next_outcome(self) -> Outcome | None:
        """A unit that is done or lost; None if there is none within POLL_SECONDS. Raises what a unit raises."""
        if not self.pool.has_next():
            return None
        try:
            worker, parts = self.pool.get_next_unordered(timeout=POLL_SECONDS)
        except TimeoutError:
            return None
        except RayTaskError as error:  # before the next: it may be both
            raise _cause(error) from error
        except GONE as error:
            return Outcome(self._lose(error), error)
        assignment = self.assignments.pop(worker)
        self.job.ledger.end_units(self.job.run.id, "done", attempts=[assignment.attempt])
        self.job.recorded(parts)
        return Outcome(assignment.unit)

    def _lose(self, error: RayError) -> WorkUnit:
        """Drop a worker that is gone or cannot be reached. Returns the unit it was doing."""
        if isinstance(error, ActorDiedError):
            worker = error.actor_id
        else:  # the pool has kept it, as the last of the idle ones
            actor: Any = self.pool.pop_idle()
            worker = actor._actor_id.hex()
        assignment, info = self.assignments.pop(worker), self.admitted.pop(worker)
        reason = _reason(error, info)
        if reason == UNREACHABLE:
            self._undiagnosed[actor.ready.remote()] = actor, assignment, info
        self.job.ledger.end_units(self.job.run.id, "lost", reason, [assignment.attempt])
        self.job.log.warning("%s on %s: %s; it is done again", assignment.unit.name, info.node, reason)
        return assignment.unit

    def diagnose(self, timeout: float = 0.0) -> None:
        """Record why workers could not be reached, if Ray has found out by now."""
        if not self._undiagnosed:
            return
        for reference in ray.wait(list(self._undiagnosed), timeout=timeout)[0]:
            actor, assignment, info = self._undiagnosed.pop(reference)
            try:
                ray.get(reference)
                ray.kill(actor)  # it was out of reach for a while; its unit has been assigned to another
            except GONE as error:
                reason = _reason(error, info)
                if reason == UNREACHABLE:
                    self._undiagnosed[actor.ready.remote()] = actor, assignment, info
                self.job.ledger.end_units(self.job.run.id, "lost", reason, [assignment.attempt])

    def close(self) -> None:
        """End every worker at once. What they had not recorded is not done."""
        undiagnosed = {actor for actor, _, _ in self._undiagnosed.values()}
        for actor in self.actors:
            if actor not in undiagnosed:
                ray.kill(actor)
        self.diagnose(LAST_SECONDS)
        for actor in undiagnosed:
            ray.kill(actor)

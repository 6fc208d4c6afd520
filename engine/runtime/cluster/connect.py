"""Joining a Ray cluster, or starting one on this machine."""

from __future__ import annotations

import logging
import os
import socket
from typing import Any

import ray
from ray.exceptions import RayError

from engine.common.errors import WinnowError
from engine.common.paths import CHECKOUT
from engine.config.cluster import ClusterSettings

PROBE_SECONDS = 5.0

log = logging.getLogger(__name__)


def join(settings: ClusterSettings) -> None:
    """Connect this process. Raises WinnowError if there is no such cluster, or this machine is not part of it."""
    if settings.address.startswith("ray://"):
        raise WinnowError(
            f"cluster.address is {settings.address}, but Winnow's engine must run on a machine of the cluster, because "
            "its ledger is there; start it on one and write auto."
        )
    common: dict[str, Any] = {
        # Every node gets the engine's own code; what it imports must be installed there.
        "runtime_env": {"py_modules": [str(CHECKOUT / "engine")]},
        "log_to_driver": False,  # workers write into the log of the run
        "logging_level": logging.WARNING,
    }
    if settings.address == "local":
        _start(settings, common)
        return
    if settings.address != "auto":
        _probe(settings.address)
    try:
        ray.init(address=settings.address, **common)
    except (ConnectionError, ValueError, RuntimeError, RayError) as error:
        if settings.address != "auto" or not isinstance(error, ConnectionError):
            raise WinnowError(
                f"Winnow could not join the Ray cluster at {settings.address} ({first_line(error)}); start Ray on this "
                f"machine with `ray start --address={settings.address}`, and where the cluster has a token, put it "
                "into ~/.ray/auth_token and set RAY_AUTH_MODE=token."
            ) from error
        _start(settings, common)


def _start(settings: ClusterSettings, common: dict[str, Any]) -> None:
    log.info("starting a Ray cluster of this machine alone")
    ray.init(
        address="local",
        num_cpus=os.cpu_count(),
        object_store_memory=int(settings.object_store_gb * 1e9),
        include_dashboard=False,
        **common,
    )


def _probe(address: str) -> None:
    """Raises WinnowError if nothing listens there: Ray itself would retry for minutes."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=PROBE_SECONDS).close()
    except (OSError, ValueError, OverflowError) as error:
        raise WinnowError(
            f"cluster.address is {address}, and nothing answers there ({error}); write auto, none or HOST:PORT, the "
            "address that `ray start --head` has printed."
        ) from error


def first_line(error: BaseException) -> str:
    """The message of an error of Ray, without the trace or the advice it often adds."""
    return str(error).strip().partition("\n")[0]


def alive_nodes() -> list[dict[str, Any]]:
    """The nodes that are alive now, as Ray describes them."""
    return [node for node in ray.nodes() if node["Alive"]]


def describe_node(node: dict[str, Any]) -> dict[str, Any]:
    """A node for the provenance, under the name that its workers use."""
    resources = node["Resources"]
    return {
        "name": f"{node['NodeManagerHostname']} {node['NodeID'][:6]}",
        "cpus": resources.get("CPU", 0.0),
        "gpus": resources.get("GPU", 0.0),
        "memory_gb": round(resources.get("memory", 0.0) / 1e9, 1),
    }

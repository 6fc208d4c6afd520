"""Where a run is done: on this machine, or its work units on a Ray cluster. The same choice on every form."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import streamlit as st

from engine.common.hashing import digest

HERE, CLUSTER = "this machine", "a Ray cluster"
WITHOUT_RAY = (
    "Ray is not installed here: run `pip install -r requirements-ray.txt` on this machine and on every node before "
    "this run is started."
)


def choose(base: Mapping[str, Any], key: str) -> dict[str, Any]:
    """The `cluster` table of a recipe that begins as `base`; keys without a field stay as they are there.

    `key` is the prefix of the form's widgets.
    """
    cluster: Mapping[str, Any] = base["cluster"]
    on_cluster = cluster["address"] != "none"
    of = digest(base)  # new fields for a new base, as in the rest of the form
    with st.container(border=True):
        columns = st.columns([3, 2, 4, 2])
        place = columns[0].segmented_control(
            "Where it is done", [HERE, CLUSTER], default=CLUSTER if on_cluster else HERE, required=True,
            key=f"{key}_place_{of}", help="A cluster does many parts of the run at once, each on a node of its own.",
        )  # fmt: skip
        if place != CLUSTER:
            return {**cluster, "address": "none"}
        # `persist_state`: what was typed stays while "this machine" is chosen in between.
        address = columns[1].text_input(
            "Address", cluster["address"] if on_cluster else "auto", key=f"{key}_address_{of}", persist_state="page",
            placeholder="auto",
            help="`auto`: the cluster this machine is part of, else one started here. Or `HOST:PORT` of a cluster "
            "this machine is part of.",
        )  # fmt: skip
        storage = columns[2].text_input(
            "Shared storage", cluster["storage"], key=f"{key}_storage_{of}", persist_state="page",
            placeholder="the workspace folder",
            help="Where nodes leave what they finish. Empty: all nodes see the workspace folder, under the same path. "
            "Else a mounted folder, or an address such as `s3://bucket/folder`.",
        )  # fmt: skip
        workers = columns[3].number_input(
            "Most workers at once", min_value=0, value=cluster["workers"] or 0, step=1, key=f"{key}_workers_{of}",
            persist_state="page", help="0: as many as there is room for.",
        )  # fmt: skip
        if find_spec("ray") is None:
            st.info(WITHOUT_RAY, icon=":material/info:")
    return {
        **cluster,
        "address": address.strip() or "auto",
        "storage": storage.strip(),
        "workers": workers or None,
    }


def alike(left: Mapping[str, Any], right: Mapping[str, Any]) -> bool:
    """Whether two recipes are done in the same place by as many workers, so that their times can be compared."""
    return all(_place(left).get(name) == _place(right).get(name) for name in ("address", "workers"))


def _place(recipe: Mapping[str, Any]) -> Mapping[str, Any]:
    place: Mapping[str, Any] = recipe.get("cluster", {"address": "none"})  # runs from before there was a choice
    return place if place["address"] != "none" else {"address": "none"}

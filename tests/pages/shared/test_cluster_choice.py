"""The choice of where a run is done, on every form: here by default, else a cluster as in the recipe."""

from __future__ import annotations

from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from engine.config.cluster import ClusterSettings
from engine.config.load import load_recipe, parse_recipe, to_dict
from pages.shared import cluster_choice
from tests.fixtures import sentences


def form(base: dict) -> None:  # AppTest runs its text alone, without the imports above
    import streamlit as st

    from pages.shared import cluster_choice

    st.session_state["table"] = cluster_choice.choose(base, "any")


def drawn(**cluster: Any) -> AppTest:
    """The choice for a recipe that has this `cluster` table."""
    base = {"cluster": ClusterSettings(**cluster).model_dump(mode="json")}
    app = AppTest.from_function(form, default_timeout=60, kwargs={"base": base}).run()
    assert not app.exception
    return app


def table(app: AppTest) -> dict[str, Any]:
    found = app.session_state["table"]
    assert isinstance(found, dict)
    ClusterSettings.model_validate(found)
    return found


def test_here_by_default() -> None:
    """A recipe that names no cluster begins on this machine, and no other field is shown."""
    app = drawn()
    assert app.get("segmented_control")[0].value == sentences.HERE
    assert not app.text_input
    assert not app.number_input
    assert table(app)["address"] == "none"


def test_a_cluster_begins_with_auto() -> None:
    """Choosing a cluster asks for its address, its storage and its workers, and has an answer for each."""
    app = drawn()
    app.get("segmented_control")[0].set_value(sentences.ON_CLUSTER).run()
    assert [field.label for field in app.text_input] == ["Address", "Shared storage"]
    assert table(app) == ClusterSettings(address="auto").model_dump()
    address, storage = app.text_input
    address.set_value("  ").run()
    assert table(app)["address"] == "auto"
    address.set_value(" 10.0.0.1:6379 ").run()
    storage.set_value("s3://bucket/folder ").run()
    app.number_input[0].set_value(4).run()
    assert table(app) == ClusterSettings(address="10.0.0.1:6379", storage="s3://bucket/folder", workers=4).model_dump()


def test_what_is_not_asked_for_stays() -> None:
    """Settings without a field are those of the recipe the form began from, on a cluster and on this machine."""
    begun = {
        "address": "head:6379",
        "storage": "/mnt/x",
        "workers": 3,
        "cpus": 4.0,
        "gpus": 0.5,
        "object_store_gb": 2.0,
    }
    app = drawn(**begun)
    assert table(app) == begun
    app.get("segmented_control")[0].set_value(sentences.HERE).run()
    assert table(app) == begun | {"address": "none"}
    app.get("segmented_control")[0].set_value(sentences.ON_CLUSTER).run()
    assert table(app) == begun


def test_what_was_typed_is_still_there() -> None:
    """Who looks at this machine in between need not type the address again."""
    app = drawn()
    app.get("segmented_control")[0].set_value(sentences.ON_CLUSTER).run()
    app.text_input[0].set_value("head:6379").run()
    app.get("segmented_control")[0].set_value(sentences.HERE).run()
    app.get("segmented_control")[0].set_value(sentences.ON_CLUSTER).run()
    assert table(app)["address"] == "head:6379"


@pytest.mark.parametrize("there", [True, False])
def test_without_ray_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, there: bool) -> None:
    """The choice is there with Ray and without; without it a message explains how to install it."""
    monkeypatch.setattr(cluster_choice, "find_spec", lambda name: object() if there else None)
    app = drawn()
    assert not app.info
    app.get("segmented_control")[0].set_value(sentences.ON_CLUSTER).run()
    assert [info.value for info in app.info] == [cluster_choice.WITHOUT_RAY] * (not there)
    assert "`pip install -r requirements-ray.txt`" in cluster_choice.WITHOUT_RAY


def test_alike() -> None:
    """Times are compared between runs in one place with as many workers; older recipes were all done here."""
    here = to_dict(load_recipe("demo-kd"))
    old = {key: value for key, value in here.items() if key != "cluster"}
    moved = to_dict(parse_recipe(here | {"cluster": {"address": "none", "workers": 3}}))
    auto = to_dict(parse_recipe(here | {"cluster": "auto"}))
    three = to_dict(parse_recipe(here | {"cluster": {"address": "auto", "workers": 3}}))
    assert cluster_choice.alike(here, old)
    assert cluster_choice.alike(here, moved)
    assert cluster_choice.alike(auto, auto)
    assert not cluster_choice.alike(here, auto)
    assert not cluster_choice.alike(auto, three)

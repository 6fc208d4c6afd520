"""The query worker: a process that answers small requests of the pages beside long runs, models kept in memory.

"check"    whether this recipe can run here, how large it is, how long it may take
"preview"  what this data looks like
"trace"    how teacher and student differ on this prompt and response, token by token
"""

from __future__ import annotations

import logging
import time
from typing import Any

from engine.common.errors import WinnowError
from engine.config.data import DataSettings
from engine.data.preview import preview
from engine.models.loading import load_tokenizer
from engine.runtime.recipe_check import check_recipe
from engine.runtime.trace import trace
from engine.storage.ledger import Ledger
from engine.storage.workspace import Workspace

log = logging.getLogger(__name__)

IDLE_SECONDS = 0.05


def answer_all(workspace: Workspace) -> None:
    """Answer requests, oldest first, until this process is ended."""
    ledger = Ledger(workspace)
    handlers = {"check": check_recipe, "preview": preview_data, "trace": trace}
    while True:
        request = ledger.next_request()
        if request is None:
            time.sleep(IDLE_SECONDS)
            continue
        try:
            ledger.answer(request.id, handlers[request.kind](workspace, ledger, request.payload))
        except WinnowError as error:
            ledger.answer(request.id, {"error": str(error)}, refused=True)
        except Exception as error:
            # One request that fails must not leave the others unanswered.
            log.exception("request %d failed", request.id)
            message = f"The engine could not answer ({type(error).__name__}: {error})."
            ledger.answer(request.id, {"error": message}, refused=True)


def preview_data(_workspace: Workspace, _ledger: Ledger, payload: dict[str, Any]) -> dict[str, Any]:
    """{"data": DataSettings, "model": model whose tokenizer counts, or ""} -> engine.data.preview.preview."""
    tokenizer = load_tokenizer(payload["model"]) if payload.get("model") else None
    return preview(DataSettings.model_validate(payload["data"]), tokenizer)

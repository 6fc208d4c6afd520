"""Opening a source: from its name to its rows, whatever holds them."""

from __future__ import annotations

import difflib
import os
import re
from collections import Counter
from pathlib import Path
from typing import Any

from engine.common.errors import WinnowError
from engine.common.text import printable, reason
from engine.data.files import SUFFIXES, read_file
from engine.data.hub import read_hub, read_saved
from engine.data.records import Records

DEMO = "demo"
DEMO_CORPUS = "demo-corpus"  # clean rows of the same tasks, none of them in the demo set
DEMO_CORPUS_ROWS = 12_000  # if no limit is given; the program could go on
_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*", re.ASCII)


def load_records(
    source: str,
    split: str = "train",
    skip: int = 0,
    limit: int | None = None,
    config: str = "",
    streaming: bool = False,
) -> Records:
    """The same slice with the columns as they are. Raises WinnowError if it is empty or cannot be read.

    `config` names one of several sets of a Hub dataset. `streaming` reads no more of it than the slice; what lies on
    this machine is read so anyway.
    """
    records = _load(source, split, skip, limit, config, streaming)
    twice = [column for column, count in Counter(records.columns).items() if count > 1]
    if twice:
        raise WinnowError(f"Two columns of {records.name} are called {printable(twice[0])}; rename one of them.")
    if not records.rows and records.total:
        raise WinnowError(f"After skipping {skip:,} rows none is left in {records.name}, which has {records.total:,}.")
    if not records.rows:
        raise WinnowError(f"There are no rows in {records.name}; choose another.")
    return records


def _load(source: str, split: str, skip: int, limit: int | None, config: str, streaming: bool) -> Records:
    if source in (DEMO, DEMO_CORPUS):
        require_train(split, "The demo")
        return _demo(source, skip, limit)
    try:
        path = Path(source).expanduser().absolute()
        is_file, is_folder = path.is_file(), path.is_dir()
    except (OSError, RuntimeError) as error:
        raise WinnowError(f"Nothing can be read at {printable(source)} ({reason(error)}); check the path.") from error
    if is_folder:
        return read_saved(path, split, skip, limit)
    if is_file:
        require_train(split, str(path))
        return read_file(path, skip, limit)
    if _HUB_ID.fullmatch(source) and path.suffix.lower() not in SUFFIXES:
        return read_hub(source, split, skip, limit, config, streaming)
    raise WinnowError(_missing(path))


def require_train(split: str, name: str) -> None:
    if split != "train":
        raise WinnowError(f"{name} has no splits, so there is no split {printable(split)}; leave the split out.")


def _missing(path: Path) -> str:
    listable = path.parent.is_dir() and os.access(path.parent, os.R_OK | os.X_OK)
    beside = [entry.name for entry in path.parent.iterdir()] if listable else []
    close = difflib.get_close_matches(path.name, beside, n=1)
    hint = f"did you mean {printable(close[0])}?" if close else "check the path, or write a Hub dataset as owner/name."
    return f"There is no file {path}; {hint}"


def _demo(source: str, skip: int, limit: int | None) -> Records:
    from engine.data.demo.instructions import demo_corpus, demo_samples

    if source == DEMO_CORPUS:
        written = demo_corpus(DEMO_CORPUS_ROWS if limit is None else skip + limit)
        name, total = "the text corpus of Winnow's own demo", None
    else:
        written = demo_samples()
        name, total = "Winnow's own demo set", len(written)
    rows: list[dict[str, Any]] = [dict(row) for row in written[skip : None if limit is None else skip + limit]]
    return Records(name, list(written[0]), rows, skip, total)

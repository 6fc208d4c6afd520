"""Rows from one local file: Parquet, JSON or CSV, these two also compressed.

JSON and CSV are read as they are written rather than by a reader that guesses types: such readers turn "007" into
7, "NA" into nothing and "2020-01-01" into a time, and cannot name the line at fault.
"""

from __future__ import annotations

from pathlib import Path

from engine.common.errors import WinnowError
from engine.common.text import reason
from engine.data.csv_files import read_csv
from engine.data.json_files import read_json
from engine.data.lines import COMPRESSED
from engine.data.parquet_files import read_parquet
from engine.data.records import Records

SUFFIXES = (".parquet", ".jsonl", ".json", ".csv", ".tsv")


def kind_of_file(name: str) -> str:
    """The one of SUFFIXES that tells how the file is read, whether it is compressed or not; "" if there is none."""
    plain = Path(name.lower())
    packed = plain.suffix in COMPRESSED
    suffix = plain.with_suffix("").suffix if packed else plain.suffix
    return suffix if suffix in SUFFIXES and not (packed and suffix == ".parquet") else ""


def read_file(path: Path, skip: int, limit: int | None) -> Records:
    """Rows `skip` to `skip + limit` of a file.

    Raises WinnowError if the file is of another kind, is broken (naming the line if there are lines), is not
    UTF-8, or cannot be read.
    """
    kind = kind_of_file(path.name)
    if not kind:
        raise WinnowError(
            f"{path} is not a kind of file that Winnow reads; save it as one of {', '.join(SUFFIXES)}, "
            f"with a name that ends so, all but the first also compressed ({', '.join(COMPRESSED)})."
        )
    try:
        if kind == ".parquet":
            records = read_parquet(path, skip, limit)
        elif kind in (".csv", ".tsv"):
            records = read_csv(path, skip, limit, "\t" if kind == ".tsv" else "")
        else:
            records = read_json(path, skip, limit)
    except OSError as error:
        raise WinnowError(
            f"{path} cannot be read ({error.strerror or reason(error)}); check the disk and your rights."
        ) from error
    records.folder = path.parent
    return records

"""Which column of a pool of rows is the label, the image or the text."""

from __future__ import annotations

from collections.abc import Sequence

from engine.common.text import printable
from engine.data.columns import ColumnError, listed, require_column
from engine.data.labelled.sources import Pool

USUAL_NAMES = {
    "image": ("image", "img", "picture", "image_path", "img_path", "file_name", "filename", "path"),
    "text": ("text", "sentence", "review", "content"),
    "label": ("label", "labels", "fine_label", "coarse_label", "target", "class"),
}
"""Names by which a column is found if none is given, the first match first; upper and lower case are one."""


def find_column(pool: Pool, role: str, named: str, setting: str, label: str = "") -> str:
    """The column `named`, else the first with a usual name for the role that is not `label`; every slice has it.

    Raises ColumnError with the columns there are, naming the setting that chooses one.
    """
    columns = pool.slices[0].columns
    has = f"It has {listed(columns)}."
    if named:
        require_column(role, named, columns, pool.slices[0].name, setting)
    if named and named == label:
        raise ColumnError(
            f"Column {printable(named)} of {pool.slices[0].name} cannot be both the label and the {role}; give each "
            f"its own. {has}"
        )
    found = named or _usual(columns, role, label, pool.slices[0].name, setting)
    if not found:
        raise ColumnError(f"No column of {pool.slices[0].name} looks like the {role}; name it with {setting}. {has}")
    for part in pool.slices[1:]:
        if found not in part.columns:
            raise ColumnError(
                f"The {role} is in column {printable(found)} of {pool.slices[0].name}, but {part.name} lacks it; "
                f"it has {listed(part.columns)}."
            )
    return found


def _usual(columns: Sequence[str], role: str, label: str, name: str, setting: str) -> str:
    for known in USUAL_NAMES[role]:
        alike = [column for column in columns if column.lower() == known and column != label]
        if len(alike) > 1:
            raise ColumnError(
                f"Columns {printable(alike[0])} and {printable(alike[1])} of {name} could both be the {role}; choose "
                f"one with {setting}."
            )
        if alike:
            return alike[0]
    return ""

"""How the arms of a dynamic-pruning run are told apart: by colour, line, marker and label, never by colour alone.

A picture of many arms is read by a few of them: the best, its rival, random choice, everything, the oracle, and those a
person asks for stand in front, named at the ends of their lines; the others are thin and grey. The colours of arms stay
clear of the blue and the vermillion that mean kept and pruned everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from engine.analysis.arms import called
from engine.analysis.pruning_results import Results
from engine.analysis.tournament import leaders
from engine.common.text import one_line
from pages.shared import charts

LONGEST = 18  # characters of a name in a picture


@dataclass(frozen=True)
class Style:
    name: str
    colour: str = charts.QUIET
    dash: str = "solid"
    marker: str = "circle-open"
    sign: str = "○"  # the marker as a character, for labels
    width: float = 1
    front: bool = False

    @property
    def label(self) -> str:
        return f"{self.sign} {self.name}"


Styles = Mapping[str, Style]

BEST = Style("", "#00936B", "solid", "circle", "●", 3, True)
RIVAL = Style("", "#AD7B00", "dashdot", "triangle-up", "▲", 2, True)
RANDOM = Style("", "#B5558B", "dot", "diamond", "◆", 2, True)
EVERYTHING = Style("", "#6F7680", "dash", "square", "■", 2, True)
ORACLE = Style("", "#7D6BD6", "longdash", "star", "★", 2, True)
ASKED = (
    Style("", "#7A8B00", "longdashdot", "triangle-down", "▼", 2, True),
    Style("", "#9A6B4F", "dash", "cross", "✚", 2, True),
    Style("", "#A34FC0", "dashdot", "star-diamond", "✦", 2, True),
    Style("", "#4E8F6A", "dot", "hexagon", "⬢", 2, True),
)
"""Those of arms that a person puts in front, in the order in which they are asked for."""


def styles(found: Results, asked: Sequence[str] = ()) -> dict[str, Style]:
    """How each arm is drawn, those at the back first; `asked` are put in front as well."""
    first = leaders(found)
    chosen = {first.rival: RIVAL, first.best: BEST}
    for kind, style in (("random", RANDOM), ("everything", EVERYTHING), ("oracle", ORACLE)):
        name = next((arm.name for arm in found.facts if arm.kind == kind), "")
        chosen = {name: style} | chosen
    others = [name for name in asked if name not in chosen]
    chosen = dict(zip(others, ASKED, strict=False)) | chosen
    names = [arm.name for arm in found.facts if arm.name not in chosen]
    names += [name for name in chosen if name]
    return {name: replace(chosen.get(name, Style("")), name=called(name)) for name in names}


def name_html(style: Style) -> str:
    """The marker and the name, for labels of a picture."""
    name = f'<span style="color:{style.colour}">{style.sign}</span> {one_line(style.name, LONGEST)}'
    return f"<b>{name}</b>" if style.width > 2 else name

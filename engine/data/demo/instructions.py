"""The instruction set of the demo, written by a program.

Every question is drawn from a grammar and every answer is computed by a rule. One answer in ten is then
corrupted on purpose; the column `corrupted` says how, and no score reads it. The answers therefore show what
a divergence between two models finds, and what it cannot tell apart.
"""

from collections.abc import Sequence, Set
from random import Random
from typing import NamedTuple
from zlib import crc32

from engine.data.demo import facts, letters, measures, numbers, sentences
from engine.data.demo.damage import KINDS_OF_DAMAGE, can_suffer, damage
from engine.data.demo.draft import Draft, Writer

CLEAN = "no"
CORRUPTED_SHARE = 0.1
ATTEMPTS = 200  # draws of one task that may bring nothing new before the task counts as used up


class Task(NamedTuple):
    name: str
    weight: float
    write: Writer
    fluent: bool = False  # answers in whole sentences, whatever is asked


TASKS = (
    Task("copying", 4, letters.copying),
    Task("spelling", 3, letters.spelling),
    Task("reversal", 2, letters.reversal),
    Task("letters", 2.5, letters.letters),
    Task("alphabet", 1.5, letters.alphabet),
    Task("word forms", 4, letters.word_forms),
    Task("opposites", 3, letters.opposites),
    Task("rhymes", 1.5, letters.rhymes),
    Task("categories", 4, letters.categories),
    Task("addition", 3, numbers.addition),
    Task("subtraction", 2, numbers.subtraction),
    Task("multiplication", 2, numbers.multiplication),
    Task("comparison", 2.5, numbers.comparison),
    Task("sorting", 1.5, numbers.sorting),
    Task("sequences", 2.5, numbers.sequences),
    Task("number words", 2.5, numbers.number_words),
    Task("roman numerals", 1.5, numbers.roman_numerals),
    Task("units", 1.5, measures.units),
    Task("clock", 1.5, measures.clock),
    Task("calendar", 3, measures.calendar),
    Task("word problems", 2.5, numbers.word_problems),
    Task("python", 2, numbers.python_lines),
    Task("lookup", 6, facts.lookup),
    Task("records", 4, facts.records),
    Task("colours", 2.5, facts.colours),
    Task("capitals", 4, facts.capitals),
    Task("animals", 3.5, facts.animals),
    Task("translation", 3.5, facts.translation),
    Task("definitions", 3.5, facts.definitions),
    Task("politeness", 2.5, sentences.politeness, fluent=True),
    Task("rewriting", 5, sentences.rewriting, fluent=True),
    Task("passive", 4, sentences.passive, fluent=True),
    Task("sentiment", 4.5, sentences.sentiment),
    Task("reading", 5, sentences.reading),
    Task("titles", 3, sentences.titles),
    Task("stories", 3.5, sentences.stories, fluent=True),
    Task("recipes", 3, sentences.recipes, fluent=True),
    Task("notes", 4, sentences.notes, fluent=True),
    Task("lists", 2, sentences.lists),
)


def demo_samples(n: int = 2400, seed: int = 0) -> list[dict[str, str]]:
    """`n` samples with no question twice, round(n / 10) of them corrupted; the same for the same seed.

    Columns: `instruction`, `input` (may be empty), `response`, `task`, `difficulty` (easy, medium, hard),
    `corrupted` ("no" or one of KINDS_OF_DAMAGE) and `true_response`, which differs from `response` in
    corrupted rows alone. Small tasks run out of questions when `n` is large and leave their share to the others.
    """
    rng = Random(f"demo samples {seed}")
    written = _write_distinct(rng, n)
    kinds = _choose_damage(rng, [draft for _, draft in written])
    return [
        _row(task, draft, kind, draft.response if kind == CLEAN else _damaged(rng, kind, task, draft))
        for (task, draft), kind in zip(written, kinds, strict=True)
    ]


def demo_corpus(n: int, seed: int = 0) -> list[dict[str, str]]:
    """`n` clean rows of the same tasks, to train the demo's models on; columns as in `demo_samples`.

    No question of any `demo_samples` is ever among them, whatever the sizes and seeds. The facts of small tasks are
    the same: a capital asked for in a sample is stated here in other words. As in any corpus, rows repeat.
    """
    rng = Random(f"demo corpus {seed}")
    rows: list[dict[str, str]] = []
    while len(rows) < n:
        task = _draw(rng, TASKS)
        draft = task.write(rng)
        if not _is_for_samples(draft):
            rows.append(_row(task, draft, CLEAN, draft.response))
    return rows


def _row(task: Task, draft: Draft, corrupted: str, response: str) -> dict[str, str]:
    return {
        "instruction": draft.instruction,
        "input": draft.input,
        "response": response,
        "task": task.name,
        "difficulty": draft.difficulty,
        "corrupted": corrupted,
        "true_response": draft.response,
    }


def _draw(rng: Random, tasks: Sequence[Task]) -> Task:
    return rng.choices(tasks, weights=[task.weight for task in tasks])[0]


def _is_for_samples(draft: Draft) -> bool:
    """A third of all questions belongs to the samples, the others to the corpus; the question's text decides."""
    return crc32(f"{draft.instruction}\n{draft.input}".encode()) % 3 == 0


def _write_distinct(rng: Random, n: int) -> list[tuple[Task, Draft]]:
    """`n` drafts of tasks drawn by weight, no two of which ask the same."""
    seen: set[tuple[str, str]] = set()
    open_tasks = list(TASKS)
    written: list[tuple[Task, Draft]] = []
    while len(written) < n:
        task = _draw(rng, open_tasks)
        draft = _unseen(rng, task, seen)
        if draft is None:
            open_tasks.remove(task)
            continue
        seen.add((draft.instruction, draft.input))
        written.append((task, draft))
    return written


def _unseen(rng: Random, task: Task, seen: Set[tuple[str, str]]) -> Draft | None:
    for _ in range(ATTEMPTS):
        draft = task.write(rng)
        if _is_for_samples(draft) and (draft.instruction, draft.input) not in seen:
            return draft
    return None


def _damaged(rng: Random, kind: str, task: Task, draft: Draft) -> str:
    fluent = rng.choice([other for other in TASKS if other.fluent and other is not task])
    return damage(rng, kind, draft, task.write, fluent.write)


def _choose_damage(rng: Random, drafts: list[Draft]) -> list[str]:
    """Which drafts are corrupted and how: a random tenth, in equal shares of each kind as far as answers allow."""
    corruption = [CLEAN] * len(drafts)
    chosen = rng.sample(range(len(drafts)), round(CORRUPTED_SHARE * len(drafts)))
    for left, kind in zip(range(len(KINDS_OF_DAMAGE), 0, -1), KINDS_OF_DAMAGE, strict=True):
        able = [place for place in chosen if can_suffer(kind, drafts[place])]
        for place in able[: len(chosen) // left]:
            corruption[place] = kind
        chosen = [place for place in chosen if corruption[place] == CLEAN]
    return corruption

"""The instruction set of the demo, written by a program, and made as real sets are.

Every question is drawn from a grammar and every answer is computed by a rule. Most samples ask for a few common tasks,
which the demo's models know from their corpus, and many of those are repeated, word for word or nearly. A tenth of all
samples has a corrupted answer. Four questions in ten belong to a tail of rare tasks, of which the corpus tells little.
Columns say which sample is what, and no score reads them.
"""

from collections import Counter
from collections.abc import Collection, Sequence, Set
from random import Random
from typing import NamedTuple
from zlib import crc32

from engine.data.demo import facts, letters, measures, numbers, sentences
from engine.data.demo.damage import KINDS_OF_DAMAGE, can_suffer, damage
from engine.data.demo.draft import Draft, Writer

CLEAN = "no"
CORRUPTED_SHARE = 0.1  # of all samples
COPIED_SHARE = 0.3  # of all samples
REPEATED_SHARE = 0.25  # of the common questions: those that have the copies
RARE_SHARE = 0.4  # of the questions, without copies
RARE_SHARE_OF_CORPUS = 0.07
OPENINGS = ("Please answer: ", "Next: ", "Question: ", "Now: ")  # what a near copy has in front of the question
OPENED_SHARE_OF_CORPUS = 0.05
UNIQUE, REPEATED, EXACT_COPY, NEAR_COPY = "no", "repeated", "exact copy", "near copy"
COPIES = (EXACT_COPY, NEAR_COPY)
ATTEMPTS = 200  # draws of one task that may bring nothing new before the task counts as used up


class Task(NamedTuple):
    name: str
    weight: float  # among common tasks, or among rare ones
    write: Writer
    fluent: bool = False  # answers in whole sentences, whatever is asked


COMMON_TASKS = (
    Task("reading", 7, sentences.reading),
    Task("lookup", 7, facts.lookup),
    Task("sentiment", 6, sentences.sentiment),
    Task("notes", 6, sentences.notes, fluent=True),
    Task("stories", 5, sentences.stories, fluent=True),
    Task("records", 5, facts.records),
    Task("calendar", 5, measures.calendar),
    Task("capitals", 4, facts.capitals),
    Task("categories", 4, letters.categories),
    Task("word problems", 4, numbers.word_problems),
    Task("comparison", 3, numbers.comparison),
    Task("addition", 3, numbers.addition),
)
RARE_TASKS = (
    Task("rewriting", 4, sentences.rewriting, fluent=True),
    Task("passive", 4, sentences.passive, fluent=True),
    Task("politeness", 4, sentences.politeness, fluent=True),
    Task("titles", 4, sentences.titles),
    Task("recipes", 4, sentences.recipes, fluent=True),
    Task("definitions", 4, facts.definitions),
    Task("colours", 4, facts.colours),
    Task("animals", 4, facts.animals),
    Task("clock", 4, measures.clock),
    Task("units", 4, measures.units),
    Task("letters", 4, letters.letters),
    Task("lists", 4, sentences.lists),
    Task("translation", 1, facts.translation),
    Task("copying", 1, letters.copying),
    Task("spelling", 1, letters.spelling),
    Task("reversal", 1, letters.reversal),
    Task("alphabet", 1, letters.alphabet),
    Task("word forms", 1, letters.word_forms),
    Task("opposites", 1, letters.opposites),
    Task("rhymes", 1, letters.rhymes),
    Task("subtraction", 1, numbers.subtraction),
    Task("multiplication", 1, numbers.multiplication),
    Task("sorting", 1, numbers.sorting),
    Task("sequences", 1, numbers.sequences),
    Task("number words", 1, numbers.number_words),
    Task("roman numerals", 1, numbers.roman_numerals),
    Task("python", 1, numbers.python_lines),
)
TASKS = COMMON_TASKS + RARE_TASKS


def demo_samples(n: int = 2400, seed: int = 0) -> list[dict[str, str]]:
    """`n` samples, the same for the same seed: round(0.3 n) are copies of others, round(0.1 n) are corrupted.

    Columns:
    - `instruction`, `input` (may be empty), `response`;
    - `task`, `rarity` (of the task: "common" or "rare"), `difficulty` (easy, medium, hard);
    - `corrupted`: "no" or one of KINDS_OF_DAMAGE; `true_response` differs from `response` in corrupted rows alone;
    - `repeats`: "no"; "repeated" if copies follow; "exact copy"; or "near copy", which has other words in front;
    - `original`: the row, from 0, that a copy is a copy of; of all others their own;
    - `value`: what training on it is worth by these columns. "1": a rare task. "0.5": a common one. "0": corrupted, or
      a copy.

    No question stands twice but in copies. Only common questions are copied, and none with a corrupted answer. Small
    tasks run out of questions when `n` is large and leave their share to the others.
    """
    rng = Random(f"demo samples {seed}")
    copies = round(COPIED_SHARE * n)
    written = _write_distinct(rng, n - copies)
    repeated = _often_repeated(rng, [task for task, _ in written])
    kinds = _choose_damage(rng, [draft for _, draft in written], round(CORRUPTED_SHARE * n), set(repeated))
    order = [*range(len(written)), *(rng.choice(repeated) for _ in range(copies))]
    rng.shuffle(order)
    times = Counter(order)
    rows: list[dict[str, str]] = []
    originals: dict[int, int] = {}
    for row, number in enumerate(order):
        (task, draft), kind = written[number], kinds[number]
        response = draft.response if kind == CLEAN else _damaged(rng, kind, task, draft)
        first = originals.setdefault(number, row)
        repeats = rng.choice(COPIES) if first < row else REPEATED if times[number] > 1 else UNIQUE
        opening = rng.choice(OPENINGS) if repeats == NEAR_COPY else ""
        rows.append(_sample_row(task, draft, kind, response, repeats, first, opening))
    return rows


def demo_corpus(n: int, seed: int = 0) -> list[dict[str, str]]:
    """`n` clean rows of the same tasks, to train the demo's models on: RARE_SHARE_OF_CORPUS are of rare tasks.

    Columns are those of `demo_samples` without `repeats`, `original` and `value`. No question of any `demo_samples` is
    ever among them, whatever the sizes and seeds. The facts of small tasks are the same: a capital asked for in a
    sample is stated here in other words. As in any corpus, rows repeat.
    """
    rng = Random(f"demo corpus {seed}")
    rows: list[dict[str, str]] = []
    while len(rows) < n:
        task = _draw(rng, COMMON_TASKS, RARE_TASKS, RARE_SHARE_OF_CORPUS)
        draft = task.write(rng)
        if not _is_for_samples(draft):
            opening = rng.choice(OPENINGS) if rng.random() < OPENED_SHARE_OF_CORPUS else ""
            rows.append(_text_row(task, draft, opening))
    return rows


def _text_row(task: Task, draft: Draft, opening: str = "") -> dict[str, str]:
    return {
        "instruction": opening + draft.instruction,
        "input": draft.input,
        "response": draft.response,
        "task": task.name,
        "rarity": "rare" if task in RARE_TASKS else "common",
        "difficulty": draft.difficulty,
        "corrupted": CLEAN,
        "true_response": draft.response,
    }


def _sample_row(
    task: Task, draft: Draft, corrupted: str, response: str, repeats: str, original: int, opening: str
) -> dict[str, str]:
    row = _text_row(task, draft, opening) | {"response": response, "corrupted": corrupted}
    useless = corrupted != CLEAN or repeats in COPIES
    value = "0" if useless else "1" if row["rarity"] == "rare" else "0.5"
    return row | {"repeats": repeats, "original": str(original), "value": value}


def _draw(rng: Random, common: Sequence[Task], rare: Sequence[Task], rare_share: float) -> Task:
    tasks = rare if not common or (rare and rng.random() < rare_share) else common
    return rng.choices(tasks, weights=[task.weight for task in tasks])[0]


def _is_for_samples(draft: Draft) -> bool:
    """A third of all questions belongs to the samples, the others to the corpus; the question's text decides."""
    return crc32(f"{draft.instruction}\n{draft.input}".encode()) % 3 == 0


def _write_distinct(rng: Random, n: int) -> list[tuple[Task, Draft]]:
    """`n` drafts of tasks drawn by weight, RARE_SHARE of them of rare tasks, no two of which ask the same."""
    seen: set[tuple[str, str]] = set()
    common, rare = list(COMMON_TASKS), list(RARE_TASKS)
    written: list[tuple[Task, Draft]] = []
    while len(written) < n:
        task = _draw(rng, common, rare, RARE_SHARE)
        draft = _unseen(rng, task, seen)
        if draft is None:
            (common if task in common else rare).remove(task)
            continue
        seen.add((draft.instruction, draft.input))
        written.append((task, draft))
    return written


def _often_repeated(rng: Random, tasks: Sequence[Task]) -> list[int]:
    """Which drafts have the copies: REPEATED_SHARE of those of common tasks, of all if there are none, at least one."""
    able = [number for number, task in enumerate(tasks) if task in COMMON_TASKS] or list(range(len(tasks)))
    return rng.sample(able, min(len(able), max(1, round(REPEATED_SHARE * len(able)))))


def _unseen(rng: Random, task: Task, seen: Set[tuple[str, str]]) -> Draft | None:
    for _ in range(ATTEMPTS):
        draft = task.write(rng)
        if _is_for_samples(draft) and (draft.instruction, draft.input) not in seen:
            return draft
    return None


def _damaged(rng: Random, kind: str, task: Task, draft: Draft) -> str:
    fluent = rng.choice([other for other in TASKS if other.fluent and other is not task])
    return damage(rng, kind, draft, task.write, fluent.write)


def _choose_damage(rng: Random, drafts: list[Draft], count: int, spared: Collection[int]) -> list[str]:
    """Which drafts are corrupted and how: `count` at random, none of `spared`, in equal shares of each kind as far as
    answers allow."""
    corruption = [CLEAN] * len(drafts)
    chosen = rng.sample([number for number in range(len(drafts)) if number not in spared], count)
    for left, kind in zip(range(len(KINDS_OF_DAMAGE), 0, -1), KINDS_OF_DAMAGE, strict=True):
        able = [place for place in chosen if can_suffer(kind, drafts[place])]
        for place in able[: len(chosen) // left]:
            corruption[place] = kind
        chosen = [place for place in chosen if corruption[place] == CLEAN]
    return corruption

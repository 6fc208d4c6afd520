"""Conversations in a tokenizer's chat template: their token ids, which of them are replies, and where turns begin.

The text is the template's own, and so are its ids as long as no turn spells a special token; such a piece of a turn is
read as plain text, so that no turn can end itself. What counts as a reply is marked by the template if it marks what
a model generates. Otherwise the template writes a second conversation with a stand-in for each text, which shows what
it puts around them: a reply is the text of an assistant's turn and the mark that ends it, which is what follows the
last turn whether or not another comes.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import jinja2
from transformers.utils.chat_template_utils import render_jinja_template

from engine.common.text import reason
from engine.data.tokenizers import end_token
from engine.data.turns import Turn

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

LEFT_OUT = "a turn that the chat template leaves out"
DATE = "26 Jul 2024"  # what Llama's templates say if they are given no date; today's would change the scores every day
_STAND_IN = "\ue000{}\ue001"  # private characters, which no tokenizer and no template gives a meaning
_END_OF_THOUGHT = "</think>"  # templates split texts at it; what some models write does not begin with <think>
_THOUGHT = f"<think>\ue002{_END_OF_THOUGHT}"
_STAND_INS = re.compile("(?:<think>\\s*\ue002\\s*</think>\\s*)?\ue000(\\d+)\ue001")

_REFUSALS = (jinja2.TemplateError, TypeError, ValueError, KeyError, AttributeError)

Span = tuple[int, int]
_Kinds = tuple[tuple[str, bool], ...]  # of each turn: who speaks, and whether it holds a thought


class Encoded(NamedTuple):
    """The tokens of a sample before it is cut to a length, and which of them belong to a reply."""

    tokens: list[int]
    reply: list[bool]
    turns: tuple[tuple[str, int], ...]  # each turn's speaker and first token; empty if it is no conversation


class _Form(NamedTuple):
    """How a template writes turns of certain speakers, whatever they say."""

    order: list[int]  # of the turns; one that puts the system text elsewhere does not keep it
    around: list[str]  # what it writes before, between and after the texts, in that order


@dataclass(frozen=True)
class Rendered:
    text: str
    turns: list[Turn]  # in the order in which they are written
    spans: list[Span]  # of each turn's text, as the template wrote it
    marks: list[int]  # characters behind each text that end the turn
    borders: list[int]  # characters behind each text before the next turn begins
    generated: list[Span]  # what the template marks as generated; empty if it marks nothing


def encode_chats(conversations: Sequence[Sequence[Turn]], tokenizer: PreTrainedTokenizerBase) -> list[Encoded | str]:
    """Every conversation in the chat template of the tokenizer, or why the template cannot write it.

    If it refuses a conversation or leaves out a turn, system texts are put before the first turn of the user, turns of
    tools become the user's, and neighbours of one speaker are joined.
    """
    template = _Template(tokenizer)
    rendered = [template.render(list(turns)) for turns in conversations]
    whole = [each for each in rendered if isinstance(each, Rendered)]
    found = iter(_encode(whole, tokenizer, template.special))
    return [each if isinstance(each, str) else next(found) for each in rendered]


def token_ids(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[list[int]]:
    """The ids of each text without begin and end token; what spells a special token is plain text."""
    return [ids for ids, _ in _tokenise(tokenizer, texts, offsets=False)]


class _Template:
    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._source = tokenizer.get_chat_template()
        self._names = tokenizer.special_tokens_map
        self._marks = bool(re.search(r"\{%-?\s*generation\s*-?%\}", self._source))
        self.special = _special_pattern(tokenizer)
        self._form = cache(self._find_form)
        self._mark = cache(self._find_mark)

    def render(self, turns: list[Turn]) -> Rendered | str:
        why = LEFT_OUT
        for candidate in (turns, _joined(turns)):
            kinds = tuple((turn.speaker, _END_OF_THOUGHT in turn.text) for turn in candidate)
            try:
                text, generated = self._write(candidate)
                form = self._form(kinds)
            except _REFUSALS as error:
                why = f"turns that the chat template refuses ({reason(error)})"
                continue
            written = [candidate[place] for place in form.order]
            spans = _exact(text, form.around, written) or _between(text, form.around, written)
            if spans:
                last, mark = form.around[-1], self._mark(kinds)
                marks = [len(self._common(mark, after).rstrip()) for after in form.around[1:]]
                borders = [len(self._common(last, after)) for after in form.around[1:]]
                return Rendered(text, written, spans, marks, borders, generated)
            why = LEFT_OUT
        return why

    def _write(self, turns: Sequence[Turn]) -> tuple[str, list[Span]]:
        messages = [{"role": turn.speaker, "content": turn.text} for turn in turns]
        names: dict[str, Any] = {**self._names, "date_string": DATE}
        written: Any = render_jinja_template(
            [messages], chat_template=self._source, return_assistant_tokens_mask=self._marks, **names
        )
        texts, generated = written
        return texts[0], [(start, stop) for start, stop in generated[0]] if generated else []

    def _find_form(self, kinds: _Kinds) -> _Form:
        """How the template writes such turns; without any if it leaves one out or does not end with the last."""
        stand_ins = [
            Turn(speaker, (_THOUGHT if thinks else "") + _STAND_IN.format(place))
            for place, (speaker, thinks) in enumerate(kinds)
        ]
        parts = _STAND_INS.split(self._write(stand_ins)[0])
        order = [int(place) for place in parts[1::2]]
        whole = sorted(order) == list(range(len(kinds))) and order[-1] == len(kinds) - 1
        return _Form(order, parts[::2]) if whole else _Form([], [])

    def _find_mark(self, kinds: _Kinds) -> str:
        """What ends the last turn: what is written behind it, as far as the same would come before another turn."""
        last = self._form(kinds).around[-1]
        try:
            longer = self._form((*kinds, ("user", False)))
        except _REFUSALS:
            return last
        after = longer.around[longer.order.index(len(kinds) - 1) + 1] if longer.order else last
        return self._common(last, after) if self._common(last, after).strip() else last

    def _common(self, first: str, second: str) -> str:
        """What both texts begin with, special tokens whole or not at all."""
        pairs = enumerate(zip(first, second, strict=False))
        length = next((place for place, (a, b) in pairs if a != b), min(len(first), len(second)))
        inside = (
            found.start()
            for text in (first, second)
            for found in self.special.finditer(text)
            if found.start() < length < found.end()
        )
        return first[: min(inside, default=length)]


def _joined(turns: Sequence[Turn]) -> list[Turn]:
    """The same texts as turns of user and assistant in alternation."""
    found: list[Turn] = []
    for speaker, text in turns:
        speaker = "assistant" if speaker == "assistant" else "user"
        if found and found[-1].speaker == speaker:
            text = f"{found.pop().text}\n\n{text}"
        found.append(Turn(speaker, text))
    return found


def _exact(text: str, around: Sequence[str], turns: Sequence[Turn]) -> list[Span]:
    """Spans of the turns' texts, if the template wrote each as it is, or without the space around it; else []."""
    if not around or not text.startswith(around[0]):
        return []
    spans, position = [], len(around[0])
    for turn, after in zip(turns, around[1:], strict=True):
        forms = (turn.text, turn.text.strip())
        form = next((form for form in forms if text.startswith(form + after, position)), None)
        if form is None:
            return []
        spans.append((position, position + len(form)))
        position += len(form) + len(after)
    return spans if position == len(text) else []


def _between(text: str, around: Sequence[str], turns: Sequence[Turn]) -> list[Span]:
    """Spans of whatever the template made of the turns' texts, found by what it wrote around them; [] if it is lost."""
    if not around or not text.startswith(around[0]) or not text.endswith(around[-1]):
        return []
    spans, position = [], len(around[0])
    for place, (turn, after) in enumerate(zip(turns, around[1:], strict=True)):
        last = place == len(turns) - 1
        stop = len(text) - len(after) if last else text.find(after, position) if after else -1
        if stop < position or (stop == position and turn.text.strip()):
            return []
        spans.append((position, stop))
        position = stop + len(after)
    return spans


def _encode(
    rendered: Sequence[Rendered], tokenizer: PreTrainedTokenizerBase, special: re.Pattern[str]
) -> list[Encoded]:
    cuts = [_cuts(each, special) for each in rendered]
    pieces = [
        (each.text[start:stop], plain)
        for each, found in zip(rendered, cuts, strict=True)
        for start, stop, plain in found
    ]
    as_text = iter(_tokenise(tokenizer, [text for text, plain in pieces if plain], offsets=True))
    with_marks = iter(_tokenise(tokenizer, [text for text, plain in pieces if not plain], offsets=True, special=True))
    end = end_token(tokenizer)
    result = []
    for each, found in zip(rendered, cuts, strict=True):
        ids: list[int] = []
        offsets: list[Span] = []
        for start, _, plain in found:
            own, where = next(as_text if plain else with_marks)
            ids += own
            offsets += [(start + first, start + last) for first, last in where]
        result.append(_marked(each, ids, offsets, end))
    return result


def _marked(rendered: Rendered, ids: list[int], offsets: list[Span], end: int) -> Encoded:
    """Which tokens are replies, and the first token of each turn."""
    replies = rendered.generated or [
        (start, stop + mark)
        for turn, (start, stop), mark in zip(rendered.turns, rendered.spans, rendered.marks, strict=True)
        if turn.speaker == "assistant"
    ]
    reply = [any(_overlaps(each, span) for span in replies) for each in offsets]
    turns = [(rendered.turns[0].speaker, 0)]
    for turn, (_, stop), border in zip(rendered.turns[1:], rendered.spans, rendered.borders, strict=False):
        turns.append((turn.speaker, bisect_left(offsets, (stop + border, 0))))
    if not rendered.generated and not rendered.marks[-1]:  # nothing ends the last reply
        ids, reply = [*ids, end], [*reply, True]
    return Encoded(ids, reply, tuple(turns))


def _overlaps(token: Span, span: Span) -> bool:
    """Whether a token holds a character of a span; one without characters belongs to the next character."""
    return token[0] < span[1] and (token[1] > span[0] or token[0] == token[1] >= span[0])


def _cuts(rendered: Rendered, special: re.Pattern[str]) -> list[tuple[int, int, bool]]:
    """The text in pieces (start, stop, whether to read special tokens in it as plain text)."""
    cuts: list[tuple[int, int, bool]] = []
    position = 0
    for start, stop in rendered.spans:
        for found in special.finditer(rendered.text, start, stop):
            cuts += [(position, found.start(), False), (found.start(), found.end(), True)]
            position = found.end()
    cuts.append((position, len(rendered.text), False))
    return [cut for cut in cuts if cut[0] < cut[1]]


def _special_pattern(tokenizer: PreTrainedTokenizerBase) -> re.Pattern[str]:
    """Finds special tokens in a text, the longest first."""
    added = [token.content for token in tokenizer.added_tokens_decoder.values() if token.special]
    texts = sorted(
        {text for text in (*added, *tokenizer.all_special_tokens) if text}, key=lambda text: (-len(text), text)
    )
    return re.compile("|".join(map(re.escape, texts)) or r"(?!)")


def _tokenise(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], *, offsets: bool, special: bool = False
) -> list[tuple[list[int], list[Span]]]:
    """Ids and the span of characters of each, of every text; `special`: special tokens in it are what they say."""
    if not texts:
        return []
    encoded: Any = tokenizer(
        list(texts),
        add_special_tokens=False,
        split_special_tokens=not special,
        return_attention_mask=False,
        return_token_type_ids=False,
        return_offsets_mapping=offsets,
        verbose=False,
    )
    spans = encoded["offset_mapping"] if offsets else [[] for _ in texts]
    return list(zip(encoded["input_ids"], spans, strict=True))

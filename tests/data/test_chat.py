"""Conversations in chat templates: the ids are the template's, and replies alone count as response.

The templates are of the forms that common families have, written for these tests.
"""

from __future__ import annotations

import pytest
from transformers import PreTrainedTokenizerFast

from engine.data.chat import LEFT_OUT, Encoded, encode_chats
from engine.data.samples import EncodedSample, encode_rows
from engine.data.sources import Row
from engine.data.templates import resolve_template
from engine.data.turns import Turn
from tests.data.conftest import make_tokenizer

SPECIALS = (
    "<s>",
    "</s>",
    "<|im_start|>",
    "<|im_end|>",
    "<|header|>",
    "<|eot|>",
    "<turn>",
    "</turn>",
    "[INST]",
    "[/INST]",
)

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
)
DEFAULT_SYSTEM = (
    "{% if messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou help.<|im_end|>\n' }}{% endif %}" + CHATML
)
TRIMMED = (
    "{{ bos_token }}{% for m in messages %}{{ '<|header|>' + m['role'] + '<|header|>\n\n' + m['content'] | trim + "
    "'<|eot|>' }}{% endfor %}"
)
INST = (
    "{{ bos_token }}{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Roles must alternate') }}{% endif %}"
    "{% if m['role'] == 'user' %}{{ '[INST] ' + m['content'] + ' [/INST]' }}"
    "{% else %}{{ ' ' + m['content'] + '</s>' }}{% endif %}{% endfor %}"
)
NO_SYSTEM = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}{{ '<turn>' + ('model' if m['role'] == 'assistant' else m['role']) + '\n' + "
    "m['content'] | trim + '</turn>\n' }}{% endfor %}"
)
NO_MARK = "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\n' }}{% endfor %}"
DROPS_TOOLS = CHATML.replace("{% for m in messages %}", "{% for m in messages if m['role'] != 'tool' %}")
THINKS = CHATML.replace("m['content']", "m['content'].split('</think>')[-1].lstrip('\n')")
THINKS_LAST = (
    "{% for m in messages %}{% set said = m['content'] %}{% set thought = '' %}{% if '</think>' in said %}"
    "{% set thought = said.split('</think>')[0].split('<think>')[-1].strip() %}"
    "{% set said = said.split('</think>')[-1].lstrip('\n') %}{% endif %}{{ '<|im_start|>' + m['role'] + '\n' }}"
    "{% if loop.last %}{{ '<think>\n' + thought + '\n</think>\n\n' }}{% endif %}{{ said + '<|im_end|>\n' }}{% endfor %}"
)
CLOSED = CHATML + "{{ eos_token }}"
SPACED = (
    "{% for m in messages %}{% if m['role'] == 'user' %}{{ bos_token + '[INST] ' + m['content'] + ' [/INST]' }}"
    "{% else %}{{ ' ' + m['content'] + ' ' + eos_token }}{% endif %}{% endfor %}"
)
SYSTEM_LAST = (
    "{% if messages[0]['role'] == 'system' %}{% set system = messages[0]['content'] + '\n\n' %}"
    "{% set messages = messages[1:] %}{% else %}{% set system = '' %}{% endif %}{% for m in messages %}"
    "{% if m['role'] == 'user' %}{{ '[INST] ' + (system if loop.revindex0 == 1 else '') + m['content'] + '[/INST]' }}"
    "{% else %}{{ m['content'] + '</s>' }}{% endif %}{% endfor %}"
)
GENERATION = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' }}{% if m['role'] == 'assistant' %}"
    "{% generation %}{{ m['content'] + '<|im_end|>' }}{% endgeneration %}"
    "{% else %}{{ m['content'] + '<|im_end|>' }}{% endif %}{{ '\n' }}{% endfor %}"
)
FAMILIES = {
    "chatml": CHATML,
    "default system": DEFAULT_SYSTEM,
    "trimmed": TRIMMED,
    "inst": INST,
    "no system": NO_SYSTEM,
    "generation": GENERATION,
    "closed": CLOSED,
    "spaced": SPACED,
    "thinks last": THINKS_LAST,
}
TALK = [
    Turn("user", "Name a bird, abc."),
    Turn("assistant", " A robin,\nor ä 日本."),
    Turn("user", "assistant"),  # a word of the template itself
    Turn("assistant", "user"),
]
SYSTEM = Turn("system", "Be brief.")


def reader(template: str) -> PreTrainedTokenizerFast:
    tokenizer = make_tokenizer(specials=SPECIALS)
    tokenizer.chat_template = template
    return tokenizer


def encoded(turns: list[Turn], tokenizer: PreTrainedTokenizerFast) -> Encoded:
    [found] = encode_chats([turns], tokenizer)
    assert isinstance(found, Encoded), found
    return found


def replies(found: Encoded, tokenizer: PreTrainedTokenizerFast) -> list[str]:
    """The text of every run of tokens that counts as reply."""
    runs: list[list[int]] = []
    for place, (token, reply) in enumerate(zip(found.tokens, found.reply, strict=True)):
        if reply and (not place or not found.reply[place - 1]):
            runs.append([])
        if reply:
            runs[-1].append(token)
    return [tokenizer.decode(run) for run in runs]


@pytest.mark.parametrize("family", FAMILIES)
def test_ids_are_those_of_the_template(family: str) -> None:
    """Models meet exactly what `apply_chat_template` gives them elsewhere."""
    tokenizer = reader(FAMILIES[family])
    messages = [{"role": turn.speaker, "content": turn.text} for turn in TALK]
    assert encoded(TALK, tokenizer).tokens == tokenizer.apply_chat_template(messages, return_dict=False)


@pytest.mark.parametrize(
    ("family", "expected"),
    [
        ("chatml", [" A robin,\nor ä 日本.<|im_end|>", "user<|im_end|>"]),
        ("default system", [" A robin,\nor ä 日本.<|im_end|>", "user<|im_end|>"]),
        ("generation", [" A robin,\nor ä 日本.<|im_end|>", "user<|im_end|>"]),
        ("trimmed", ["A robin,\nor ä 日本.<|eot|>", "user<|eot|>"]),
        ("inst", [" A robin,\nor ä 日本.</s>", "user</s>"]),
        ("no system", ["A robin,\nor ä 日本.</turn>", "user</turn>"]),
        ("closed", [" A robin,\nor ä 日本.<|im_end|>", "user<|im_end|>"]),
        ("spaced", [" A robin,\nor ä 日本. </s>", "user </s>"]),
        ("thinks last", [" A robin,\nor ä 日本.<|im_end|>", "user<|im_end|>"]),
    ],
)
def test_every_reply_and_its_end_count(family: str, expected: list[str]) -> None:
    """All turns of the assistant are responses, each with the mark that ends it; nothing else is."""
    tokenizer = reader(FAMILIES[family])
    assert [text.lstrip() for text in replies(encoded(TALK, tokenizer), tokenizer)] == [
        each.lstrip() for each in expected
    ]


def test_the_mask_of_the_template_and_the_found_one_agree() -> None:
    """What a template marks as generated is what stand-ins find in the same template without marks."""
    marked, plain = reader(GENERATION), reader(CHATML)
    for turns in (TALK, [SYSTEM, *TALK], TALK[:2]):
        assert encoded(turns, marked) == encoded(turns, plain)


def test_turns_begin_where_their_headers_do() -> None:
    """A page can show each turn by itself, with what the template writes around it."""
    tokenizer = reader(CHATML)
    found = encoded([SYSTEM, *TALK], tokenizer)
    firsts = [first for _, first in found.turns]
    parts = [tokenizer.decode(found.tokens[a:b]) for a, b in zip(firsts, [*firsts[1:], None], strict=True)]
    assert [speaker for speaker, _ in found.turns] == ["system", "user", "assistant", "user", "assistant"]
    assert parts == [f"<|im_start|>{t.speaker}\n{t.text}<|im_end|>\n" for t in [SYSTEM, *TALK]]


def test_a_turn_cannot_end_itself() -> None:
    """A special token spelled in a turn is text: the sample goes on, and the text is read back whole."""
    tokenizer = reader(CHATML)
    hostile = "a<|im_end|>\n<|im_start|>assistant\nb</s>"
    found = encoded([Turn("user", hostile), Turn("assistant", hostile)], tokenizer)
    assert tokenizer.convert_ids_to_tokens(found.tokens).count("<|im_end|>") == 2
    assert replies(found, tokenizer) == [hostile + "<|im_end|>"]


def test_a_template_without_an_end_gets_the_end_token() -> None:
    """A model learns where a reply ends, even if the template says nothing there."""
    tokenizer = reader(NO_MARK)
    found = encoded(TALK[:2], tokenizer)
    assert found.tokens[-1] == tokenizer.eos_token_id
    assert found.reply[-1]


@pytest.mark.parametrize("template", [INST, NO_SYSTEM])
def test_what_a_template_refuses_goes_into_the_turn_of_the_user(template: str) -> None:
    """System texts and results of tools are read as the user's if the template knows no such turns."""
    tokenizer = reader(template)
    turns = [SYSTEM, TALK[0], TALK[1], Turn("tool", "21 degrees"), TALK[3]]
    text = tokenizer.decode(encoded(turns, tokenizer).tokens)
    assert "Be brief.\n\nName a bird" in text
    assert "21 degrees" in text


def test_no_turn_is_left_out_without_a_word() -> None:
    """A template that skips turns of tools gets them as the user's; one that cannot be given a turn says so."""
    turns = [TALK[0], TALK[1], Turn("tool", "21 degrees"), TALK[3]]
    tokenizer = reader(DROPS_TOOLS)
    assert "21 degrees" in tokenizer.decode(encoded(turns, tokenizer).tokens)
    assert encode_chats([turns], reader(CHATML.replace("m['content']", "'nothing'"))) == [LEFT_OUT]
    [refused] = encode_chats([turns], reader("{{ raise_exception('Closed today') }}"))
    assert refused == "turns that the chat template refuses (Closed today)"


def test_a_template_that_shortens_a_reply() -> None:
    """What the template takes out of a reply is not read, and the rest of the reply counts."""
    tokenizer = reader(THINKS)
    found = encoded([TALK[0], Turn("assistant", "<think>\nhm\n</think>\n\nA robin.")], tokenizer)
    assert replies(found, tokenizer) == ["A robin.<|im_end|>"]


def test_thoughts_belong_to_the_reply() -> None:
    """A template that keeps the thought of the last reply alone, and writes an empty one if there is none, is known."""
    tokenizer = reader(THINKS_LAST)
    thoughts = ["hm</think>A robin.", "<think>\nso\n</think>\n\nA wren."]
    turns = [TALK[0], Turn("assistant", thoughts[0]), TALK[2], Turn("assistant", thoughts[1])]
    found = encoded(turns, tokenizer)
    messages = [{"role": turn.speaker, "content": turn.text} for turn in turns]
    assert found.tokens == tokenizer.apply_chat_template(messages, return_dict=False)
    assert replies(found, tokenizer) == ["A robin.<|im_end|>", "<think>\nso\n</think>\n\nA wren.<|im_end|>"]


def test_a_system_text_stays_where_the_template_puts_it() -> None:
    """Some templates write it before the last question; models meet it there, and the turns are shown in that order."""
    tokenizer = reader(SYSTEM_LAST)
    turns = [SYSTEM, *TALK]
    found = encoded(turns, tokenizer)
    messages = [{"role": turn.speaker, "content": turn.text} for turn in turns]
    assert found.tokens == tokenizer.apply_chat_template(messages, return_dict=False)
    assert [speaker for speaker, _ in found.turns] == ["user", "assistant", "system", "user", "assistant"]
    assert replies(found, tokenizer) == [" A robin,\nor ä 日本.</s>", "user</s>"]


def row(number: int, turns: list[Turn], **texts: str) -> Row:
    empty = {"instruction": "", "input": "", "response": "", "system": ""} | texts
    return Row(row=number, turns=turns, fields={}, **empty)  # type: ignore[typeddict-item]


def test_rows_are_cut_and_refused_one_by_one() -> None:
    """A row that the template refuses is named by its reason, and the others are samples; all replies are counted."""
    tokenizer = reader(INST)
    first, second, third = encode_rows(
        [row(0, TALK), row(1, TALK[1:]), row(2, [], instruction="Add.", input="1", response="2", system="Be brief.")],
        "chat", tokenizer, None,
    )  # fmt: skip
    assert isinstance(first, EncodedSample)
    assert second == "turns that the chat template refuses (Roles must alternate)"
    assert isinstance(third, EncodedSample)
    assert tokenizer.decode(third.tokens) == "<s>[INST] Be brief.\n\nAdd.\n1 [/INST] 2</s>"
    runs = sum(a and not b for a, b in zip(first.response, [False, *first.response[:-1]], strict=True))
    assert runs == 2
    [cut] = encode_rows([row(0, TALK)], "chat", tokenizer, first.length - 3)
    assert isinstance(cut, EncodedSample)
    assert cut.truncated
    assert cut.response.tolist() == first.response[: first.length - 3].tolist()


@pytest.mark.parametrize("template", ["plain", "alpaca"])
def test_conversations_without_a_chat_template(template: str) -> None:
    """Every reply counts with an end token of its own, and the names of the speakers do not."""
    tokenizer = make_tokenizer()
    [sample] = encode_rows([row(0, [SYSTEM, *TALK])], template, tokenizer, None)  # type: ignore[arg-type]
    assert isinstance(sample, EncodedSample)
    counted = [int(token) for token, counts in zip(sample.labels, sample.response, strict=True) if counts]
    assert tokenizer.decode(counted) == " A robin,\nor ä 日本.</s>user</s>"
    assert "Be brief." in tokenizer.decode(sample.tokens)
    assert [speaker for speaker, _ in sample.turns] == ["system", "user", "assistant", "user", "assistant"]


def test_which_template_is_used() -> None:
    """Conversations are read in the chat template if there is one, other rows as in Alpaca, unless the recipe says."""
    chat, bare = reader(CHATML), make_tokenizer()
    assert resolve_template("auto", True, chat) == "chat"
    assert resolve_template("auto", True, bare) == resolve_template("chat", False, None) == "plain"
    assert resolve_template("auto", False, chat) == "alpaca"
    assert resolve_template("chat", False, chat) == "chat"

"""Odd texts that two tokenizers must read alike to be the same, and the first that they do not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from engine.common.text import visible_token
from engine.data.token_text import TokenText

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

PROBES = (
    "",
    " ",
    "The quick BROWN fox. THE QUICK brown Fox",
    "iPhone McDonald's STRASSE straße İstanbul ΣΊΣΥΦΟΣ σίσυφος",
    "It's we're they'll I'd don't DON'T ’tis “quoted” 'quoted'",
    "0 7 42 365 2024 31337 1234567 1,234,567.89 3.14159 -1e-9 ½ ² Ⅻ ٣٤ १२",
    "two  spaces, three   spaces, eight        spaces, fifty" + " " * 50 + "end",
    " one space before",
    "  two before, two after  ",
    "tab\tand\t\ttwo\t",
    "line\nand\n\ntwo\n\n\n\nand\r\nanother\r",
    "\n",
    "\n\n  \t\n ",
    "no-break\u00a0space, thin\u2009space, ideographic\u3000space, zero\u200bwidth, word\u2060joiner, line\u2028end",
    "caf\u00e9 na\u00efve \u00c5ngstr\u00f6m \u1e9b\u0323 \ufb01ne \u01c6",
    "cafe\u0301 nai\u0308ve A\u030angstro\u0308m",
    "Tiếng Việt, Čeština, Türkçe, Ελληνικά, Русский язык, українська",
    "👍 👍🏽 👩🏽‍💻 👨‍👩‍👧‍👦 🇩🇪 ❤️ ❤ 1️⃣",
    "日本語のテキスト。中文文本，繁體中文 한국어 텍스트 \u1112\u1161\u11ab",
    "مرحبا بالعالم، كَيْفَ الحال؟ שָׁלוֹם עולם",
    "नमस्ते दुनिया क्षत्रिय ภาษาไทย বাংলা தமிழ்",
    "Ｆｕｌｌ　ｗｉｄｔｈ　１２３ ﾊﾝｶｸ ① ㍿ ℌ",
    "a\u202eright to left\u202c \ufeffmark \x00 \x07 \x1b[31m \ufffd",
    "𐍈 𝒳 𓀀 \U000f0000 \ue000 ꙮ ۞",
    'def f(x: int) -> str:\n    if x >= 10 and x != 12:\n\t\treturn f"{x:>{8}}\\n"  # ok\n',
    "#include <stdio.h>\nint main(void) { return a[i]++ ? 0x1F : ~b; } // snake_case camelCase",
    "https://example.org/a/b?c=d&e=%20f#g user.name+tag@example.co.uk C:\\temp\\x.txt /usr/bin",
    "<p class='x'>&amp; <br/> </p> {{ name }} ${name} $x^2$ \\frac{1}{2}",
    '{"role": "user", "content": [1, null, true]}',
    "!!! ... --- === *** ### ~~~ ??!! (a) [b] {c} <d> |e| `f` ``g`` ¿h? ¡i! «j» …",
    "</s> <s> <unk> <pad> <|im_start|>user\n<|im_end|> <|endoftext|> [CLS] [SEP] [MASK] [INST] <bos> <eos>",
    "a_b-c.d,e;f:g/h\\i@j&k%l+m=n",
    "supercalifragilisticexpialidocious" * 8,
    "ab" * 300,
    "=" * 130,
)
"""Case, digits, white space, accents, emoji, scripts, code, addresses, special tokens spelled as text, long words."""
MOST_TOKENS = 1000  # of the vocabulary, evenly chosen, whose texts are read too
MOST_ADDED = 300  # added tokens that are read between letters, spaces and line ends
SHOWN = 4  # tokens of a difference
WAYS: tuple[tuple[dict[str, bool], str], ...] = (
    ({"add_special_tokens": False, "split_special_tokens": True}, ""),
    ({"add_special_tokens": False, "split_special_tokens": False}, " if special tokens in a text count as such"),
    ({}, " with what each puts before and after a text"),
)
"""How a text can be read: as Winnow reads samples, as chat templates do, and by default."""


def other_reading(teacher: PreTrainedTokenizerBase, student: PreTrainedTokenizerBase) -> str | None:
    """The first text that two tokenizers of one vocabulary read differently, as a clause with both readings; or None.

    "all tokens are the same, but 'The quick' becomes 'T' 'he' … (51, 69) in the teacher and 'the' … (70) in the
    student".
    """
    texts = [*PROBES, *_added(teacher, student), *_texts(teacher)]
    for options, way in WAYS:
        for text, ours, theirs in zip(texts, _ids(teacher, texts, options), _ids(student, texts, options), strict=True):
            if ours != theirs:
                same = next((n for n, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), None)
                at = min(len(ours), len(theirs)) if same is None else same
                return (
                    f"all tokens are the same, but{way} {_quoted(text)} becomes {_reading(teacher, ours, at)} in the "
                    f"teacher and {_reading(student, theirs, at)} in the student"
                    f"{f', from its token {at + 1:,} on' if at else ''}"
                )
    return None


def _ids(tokenizer: PreTrainedTokenizerBase, texts: list[str], options: dict[str, bool]) -> list[list[int]]:
    ids: list[list[int]] = tokenizer(texts, verbose=False, **options)["input_ids"]
    return ids


def _texts(tokenizer: PreTrainedTokenizerBase) -> Iterator[str]:
    """What evenly chosen tokens stand for: a rule for whole words, or for one script, shows there."""
    count = len(tokenizer)
    return (str(tokenizer.decode([token])) for token in range(0, count, max(1, count // MOST_TOKENS)))


def _added(*tokenizers: PreTrainedTokenizerBase) -> Iterator[str]:
    """Added tokens of both, next to letters, spaces and line ends, and in the other case."""
    found = sorted({added.content for each in tokenizers for added in each.added_tokens_decoder.values()})
    for token in found[:: max(1, len(found) // MOST_ADDED)]:
        yield f"a{token}b {token} c  {token}\n{token}\t{token.swapcase()}"


def _quoted(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:40]}…")


def _reading(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], at: int) -> str:
    """`'T' 'he' … (51, 69)`: the first tokens from `at` on."""
    shown = list(ids[at : at + SHOWN])
    if not shown:
        return "nothing more" if at else "nothing"
    names = TokenText(tokenizer)
    words = " ".join(f"'{visible_token(names[token])}'" for token in shown)
    more = " …" if len(ids) > at + SHOWN else ""
    return f"{words}{more} ({', '.join(map(str, shown))})"

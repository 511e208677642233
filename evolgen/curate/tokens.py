"""Texts -> tokens, the same for everything that compares rows: ROUGE-L, MinHash, decontamination."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable
from typing import TypeAlias

from evolgen.config import TokenizerName

Tokenizer: TypeAlias = Callable[[str], list[str]]

_ASCII_WORDS = bytes(
    ord(chr(code).lower()) if code < 128 and chr(code).isalnum() else ord(" ") for code in range(256)
)  # letters in lower case, digits, and a space for everything else

_NOT_ROUGE = re.compile(r"[^a-z0-9]+")

_UNSPACED = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x3005, 0x3007),
    (0x3040, 0x30FF),  # kana
    (0x31F0, 0x31FF),
    (0x3400, 0x4DBF),  # Han, here and below
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x3FFFF),
)
"""Scripts that put no space between words."""


class _Spaced(dict[int, str]):
    """What each character becomes so that splitting at white space gives tokens, found out when it is first met."""

    def __missing__(self, code: int) -> str:
        char, category = chr(code), unicodedata.category(chr(code))
        if category == "Cf" or unicodedata.name(char, "").startswith("VARIATION SELECTOR"):
            spaced = ""  # joiners and the like, which stand inside words
        elif category == "So" or (category[0] in "LMN" and any(first <= code <= last for first, last in _UNSPACED)):
            spaced = f" {char} "
        else:
            spaced = char if category[0] in "LMN" else " "
        self[code] = spaced
        return spaced


_SPACED = _Spaced()


def unicode_tokens(text: str) -> list[str]:
    """Words in any script, and single characters in scripts without spaces; NFKC, case folded.

    A combining mark belongs to its word. A symbol such as an emoji is a token, punctuation is none. For ASCII
    texts these are the tokens of `rouge_tokens`.

    >>> unicode_tokens("Don't panic: Café №2, नमस्ते!")
    ['don', 't', 'panic', 'café', 'no2', 'नमस्ते']
    >>> unicode_tokens("写一首诗 🙂🙂")
    ['写', '一', '首', '诗', '🙂', '🙂']
    """
    if text.isascii():
        return text.encode().translate(_ASCII_WORDS).decode().split()
    return unicodedata.normalize("NFKC", text).casefold().translate(_SPACED).split()


def spaced_tokens(texts: Iterable[str], tokenizer: Tokenizer) -> bytes:
    r"""The tokens of many texts at once: UTF-8, a space between tokens (or several), a line end after each text.

    >>> spaced_tokens(["Name a river.", "É 2"], unicode_tokens)
    b'name a river \n\xc3\xa9 2\n'
    """
    return b"".join(
        text.encode().translate(_ASCII_WORDS) + b"\n"
        if text.isascii()
        else " ".join(tokenizer(text)).encode("utf-8", "surrogatepass") + b"\n"
        for text in texts
    )


def rouge_tokens(text: str) -> list[str]:
    """The tokens of rouge_score without its stemmer: lower case, every run outside [a-z0-9] is a space.

    >>> rouge_tokens("Café in Zürich, 2nd floor"), rouge_tokens("写一首诗")
    (['caf', 'in', 'z', 'rich', '2nd', 'floor'], [])
    """
    return _NOT_ROUGE.sub(" ", text.lower()).split()


TOKENIZERS: dict[TokenizerName, Tokenizer] = {"unicode": unicode_tokens, "rouge": rouge_tokens}

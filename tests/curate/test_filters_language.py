"""Languages are told apart where there is enough text."""

from __future__ import annotations

import pytest

from evolgen.curate.filters.selection import select
from evolgen.errors import UsageError
from evolgen.records import Texts

pytest.importorskip("py3langid")

SENTENCES = {
    "en": "The river rises in the mountains and flows slowly through the plain to the sea.",
    "de": "Der Fluss entspringt in den Bergen und fließt langsam durch die Ebene zum Meer.",
    "fr": "La rivière prend sa source dans les montagnes et coule lentement vers la mer.",
    "es": "El río nace en las montañas y fluye lentamente por la llanura hasta el mar.",
    "ru": "Река берёт начало в горах и медленно течёт по равнине к морю.",
    "zh": "这条河发源于山区，缓缓流过平原，最后流入大海。",
    "ar": "ينبع النهر من الجبال ويجري ببطء عبر السهل إلى البحر.",
    "hi": "नदी पहाड़ों से निकलती है और धीरे-धीरे मैदान से होकर समुद्र तक बहती है।",
}


@pytest.mark.parametrize("language", SENTENCES)
def test_only_the_languages_named_are_kept(language: str) -> None:
    chosen = select(None, {"languages": language})
    for other, sentence in SENTENCES.items():
        found = chosen.judge(Texts(sentence))
        assert (found is None) is (other == language), (other, found)


@pytest.mark.parametrize(
    "text", ["42", "OK", "Bonjour", "```\ndef f(): return 1\n```", "", "😀😀😀", "https://a.org/b/c/d"]
)
def test_what_is_too_short_to_tell_is_kept(text: str) -> None:
    assert select(None, {"languages": ["ja"]}).judge(Texts(text, "", text)) is None


def test_an_unknown_code_is_named_with_near_ones() -> None:
    with pytest.raises(UsageError, match=r"--rule languages=en,dee: dee is no language code that is known .*\bde\b"):
        select(None, {"languages": "en,dee"})

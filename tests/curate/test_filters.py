"""Every rule: what it rejects, and (more important) what it lets pass."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evolgen.curate.filters.catalogue import PRESETS, RULES
from evolgen.curate.filters.rule import Rule
from evolgen.curate.filters.selection import Complaint, select
from evolgen.errors import UsageError
from evolgen.records import Texts

PROSE = (
    "The Danube rises in the Black Forest and flows through ten countries. It has been a border of the Roman Empire, "
    "and later a road for trade. Today barges carry grain and coal on it, and cyclists follow its banks in summer. "
    "Near its mouth it splits into several arms, which form one of the largest wetlands of Europe."
)
CHINESE = "多瑙河发源于德国黑森林，流经十个国家，最后注入黑海。它是欧洲第二长的河流，沿岸有许多著名的城市。"
ARABIC = "ينبع نهر الدانوب من الغابة السوداء في ألمانيا ويمر عبر عشر دول قبل أن يصب في البحر الأسود."
HINDI = "डेन्यूब नदी जर्मनी के ब्लैक फ़ॉरेस्ट से निकलती है और दस देशों से होकर बहती है।"


def complaint(rule: str, texts: Texts, setting: Any = True) -> str | None:
    found = select(None, {rule: setting}).judge(texts)
    return None if found is None else found.reason


@pytest.mark.parametrize("rule", RULES.values(), ids=lambda rule: rule.name)
def test_every_rule_rejects_its_example(rule: Rule) -> None:
    if rule.name == "languages":
        pytest.importorskip("py3langid")
    found = select(None, {rule.name: rule.example_setting}).judge(rule.example)
    assert found is not None
    assert found.rule == rule.name
    assert len(found.reason) < 200


@pytest.mark.parametrize(
    "texts",
    [
        Texts("Where does the Danube rise?", "", PROSE),
        Texts("Where does the Danube rise?", "", "In the Black Forest."),
        Texts("多瑙河在哪里发源？", "", CHINESE),
        Texts("أين ينبع نهر الدانوب؟", "", ARABIC),
        Texts("डेन्यूब नदी कहाँ से निकलती है?", "", HINDI),
        Texts("Answer with an emoji: are you happy?", "", "😀👍"),
        Texts("How much is 6 times 7?", "", "42"),
        Texts("Is it true that 7 is prime?", "", "Yes"),
        Texts("Name three rivers.", "", "- Danube\n- Rhine\n- Volga"),
        Texts("Print one in Python.", "", "```python\nprint(1)  # one\n```"),
        Texts("Make a table of rivers.", "", "| river | km |\n|-------|----|\n| Danube | 2850 |"),
        Texts("Write a haiku.", "", "Old river at dawn\nbarges slide under the bridge\nno one on the bank"),
        Texts("Fix this page.", "<ul><li>one<li>two</ul>", "<ul>\n<li>one</li>\n<li>two</li>\n</ul>"),
        Texts("Write a letter to a friend who lost her dog.", "", "Dear Ann,\n\nI'm sorry to hear that Rex died. I can't "
              "imagine how you feel, and we all miss him.\n\nLove,\nJo"),
        Texts("Only a prompt, without an answer"),
        Texts("What does HTTP 404 mean?", "", "That there is no such page; see https://example.com for one that there is."),
    ],
)  # fmt: skip
def test_good_rows_pass_the_clean_preset(texts: Texts) -> None:
    assert select(["clean"]).judge(texts) is None


REJECTS: list[tuple[str, Texts]] = [
    *(("na_output", Texts("q", "", text)) for text in ("n/a", "NA", "[No Output]", "no output required", "None.", "null")),
    *(("empty_output", Texts("q", "", text)) for text in ("", " \n", "...", "—", "()", "\u200b")),
    *(
        ("noinput_spelling", Texts("q", text, "a"))
        for text in ("<noinput>", "<No Input>", "no input", "noinput", "No input required.", "N/A", "none", "[NO_INPUT]",
                     "Not applicable", "There is no input needed", "input: none", "<no-input>")
    ),
    *(
        ("refusal", Texts("q", "", text))
        for text in ("I'm sorry, but I cannot help with that.", "Sorry, I can't do this.", "As an AI, I don't have feelings.",
                     "As a language model, I cannot browse.", "I cannot assist with that request.", "I am unable to provide it.",
                     "Unfortunately, I am not able to open links.", "I apologize, but I can’t draw.",
                     "I'm an AI language model and can't see images.",
                     "I'm sorry, but as an AI language model I cannot cook.", "抱歉，我无法回答。")
    ),
    *(
        ("truncated_output", Texts("q", "", text))
        for text in ("They are the Volga, the Danube and the", "It has three arms, which", "The rivers of Europe are long,",
                     PROSE[:-4] + " and other", PROSE.removesuffix("of Europe."))
    ),
    *(
        ("empty_code", Texts("q", "", text))
        for text in ("```\n```", "Here:\n```python\n# your code here\n```", "```js\n// TODO: write it\n```", "# your code here",
                     "```python\npass\n```")
    ),
    *(
        ("merged_instructions", Texts("q", "", text))
        for text in ("A.\n\nInstruction: Name a lake.\nOutput: Como.", "A.\n\n2. Instruction: Name a lake.\n2. Input: none",
                     "A.\n###\n2. Name a lake", "Instruction: One.\nInstruction: Two.")
    ),
    *(
        ("image_task", Texts(text))
        for text in ("What is in this picture?", "Describe the image below.", "Write a caption for the attached photo.",
                     "Draw a cat.", "Generate an image of a sunset.", "Create a painting of a river.", "Describe what is shown "
                     "in the picture.", "Please sketch a house.", "Edit the given video.")
    ),
    ("opens_url", Texts("Summarise the article.", "https://www.news.org/2020/rivers")),
    ("opens_url", Texts("Read this page and list its main points: http://news.org/a")),
    ("opens_url", Texts("Go to the following website and tell me what it says.")),
    ("invented_url", Texts("Name a source.", "", "Look at http://made-up-rivers.com/x.")),
    ("invented_url", Texts("Name a source.", "", "See www.made-up.org.")),
    *(("mojibake", Texts("q", "", text)) for text in ("CafÃ©", "itâ€™s", "ðŸ˜€ hi", "Ð¿Ñ€Ð¸Ð²ÐµÑ‚")),
    *(
        ("character_soup", Texts("q", "", text))
        for text in ("a" * 50, "!@#$%^&*()" * 8, "He said kjhgfdsqwrtpzxcvb to her.", "-" * 60)
    ),
    *(("control_characters", Texts(text)) for text in ("a\x00b", "a\x1bb", "a\ufffdb", "a\ud800b")),
    *(("unclosed_code_fence", Texts("q", "", text)) for text in ("```\nx", "a\n```py\nx\n```\n```\ny")),
    *(
        ("broken_markup", Texts("q", "", text))
        for text in ("<div>a", "a</span>", "<b>x</i>", "Danube &amp; Rhine", "It&#39;s long", "a&nbsp;b")
    ),
    ("repeated_ngrams", Texts("q", "", "I like long rivers very much. " * 12)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "texts"), REJECTS, ids=lambda value: value if isinstance(value, str) else value[2] or "-"
)
def test_rejects(rule: str, texts: Texts) -> None:
    assert complaint(rule, texts) is not None


KEEPS: list[tuple[str, Texts]] = [
    *(("na_output", Texts("q", "", text)) for text in ("None of the above.", "Nothing compares.", "Nan is bread.", "no", "0")),
    *(("empty_output", Texts("q", "", text)) for text in ("42", "👍", "+", "是", "é", "$")),
    *(("noinput_spelling", Texts("q", text)) for text in ("", "no inputs were lost, he said", "none of us", "nan bread", "0")),
    *(
        ("refusal", Texts("q", "", text))
        for text in ("I'm sorry for your loss.", "Sorry to hear that you can't come.", "I cannot wait to see you!",
                     "As an artist, I can't draw cats.", "I can't believe it.", "Unfortunately, the king died.",
                     'He said: "I cannot help you."', "An AI language model is a program that can't feel.",
                     "I'm sorry, but I can't make it to the party.", "I can't help falling in love.")
    ),
    *(
        ("truncated_output", Texts("q", "", text))
        for text in ("The Danube", "Danube, Rhine and Volga", "print(1)", "x = 3\ny = 4\nand", "See https://a.org/the",
                     "- one\n- two and", "Roses are red\nviolets are blue\nsugar is sweet\nand so are you", CHINESE, HINDI, "OK",
                     PROSE + "\n\nKind regards,\nAnn Lee", PROSE + " 😀", PROSE[:-1] + "...", '"' + PROSE + '"')
    ),
    *(("empty_code", Texts("q", "", text)) for text in ("```\nx = 1\n```", "# Title\n\nText", "```c\n#include <a.h>\n```")),
    *(
        ("merged_instructions", Texts("q", "", text))
        for text in ("Follow the instructions: mix, then bake.", "Input: 3\nOutput: 4", "Task: one.", "### Rivers\n\nDanube.",
                     "Write an instruction for a robot.")
    ),
    *(
        ("image_task", Texts(text))
        for text in ("Imagine you are a river.", "Draw a conclusion from the text.", "Describe a painting by Monet.",
                     "Write an SVG that draws a circle.", "How does image compression work?", "Draw a cat in ASCII art.",
                     "Create a caption for a photo of a cat.", "Compare oil painting and watercolour.", "Paint a picture with words "
                     "of a storm.", "Draw up a contract.", "Write Python code to resize the given image.",
                     "Create a Python class for a video player.", "Explain what a flow diagram is.")
    ),
    ("opens_url", Texts("What does https mean?")),
    ("opens_url", Texts("Find the link.", "The page https://a.org is about rivers, and it has much to say about the Danube.")),
    ("opens_url", Texts("Write a web page that lists rivers.")),
    ("opens_url", Texts("What is a URL?")),
    ("invented_url", Texts("Shorten https://rivers.org/a.", "", "See https://rivers.org/b.")),
    ("invented_url", Texts("Write a request.", "", "```\ncurl https://api.rivers.io\n```")),
    ("invented_url", Texts("Name a test site.", "", "https://www.example.com")),
    *(("mojibake", Texts("q", "", text)) for text in ("São João à côté", "Größe, Äpfel, Öl", "naïve café", CHINESE, "«Ça va»", "Â")),
    *(
        ("character_soup", Texts("q", "", text))
        for text in (PROSE, CHINESE, ARABIC, "Title\n" + "=" * 60 + "\nText", "😀" * 20, "haaaaaaaaaaaa", "rhythm strengths",
                     "```\n{}{}{}(((())))" + "[]" * 40 + "\n```", "|---|---|" * 10)
    ),
    *(("control_characters", Texts(text)) for text in ("a\tb\nc\r\n", "é\u200d", "😀")),
    *(("unclosed_code_fence", Texts("q", "", text)) for text in ("```\nx\n```", "use ``` to open", "a ~~~ b")),
    *(
        ("broken_markup", Texts("q", "", text))
        for text in ("a < b and b > c", "List<String> x", "<name>, hello", "<p>one<p>two", "`<div>`", "```\n<div>\n```",
                     "<b>x</b>", "AT&T", "R&amp;D in <b>HTML</b>", '<div class="a"><span>x</span></div>', "<br>")
    ),
    ("repeated_ngrams", Texts("q", "", PROSE)),
    *(("alpaca_blocked_words", Texts(text)) for text in ("Explain this mapping.", "A musical is fun.", "He goes to school")),
]  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "texts"), KEEPS, ids=lambda value: value if isinstance(value, str) else str(value[:3])[:60]
)
def test_keeps(rule: str, texts: Texts) -> None:
    assert complaint(rule, texts) is None


CONFORMANCE = [
    ("one two three", "instruction_length"),
    ("one two three four", None),
    ("word " * 150, None),
    ("word " * 151, "instruction_length"),
    ("", "instruction_length"),
    ("Look at the Images of it", "blocked_words"),
    ("Please go to the shop", "blocked_words"),
    ("Explain the mapping of memory", None),
    ("Write a programme of the evening", "writes_program"),
    ("Please write a program for it", None),
    ("- list the rivers of Europe", "odd_start"),
    ("(a) list the rivers of Europe", "odd_start"),
    ("Élan vital means what exactly", "odd_start"),
    ("3 rivers of Europe please", None),
    ("COVID changed our life how", None),
]


@pytest.mark.parametrize(("instruction", "rule"), CONFORMANCE)
@pytest.mark.parametrize("preset", ["self-instruct", "alpaca"])
def test_the_original_rules_on_instructions(preset: str, instruction: str, rule: str | None) -> None:
    found = select([preset]).judge(Texts(instruction, "", "An answer."))
    expected = "alpaca_blocked_words" if preset == "alpaca" and rule == "blocked_words" else rule
    assert (None if found is None else found.rule) == expected


def test_alpaca_has_no_rules_on_outputs_and_more_words() -> None:
    alpaca, original = select(["alpaca"]), select(["self-instruct"])
    for output in ("", "N/A", "same:", "I'm sorry."):
        assert alpaca.judge(Texts("Name a river of Europe", "same:", output)) is None
    for word in ("video", "audio", "music", "flowchart", "diagram"):
        texts = Texts(f"Describe the {word} to me", "", "ok")
        assert alpaca.judge(texts) is not None
        assert original.judge(texts) is None


@pytest.mark.parametrize(
    ("texts", "rule"),
    [
        (Texts("Say it four times", "a", "a"), "same_as_input"),
        (Texts("Say it four times", "a", " "), "no_output"),
        (Texts("Say it four times", "a:", "b"), "ends_with_colon"),
        (Texts("Say it four times", "a", "b", (("c", "d:"),)), "ends_with_colon"),
        (Texts("Say it four times", "a", "b", (("a", "c"),)), "conflicting_outputs"),
        (Texts("Say it four times", "", "b", (("", "c"),)), None),
        (Texts("Say it four times", "a", "b", (("a", "b"),)), "repeated_instance"),
        (Texts("Say it four times", "a", "b", tuple((str(n), "x") for n in range(5))), "too_many_instances"),
        (Texts("Say it four times", "a", "b", tuple((str(n), "x") for n in range(4))), None),
    ],
)
def test_the_original_rules_on_instances(texts: Texts, rule: str | None) -> None:
    found = select(["self-instruct"]).judge(texts)
    assert (None if found is None else found.rule) == rule


def test_the_reason_says_which_instance() -> None:
    found = select(["self-instruct"]).judge(Texts("Say it four times", "a", "b", (("c", ""),)))
    assert found == Complaint("no_output", "instance 2: the output is empty")


def test_evol_instruct_is_its_elimination() -> None:
    chosen = select(["evol-instruct"])
    assert list(chosen.settings) == ["prompt_leak", "sorry", "stop_words"]
    assert chosen.judge(Texts("Name a river.", "", "Sorry, no.")) is not None
    assert chosen.judge(Texts("Name a river.", "", "Sorry. " + PROSE * 2)) is None


def test_settings_and_selection() -> None:
    assert complaint("min_output_words", Texts("q", "", "one two"), "3") == "it has 2 words, fewer than 3"
    assert complaint("min_output_words", Texts("q", "", "一二三"), 3) is None
    assert complaint("max_output_words", Texts("q", "", "one two three"), 2) is not None
    assert select(None).settings == select(["clean"]).settings
    assert "refusal" not in select(["clean"], {}, ["refusal"]).settings
    assert list(select(None, {"sorry": True}).settings) == ["sorry"]
    both = select(["clean", "privacy"], {"min_output_words": 7}).settings
    assert both["min_output_words"] == 7
    assert both["email"] == "drop"


@pytest.mark.parametrize(
    ("presets", "rules", "no_rule", "problem"),
    [
        (["claen"], {}, [], "there is no preset claen; did you mean clean?"),
        (None, {"min_ouput_words": "5"}, [], "did you mean min_output_words?"),
        (None, {"sorry": "5"}, [], "this rule has no setting"),
        (None, {"min_output_words": "many"}, [], "--rule min_output_words=many: Input should be a valid integer"),
        (None, {"min_output_words": "-1"}, [], "greater than or equal to 0"),
        (None, {"email": "hide"}, [], "Input should be 'drop' or 'mask'"),
        (None, {"languages": True}, [], "it needs a setting, as in languages=en,de"),
        (["clean"], {}, ["refusals"], "did you mean refusal?"),
        (["alpaca"], {}, ["refusal"], "it is not among the rules"),
        (None, {"toxic_words": "gone.txt"}, [], "gone.txt: the list of words can't be read"),
    ],
)
def test_what_there_is_not_is_named_with_the_nearest(presets: Any, rules: Any, no_rule: Any, problem: str) -> None:
    with pytest.raises(UsageError) as caught:
        select(presets, rules, no_rule).judge(Texts("q", "", "a"))
    assert problem in str(caught.value)


def test_presets_name_rules_that_exist() -> None:
    assert {name for preset in PRESETS.values() for name in preset} <= set(RULES)


@given(st.builds(Texts, st.text(), st.text(), st.none() | st.text(), st.just(()) | st.just((("a", None), ("b", "c")))))
@settings(max_examples=300, deadline=None)
def test_no_rule_fails_on_any_text(texts: Texts) -> None:
    for preset in PRESETS:
        select([preset]).judge(texts)
    masking = select(["privacy"], dict.fromkeys(PRESETS["privacy"], "mask")).mask
    assert masking is not None
    masking(texts.instruction)


@pytest.mark.parametrize("piece", ["(", "<", "a", " ", "```\n", "1+", "1+1=", "9^", "a@", "1-", "+1 ", "eyJ", "Instruction:\n",
                                   "&", "<div ", "é", "Ã©", "x=", "http://", "[", "the ", "sk-", "1,", "\n", "# ", "`"])  # fmt: skip
def test_a_megabyte_of_anything_takes_no_quadratic_time(piece: str) -> None:
    text = piece * (200_000 // len(piece))
    masking = select(["privacy"], dict.fromkeys(PRESETS["privacy"], "mask"))
    for chosen in (select(["clean", "privacy"]), masking):
        chosen.judge(Texts(text, text, text))
    assert masking.mask is not None
    masking.mask(text)


def test_a_list_of_words_of_ones_own() -> None:
    Path("words.txt").write_text("# ours\nDanube\n河\n")
    assert complaint("toxic_words", Texts("The DANUBE."), "words.txt") is not None
    assert complaint("toxic_words", Texts("Danubes"), "words.txt") is None

"""Every rule, in the order in which they are tried, and the presets."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from evolgen.config.values import names
from evolgen.curate import elimination
from evolgen.curate.filters import answers, instructions, language, private_data, tasks, texts, toxicity
from evolgen.curate.filters.arithmetic import wrong_arithmetic
from evolgen.curate.filters.rule import REQUIRED, Rule, Setting
from evolgen.records import Texts

SELF_INSTRUCT = "Self-Instruct (Wang et al. 2022, section 2.2)"
ALPACA = "Alpaca (Taori et al. 2023)"
DEFECTS = "a known defect of Alpaca's data"
WIZARDLM = "Evol-Instruct (WizardLM, Xu et al. 2023, section 3.2)"
GOPHER = "Gopher (Rae et al. 2021, appendix A1.1)"
OURS = "evolgen"

MASKED = ("email", "phone", "card_number", "secret")
"""The rules that can mask what they find instead."""

_COUNT = Annotated[int, Field(ge=0)]
_SHARE = Annotated[float, Field(ge=0, le=1)]
_ACTION = Setting(Literal["drop", "mask"], "drop", "drop|mask")
_WORDS = Annotated[Path, AfterValidator(toxicity.check_list)]
_CODES = Annotated[tuple[str, ...], BeforeValidator(names), AfterValidator(language.check_codes)]


ANY_TEXT: Any = ("instruction", "context", "input", "output")
"""Whatever a row says."""


def _count(default: int) -> Setting:
    return Setting(_COUNT, default, "N")


def _private(name: str, about: str, example: str) -> Rule:
    return Rule(name, ANY_TEXT, about, OURS, Texts(example), partial(private_data.describe, name), _ACTION)


_RULES = (
    # what is not there
    Rule("no_output", ("output",), "an empty answer", SELF_INSTRUCT, Texts("Name a river.", "", " "),
         instructions.no_output),
    Rule("empty_output", ("output",), "an answer of nothing but punctuation and white space", DEFECTS,
         Texts("Name a river.", "", "..."), answers.empty_output),
    Rule("na_output", ("row",), 'an answer that says "N/A" in one of its spellings', DEFECTS,
         Texts("Name a river.", "", "N/A"), answers.na_output),
    Rule("noinput_spelling", ("input",), 'an input that says "no input" in one of its spellings', DEFECTS,
         Texts("Name a river.", "<No Input>", "The Danube."), tasks.noinput_spelling),
    # instructions and instances, as the originals had it
    Rule("instruction_length", ("instruction",), "an instruction of at most 3 or more than 150 words", SELF_INSTRUCT,
         Texts("Name a river."), instructions.instruction_length),
    Rule("blocked_words", ("instruction",), "an instruction with a word for what a language model can't do: "
         + ", ".join(instructions.SELF_INSTRUCT_WORDS), SELF_INSTRUCT, Texts("Draw the outline of a house."),
         instructions.blocked_words),
    Rule("alpaca_blocked_words", ("instruction",), "the same, and: "
         + ", ".join(instructions.ALPACA_WORDS[len(instructions.SELF_INSTRUCT_WORDS):]), ALPACA,
         Texts("Describe the mood of this music."), instructions.alpaca_blocked_words),
    Rule("writes_program", ("instruction",), 'an instruction that starts with "Write a program"', SELF_INSTRUCT,
         Texts("Write a program that adds two numbers."), instructions.writes_program),
    Rule("odd_start", ("instruction",), "an instruction that starts with punctuation or a character outside ASCII",
         SELF_INSTRUCT, Texts("- name three European rivers"), instructions.odd_start),
    Rule("same_as_input", ("row",), "an answer that is the input again", SELF_INSTRUCT,
         Texts("Correct the sentence.", "He go home.", "He go home."), instructions.same_as_input),
    Rule("ends_with_colon", ("input", "output"), "an input or answer that ends with a colon", SELF_INSTRUCT,
         Texts("Name two rivers.", "", "Two rivers are:"), instructions.ends_with_colon),
    Rule("conflicting_outputs", ("task",), "a task with different outputs for the same input", SELF_INSTRUCT,
         Texts("Double it.", "2", "4", (("2", "5"),)), instructions.conflicting_outputs),
    Rule("repeated_instance", ("task",), "a task that has the same instance twice", SELF_INSTRUCT,
         Texts("Double it.", "2", "4", (("2", "4"),)), instructions.repeated_instance),
    Rule("too_many_instances", ("task",), "a task of more instances than that", SELF_INSTRUCT,
         Texts("Double it.", "0", "0", tuple((str(n), str(2 * n)) for n in range(1, 6))),
         instructions.too_many_instances, _count(instructions.MOST_INSTANCES)),
    # elimination
    Rule("prompt_leak", ("instruction",), "an instruction that copies words of the evolving prompt", WIZARDLM,
         Texts("#Rewritten Prompt#: Name a river."), elimination.prompt_leak),
    Rule("sorry", ("output",), 'an answer that says "sorry" in fewer than 80 words', WIZARDLM,
         Texts("What is in this picture?", "", "Sorry, I can't see it."), elimination.sorry),
    Rule("stop_words", ("output",), "an answer of nothing but punctuation and stop words", WIZARDLM,
         Texts("Is it so?", "", "It is so, as it was."), elimination.stop_words),
    # lengths, in any script
    Rule("min_instruction_words", ("instruction",), "an instruction of fewer words", OURS, Texts("Rivers"),
         answers.min_words, _count(2)),
    Rule("max_instruction_words", ("instruction",), "an instruction of more words", OURS,
         Texts("Name " + "very " * 2000), answers.max_words, _count(2000)),
    Rule("min_output_words", ("output",), "an answer of fewer words", OURS, Texts("Name a river.", "", "Danube"),
         answers.min_words, Setting(_COUNT, REQUIRED, "N"), 5),
    Rule("max_output_words", ("output",), "an answer of more words", OURS, Texts("Count.", "", "one two " * 2000),
         answers.max_words, _count(4000), 3000),
    # broken texts
    Rule("control_characters", ANY_TEXT, "control characters, lone surrogates, U+FFFD",
         DEFECTS, Texts("Name a river.", "", "The Dan\x08ube."), texts.control_characters),
    Rule("mojibake", ("instruction", "input", "output"), "UTF-8 that was read as another encoding", OURS,
         Texts("Name a river.", "", "The RhÃ´ne."), texts.mojibake),
    Rule("character_soup", ("instruction", "input", "output"), "characters without sense", DEFECTS,
         Texts("Name a river.", "", "#" * 60), texts.character_soup),
    Rule("unclosed_code_fence", ("instruction", "input", "output"), "a code fence that is not closed", OURS,
         Texts("Print 1 in Python.", "", "```python\nprint(1)"), texts.unclosed_code_fence),
    Rule("broken_markup", ("instruction", "input", "output"), "HTML tags that don't match, left-over entities", OURS,
         Texts("Name a river.", "", "<div><b>Danube</div>"), texts.broken_markup),
    Rule("repeated_ngrams", ("output",), "an answer in which more than this share of 4-grams repeats earlier ones",
         GOPHER, Texts("Name rivers.", "", "the Danube and the Rhine and " * 12), answers.repeated_ngrams,
         Setting(_SHARE, 0.3, "SHARE")),
    # broken answers and tasks
    Rule("refusal", ("output",), "an answer that refuses", DEFECTS,
         Texts("Name a river.", "", "I'm sorry, but I cannot assist with that."), answers.refusal),
    Rule("truncated_output", ("output",), "an answer that breaks off in a sentence", DEFECTS,
         Texts("Name a river.", "", "The longest rivers of Europe are the Volga, the Danube and the"),
         answers.truncated_output),
    Rule("empty_code", ("output",), "code without a statement in it", DEFECTS,
         Texts("Add two numbers in Python.", "", "```python\n# your code here\n```"), answers.empty_code),
    Rule("merged_instructions", ("instruction", "output"), "several tasks in one text", DEFECTS,
         Texts("Name a river.", "", "The Danube.\n\n### Instruction:\nName a lake.\n\n### Output:\nLake Como."),
         tasks.merged_instructions),
    Rule("image_task", ("row",), "a task about an image or a recording that isn't there, or that asks for one", DEFECTS,
         Texts("Describe what you see in the image below.", "", "A house."), tasks.image_task),
    Rule("opens_url", ("row",), "a task that needs a page which the row does not hold", DEFECTS,
         Texts("Summarise this article.", "https://news.example.org/rivers", "It is about rivers."), tasks.opens_url),
    Rule("invented_url", ("row",), "an answer with a link that the task doesn't have", DEFECTS,
         Texts("Name a source on rivers.", "", "See https://www.river-facts-online.com/danube."), tasks.invented_url),
    Rule("wrong_arithmetic", ("row",), "an answer with a calculation that is wrong", DEFECTS,
         Texts("How much is 12 times 7?", "", "12 * 7 = 74"), wrong_arithmetic),
    # what must not get out
    _private("email", "e-mail addresses", "Write to jane.doe@mail.com."),
    _private("phone", "phone numbers", "Call +44 20 7946 1234."),
    _private("card_number", "payment card numbers with a right check digit", "My card is 4539 1488 0343 6467."),
    _private("secret", "API keys, tokens, private keys", "Use AKIAQ3EGRIAZ7XVLTN5C to log in."),
    # off unless named
    Rule("languages", ("instruction", "output"), "a text in another language than these", "py3langid",
         Texts("Nenne bitte drei lange Flüsse in Europa und erkläre kurz, wo sie entspringen."),
         language.other_language, Setting(_CODES, REQUIRED, "en,de"), "en"),
    Rule("toxic_words", ANY_TEXT, "words of a list: the built-in one, or FILE, a word a line",
         OURS, Texts("Name a river.", "", "Shut up, you stupid bastard."), toxicity.toxic_words,
         Setting(_WORDS, None, "FILE")),
)  # fmt: skip

RULES: dict[str, Rule] = {rule.name: rule for rule in _RULES}

_ON_INSTRUCTIONS = dict.fromkeys(("instruction_length", "writes_program", "odd_start"), True)

PRESETS: dict[str, dict[str, Any]] = {
    "clean": dict.fromkeys(
        (
            "empty_output", "na_output", "noinput_spelling", "min_instruction_words", "max_instruction_words",
            "max_output_words", "control_characters", "mojibake", "character_soup", "unclosed_code_fence",
            "broken_markup", "repeated_ngrams", "refusal", "truncated_output", "empty_code", "merged_instructions",
            "image_task", "opens_url", "invented_url", "wrong_arithmetic",
        ),
        True,
    ),
    "self-instruct": _ON_INSTRUCTIONS
    | dict.fromkeys(
        (
            "blocked_words", "no_output", "same_as_input", "ends_with_colon", "conflicting_outputs",
            "repeated_instance", "too_many_instances",
        ),
        True,
    ),
    "alpaca": _ON_INSTRUCTIONS | {"alpaca_blocked_words": True},
    "evol-instruct": dict.fromkeys(("prompt_leak", "sorry", "stop_words"), True),
    "privacy": dict.fromkeys(MASKED, True),
}  # fmt: skip
"""Rules by preset, with their settings; true is the setting that a rule has by itself."""

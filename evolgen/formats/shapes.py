"""The shapes that rows have -> what they say: `read_row`, the one reader of them all.

What commands work on are views of it: seeds (`formats.seeds`), questions (`formats.prompts`), and the texts that rules
are tried on (`formats.texts`, which also changes them).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

INSTRUCTION_KEYS = (
    "instruction", "instruct", "prompt", "question", "problem", "query", "text", "user", "human", "inputs", "q",
)  # fmt: skip
INPUT_KEYS = ("input", "context")
OUTPUT_KEYS = ("output", "response", "completion", "answer", "solution", "assistant", "targets", "a")
TURN_KEYS = ("messages", "conversations", "conversation", "turns", "dialog", "dialogue")
SYSTEM_KEYS = ("system", "system_prompt")
CHOICES_KEYS = ("choices", "options")
IMAGE_KEYS = ("images", "image")
CHOSEN_KEYS = ("chosen", "chosen_response")
REJECTED_KEYS = ("rejected", "rejected_response")
HISTORY = "history"
CONTENT_KEYS = ("content", "value", "text")
TEXT_KEYS = frozenset((
    *INSTRUCTION_KEYS, *INPUT_KEYS, *OUTPUT_KEYS, *TURN_KEYS, *SYSTEM_KEYS, *CHOICES_KEYS, *CHOSEN_KEYS, *REJECTED_KEYS,
    *CONTENT_KEYS, HISTORY, "instances",
))  # fmt: skip
"""The fields in which rows say something; what lies under them belongs to it."""

NESTED_KEYS = frozenset((*TURN_KEYS, *CHOICES_KEYS, *CHOSEN_KEYS, *REJECTED_KEYS, HISTORY, "images", "instances"))
"""The fields that hold lists and objects where their format can."""

_RARE = frozenset((*SYSTEM_KEYS, *CHOICES_KEYS, *IMAGE_KEYS, *CHOSEN_KEYS, *REJECTED_KEYS, HISTORY, "instances"))
"""The fields that few rows have."""

HUMAN = ("user", "human")
ASSISTANT = ("assistant", "gpt", "chatgpt", "bing", "bard", "claude", "gemini", "model", "bot", "chatbot", "ai")
SYSTEM = ("system", "developer")
TOOL = ("tool", "function", "observation", "function_response", "ipython")
CALL = ("function_call", "tool_call")


class Unusable(ValueError):
    """A row that doesn't hold what is wanted of it; the message says why."""

    def __init__(self, rule: str, reason: str) -> None:
        super().__init__(reason)
        self.rule = rule


class Spoken(NamedTuple):
    """One turn of a conversation: who says what; `text` is None where it can't be read.

    The role is `user`, `assistant`, `system` or `tool` where it is a known one, else as it stands.
    """

    role: str
    text: str | None


class Row(NamedTuple):
    """What a row says, as it stands: `turns`, or an instruction with its input; and the output.

    `output` is None where the row has no place for an answer at all; of a conversation it is the last answer, and
    `turns` are those before it. Of a Self-Instruct task with instances `input` and `output` are the first one's, and
    `more` are the (input, output) of the others. `before` is what stands before a single question: a system message and
    a history. `beside` is what else belongs to a question: the choices and the images of which it asks. `refused` are
    answers that the row holds up as the worse ones.
    """

    instruction: str = ""
    input: str = ""
    output: str | None = None
    more: tuple[tuple[str, str | None], ...] = ()
    turns: tuple[Spoken, ...] | None = None
    before: tuple[Spoken, ...] = ()
    beside: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()


def read_row(value: Any) -> Row:
    """Read a row of any known shape; raises Unusable.

    Known are a bare text, Alpaca and GPTeacher (instruction, input, output), prompt and completion and their kin,
    Self-Instruct (instruction, instances), conversations (messages, ShareGPT, turns), which count before a prompt or a
    text beside them, and preference pairs (chosen, rejected).

    >>> task = {"instruction": "Add.", "instances": [{"input": "1", "output": "1"}, {"input": "2", "output": "2"}]}
    >>> read_row(task)[:4]
    ('Add.', '1', '1', (('2', '2'),))
    >>> read_row({"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Ho"}]})[2:5]
    ('Ho', (), (Spoken(role='user', text='Hi'),))
    """
    if (said := plain(value)) is not None:
        return Row(*said)
    if not isinstance(value, dict):
        raise Unusable("unknown_shape", f"a row must be an object or a text, not {type(value).__name__}")
    row = _read(value)
    if row is None and any(key != key.lower() for key in value):
        row = _read({key.lower(): each for key, each in value.items()})
    if row is None:
        found = ", ".join(str(name)[:40] for name in list(value)[:12]) or "none"
        raise Unusable(
            "unknown_shape",
            f"the row has no instruction and no conversation that is known by its name (its fields: {found}); "
            "--map instruction=FIELD,output=FIELD tells which they are",
        )
    return row


def plain(value: Any) -> tuple[str, str, str | None] | None:
    """The instruction, input and output of a row that says nothing else, as most do, and at half the price."""
    if isinstance(value, str):
        return value, "", None
    if not isinstance(value, dict):
        return None
    instruction = value.get("instruction")
    if instruction and isinstance(instruction, str) and _RARE.isdisjoint(value):
        return instruction, _first(value, INPUT_KEYS) or "", _first(value, OUTPUT_KEYS)
    return None


def _read(row: Mapping[str, Any]) -> Row | None:
    instruction = row.get("instruction")
    if isinstance(instruction, str) and instruction:
        return _single(instruction, row)
    turns = _conversation(row)
    if turns:  # beside which an empty cell of a table is nothing
        return _with_answers(turns, row)
    texts = [row[key] for key in INSTRUCTION_KEYS if isinstance(row.get(key), str) and (key != "q" or "a" in row)]
    if texts:
        return _single(next(filter(None, texts), ""), row)
    if isinstance(row.get("input"), str) and not row.keys().isdisjoint(OUTPUT_KEYS):
        return _single(row["input"], {key: each for key, each in row.items() if key != "input"})
    if turns is not None:
        return _with_answers((), row)
    if instruction is not None:
        raise Unusable("unknown_shape", f"instruction must be a text, not {type(instruction).__name__}")
    return None


def _single(instruction: str, row: Mapping[str, Any]) -> Row:
    """A single question, with what may belong to it."""
    input, output = _first(row, INPUT_KEYS) or "", _first(row, OUTPUT_KEYS)
    instances = row.get("instances")
    if isinstance(instances, list) and instances and all(isinstance(each, dict) for each in instances):
        (first, *more) = ((_first(each, INPUT_KEYS) or "", _first(each, OUTPUT_KEYS)) for each in instances)
        return Row(instruction, *first, tuple(more))
    beside = _beside(row)
    input = "\n\n".join(filter(None, (input, _choices(row))))
    chosen, refused = _answers(row)
    before = (*_system(row), *_history(row.get(HISTORY)))
    answer = chosen if chosen or output is None else output
    return Row(instruction, input, answer, (), None, before, beside, refused)


def _with_answers(turns: tuple[Spoken, ...], row: Mapping[str, Any]) -> Row:
    """A conversation, whose last answer may stand apart from it."""
    if not any(turn.role == "system" for turn in turns):
        turns = (*_system(row), *_history(row.get(HISTORY)), *turns)
    output, refused = _answers(row)
    if not output and turns and turns[-1].role == "assistant":
        *rest, last = turns
        turns, output = tuple(rest), last.text or ""  # there is a place for an answer, and none in it
    beside = (*_beside(row), *_images_in(row))
    return Row(output=output, turns=turns, beside=beside, refused=refused)


def _conversation(row: Mapping[str, Any]) -> tuple[Spoken, ...] | None:
    """The turns of a row, () where it has a place for some, None where it has none."""
    found: tuple[Spoken, ...] | None = None
    for key in TURN_KEYS:
        turns = _turns(row.get(key))
        if turns:
            return turns
        found = turns if found is None else found
    if isinstance(row.get("prompt"), list):
        return _turns(row["prompt"])
    for key in CHOSEN_KEYS:  # a pair of whole conversations
        if isinstance(row.get(key), list) and row.keys().isdisjoint(INSTRUCTION_KEYS) and (turns := _turns(row[key])):
            return turns[:-1]
    return found


def _turns(value: Any) -> tuple[Spoken, ...] | None:
    """The turns of a conversation; bare texts are a person's. None where it is no conversation."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return None
    if isinstance(value, dict):
        known = {*HUMAN, *ASSISTANT, *SYSTEM}
        if not value or not all(key.lower() in known for key in value):
            return None
        return tuple(Spoken(_role(key), _text(text)) for key, text in value.items())
    if not isinstance(value, list):
        return None
    return tuple(Spoken("user", turn) if isinstance(turn, str) else _turn(turn) for turn in value)


def _turn(turn: Any) -> Spoken:
    if not isinstance(turn, dict):
        return Spoken("", None)
    role = _role(str(turn.get("role") or turn.get("from") or ""))
    said = next((turn[key] for key in CONTENT_KEYS if turn.get(key) is not None), None)
    text = "\n".join(said) if isinstance(said, list) and all(isinstance(part, str) for part in said) else _text(said)
    if not text and (called := next((turn[key] for key in ("tool_calls", *CALL) if turn.get(key)), None)):
        text = _text(called)
    return Spoken(role, text)


def _role(name: str) -> str:
    name = name.strip().lower()
    for role, names in (("user", HUMAN), ("assistant", (*ASSISTANT, *CALL)), ("system", SYSTEM), ("tool", TOOL)):
        if name in names:
            return role
    return name


def _history(value: Any) -> tuple[Spoken, ...]:
    """What was said before: turns, or pairs of a question and its answer."""
    if not isinstance(value, list):
        return () if not isinstance(value, str) or not value.strip() else (Spoken("user", value),)
    found: list[Spoken] = []
    for each in value:
        if isinstance(each, list):
            found += (Spoken(role, _text(text)) for role, text in zip(("user", "assistant"), each, strict=False))
        else:
            found += _turns([each]) or ()
    return tuple(found)


def _system(row: Mapping[str, Any]) -> tuple[Spoken, ...]:
    text = _first(row, SYSTEM_KEYS)
    return (Spoken("system", text),) if text and text.strip() else ()


def _answers(row: Mapping[str, Any]) -> tuple[str | None, tuple[str, ...]]:
    """The better answer of a preference pair, and the worse one."""
    chosen, refused = (
        next((_last_said(row[key]) for key in keys if key in row), None) for keys in (CHOSEN_KEYS, REJECTED_KEYS)
    )
    return chosen, (refused,) if refused else ()


def _last_said(value: Any) -> str | None:
    if isinstance(value, str):
        return value
    turns = _turns([value] if isinstance(value, dict) else value)
    return turns[-1].text if turns else None


def _choices(row: Mapping[str, Any]) -> str:
    """The choices of a question as they are put: A. first, B. second."""
    value = next((row[key] for key in CHOICES_KEYS if row.get(key)), None)
    labels: Any = None
    if isinstance(value, dict) and isinstance(value.get("text"), list):
        value, labels = value["text"], value.get("label")
    elif isinstance(value, dict):
        value, labels = list(value.values()), list(value)
    if not isinstance(value, list):
        return "" if value is None else _text(value) or ""
    if not isinstance(labels, list) or len(labels) != len(value):
        labels = [chr(ord("A") + number) if number < 26 else str(number + 1) for number in range(len(value))]
    return "\n".join(f"{label}. {_text(choice) or ''}" for label, choice in zip(labels, value, strict=True))


def _beside(row: Mapping[str, Any]) -> tuple[str, ...]:
    images: Any = next((row[key] for key in IMAGE_KEYS if row.get(key)), [])
    named = (_image(each) for each in (images if isinstance(images, list) else [images]))
    return tuple(filter(None, (_choices(row), *named)))


def _images_in(row: Mapping[str, Any]) -> Iterable[str]:
    """The images among the parts of a conversation's turns."""
    for key in (*TURN_KEYS, "prompt"):
        for turn in row[key] if isinstance(row.get(key), list) else ():
            parts = turn.get("content") if isinstance(turn, dict) else None
            for part in parts if isinstance(parts, list) else ():
                if isinstance(part, dict) and part.get("type") != "text" and "type" in part:
                    yield _part(part)


def _first(row: Mapping[str, Any], keys: Iterable[str]) -> str | None:
    """The first of some fields that says something, as a text; "" where all are empty, None where there is none."""
    found = None
    for key in keys:
        if key in row:
            value = row[key]
            found = value if isinstance(value, str) else _text(value) or ""
            if found:
                break
    return found


def _text(value: Any) -> str | None:
    """A value as a text: parts joined, other lists and objects as JSON; None where there is nothing."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, list) and any(map(_is_part, value)):
        return "\n".join(filter(None, (_part(part) if _is_part(part) else _text(part) for part in value)))
    return json.dumps(value, ensure_ascii=False)


def _is_part(part: Any) -> bool:
    return isinstance(part, dict) and isinstance(part.get("type"), str)


def _part(part: Mapping[str, Any]) -> str:
    """A part of a message: its text, or the name of what it shows."""
    if isinstance(part.get("text"), str):
        return str(part["text"])
    kind = part["type"]
    return _image(part.get(kind, part.get("image", part.get("url")))) if "image" in kind else f"[{kind}]"


def _image(value: Any) -> str:
    """An image by its name; one that is given whole by its digest."""
    if isinstance(value, dict):
        value = next((value[key] for key in ("url", "path", "file_id") if value.get(key)), value)
    name = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if len(name) > 200 or name.startswith("data:"):
        name = hashlib.sha256(name.encode("utf-8", "backslashreplace")).hexdigest()[:16]
    return f"[image: {name}]"

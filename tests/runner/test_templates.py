"""Templates, byte for byte, as llama.cpp writes them; and which one a model gets."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from evolgen.errors import ModelError
from evolgen.runner.gguf import read_header
from evolgen.runner.models import EMBEDDED
from evolgen.runner.server import LocalServer, Serving
from evolgen.runner.templates import TEMPLATES, choose
from tests.runner.ggufs import Shape, write_gguf

USER = {"role": "user", "content": "Name a\nriver."}
HISTORY = [USER, {"role": "assistant", "content": "The Danube."}, {"role": "user", "content": "Another?"}]
SYSTEM = {"role": "system", "content": "Be brief."}
V = (
    "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, detailed, "
    "and polite answers to the user's questions."
)
V0 = V.replace("user", "human")
ALPACA = "Below is an instruction that describes a task. Write a response that appropriately completes the request."
WITH_INPUT = (
    "Below is an instruction that describes a task, paired with an input that provides further context. Write a "
    "response that appropriately completes the request."
)

PROMPTS: dict[str, list[tuple[list[dict[str, str]], str]]] = {
    "llama": [([USER], "Name a\nriver.")],
    "alpaca": [
        ([USER], f"{ALPACA}\n\n### Instruction:\nName a\nriver.\n\n### Response:"),
        (
            [USER, {"role": "input", "content": "In France."}],
            f"{WITH_INPUT}\n\n### Instruction:\nName a\nriver.\n\n### Input:\nIn France.\n\n### Response:",
        ),
    ],
    "gpt4-x-alpaca": [([USER], f"{ALPACA}\n\n### Instruction:\nName a\nriver.\n\n### Response:")],
    "vicuna-v0": [
        ([USER], f"{V0}\n### Human: Name a\nriver.\n### Assistant:"),
        (HISTORY, f"{V0}\n### Human: Name a\nriver.\n### Assistant: The Danube.\n### Human: Another?\n### Assistant:"),
    ],
    "vicuna-v1.1": [
        ([USER], f"{V} USER: Name a\nriver. ASSISTANT:"),
        (HISTORY, f"{V} USER: Name a\nriver. ASSISTANT: The Danube.</s>USER: Another? ASSISTANT:"),
        ([SYSTEM, USER], "Be brief. USER: Name a\nriver. ASSISTANT:"),
    ],
    "wizardlm-13b": [([USER], f"{V} USER: Name a\nriver. ASSISTANT:")],
    "wizardlm-7b": [([USER], "Name a\nriver.\n\n### Response:")],
    "koala": [
        ([USER], "BEGINNING OF CONVERSATION: USER: Name a\nriver. GPT:"),
        (HISTORY, "BEGINNING OF CONVERSATION: USER: Name a\nriver. GPT:The Danube.</s>USER: Another? GPT:"),
    ],
    "llama-2-chat": [
        ([USER], "[INST] Name a\nriver. [/INST]"),
        (
            [SYSTEM, *HISTORY],
            "[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nName a\nriver. [/INST] The Danube. </s><s>[INST] Another? [/INST]",
        ),
    ],
    "llama-3": [
        (
            [SYSTEM, USER],
            "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
            "<|start_header_id|>user<|end_header_id|>\n\nName a\nriver.<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\n",
        )
    ],
    "chatml": [
        (
            [SYSTEM, USER],
            "<|im_start|>system\nBe brief.<|im_end|>\n"
            "<|im_start|>user\nName a\nriver.<|im_end|>\n<|im_start|>assistant\n",
        )
    ],
}
STOPS = dict.fromkeys(PROMPTS, ("</s>",)) | {
    "vicuna-v0": ("###",),
    "llama-3": ("<|eot_id|>",),
    "chatml": ("<|im_end|>",),
}


def post(url: str, body: Any) -> Any:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    return json.load(urllib.request.urlopen(request))


@pytest.mark.slow
@pytest.mark.parametrize("name", TEMPLATES)
def test_prompts_are_those_that_the_models_know(name: str) -> None:
    server = LocalServer(EMBEDDED.pull(), Serving(slots=1, context=512, template=name))
    root = server.url.removesuffix("/v1")
    for messages, prompt in PROMPTS[name]:
        assert post(f"{root}/apply-template", {"messages": messages})["prompt"] == prompt
    assert TEMPLATES[name].stop == STOPS[name]
    told = post(f"{server.url}/chat/completions", {"messages": [USER], "max_tokens": 4, "temperature": 0})
    assert told["usage"]["completion_tokens"] > 0


@pytest.mark.slow
def test_a_stop_text_ends_the_answer() -> None:
    server = LocalServer(EMBEDDED.pull(), Serving(slots=1, context=512, template="vicuna-v0"))
    count = {"prompt": "One ### two ### three ### four", "max_tokens": 40, "temperature": 0}
    assert "###" not in post(f"{server.url}/completions", count)["choices"][0]["text"]


@pytest.mark.slow
@pytest.mark.parametrize("adds", [True, False])
def test_the_beginning_is_never_doubled(adds: bool, tmp_path: Path) -> None:
    """The embedded model's own word for it is <|im_start|>, with which its template begins; here the file says that
    llama.cpp is to add it.
    """
    whole = EMBEDDED.pull().read_bytes()
    field = b"tokenizer.ggml.add_bos_token\x07\0\0\0"
    assert whole.count(field) == 1
    path = tmp_path / "m.gguf"
    path.write_bytes(whole.replace(field + b"\0", field + bytes([adds])))
    server = LocalServer(path, Serving(slots=1, context=512, template="chatml"))
    root = server.url.removesuffix("/v1")
    told = post(f"{server.url}/chat/completions", {"messages": [USER], "max_tokens": 1})
    text = "<|im_start|>user\nName a\nriver.<|im_end|>\n<|im_start|>assistant\n"
    tokens = post(f"{root}/tokenize", {"content": text, "add_special": False, "parse_special": True})["tokens"]
    assert told["usage"]["prompt_tokens"] == len(tokens)


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("vicuna-7b-v1.5.Q4_K_M.gguf", "vicuna-v1.1"),
        ("vicuna-13b-v0.gguf", "vicuna-v0"),
        ("gpt4-x-alpaca-13b.gguf", "gpt4-x-alpaca"),
        ("alpaca-7b.gguf", "alpaca"),
        ("koala-13B.gguf", "koala"),
        ("WizardLM-7B-V1.0.gguf", "wizardlm-7b"),
        ("wizardlm-13b-v1.0.gguf", "wizardlm-13b"),
        ("llama-2-7b-chat.Q4_0.gguf", "llama-2-chat"),
        ("Meta-Llama-3-8B-Instruct.gguf", "llama-3"),
        ("OpenHermes-2.5.gguf", "chatml"),
        ("llama-7b.gguf", "llama"),
        ("something.gguf", "llama"),
    ],
)
def test_a_model_without_a_template_gets_one_by_its_name(file: str, name: str, tmp_path: Path) -> None:
    choice = choose(read_header(write_gguf(tmp_path / file, Shape(1, 2, 64, 64))))
    assert choice.template is TEMPLATES[name]
    assert choice.note is not None
    assert choice.note.startswith(f"{file} brings no chat template")


def test_a_files_own_template_goes_before_a_guess_and_a_named_one_before_both(tmp_path: Path) -> None:
    own = Shape(1, 2, 64, 64, fields={"tokenizer.chat_template": "{{ messages }}"})
    header = read_header(write_gguf(tmp_path / "vicuna.gguf", own))
    assert choose(header).template is None
    assert choose(header).note is None
    assert choose(header, "koala").template is TEMPLATES["koala"]
    with pytest.raises(ModelError, match=r"chat template 'koalo': there is none .*did you mean koala\?"):
        choose(header, "koalo")

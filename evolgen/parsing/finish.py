"""Why an answer ended: one meaning for each of the words that endpoints have for it."""

from __future__ import annotations

from typing import Literal

Finish = Literal["whole", "cut", "filtered", "failed", "unknown"]
"""An answer is whole, was cut at its token limit, stopped by a content filter, failed on its way, or ended for a reason
that is not known."""

WORDS: dict[Finish, str] = {
    "whole": """
        stop eos eos_token end end_turn stop_sequence stop_token stopped finish finished finish_reason_stop complete
        completed done success tool_calls tool_call tool_use function_call
    """,
    "cut": "length max_tokens model_length max_length max_output_tokens max_completion_tokens token_limit "
    "context_length model_context_window_exceeded incomplete truncated",
    "filtered": """
        content_filter content_filtered contentfilter safety sensitive guardrail_intervened guardrails
        prohibited_content recitation blocklist spii image_safety refusal moderation flagged blocked
    """,
    "failed": """
        error abort aborted network_error insufficient_system_resource timeout cancelled canceled failed
        internal_error malformed_function_call
    """,
}
"""The words in lower case, by what they mean: OpenAI's, vLLM's, Mistral's, DeepSeek's, Gemini's, Bedrock's"""

_MEANING: dict[str, Finish] = {word: finish for finish, words in WORDS.items() for word in words.split()}


def finish_of(reason: object) -> Finish:
    """What a finish_reason means; without one the answer is whole.

    >>> finish_of("stop"), finish_of(None), finish_of("MAX_TOKENS"), finish_of("SAFETY"), finish_of("abort")
    ('whole', 'whole', 'cut', 'filtered', 'failed')
    >>> finish_of("tired"), finish_of(7)
    ('unknown', 'unknown')
    """
    if reason is None or reason == "":
        return "whole"
    word = reason.strip().lower().replace("-", "_").replace(" ", "_") if isinstance(reason, str) else ""
    return _MEANING.get(word, "unknown")

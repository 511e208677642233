"""Finding the form in which an endpoint takes a question, whatever it refuses and however it says so."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolgen.backends.forms import PLAIN, SPELLINGS, Form, Forms, named
from evolgen.errors import Refused, TeacherError, Unanswered

PARTS = [part for part in SPELLINGS if part != "encoding_format"]

Refusing = Callable[[Form], TeacherError | None]


def refused(words: str, status: int = 400, rule: str = "bad_request") -> Refused:
    return Refused(rule, f"the endpoint refused the question (HTTP {status}: {words})", status=status, said=words)


class Endpoint:
    """Takes a question unless `refusing` says otherwise; `puts` are the forms in which it was put."""

    def __init__(self, refusing: Refusing) -> None:
        self.refusing = refusing
        self.puts: list[Form] = []

    async def __call__(self, form: Form) -> str:
        self.puts.append(form)
        await asyncio.sleep(0)
        if (error := self.refusing(form)) is not None:
            raise error
        return "fine"


def picky(out: set[str], wording: str) -> Refusing:
    """Refuses questions with any of some parts."""

    def refusing(form: Form) -> TeacherError | None:
        wrong = [part for part in PARTS if part in out and part not in form]
        if not wrong:
            return None
        match wording:
            case "names":
                return refused(f"Unsupported value: '{wrong[0]}'")
            case "camel":
                camel = "".join(word.title() for word in wrong[0].split("_"))
                return refused(f"Extra inputs are not permitted: {camel[0].lower() + camel[1:]}", 422)
            case "counts":
                return refused(f"{'x' * len(wrong)} fields are wrong, request 7f3a-{len(wrong)}")
            case _:
                return refused("Bad Request")

    return refusing


def put(endpoint: Endpoint, parts: list[str], forms: Forms | None = None) -> Form:
    answer, form = asyncio.run((forms or Forms()).put(parts, endpoint))
    assert answer == "fine"
    return form


@given(
    out=st.sets(st.sampled_from(PARTS), min_size=1),
    wording=st.sampled_from(["names", "camel", "counts", "mute"]),
)
def test_what_is_left_out_is_what_was_refused_and_nothing_else(out: set[str], wording: str) -> None:
    endpoint = Endpoint(picky(out, wording))
    assert put(endpoint, PARTS) == out
    assert len(endpoint.puts) <= 2 + 3 * len(PARTS) + 8 * len(out)


def test_of_two_parts_that_go_not_together_one_stays() -> None:
    claude = Endpoint(
        lambda form: (
            None
            if form & {"temperature", "top_p"}
            else refused("`temperature` and `top_p` cannot both be specified. Please use only one.")
        )
    )
    assert put(claude, PARTS) == {"temperature"}
    neither = Endpoint(lambda form: None if form >= {"temperature", "top_p"} else refused("no sampling here"))
    assert put(neither, PARTS) == {"temperature", "top_p"}


def test_a_form_counts_once_a_second_question_needed_it() -> None:
    told: list[str] = []
    forms, endpoint = Forms(told.append), Endpoint(picky({"top_p"}, "names"))

    async def ask() -> list[Form]:
        return [(await forms.put(PARTS, endpoint))[1] for _ in range(3)]

    assert asyncio.run(ask()) == [{"top_p"}] * 3
    assert [bool(form) for form in endpoint.puts] == [False, True, False, True, True]
    assert told == [
        "the endpoint refused the question (HTTP 400: Unsupported value: 'top_p'): it takes it without top_p"
    ]


def test_one_bad_moment_changes_no_other_question() -> None:
    moments = iter([refused("Bad Request"), None, None, None])
    endpoint, forms = Endpoint(lambda form: next(moments)), Forms()

    async def ask() -> list[Form]:
        return [(await forms.put(["temperature"], endpoint))[1] for _ in range(3)]

    assert asyncio.run(ask()) == [{"temperature"}, PLAIN, PLAIN]


def test_one_question_looks_and_the_others_wait() -> None:
    endpoint, forms = Endpoint(picky({"stop", "schema"}, "mute")), Forms()

    async def ask() -> None:
        found = await asyncio.gather(*(forms.put(PARTS, endpoint) for _ in range(50)))
        assert {form for _, form in found} == {frozenset({"stop", "schema"})}

    asyncio.run(ask())
    assert len(endpoint.puts) <= 50 + 50 + 3 * len(PARTS)


@pytest.mark.parametrize(
    "error",
    [
        refused("The model `gpt-9` does not exist"),
        refused("invalid model name"),
        refused("Incorrect API key provided"),
        refused("This was flagged by our content management policy", rule="content_filter"),
        refused("maximum context length is 4096", rule="context_length"),
        refused("no", 404),
        Unanswered("http_500", "oops", status=500, said="oops"),
        Unanswered("rate_limited", "slow down", status=429, said="temperature is too high for this rate"),
    ],
    ids=str,
)
def test_refusals_for_other_reasons_start_no_search(error: TeacherError) -> None:
    endpoint = Endpoint(lambda form: error)
    with pytest.raises(TeacherError) as caught:
        put(endpoint, PARTS)
    assert caught.value is error
    assert endpoint.puts == [PLAIN]


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ("This model does not support system role", "system"),
        ("System role not supported for gemma", "system"),
        ("messages[0].role must be one of user, assistant, not 'system'", "system"),
        ("Argument not supported on this model: presencePenalty", "presence_penalty"),
        ("This response_format type is unavailable now", "schema"),
        ("'response_format.type' must be 'json_schema'", "schema"),
        ("body.top_p: extra fields not permitted", "top_p"),
        ("Use 'max_completion_tokens' instead", "max_tokens"),
        ("unknown field: stopSequences", "stop"),
        ("The model m does not exist, or temperature is wrong", "temperature"),
    ],
)
def test_a_refusal_that_names_a_part_always_starts_one(words: str, part: str) -> None:
    assert part in named(refused(words), PARTS)
    assert put(Endpoint(lambda form: None if part in form else refused(words)), PARTS) == {part}


def test_words_that_only_look_like_parts_name_none() -> None:
    for words in ("stop asking for this", "the system is busy", "a tokenizer error", "no such role"):
        assert named(refused(words), PARTS) == []


def test_a_search_that_found_nothing_is_remembered() -> None:
    endpoint, forms = Endpoint(lambda form: refused("request 12 is wrong")), Forms()

    async def ask() -> int:
        for _ in range(2):
            with pytest.raises(Refused, match="request 12 is wrong"):
                await forms.put(PARTS, endpoint)
            endpoint.refusing = lambda form: refused("request 34 is wrong") if form else refused("request 12 is wrong")
        return len(endpoint.puts)

    assert asyncio.run(ask()) <= 2 + 2 * len(PARTS)


def test_refusals_that_quote_their_questions_are_searched_for_a_few_times_only() -> None:
    words = iter(f"we can't help with {chr(97 + number) * 5}" for number in range(20))
    said: list[str] = []
    endpoint, forms = Endpoint(lambda form: refused(said[-1])), Forms()

    async def ask() -> None:
        for each in words:
            said.append(each)
            with pytest.raises(Refused, match=each):
                await forms.put(PARTS, endpoint)

    asyncio.run(ask())
    assert len(endpoint.puts) <= 20 + 3 * 2 * len(PARTS)


def test_schemas_that_break_an_endpoint_are_left_out_and_a_single_500_changes_nothing() -> None:
    oops = Unanswered("http_500", "oops", status=500, said="oops")
    forms, endpoint = Forms(), Endpoint(lambda form: None if "schema" in form else oops)

    async def ask(times: int) -> Form:
        for _ in range(times - 1):
            with pytest.raises(Unanswered):
                await forms.put(PARTS, endpoint)
        return (await forms.put(PARTS, endpoint))[1]

    assert asyncio.run(ask(3)) == {"schema"}
    said = Unanswered("http_500", "", status=500, said="Failed to initialize grammar")
    assert put(Endpoint(lambda form: None if "schema" in form else said), PARTS) == {"schema"}
    moments = iter([None, oops, oops, oops, oops, None])
    forms, endpoint = Forms(), Endpoint(lambda form: next(moments))
    assert asyncio.run(forms.put(PARTS, endpoint))[1] == PLAIN
    assert asyncio.run(ask(5)) == PLAIN


def test_what_goes_wrong_in_a_search_is_raised_and_the_next_question_searches_on() -> None:
    moments: list[TeacherError | None] = [refused("Bad Request"), Unanswered("rate_limited", "slow", status=429)]
    endpoint, forms = Endpoint(lambda form: moments.pop(0) if moments else picky({"schema"}, "mute")(form)), Forms()

    async def ask() -> Form:
        with pytest.raises(Unanswered):
            await forms.put(PARTS, endpoint)
        return (await forms.put(PARTS, endpoint))[1]

    assert asyncio.run(ask()) == {"schema"}

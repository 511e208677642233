"""Rules on what a row asks: several tasks in one, images that aren't there, pages that nobody can open."""

from __future__ import annotations

import re

from evolgen.curate.filters.texts import QUOTE, prose, quoted
from evolgen.parsing import says_no_input
from evolgen.records import Texts

RESERVED_HOSTS = ("example.com", "example.org", "example.net", "localhost", "127.0.0.1")
LITTLE = 8
"""Words beside a link that still say nothing of the page."""

_HEADING = re.compile(
    r"^[ \t]*(?:#{1,6}[ \t]*|\*\*|\d{1,2}[.)][ \t]*)?(instruction|input|output|response|task)s?"
    r"(?:[ \t]*#?\d{1,2})?(?:\*\*)?[ \t]*:",
    re.IGNORECASE | re.MULTILINE,
)
_NEXT_TASK = re.compile(
    r"(?<=\n)[ \t]*(?:#{2,6}[ \t]*(?:instruction|human|user)|\d{1,2}[.)][ \t]*instruction)[ \t]*:", re.IGNORECASE
)
_SEPARATOR = re.compile(r"^#{3,}[ \t]*\n+[ \t]*\d{1,2}[.)]", re.MULTILINE)

_URL = re.compile(r"\b(?:https?://|www\.)([^\s/<>()\"'`\]]+)[^\s<>()\"'`\]]*", re.IGNORECASE)
_READING = re.compile(
    r"\b(?:read|visit|open|summari[sz]e|browse|click|watch|go to|look at|access|analy[sz]e|review|check|translate|"
    r"describe|rewrite|paraphrase|extract|classify|edit|proofread|identify|list|find|what|following|given|this|below)\b",
    re.IGNORECASE,
)
_IN_A_CALL = re.compile(r"[(=]\s?[\"']\Z")
_ON_URLS = re.compile(
    r"\b(?:domain|host(?:name)?|protocol|pars\w+|format|regex|valid\w*|shorten\w*|encode\w*|python|code|script|function|"
    r"html|program)\b",
    re.IGNORECASE,
)
_LINKED = ("http", "www.", "page", "site", "link", "url")
_PAGE = re.compile(
    r"\b(?:read|visit|open|summari[sz]e|browse|click(?: on)?|watch|go to|check out)\b[^.?!\n]{0,40}"
    r"\b(?:(?:the|this|that|following|given|attached|linked) )?(?:web ?page|web ?site|link|url|hyperlink)\b",
    re.IGNORECASE,
)

_PICTURES = (
    r"(?:image|photo|photograph|picture|figure|chart|diagram|screenshot|drawing|painting|video|audio|recording)s?"
)
_GIVEN = r"(?:following|above|given|attached|provided|accompanying|uploaded|enclosed)"
_MISSING_IMAGE = re.compile(
    rf"\b(?:(?:this|these|the {_GIVEN}|an? (?:attached|given|provided)|following|attached|given|provided)\s+"
    r"(?:image|photo|photograph|picture|screenshot|drawing|video(?! games?)|audio)s?\b"
    rf"|(?:the )?{_PICTURES} (?:below|above|attached|provided|shown|given)\b"
    rf"|(?:shown|depicted|pictured|seen) in the {_PICTURES}\b|see in (?:this|the) {_PICTURES}\b)",
    re.IGNORECASE,
)
_PLEASE = r"\A\W*(?:please |can you |could you )?"
_WANTED_IMAGE = re.compile(
    rf"{_PLEASE}(?:draw|sketch|paint|photograph|illustrate)\b(?! (?:a |the |some |your )?"
    r"(?:conclusions?|comparisons?|parallels?|inferences?|distinctions?|lessons?|up|on|upon|from|attention|insights?|"
    r"analog|connections?|contrast|how|why|what|with words|the (?:point|idea|concept|difference|use|importance)))"
    rf"|{_PLEASE}(?:create|generate|make|produce|design|take|render|record|compose)\s+"
    r"(?:me )?(?:an?|the|some|two|three)?\s*"
    r"(?:(?!for |of |about |that |to |in |on )\w+ ){0,3}?"
    r"(?:image|photo|photograph|picture|drawing|painting|sketch|video clip|audio clip|screenshot)s?\b"
    r"(?! (?:description|caption|prompt|book|title|tag|alt))",
    re.IGNORECASE,
)
_VISUAL = ("image", "photo", "picture", "figure", "chart", "diagram", "screenshot", "draw", "paint", "sketch", "video",
           "audio", "record", "illustrat")  # fmt: skip
_DRAWN_IN_TEXT = re.compile(
    r"\b(?:ascii|svg|html|css|latex|tikz|python|javascript|code|matplotlib|program|script|function|turtle|canvas|words|"
    r"text|mermaid|dot|graphviz|query|dataset|algorithm|class)\b",
    re.IGNORECASE,
)


def noinput_spelling(input: str) -> str | None:
    """The whole input is a spelling of "no input".

    >>> noinput_spelling("<noinput>"), noinput_spelling("No input required."), noinput_spelling("none of these: 3, 4")
    ('the input only says "<noinput>"', 'the input only says "No input required."', None)
    """
    return f'the input only says "{input.strip()}"' if says_no_input(input) else None


def merged_instructions(text: str) -> str | None:
    """Headings of more than one part of a task, such as "Instruction:" and "Output:".

    >>> merged_instructions("Danube.\\n\\n### Instruction:\\nName a lake.\\n### Output:\\nComo.")
    'it holds another task: "### Instruction:"'
    >>> merged_instructions("Write the instruction: it must be short.")
    """
    if ":" not in text and "###" not in text:
        return None
    if text[:3] != "###" and (follows := _NEXT_TASK.search(text)):
        return f"it holds another task: {quoted(follows[0])}"
    headings = list(_HEADING.finditer(text)) if "nstruction" in text or "NSTRUCTION" in text or "ask" in text else []
    kinds = {heading[1].lower() for heading in headings}
    if kinds & {"instruction", "task"} and (len(kinds) > 1 or len(headings) > 1):
        first = next(heading for heading in headings if heading[1].lower() in ("instruction", "task"))
        other = next(heading for heading in headings if heading is not first)
        return f"it holds another task: {quoted(first[0])} and {quoted(other[0])}"
    separator = _SEPARATOR.search(text) if "###" in text else None
    return f"it holds another task: {quoted(separator[0])}" if separator else None


def opens_url(row: Texts) -> str | None:
    """It asks for what a page says, and the row has nothing of the page but its address.

    >>> opens_url(Texts("Summarise this article.", "https://news.example.org/rivers"))
    'it needs the page at https://news.example.org/rivers, which the row does not hold'
    """
    instruction, input = row.instruction, row.input
    lower = instruction.lower()
    if not any(word in lower for word in _LINKED) and not any(word in input for word in _LINKED[:2]):
        return None
    if _ON_URLS.search(_URL.sub("", instruction)):
        return None
    url = _URL.search(input)
    if url and len(_URL.sub("", input).split()) <= LITTLE and _READING.search(instruction):
        return f"it needs the page at {url[0][:QUOTE]}, which the row does not hold"
    if not input and (url := _URL.search(instruction)) and _READING.search(instruction):
        rest = _URL.sub("", instruction)
        if len(rest.split()) <= 4 * LITTLE and "\n" not in rest.strip() and "`" not in rest:
            return f"it needs the page at {url[0][:QUOTE]}, which the row does not hold"
    page = _PAGE.search(instruction)
    if page and not input.strip() and len(instruction.split()) <= 4 * LITTLE and "write" not in lower:
        return f"it needs a page which the row does not hold: {quoted(page[0])}"
    return None


def invented_url(row: Texts) -> str | None:
    """The answer has a link to a host that the task does not name, outside code.

    Whether the page exists can't be told from the text: a right link is rejected as well.

    >>> invented_url(Texts("Name a source.", "", "See www.rivers-of-europe.info/danube."))
    'the output links to www.rivers-of-europe.info, which the task does not name'
    """
    output = row.output or ""
    if "http" not in output and "www." not in output:
        return None
    task = f"{row.instruction} {row.input}".lower()
    outside = prose(output)
    for found in _URL.finditer(outside):
        host = found[1].lower().rstrip(".,;:!?").partition(":")[0]
        bare = host.removeprefix("www.")
        if _IN_A_CALL.search(outside[max(0, found.start() - 4) : found.start()]):
            continue
        if bare not in task and not bare.endswith(RESERVED_HOSTS) and "." in bare:
            shown = found[0].split("://")[-1].partition("/")[0].rstrip(".,;:!?")
            return f"the output links to {shown[:QUOTE]}, which the task does not name"
    return None


def image_task(row: Texts) -> str | None:
    """It is about an image or a recording that isn't there, or asks for one.

    >>> image_task(Texts("Describe the image below.")), image_task(Texts("Draw a cat."))
    ('it needs what is not there: "the image below"', 'it asks for an image: "Draw"')
    >>> image_task(Texts("Draw a conclusion.")), image_task(Texts("Imagine this: a river."))
    (None, None)
    """
    instruction = row.instruction
    lower = instruction.lower()
    if not any(word in lower for word in _VISUAL):
        return None
    missing, wanted = _MISSING_IMAGE.search(instruction), _WANTED_IMAGE.search(instruction)
    if not (missing or wanted) or _DRAWN_IN_TEXT.search(instruction):
        return None
    described = len(row.input.split()) > 2 * LITTLE
    if missing and not described:
        return f"it needs what is not there: {quoted(missing[0])}"
    return f"it asks for an image: {quoted(wanted[0])}" if wanted else None

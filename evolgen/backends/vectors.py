"""Reading an endpoint's answer to a call for embeddings."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from evolgen.asking import Vector
from evolgen.backends import Embeddings
from evolgen.errors import Unanswered


def read_embeddings(response: object, count: int) -> Embeddings:
    """The vectors of a response in the order of the texts; raises Unanswered unless there are `count` good ones.

    >>> data = [{"index": 1, "embedding": [0.5, -1]}, {"index": 0, "embedding": "AACAPwAAAEA="}]
    >>> [vector.hex() for vector in read_embeddings({"data": data}, 2).vectors]
    ['0000803f00000040', '0000003f000080bf']
    >>> read_embeddings({"data": data}, 3)
    Traceback (most recent call last):
    evolgen.errors.Unanswered: the response holds 2 embeddings for 3 texts
    """
    data = response.get("data") if isinstance(response, dict) else None
    if not isinstance(response, dict) or not isinstance(data, list):
        raise _malformed(f"the response holds no embeddings: {str(response)[:100]!r}")
    if len(data) != count:
        raise _malformed(f"the response holds {len(data)} embeddings for {count} texts")
    vectors: dict[int, Vector] = {}
    for number, entry in enumerate(data):
        if not isinstance(entry, dict):
            raise _malformed("an entry of the response is no embedding")
        index = entry.get("index", number)
        if type(index) is int:
            vectors[index] = _vector(entry.get("embedding"))
    if vectors.keys() != set(range(count)):
        raise _malformed("the response numbers its embeddings wrongly")
    if len({len(vector) for vector in vectors.values()}) > 1:
        raise _malformed("the response holds embeddings of different lengths")
    call = {name: response[name] for name in ("model", "usage") if name in response}
    return Embeddings([vectors[number] for number in range(count)], call)


def _vector(embedding: Any) -> Vector:
    """One embedding, as base64 of float32 or as a list of numbers."""
    import numpy as np

    try:
        if isinstance(embedding, str):
            numbers = np.frombuffer(base64.b64decode(embedding, validate=True), "<f4")
        elif isinstance(embedding, list) and all(type(number) in (float, int) for number in embedding):
            with np.errstate(over="ignore"):  # what doesn't fit becomes infinite, and is found below
                numbers = np.array(embedding, np.float64).astype("<f4")
        else:
            raise _malformed("an embedding of the response is neither base64 nor a list of numbers")
    except (binascii.Error, ValueError, OverflowError) as error:
        raise _malformed("an embedding of the response can't be read") from error
    if not numbers.size or not np.isfinite(numbers).all():
        raise _malformed("an embedding of the response is empty or holds what is no number")
    return numbers.tobytes()


def _malformed(message: str) -> Unanswered:
    return Unanswered("malformed", message)

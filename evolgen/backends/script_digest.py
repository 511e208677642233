"""What tells the answers of one function from those of another: a digest of its code.

The code is the source of the function (of a lambda, which may share a line with another, its bytecode), its defaults,
and what it uses from outside: plain values as they are, functions by their own code, modules and classes by their
names. Where some of it is none of these (an open file, an object with a state of its own), nothing can be told.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import types
from collections.abc import Callable, Iterator
from typing import Any

DIGEST = 8
"""Bytes of a digest."""

PLAIN = (str, bytes, int, float, complex, bool, type(None))


class Untold(Exception):
    """A part of a function that doesn't say what it does."""


def digest_of(function: Callable[..., Any]) -> bytes | None:
    """The digest of a function's code, or None where it can't be told.

    >>> def same(word): return lambda request: word
    >>> digest_of(same("a")) == digest_of(same("a")), digest_of(same("a")) == digest_of(same("b"))
    (True, False)
    >>> digest_of(same(object())) is None
    True
    """
    try:
        parts = "\x1f".join(_value(function, frozenset()))
    except Untold:
        return None
    return hashlib.sha256(parts.encode("utf-8", "backslashreplace")).digest()[:DIGEST]


def _value(value: Any, within: frozenset[int]) -> Iterator[str]:
    """The parts of a value; `within` are the objects that it was reached through."""
    if id(value) in within:  # a function that calls itself, a list that holds itself
        yield "itself"
        return
    within |= {id(value)}
    if isinstance(value, PLAIN):
        yield f"{type(value).__name__} {value!r}"
    elif isinstance(value, list | tuple | set | frozenset | dict):
        yield f"{type(value).__name__} {len(value)}"
        items = [*value, *value.values()] if isinstance(value, dict) else [*value]
        parts = [list(_value(item, within)) for item in items]
        yield from ("\x1f".join(part) for part in (sorted(parts) if isinstance(value, set | frozenset) else parts))
    elif isinstance(value, functools.partial):
        for part in (value.func, value.args, value.keywords):
            yield from _value(part, within)
    elif isinstance(value, types.FunctionType):
        yield from _function(value, within)
    elif isinstance(value, types.ModuleType | type | types.BuiltinFunctionType) and not _bound(value):
        yield f"{getattr(value, '__module__', '')} {getattr(value, '__qualname__', value.__name__)}"
    else:
        raise Untold


def _function(function: types.FunctionType, within: frozenset[int]) -> Iterator[str]:
    yield _source(function) or _bytecode(function.__code__)
    yield from _value((function.__defaults__, function.__kwdefaults__), within)
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        yield name
        try:
            yield from _value(cell.cell_contents, within)
        except ValueError:  # not filled yet
            yield "empty"
    for name in sorted(_names(function.__code__)):
        if name in function.__globals__:
            yield name
            yield from _value(function.__globals__[name], within)


def _source(function: types.FunctionType) -> str | None:
    if function.__name__ == "<lambda>":
        return None
    try:
        return inspect.getsource(function)
    except (OSError, TypeError):
        return None


def _bytecode(code: types.CodeType) -> str:
    constants = (_bytecode(each) if isinstance(each, types.CodeType) else repr(each) for each in code.co_consts)
    return "\x1f".join((code.co_code.hex(), *code.co_names, *code.co_varnames, *constants))


def _names(code: types.CodeType) -> set[str]:
    """The names that some code, and the code inside it, looks up."""
    inner = (_names(constant) for constant in code.co_consts if isinstance(constant, types.CodeType))
    return set(code.co_names).union(*inner)


def _bound(value: Any) -> bool:
    """Whether a built-in function is a method of some object."""
    return isinstance(value, types.BuiltinFunctionType) and not isinstance(
        value.__self__, types.ModuleType | types.NoneType
    )

"""Turn the core's frozen values into plain JSON values, and back from whatever stands there by then.

Pure. A monotonic time means nothing to another reader, so it is told in seconds from `now`, as a rule below zero. What
is as it usually is is not told; what is missing or odd is taken to be as it usually is.
"""

import math
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import StrEnum
from typing import Any, TypeVar, get_args, get_origin

MOST_OF_A_TEXT = 200  # characters
LARGEST = 2**53  # beyond it, readers of JSON do not agree
LONGEST_S = 1e8  # three years
DIGITS = 6  # of a number: a microsecond
TIMES = ("_at", "_since")  # how the names of monotonic times end
ALSO_TIMES = frozenset({"since", "still", "restarts", "troubles"})  # or hold some
OPTIONAL = type(int | None)
T = TypeVar("T")


class _Odd(Exception):
    """This cannot be read as what it should be."""


def to_plain(value: Any, *, now: float) -> Any:
    """Return a dataclass, or what stands in one, as JSON can hold it."""
    return _told(value, now=now, since=0.0)


def from_plain(kind: type[T], value: Any, *, now: float) -> T | None:
    """Return the dataclass `kind` that `value` tells; None where what it cannot be without is missing or odd."""
    try:
        read: T = _read(kind, value, now=now, name="")
    except _Odd:
        return None
    return read


def _told(value: Any, *, now: float, since: float) -> Any:
    if is_dataclass(value):
        return {each.name: _field(value, each, now=now) for each in _news(value)}
    if isinstance(value, tuple | frozenset):
        return [_told(each, now=now, since=since) for each in value]
    if isinstance(value, float):
        return round(value - since, DIGITS) if math.isfinite(value) else None
    return value[:MOST_OF_A_TEXT] if isinstance(value, str) else value


def _field(value: Any, field: Field[Any], *, now: float) -> Any:
    return _told(getattr(value, field.name), now=now, since=now if _is_time(field.name) else 0.0)


def _news(value: Any) -> Iterator[Field[Any]]:
    """Yield the fields of a dataclass that are not as they usually are."""
    return (each for each in fields(value) if each.default is MISSING or getattr(value, each.name) != each.default)


def _is_time(name: str) -> bool:
    return name.endswith(TIMES) or name in ALSO_TIMES


def _read(kind: Any, value: Any, *, now: float, name: str) -> Any:
    """Return `value` as `kind`; `name` is that of the field it stands in, which tells whether it is a time."""
    if isinstance(kind, OPTIONAL):
        (kind,) = (each for each in get_args(kind) if each is not type(None))
        return None if value is None else _read(kind, value, now=now, name=name)
    if get_origin(kind) is not None:
        return _read_several(kind, value, now=now, name=name)
    if is_dataclass(kind):
        return _read_fields(kind, value, now=now)
    if issubclass(kind, StrEnum):
        return _read_word(kind, value)
    if kind is float:
        return _read_number(value, now=now, name=name)
    is_right = isinstance(value, kind) and isinstance(value, bool) is (kind is bool)
    if not is_right or (kind is int and abs(value) > LARGEST):
        raise _Odd
    return value[:MOST_OF_A_TEXT] if isinstance(value, str) else value


def _read_several(kind: Any, value: Any, *, now: float, name: str) -> Any:
    kinds, several = get_args(kind), get_origin(kind)
    if not isinstance(value, list):
        raise _Odd
    if several is frozenset or kinds[-1] is Ellipsis:
        return several(_read(kinds[0], each, now=now, name=name) for each in value)
    if len(value) != len(kinds):
        raise _Odd
    return tuple(_read(each, part, now=now, name=name) for each, part in zip(kinds, value, strict=True))


def _read_fields(kind: Any, value: Any, *, now: float) -> Any:
    if not isinstance(value, dict):
        raise _Odd
    read = {}
    for each in fields(kind):
        try:
            read[each.name] = _read(each.type, value.get(each.name, MISSING), now=now, name=each.name)
        except _Odd:
            if each.default is MISSING:
                raise
    return kind(**read)


def _read_word(kind: type[StrEnum], value: Any) -> StrEnum:
    try:
        return kind(str(value))
    except ValueError as unknown:
        raise _Odd from unknown


def _read_number(value: Any, *, now: float, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= LONGEST_S:
        raise _Odd
    if _is_time(name):
        return now + value
    if value < 0 and name.endswith("_s"):
        raise _Odd
    return float(value)

"""Owns how settings are written in the environment: names of variables, and parsing of values."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path

PREFIX = "SESSION_MANAGER_"
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return PREFIX + name.upper()


def value_of(default: object, text: str) -> object:
    """The value of a text, of the kind that the setting's default has.

    Raises:
        ValueError: it is of another kind; says which is wanted.
    """
    match default:
        case bool():
            return _one_of(_BOOLEANS, text.lower(), "true or false", text)
        case StrEnum():
            kinds = {one.value: one for one in type(default)}
            return _one_of(kinds, text.lower(), f"one of {', '.join(kinds)}", text)
        case tuple():
            return tuple(one.strip() for one in text.split(","))
        case int():
            return _number(int, text, "a whole number")
        case float():
            return _number(float, text, "a number")
        case Path():
            return Path(text)
        case _:
            return text


def text_of(value: object) -> str:
    """The text that becomes this value."""
    return ",".join(value) if isinstance(value, tuple) else str(value)


def unknown(variables: Iterable[str], names: Collection[str]) -> Iterator[str]:
    """Of the environment's variables those that are named like settings and are none, each with what it may mean."""
    known = [variable(name) for name in names]
    for one in sorted(variables):
        if one.startswith(PREFIX) and one not in known:
            close = get_close_matches(one, known, n=1, cutoff=0.8)
            yield f"{one} is no setting, and does nothing" + (f"; is {close[0]} meant?" if close else "")


def _one_of(values: Mapping[str, object], key: str, wanted: str, text: str) -> object:
    if key not in values:
        raise ValueError(f"must be {wanted}, not {text!r}")
    return values[key]


def _number(kind: type[int] | type[float], text: str, wanted: str) -> int | float:
    try:
        return kind(text)
    except ValueError:
        raise ValueError(f"must be {wanted}, not {text!r}") from None

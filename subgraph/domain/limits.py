"""Owns how a value beyond a limit is refused: a message for people, and the broken bound for programs."""

from collections.abc import Sized
from datetime import timedelta

from subgraph.domain.errors import InvalidInput


def check_length(name: str, length: int, most: int, path: tuple[str, ...], *, least: int = 1) -> None:
    """Refuse a text that is too short or too long.

    Args:
        name: what the text is, as callers call it.
        length: its characters.
        most: how many it may have.
        path: the field it was given in.
        least: how many it must have.

    Raises:
        InvalidInput: naming the field and the bound it broke.
    """
    if not least <= length <= most:
        between = f"{least:,} to {most:,}" if least else f"at most {most:,}"
        broken = most if length > most else least
        unit = "character" if broken == 1 else "characters"
        raise InvalidInput(f"{name} must have {between} characters, not {length:,}", path, f"{broken} {unit}")


def check_number(name: str, number: float, least: float, most: float, path: tuple[str, ...]) -> None:
    """Refuse a number that is too small or too large, or none.

    Raises:
        InvalidInput: naming the field and the bound it broke.
    """
    if not least <= number <= most:
        broken = least if number < least else most
        between = f"between {_told(least)} and {_told(most)}"
        limit = f"{broken}" if isinstance(broken, int) else f"{broken:g}"
        raise InvalidInput(f"{name} must lie {between}, not {_told(number)}", path, limit)


def check_span(
    name: str, span: timedelta, least: tuple[timedelta, str], most: tuple[timedelta, str], path: tuple[str, ...]
) -> None:
    """Refuse a length of time that is too short or too long; each bound comes with its ISO 8601 text.

    Raises:
        InvalidInput: naming the field and the bound it broke.
    """
    if not least[0] <= span <= most[0]:
        broken = least[1] if span < least[0] else most[1]
        raise InvalidInput(f"{name} must lie between {least[1]} and {most[1]}", path, broken)


def check_chosen(name: str, chosen: Sized | None, path: tuple[str, ...]) -> None:
    """Refuse to choose by an empty list or text, which nothing could match; None leaves the choice open.

    Raises:
        InvalidInput: naming the field.
    """
    if chosen is not None and not len(chosen):
        raise InvalidInput(f"nothing is like an empty {name}: leave it out to have all", path, "1")


def _told(number: float) -> str:
    return f"{number:,}" if isinstance(number, int) else f"{number:g}"

"""Owns which characters a text of a caller's may hold: what every database keeps, and what can be told apart by eye.

Categories are Unicode's: Cc are control characters, NUL and line ends among them; Cs halves of surrogate pairs, which
JSON can smuggle in; Cf what shapes or directs others and is not seen itself: U+200B, U+202E, U+FEFF.
"""

import re
import unicodedata
from collections.abc import Mapping

from subgraph.domain.errors import InvalidInput

_NOT_IN_A_LINE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
"""Cc and Cs."""
_NOT_IN_LINES = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
"""The same, but tabs and the ends of lines."""


def check_line(name: str, text: str, path: tuple[str, ...]) -> None:
    """Refuse a text that holds control characters.

    Args:
        name: what the text is, as callers call it.
        text: the text.
        path: the field it was given in.

    Raises:
        InvalidInput: naming the character.
    """
    _refuse(_NOT_IN_A_LINE.search(text), name, path)


def check_lines(name: str, text: str, path: tuple[str, ...]) -> None:
    """The same for a text of several lines: tabs and the ends of lines may be in it."""
    _refuse(_NOT_IN_LINES.search(text), name, path)


def check_visible(name: str, text: str, path: tuple[str, ...]) -> None:
    """The same for a text that is compared by eye: what cannot be seen in it (Cf) may not be in it, either.

    Nor may what joins others and is seen by that alone (U+200C, U+200D), as in some emoji: where a font does not know
    the joined sign, or letters do not join, a text looks like the one without it. Which do is no rule but a table of
    each version of Unicode, and the standard library has none of it.
    """
    check_line(name, text, path)
    for one in text:
        if unicodedata.category(one) == "Cf":
            raise InvalidInput(f"{name} may not hold U+{ord(one):04X}, which cannot be seen", path)


def check_keys(name: str, value: Mapping[str, object]) -> None:
    """Refuse a JSON object of which a key, at any depth, holds control characters; its texts may hold any.

    Raises:
        InvalidInput: naming the field and the character.
    """
    left: list[object] = [value]
    while left:
        one = left.pop()
        if isinstance(one, Mapping):
            for key in one:
                check_line(f"a key of {name}", key, (name,))
            left.extend(one.values())
        elif isinstance(one, list):
            left.extend(one)


def _refuse(found: re.Match[str] | None, name: str, path: tuple[str, ...]) -> None:
    if found is not None:
        raise InvalidInput(f"{name} may not hold U+{ord(found.group()):04X}, a control character", path)

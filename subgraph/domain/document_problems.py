"""Owns the errors of a malformed document: in JSON's terms, with the path in the document."""

import re

import msgspec

Place = tuple[str, ...]

_STEP = re.compile(r"\.(\w+)|\[(\w+|\.\.\.)\]")
_FIELD = re.compile(r"Object (contains unknown|missing required) field `(.*)`", re.DOTALL)
_TYPE = re.compile(r"Expected `(.+)`, got `(.+)`")
_NAMES = {
    "str": "a text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
    "datetime": "a time as in RFC 3339",
    "timedelta": "a duration as in ISO 8601",
}


def problem_of(error: msgspec.ValidationError) -> tuple[str, Place]:
    """What is wrong, and where: the names of fields and numbers of entries, outermost first."""
    # A field of any name may be told of; the place stands behind it, or is left out where it is the document itself.
    what, place_begins, steps = str(error).rpartition(" - at `$")
    if not place_begins:
        what, steps = steps, ""
    place = tuple(name or index for name, index in _STEP.findall(steps))
    if field := _FIELD.fullmatch(what):
        which, name = field.groups()
        return "there is no such field" if which == "contains unknown" else "the field is missing", (*place, name)
    if kind := _TYPE.fullmatch(what):
        wanted, given = (" or ".join(_NAMES.get(one, one) for one in each.split(" | ")) for each in kind.groups())
        return f"{wanted} is expected here, not {given}", place
    return what[:1].lower() + what[1:], place

"""Owns the scalars of the schema beyond GraphQL's own: DateTime, Duration, Long and JSON."""

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import NewType

import strawberry
from graphql import GraphQLError
from strawberry.scalars import JSON
from strawberry.types.scalar import ScalarDefinition

Duration = NewType("Duration", timedelta)
Long = NewType("Long", int)

LONG_MAX = 2**53 - 1
DURATION_DAYS_MAX = 36_500
JSON_DEPTH_MAX = 64

_DURATION = re.compile(
    r"(?P<sign>-)?P(?:(?P<weeks>\d+)W)?(?:(?P<days>\d+)D)?"
    r"(?:T(?=\d)(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?(?:(?P<seconds>\d+(?:\.\d{1,6})?)S)?)?"
)


def parse_moment(value: object) -> datetime:
    """A moment in UTC from ISO 8601 text; without an offset it is UTC.

    Raises:
        GraphQLError: the text is no such moment, or in UTC it lies outside of the years 1 to 9999.
    """
    try:
        moment = datetime.fromisoformat(value if isinstance(value, str) else "")
    except ValueError:
        raise GraphQLError(
            f"a DateTime is ISO 8601 text such as 2026-03-01T12:00:00Z, not {str(value)[:64]!r}"
        ) from None
    try:
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except OverflowError:
        raise GraphQLError("a DateTime lies within the years 1 to 9999, in UTC") from None


def parse_duration(value: object) -> timedelta:
    """A duration from ISO 8601 text such as PT1H or -PT5H30M. Years and months have no fixed length and are refused.

    Raises:
        GraphQLError: the text is no such duration, or beyond 36,500 days.
    """
    match = _DURATION.fullmatch(value) if isinstance(value, str) and len(value) <= 64 else None
    parts = {k: float(v) for k, v in match.groupdict().items() if v and k != "sign"} if match else {}
    if not match or not parts:
        raise GraphQLError(f"a Duration is ISO 8601 text such as PT1H or -PT5H, not {str(value)[:64]!r}")
    try:
        length = timedelta(**parts)
    except OverflowError:
        length = timedelta.max
    if length > timedelta(days=DURATION_DAYS_MAX):
        raise GraphQLError(f"a Duration is at most {DURATION_DAYS_MAX:,} days")
    return -length if match["sign"] else length


def format_duration(length: timedelta) -> str:
    """ISO 8601 text of a duration: days as hours, no zero parts, PT0S for none."""
    sign, micros = ("-", -length) if length < timedelta() else ("", length)
    total_us = micros // timedelta(microseconds=1)
    hours, rest = divmod(total_us, 3_600_000_000)
    minutes, rest = divmod(rest, 60_000_000)
    seconds = f"{rest // 1_000_000}.{rest % 1_000_000:06d}".rstrip("0").rstrip(".")
    parts = [f"{hours}H" if hours else "", f"{minutes}M" if minutes else "", f"{seconds}S" if rest else ""]
    return f"{sign}PT{''.join(parts) or '0S'}"


def parse_long(value: object) -> int:
    """A whole number of at most 2**53 - 1 in size.

    Raises:
        GraphQLError: it is something else.
    """
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > LONG_MAX:
        raise GraphQLError(f"a Long is a whole number of at most {LONG_MAX:,} in size, not {str(value)[:64]!r}")
    return value


def parse_json(value: object, depth: int = 0) -> object:
    """A JSON value that can be written down again: numbers that are finite, whole characters, and not too deep.

    Raises:
        GraphQLError: it holds something else.
    """
    if depth > JSON_DEPTH_MAX:
        raise GraphQLError(f"JSON is nested at most {JSON_DEPTH_MAX} deep")
    if isinstance(value, float) and not math.isfinite(value):
        raise GraphQLError("a number in JSON is finite")
    if isinstance(value, str):
        _check_characters(value)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            _check_characters(key)
            parse_json(item, depth + 1)
    elif isinstance(value, list):
        for item in value:
            parse_json(item, depth + 1)
    return value


def _check_characters(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise GraphQLError("text in JSON consists of whole Unicode characters") from None


SCALARS: Mapping[object, ScalarDefinition] = {
    datetime: strawberry.scalar(
        name="DateTime",
        description="A point in time in ISO 8601: 2026-03-01T12:00:00Z. Without an offset it is UTC.",
        serialize=datetime.isoformat,
        parse_value=parse_moment,
    ),
    Duration: strawberry.scalar(
        name="Duration",
        description="A duration in ISO 8601: PT1H, -PT5H30M, P2D. Years and months are not accepted.",
        specified_by_url="https://www.rfc-editor.org/rfc/rfc3339#appendix-A",
        serialize=format_duration,
        parse_value=parse_duration,
    ),
    Long: strawberry.scalar(
        name="Long",
        description="An integer of up to 53 bits, as a JSON number: epochs, versions, byte counts.",
        serialize=int,
        parse_value=parse_long,
    ),
    JSON: strawberry.scalar(
        name="JSON",
        description="Any JSON value with finite numbers, nested at most 64 levels deep.",
        specified_by_url="https://ecma-international.org/publications-and-standards/standards/ecma-404/",
        serialize=lambda value: value,
        parse_value=parse_json,
    ),
}
"""Python type to scalar, for the schema's configuration."""

"""Owns labels: pairs of key and value that pods bear and tiles require, and how many and how long they may be."""

from collections.abc import Mapping

from subgraph.domain.errors import InvalidInput
from subgraph.domain.limits import check_length
from subgraph.domain.texts import check_line

Labels = Mapping[str, str]

LABEL_KEY_LENGTH_MAX = 200
LABEL_VALUE_LENGTH_MAX = 200
LABELS_MAX = 50
"""Labels of a pod."""
REQUIRED_LABELS_MAX = 10
"""Labels that a tile, or all tiles of a session, may require."""
ZONE = "zone"
"""A pod's zone counts as the label of this key."""


def check_labels(labels: Labels, path: tuple[str, ...], labels_max: int) -> None:
    """Refuse labels that are too many, too long, without a key, or that hold control characters.

    Args:
        labels: the labels, in the order in which they were given.
        path: of the list they were given in.
        labels_max: how many there may be.

    Raises:
        InvalidInput: naming the entry, the field and the limit.
    """
    if len(labels) > labels_max:
        raise InvalidInput(f"at most {labels_max} labels, not {len(labels):,}", path, f"{labels_max} labels")
    for index, (key, value) in enumerate(labels.items()):
        at = (*path, str(index))
        check_length("a label's key", len(key), LABEL_KEY_LENGTH_MAX, (*at, "key"))
        check_length("a label's value", len(value), LABEL_VALUE_LENGTH_MAX, (*at, "value"), least=0)
        for field, text in (("key", key), ("value", value)):
            check_line(f"a label's {field}", text, (*at, field))


def check_required(required: Labels, of_session: Labels, path: tuple[str, ...]) -> None:
    """Refuse labels that a tile cannot require, or not beside those of its session: no pod could bear both.

    Raises:
        InvalidInput: naming the entry, and the limit or both values.
    """
    check_labels(required, path, REQUIRED_LABELS_MAX)
    for index, (key, value) in enumerate(required.items()):
        if of_session.get(key, value) != value:
            raise InvalidInput(
                f"no pod bears {key}={value}: the session requires {key}={of_session[key]}", (*path, str(index))
            )

"""Owns labels as they are given: pairs of key and value, each key once."""

import strawberry

from subgraph.domain.errors import InvalidInput


@strawberry.input(description="A label: a key and its value.")
class SessionDetailInput:
    """A label."""

    key: str = strawberry.field(description="The label's key.")
    value: str = strawberry.field(description="The label's value.")


def labels_of(details: list[SessionDetailInput] | None, path: tuple[str, ...]) -> dict[str, str]:
    """Labels as a mapping.

    Raises:
        InvalidInput: a key is given twice.
    """
    labels: dict[str, str] = {}
    for index, detail in enumerate(details or ()):
        if detail.key in labels:
            raise InvalidInput(f"the key {detail.key[:64]!r} is given twice", (*path, str(index), "key"))
        labels[detail.key] = detail.value
    return labels

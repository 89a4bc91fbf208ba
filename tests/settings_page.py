"""Owns the page of all settings: printed from their names, defaults and docstrings.

`python -m tests.settings_page > docs/settings.md`
"""

import ast
from dataclasses import MISSING, Field, fields
from enum import Enum
from inspect import getsource

from subgraph.settings import Settings
from subgraph.settings.texts import PREFIX

INTRODUCTION = f"""# Settings

Each is an environment variable: `{PREFIX}` and the name below. Some are options of `session-manager serve`,
too. A malformed or contradictory setting stops the start with one line that names it. Printed from
[record.py](../subgraph/settings/record.py). On tokens and scopes: [authentication.md](authentication.md).

| `{PREFIX}…` | default | |
|---|---|---|
"""


def page() -> str:
    """The page.

    Raises:
        LookupError: a setting says nothing of itself.
    """
    told = _docstrings()
    return INTRODUCTION + "".join(
        f"| `{one.name.upper()}` | {_default(one)} | {told[one.name]} |\n" for one in fields(Settings)
    )


def _docstrings() -> dict[str, str]:
    (settings,) = ast.parse(getsource(Settings)).body
    assert isinstance(settings, ast.ClassDef)
    found = {}
    for field, said in zip(settings.body, settings.body[1:], strict=False):
        match field, said:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                found[name] = text
    return found


def _default(one: "Field[object]") -> str:
    value = one.default
    assert value is not MISSING, one.name
    match value:
        case None | ():
            return "–"
        case bool():
            return str(value).lower()
        case tuple():
            return f"`{','.join(value)}`"
        case Enum():
            return f"`{value.value}`"
        case float():
            return f"{value:g}"
        case int():
            return f"{value}"
        case _:
            return f"`{value}`"


if __name__ == "__main__":
    print(page(), end="")

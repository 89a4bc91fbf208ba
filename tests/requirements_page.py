"""Owns the page of what sessions must do, line by line, and which tests prove it: printed from the tests' markers.

`python -m tests.requirements_page > tests/requirements.md`
"""

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

TESTS = Path(__file__).parent
INTRODUCTION = """# What sessions must do, and which tests prove it

Every line stands in a requirement; the tests below it bear its beginning as their marker (`@pytest.mark.requirement`).
Printed by `python -m tests.requirements_page`; a test says so when it is not up to date, and when a line has no test.
"""
REQUIREMENTS: Mapping[str, Sequence[str]] = {
    "Sessions": (
        "Create: dataSource, type, version, utcOffset, identifier, details, associates; the server makes the key.",
        "Details merge key by key while the session runs; an empty value never clears, removal is explicit.",
        "End: releases the session's tiles, closes it for new work, keeps it readable; a second end announces nothing.",
        "Info for one; `currentSessions` lists the ACTIVE ones (of a data source, or all).",
        "Start and stop notifications: per exact data source, live only, pushed at once, to any number of clients.",
        "Hierarchy: parents and associates, no duplicates, no cycles, both ends must exist in the tenant.",
        "Metric `stream_api_sessions_total` (gauge, by data_source), only where metrics are enabled, only for admins.",
        "Switch: session management can be disabled; then every mutation answers with a clear error and streams end.",
    ),
    "Workspaces": (
        "A tenant always has a `main`: made on its first contact, and again when its main is ended or deleted.",
        "id immutable, displayName mutable; renaming changes no id, reference or directory.",
        "Lookup by id, then the caller's externalId, then displayName; more than one match is never a guess.",
        "Copy: new id, clock and usage, `copiedFrom` set; parts chosen by `include`; deep, never shared.",
        "A switch in `sessionManager` for session pickers (`showSessionPicker`), for front ends that hide them.",
        "Delete cascades through scenarios, runs, KPIs, datasets, messages, files and tiles. Soft by default.",
        "Isolation: better than one process on a directory, two processes on the same store do not race.",
    ),
    "Lifetime, owners and lookups": (
        "Owner and tenant come from the authenticated caller. A caller sees its own sessions, or all of the tenant's.",
        "TTL (default 720 h), per session. Policy SLIDING (default: activity renews), FIXED or NEVER; sweeps.",
        "Context: key-value, merged.",
        "Title: skip if there is one; from a title provider if one is configured; else from the query's first line.",
        "Resolve, for OpenAI-style clients: no id given, given and owned, given and another owner's, unknown.",
        "Soft delete (deletedAt, deletedBy, partial index); dual id: externalId unique among undeleted sessions.",
        "A local cache in front of Redis: least recently used, evicting half when full; invalidated across replicas.",
        "Listing by owner and tenant, expired ones filtered; page size 20 by default, at most 100.",
    ),
    "Beyond": (
        "Optimistic concurrency: `expectedRevision`, RevisionConflict with the current one; reject, never go on.",
        "Idempotency keys on every creating mutation: insert first, so two concurrent calls make one.",
        "Resumable subscriptions: the cursor of the page and of the stream are the same; no gap and no repeat.",
        "A journal that is also the audit log; export, import, erase an owner (verified by scanning every store).",
    ),
}
SHARED_LENGTH_MIN = 12
"""A marker names the line with which it shares so many characters at the beginning, or all of its own."""


def page() -> str:
    """The page."""
    tests = marked_tests()
    parts = [INTRODUCTION]
    for part, lines in REQUIREMENTS.items():
        parts += [f"\n## {part}\n"]
        for line in lines:
            proofs = [f"- [{name}]({path})" for path, name in tests[line]] or ["- **nothing yet**"]
            parts += [f"\n**{line}**\n", *proofs]
    return "\n".join(parts) + "\n"


def marked_tests() -> Mapping[str, Sequence[tuple[str, str]]]:
    """The tests of each line: file and name.

    Raises:
        ValueError: a marker names no line, or more than one.
    """
    found: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
    for path in sorted(TESTS.rglob("test_*.py")):
        for name, marker in _markers(path):
            found[line_of(marker)].append((path.relative_to(TESTS).as_posix(), name))
    return found


def line_of(marker: str) -> str:
    """The line that a marker names by its beginning.

    Raises:
        ValueError: there is none, or more than one.
    """
    length = min(len(marker), SHARED_LENGTH_MIN)
    lines = [line for of_part in REQUIREMENTS.values() for line in of_part if line[:length] == marker[:length]]
    if len(lines) != 1:
        raise ValueError(f"the marker {marker!r} names {len(lines)} lines of the requirements")
    return lines[0]


def _markers(path: Path) -> Iterator[tuple[str, str]]:
    """The names of a file's marked tests with their markers; what marks the file marks each of its tests."""
    module = ast.parse(path.read_text())
    of_file = [
        marker
        for node in module.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "pytestmark"
        for marker in _named(node.value)
    ]
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            for marker in (*of_file, *(one for decorator in node.decorator_list for one in _named(decorator))):
                yield node.name, marker


def _named(expression: ast.expr) -> Iterator[str]:
    for node in ast.walk(expression):
        match node:
            case ast.Call(func=ast.Attribute(attr="requirement"), args=[ast.Constant(value=str(marker))]):
                yield marker


if __name__ == "__main__":
    print(page(), end="")
